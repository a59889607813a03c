//! A schedule: its rule, its bounds, and what is done at a tick. As it is stored, it is one JSON object.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::rule::{Rule, RuleError};
use crate::core::values::priority::Priority;

#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    pub rule: Rule,
    /// There is no tick after it.
    pub until_ms: Option<u64>,
    /// So many ticks are carried out.
    pub limit: Option<u64>,
    pub missed: Missed,
    pub what: What,
}

/// What comes of ticks that nobody could carry out in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// Nothing.
    None,
    /// The newest is carried out.
    #[default]
    One,
    /// All are, in their order.
    All,
}

/// What is done at a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Job(ScheduledJob),
    /// The words of a call, which is fetched and stored.
    Query(Vec<Box<str>>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledJob {
    pub name: Box<str>,
    /// JSON.
    pub data: Box<str>,
    pub attempts: Option<u32>,
    pub backoff_ms: Option<u64>,
    /// Of jobs that workers claim.
    pub priority: Option<Priority>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    #[error("missed = all is for jobs; a query that is kept warm is fetched once, however many ticks were missed")]
    AllOfQuery,
    #[error("there is no tick up to UNTIL")]
    NoTick,
    #[error("{0}")]
    Rule(#[from] RuleError),
}

impl Missed {
    pub fn parse(word: &str) -> Option<Missed> {
        [Missed::None, Missed::One, Missed::All].into_iter().find(|missed| word.eq_ignore_ascii_case(missed.as_str()))
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Missed::None => "none",
            Missed::One => "one",
            Missed::All => "all",
        }
    }
}

impl What {
    pub fn is_query(&self) -> bool {
        matches!(self, What::Query(_))
    }
}

/// Bytes of a schedule's name.
const MAX_NAME: usize = 128;

/// May a schedule be called so? As jobs of an open section: letters, digits and `_ - . :`, beginning with a letter or a digit.
pub fn is_name(name: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    name.len() <= MAX_NAME && name.first().is_some_and(u8::is_ascii_alphanumeric) && name.iter().all(is_part)
}

/// What is said of a name that [`is_name`] refuses.
pub const NAME_RULE: &str =
    "a schedule's name is 1 to 128 letters, digits and _ - . :, beginning with a letter or a digit";

/// The UNIQUE key of a tick's job.
pub fn unique_key(name: &str, tick_ms: u64) -> String {
    format!("schedule:{name}:{tick_ms}")
}

impl Definition {
    /// Refuses what would never do anything.
    pub fn check(&self) -> Result<(), DefinitionError> {
        self.rule.check()?;
        if self.missed == Missed::All && self.what.is_query() {
            return Err(DefinitionError::AllOfQuery);
        }
        match self.next_after(self.rule.begins_ms().unwrap_or(0)) {
            None if self.rule.begins_ms().is_none_or(|from| self.until_ms.is_some_and(|until| until < from)) => {
                Err(DefinitionError::NoTick)
            }
            _ => Ok(()),
        }
    }

    /// The first tick after a moment.
    pub fn next_after(&self, after_ms: u64) -> Option<u64> {
        self.rule.next_after(after_ms).filter(|tick| self.until_ms.is_none_or(|until| *tick <= until))
    }

    /// The next few ticks after a moment.
    pub fn ticks_after(&self, after_ms: u64, count: usize) -> Vec<u64> {
        std::iter::successors(self.next_after(after_ms), |tick| self.next_after(*tick)).take(count).collect()
    }

    pub fn to_json(&self) -> String {
        let (cron, zone) = self.rule.as_cron().unzip();
        let mut json = Stored {
            v: VERSION,
            cron: cron.map(Into::into),
            zone: zone.map(Into::into),
            every: self.rule.as_every_ms(),
            from: self.rule.begins_ms(),
            until: self.until_ms,
            limit: self.limit,
            missed: Some(self.missed.as_str().into()),
            ..Stored::default()
        };
        match &self.what {
            What::Job(job) => {
                json.job = Some(job.name.clone());
                json.data = RawValue::from_string(job.data.to_string()).ok();
                (json.attempts, json.backoff, json.priority) = (job.attempts, job.backoff_ms, job.priority);
            }
            What::Query(words) => json.query = Some(words.clone()),
        }
        serde_json::to_string(&json).unwrap_or_default()
    }

    /// What [`Definition::to_json`] wrote; the error says what is wrong with what another hand wrote.
    pub fn from_json(json: &[u8]) -> Result<Definition, String> {
        let stored: Stored = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if stored.v != VERSION {
            return Err(format!("it is of version {}, and this module knows {VERSION}", stored.v));
        }
        let rule = match (&stored.cron, stored.every) {
            (Some(cron), None) => Rule::cron(cron, stored.zone.as_deref(), stored.from),
            (None, Some(every_ms)) => Rule::every(every_ms, stored.from),
            _ => return Err("it has neither cron nor every, or both".into()),
        };
        let missed = stored.missed.as_deref().map_or(Some(Missed::default()), Missed::parse);
        let what = match (stored.job, stored.query) {
            (Some(name), None) => What::Job(ScheduledJob {
                name,
                data: stored.data.map_or_else(|| "{}".into(), |data| data.get().into()),
                attempts: stored.attempts,
                backoff_ms: stored.backoff,
                priority: stored.priority,
            }),
            (None, Some(words)) => What::Query(words),
            _ => return Err("it has neither job nor query, or both".into()),
        };
        let rule = rule.and_then(|rule| rule.check_days().map(|()| rule));
        Ok(Definition {
            rule: rule.map_err(|error| error.to_string())?,
            until_ms: stored.until,
            limit: stored.limit,
            missed: missed.ok_or("missed is none, one or all")?,
            what,
        })
    }
}

const VERSION: u32 = 1;

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Stored {
    v: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    every: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<Vec<Box<str>>>,
}

/// The words of a call as they are shown.
pub fn call_text(words: &[Box<str>]) -> String {
    let mut text = String::new();
    for word in words {
        let separator = if text.is_empty() { "" } else { " " };
        let is_plain = !word.is_empty() && !word.contains(char::is_whitespace);
        let _ = if is_plain { write!(text, "{separator}{word}") } else { write!(text, "{separator}{word:?}") };
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn job(data: &str) -> What {
        What::Job(ScheduledJob {
            name: "REMIND".into(),
            data: data.into(),
            attempts: None,
            backoff_ms: None,
            priority: None,
        })
    }

    fn daily(what: What) -> Definition {
        let rule = Rule::cron("0 9 * * mon-fri", Some("Europe/Berlin"), None).unwrap();
        Definition { rule, until_ms: None, limit: None, missed: Missed::One, what }
    }

    #[test]
    fn a_schedule_is_stored_as_plain_json() {
        let definition = daily(job(r#"{"kind":"daily","n":1.50}"#));
        let json = definition.to_json();
        assert_eq!(
            json,
            r#"{"v":1,"cron":"0 9 * * mon-fri","zone":"Europe/Berlin","missed":"one","job":"REMIND","data":{"kind":"daily","n":1.50}}"#
        );
        assert_eq!(Definition::from_json(json.as_bytes()), Ok(definition));
        let mut warm = daily(What::Query(vec!["page".into(), "1".into()]));
        warm.rule = Rule::every(300_000, Some(7)).unwrap();
        (warm.until_ms, warm.limit, warm.missed) = (Some(1 << 40), Some(3), Missed::None);
        let json = warm.to_json();
        assert_eq!(
            json,
            r#"{"v":1,"every":300000,"from":7,"until":1099511627776,"limit":3,"missed":"none","query":["page","1"]}"#
        );
        assert_eq!(Definition::from_json(json.as_bytes()), Ok(warm));
    }

    #[test]
    fn what_another_hand_wrote_is_refused_with_the_reason() {
        for (json, reason) in [
            ("", "EOF"),
            ("[]", "missing"),
            ("{}", "version 0"),
            (r#"{"v":2}"#, "version 2"),
            (r#"{"v":1}"#, "neither cron nor every"),
            (r#"{"v":1,"cron":"x"}"#, "neither job nor query"),
            (r#"{"v":1,"cron":"x","job":"A"}"#, "no cron expression"),
            (r#"{"v":1,"cron":"0 0 30 2 *","job":"A"}"#, "never ticks"),
            (r#"{"v":1,"every":1,"job":"A"}"#, "every is from 100"),
            (r#"{"v":1,"every":1000,"job":"A","query":["a"]}"#, "neither job nor query"),
            (r#"{"v":1,"every":1000,"cron":"* * * * *","job":"A"}"#, "neither cron nor every"),
            (r#"{"v":1,"every":1000,"job":"A","missed":"two"}"#, "missed is"),
        ] {
            let error = Definition::from_json(json.as_bytes()).expect_err(json);
            assert!(error.contains(reason) || reason == "missing", "{json}: {error}");
        }
    }

    #[test]
    fn what_would_never_tick_is_refused() {
        let mut definition = daily(job("{}"));
        assert_eq!(definition.check(), Ok(()));
        definition.until_ms = Some(5);
        assert_eq!(definition.check(), Err(DefinitionError::NoTick));
        definition.rule = Rule::every(1_000, Some(10_000)).unwrap();
        assert_eq!(definition.check(), Err(DefinitionError::NoTick));
        definition.until_ms = Some(10_000);
        assert_eq!(definition.check(), Ok(()), "the tick at FROM");
        definition.missed = Missed::All;
        assert_eq!(definition.check(), Ok(()));
        definition.what = What::Query(vec!["all".into()]);
        assert_eq!(definition.check(), Err(DefinitionError::AllOfQuery));
        definition.rule = Rule::cron("0 0 30 2 *", None, None).unwrap();
        assert!(matches!(definition.check(), Err(DefinitionError::Rule(RuleError::Never { .. }))));
    }

    #[test]
    fn names_are_those_of_jobs() {
        for (name, is) in
            [("daily", true), ("a:b.c-d_7", true), ("", false), (" a", false), ("-a", false), ("é", false)]
        {
            assert_eq!(is_name(name.as_bytes()), is, "{name}");
        }
        assert!(is_name(&[b'x'; 128]) && !is_name(&[b'x'; 129]));
    }

    #[test]
    fn calls_are_shown_as_they_are_typed() {
        assert_eq!(call_text(&["page".into(), "1".into()]), "page 1");
        assert_eq!(call_text(&["in".into(), "a b".into(), "".into()]), r#"in "a b" """#);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(json in prop::collection::vec(any::<u8>(), 0..60), near in "\\{\"v\":1,\"(cron|every)\":(\"[0-9* ,/a-z-]{0,12}\"|[0-9]{0,20}),\"(job|query)\":(\"A\"|\\[\"a\"\\])\\}") {
            let _ = Definition::from_json(&json);
            let _ = Definition::from_json(near.as_bytes());
        }
    }
}

//! How far a schedule has come. As it is stored, it is one JSON object.

use serde::{Deserialize, Serialize};

use super::definition::Definition;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// Of which rule it is.
    rule: Box<str>,
    /// Ticks up to this moment are dealt with.
    pub upto_ms: u64,
    /// The tick that was carried out last.
    pub last_ms: Option<u64>,
    /// Ticks that were carried out.
    pub count: u64,
    /// What came of the last.
    pub outcome: Option<Outcome>,
}

/// What came of a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The id of its job.
    Job(Box<str>),
    /// The query was fetched.
    Fetched,
    Error(Box<str>),
}

impl State {
    /// Of a schedule that nothing is known of: ticks count from now on.
    pub fn begun(definition: &Definition, now_ms: u64) -> State {
        State { rule: definition.rule.to_string().into(), upto_ms: now_ms, ..State::default() }
    }

    /// The state of a definition, as it is known: another rule begins anew.
    pub fn of(definition: &Definition, known: Option<State>, now_ms: u64) -> State {
        let rule = definition.rule.to_string();
        known.filter(|known| *known.rule == *rule).unwrap_or_else(|| State::begun(definition, now_ms))
    }

    /// A tick was carried out.
    pub fn carried_out(&mut self, tick_ms: u64, outcome: Option<Outcome>) {
        self.upto_ms = self.upto_ms.max(tick_ms);
        self.last_ms = Some(tick_ms);
        self.count += 1;
        self.outcome = outcome.or(self.outcome.take());
    }

    /// Ticks up to a moment were passed over.
    pub fn passed_over(&mut self, upto_ms: u64) {
        self.upto_ms = self.upto_ms.max(upto_ms);
    }

    pub fn to_json(&self) -> String {
        let (job, error, fetched) = match &self.outcome {
            None => (None, None, None),
            Some(Outcome::Job(id)) => (Some(id.clone()), None, None),
            Some(Outcome::Error(text)) => (None, Some(text.clone()), None),
            Some(Outcome::Fetched) => (None, None, Some(true)),
        };
        let stored = Stored {
            v: VERSION,
            rule: self.rule.clone(),
            upto: self.upto_ms,
            last: self.last_ms,
            count: self.count,
            job,
            error,
            fetched,
        };
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// What [`State::to_json`] wrote. None of what another hand wrote: as if there were nothing.
    pub fn from_json(json: &[u8]) -> Option<State> {
        let stored: Stored = serde_json::from_slice(json).ok().filter(|stored: &Stored| stored.v == VERSION)?;
        let outcome = match (stored.job, stored.error, stored.fetched) {
            (Some(id), _, _) => Some(Outcome::Job(id)),
            (None, Some(text), _) => Some(Outcome::Error(text)),
            (None, None, Some(true)) => Some(Outcome::Fetched),
            _ => None,
        };
        Some(State { rule: stored.rule, upto_ms: stored.upto, last_ms: stored.last, count: stored.count, outcome })
    }
}

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    v: u32,
    rule: Box<str>,
    upto: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    #[serde(default)]
    count: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fetched: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::schedules::definition::{Missed, What};
    use crate::core::schedules::rule::Rule;

    fn every(ms: u64) -> Definition {
        let what = What::Query(vec!["all".into()]);
        Definition { rule: Rule::every(ms, None).unwrap(), until_ms: None, limit: None, missed: Missed::One, what }
    }

    #[test]
    fn a_state_is_stored_as_plain_json() {
        let mut state = State::begun(&every(1_000), 5_500);
        assert_eq!(state.to_json(), r#"{"v":1,"rule":"every 1000","upto":5500,"count":0}"#);
        for outcome in [Outcome::Job("17-0".into()), Outcome::Fetched, Outcome::Error("FULL".into())] {
            state.carried_out(6_000, Some(outcome));
            assert_eq!(State::from_json(state.to_json().as_bytes()), Some(state.clone()));
        }
        assert_eq!(state.to_json(), r#"{"v":1,"rule":"every 1000","upto":6000,"last":6000,"count":3,"error":"FULL"}"#);
        for wrong in ["", "{}", "[]", r#"{"v":2,"rule":"","upto":1}"#, "\u{0}"] {
            assert_eq!(State::from_json(wrong.as_bytes()), None);
        }
    }

    #[test]
    fn another_rule_begins_anew_and_the_same_one_goes_on() {
        let mut state = State::begun(&every(1_000), 5_500);
        state.carried_out(6_000, Some(Outcome::Fetched));
        let mut same = every(1_000);
        (same.limit, same.missed) = (Some(3), Missed::None);
        assert_eq!(State::of(&same, Some(state.clone()), 9_000), state);
        let anew = State::of(&every(2_000), Some(state), 9_000);
        assert_eq!((anew.upto_ms, anew.last_ms, anew.count), (9_000, None, 0));
    }
}

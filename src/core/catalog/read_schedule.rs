//! Reads the schedules of a section. Whether a payload fits its job is looked at by [`crate::core::jobs::scheduled`].

use toml::{Table, Value};

use super::read_claim::{read_duration, ATTEMPTS, BACKOFF, PRIORITY};
use super::schedule::Schedule;
use super::toml_reader::{Fields, Report};
use crate::core::calls::lookup::Calls;
use crate::core::schedules::definition::{is_name, Definition, Missed, ScheduledJob, What, NAME_RULE};
use crate::core::schedules::rule::{Rule, EVERY_MS};
use crate::core::values::priority::Priority;

const KEYS: [&str; 10] = ["cron", "every", "zone", "job", "data", "query", "missed", "attempts", "backoff", "priority"];

/// Keys that say something of the job.
const OF_JOB: [&str; 4] = ["data", "attempts", "backoff", "priority"];

/// What the schedules of a section are checked against.
pub(in crate::core) struct Of<'a> {
    pub section: &'a str,
    pub has_tenant: bool,
    /// None: they are wrong.
    pub calls: Option<&'a Calls>,
    /// Calls from this one on are values.
    pub queries: usize,
}

pub(in crate::core) fn read(fields: Fields<'_>, of: &Of<'_>, report: &mut Report) -> Vec<Schedule> {
    let Some(schedules) = fields.table("schedule", report) else { return Vec::new() };
    if of.has_tenant {
        report.problem(format!(
            "schedule: the section is kept per tenant, and the catalog does not know which tenants there are; \
             BEAR.SCHEDULE {{tenant}}:{} … makes a schedule of one of them",
            of.section
        ));
        return Vec::new();
    }
    let mut read = Vec::new();
    for (name, schedule) in schedules {
        let definition = report.within(format!("schedule '{name}'"), |report| match schedule.as_table() {
            Some(table) => read_one(name, table, of, report),
            None => {
                report.problem("a schedule is a table with cron or every, and job or query");
                None
            }
        });
        read.extend(definition.map(|definition| Schedule { name: name.as_str().into(), definition }));
    }
    read.sort_by(|one: &Schedule, other| one.name.cmp(&other.name));
    read
}

fn read_one(name: &str, table: &Table, of: &Of<'_>, report: &mut Report) -> Option<Definition> {
    if !is_name(name.as_bytes()) {
        report.problem(NAME_RULE);
    }
    let fields = Fields::new(table, &KEYS, report);
    let rule = read_rule(fields, report);
    let missed = read_missed(fields, report);
    let what = match (fields.has("job"), fields.has("query")) {
        (true, false) => read_job(fields, report).map(What::Job),
        (false, true) => read_query(fields, of, report).map(What::Query),
        (true, true) => {
            report.problem("job and query exclude each other; keep one");
            None
        }
        (false, false) => {
            report.problem("job, a job of the section, or query, the words of a call, is missing");
            None
        }
    };
    let definition = Definition { rule: rule?, until_ms: None, limit: None, missed: missed?, what: what? };
    match definition.check() {
        Ok(()) => Some(definition),
        Err(error) => {
            report.problem(error);
            None
        }
    }
}

fn read_rule(fields: Fields<'_>, report: &mut Report) -> Option<Rule> {
    match (fields.has("cron"), fields.has("every")) {
        (true, false) => {
            let (cron, zone) = (fields.string("cron", report)?, fields.string("zone", report));
            if fields.has("zone") && zone.is_none() {
                return None;
            }
            let rule = Rule::cron(cron, zone, None);
            rule.map_err(|error| report.problem(error)).ok()
        }
        (false, true) => {
            if fields.has("zone") {
                report.problem("zone is for cron; every is counted from the beginning of 1970, UTC");
            }
            let every_ms =
                fields.string("every", report).and_then(|text| read_duration("every", text, EVERY_MS, report));
            Rule::every(every_ms?, None).map_err(|error| report.problem(error)).ok()
        }
        (true, true) => {
            report.problem("cron and every exclude each other; keep one");
            None
        }
        (false, false) => {
            report.problem("cron, such as \"0 9 * * mon-fri\", or every, such as \"15m\", is missing");
            None
        }
    }
}

fn read_missed(fields: Fields<'_>, report: &mut Report) -> Option<Missed> {
    if !fields.has("missed") {
        return Some(Missed::default());
    }
    fields.typed("missed", "\"none\", \"one\" or \"all\"", |value| Missed::parse(value.as_str()?), report)
}

fn read_job(fields: Fields<'_>, report: &mut Report) -> Option<ScheduledJob> {
    let name = fields.string("job", report);
    let data = match fields.has("data") {
        true => {
            let table = fields.table("data", report)?;
            report.keep("data", json_of_table(table))?
        }
        false => "{}".into(),
    };
    let backoff = fields.string("backoff", report);
    Some(ScheduledJob {
        name: name?.into(),
        data: data.into(),
        attempts: fields.integer("attempts", ATTEMPTS, report).map(|attempts| attempts as u32),
        backoff_ms: backoff.and_then(|text| read_duration("backoff", text, BACKOFF, report)),
        priority: fields.integer("priority", PRIORITY, report).map(|priority| priority as Priority),
    })
}

/// The words of a call: a text that is split at its spaces, or an array of words.
fn read_query(fields: Fields<'_>, of: &Of<'_>, report: &mut Report) -> Option<Vec<Box<str>>> {
    for key in OF_JOB.into_iter().filter(|key| fields.has(key)) {
        report.problem(format!("{key} is of a job, and a query has none"));
    }
    let read = |value: &Value| match value {
        Value::String(text) => Some(text.split_whitespace().map(Into::into).collect()),
        Value::Array(words) => words.iter().map(|word| word.as_str().map(Into::into)).collect(),
        _ => None,
    };
    let words: Vec<Box<str>> =
        fields.typed("query", "the words of a call, such as \"page 1\", or an array of them", read, report)?;
    let bytes: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let bound = of.calls?.bind(&bytes, usize::MAX);
    let bound = report.keep("query", bound)?;
    if bound.query >= of.queries {
        report.problem("query: that call is a value, which the application computes, and nobody can fetch it");
        return None;
    }
    Some(words)
}

fn json_of_table(table: &Table) -> Result<String, String> {
    let value = json_of(&Value::Table(table.clone()))?;
    Ok(value.to_string())
}

fn json_of(value: &Value) -> Result<serde_json::Value, String> {
    Ok(match value {
        Value::String(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => serde_json::Number::from_f64(*number)
            .map(serde_json::Value::Number)
            .ok_or_else(|| format!("JSON has no number {number}"))?,
        Value::Boolean(is) => (*is).into(),
        Value::Datetime(moment) => moment.to_string().into(),
        Value::Array(values) => values.iter().map(json_of).collect::<Result<Vec<_>, _>>()?.into(),
        Value::Table(table) => {
            let members = table.iter().map(|(key, value)| Ok((key.clone(), json_of(value)?)));
            serde_json::Value::Object(members.collect::<Result<_, String>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::core::catalog::read_catalog;
    use crate::core::schedules::definition::Definition;

    const SECTION: &str =
        "[mail]\nid = \"int\"\n[[mail.query]]\ncall = \"page {n:int}\"\nsql = \"SELECT id FROM mail LIMIT {n}\"\n\
                           [mail.job.SEND]\ndata = { to = \"text\" }\nclaim = {}\n";

    fn read(schedule: &str) -> Result<Vec<(String, Definition)>, String> {
        let catalog =
            read_catalog::parse(&format!("{SECTION}{schedule}"), &mut || 1).map_err(|error| error.to_string())?;
        let schedules = catalog.sections[0].schedules.iter();
        Ok(schedules.map(|schedule| (schedule.name.to_string(), schedule.definition.clone())).collect())
    }

    fn one(rest: &str) -> Result<String, String> {
        read(&format!("[mail.schedule.daily]\n{rest}")).map(|read| read[0].1.to_json())
    }

    #[test]
    fn schedules_are_read() {
        assert_eq!(
            one("cron = \"0 9 * * mon-fri\"\nzone = \"Europe/Berlin\"\njob = \"SEND\"\ndata = { to = \"ann\" }\nmissed = \"all\"").as_deref(),
            Ok(r#"{"v":1,"cron":"0 9 * * mon-fri","zone":"Europe/Berlin","missed":"all","job":"SEND","data":{"to":"ann"}}"#)
        );
        assert_eq!(
            one("every = \"5m\"\nquery = \"page 1\"").as_deref(),
            Ok(r#"{"v":1,"every":300000,"missed":"one","query":["page","1"]}"#)
        );
        assert_eq!(
            one("every = \"1d\"\njob = \"SEND\"\nattempts = 5\nbackoff = \"2s\"\npriority = 2\n\
                 data = { to = \"x\", at = 2026-01-01T00:00:00Z, deep = { a = [1, 2.5, true] } }")
            .as_deref(),
            Ok(
                r#"{"v":1,"every":86400000,"missed":"one","job":"SEND","data":{"at":"2026-01-01T00:00:00Z","deep":{"a":[1,2.5,true]},"to":"x"},"attempts":5,"backoff":2000,"priority":2}"#
            )
        );
        assert_eq!(
            one("every = \"1m\"\nquery = [\"page\", \"7\"]").map(|json| json.contains(r#"["page","7"]"#)),
            Ok(true)
        );
        let names: Vec<_> = read(
            "[mail.schedule.b]\nevery = \"1m\"\njob = \"SEND\"\n[mail.schedule.a]\nevery = \"1m\"\nquery = \"page 1\"",
        )
        .unwrap();
        assert_eq!(names.len(), 2);
    }

    #[test]
    fn wrong_schedules_say_where_and_what_would_be_right() {
        let job = "job = \"SEND\"\n";
        for (rest, reason) in [
            (String::new(), "section 'mail', schedule 'daily': cron, such as"),
            (job.to_owned(), "cron, such as \"0 9 * * mon-fri\", or every, such as \"15m\", is missing"),
            (format!("{job}every = \"1m\"\ncron = \"* * * * *\""), "cron and every exclude each other"),
            (format!("{job}cron = \"* * * *\""), "'* * * *' is no cron expression: five fields"),
            (format!("{job}cron = 5"), "cron must be a string, got 5"),
            (format!("{job}cron = \"0 0 30 2 *\""), "'0 0 30 2 *' never ticks"),
            (format!("{job}cron = \"@daily\"\nzone = \"Mars/Base\""), "no time zone is called 'Mars/Base'"),
            (format!("{job}every = \"1m\"\nzone = \"UTC\""), "zone is for cron"),
            (format!("{job}every = \"1ms\""), "every must be from 100ms to 366d"),
            (format!("{job}every = \"5\""), "every: a duration is"),
            (format!("{job}every = \"1m\"\nmissed = \"two\""), "missed must be \"none\", \"one\" or \"all\""),
            ("every = \"1m\"".to_owned(), "job, a job of the section, or query"),
            (format!("{job}every = \"1m\"\nquery = \"page 1\""), "job and query exclude each other"),
            ("every = \"1m\"\nquery = \"page\"".to_owned(), "query: "),
            ("every = \"1m\"\nquery = \"page x\"".to_owned(), "query: "),
            ("every = \"1m\"\nquery = 5".to_owned(), "query must be the words of a call"),
            ("every = \"1m\"\nquery = \"page 1\"\nmissed = \"all\"".to_owned(), "missed = all is for jobs"),
            ("every = \"1m\"\nquery = \"page 1\"\ndata = {}".to_owned(), "data is of a job, and a query has none"),
            (format!("{job}every = \"1m\"\ndata = 5"), "data must be a table, got 5"),
            (format!("{job}every = \"1m\"\ndata = {{ x = nan }}"), "data: JSON has no number NaN"),
            (format!("{job}every = \"1m\"\nattempts = 0"), "attempts must be a whole number from 1 to 100"),
            (format!("{job}every = \"1m\"\nuntil = 5"), "unknown key 'until'; the keys are cron, every,"),
        ] {
            let error = one(&rest).expect_err(&rest);
            assert!(error.contains(reason), "{rest}: {error}");
        }
        let error = read("[mail.schedule.\"a b\"]\nevery = \"1m\"\njob = \"SEND\"").expect_err("a name");
        assert!(error.contains("a schedule's name is 1 to 128 letters"), "{error}");
        let error = read("[mail.schedule]\nx = 1").expect_err("a table");
        assert!(error.contains("a schedule is a table"), "{error}");
        let tenants = "[mail]\ntenant = \"int\"\n[mail.schedule.daily]\nevery = \"1m\"\njob = \"SEND\"";
        let error = read_catalog::parse(tenants, &mut || 1).expect_err("tenants").to_string();
        assert!(error.contains("does not know which tenants there are; BEAR.SCHEDULE {tenant}:mail"), "{error}");
    }

    #[test]
    fn another_schedule_leaves_what_is_cached_as_it_is() {
        let source = |schedule: &str| {
            let catalog = read_catalog::parse(&format!("{SECTION}{schedule}"), &mut || 1).expect("a catalog");
            catalog.sections[0].source.clone()
        };
        assert_eq!(source(""), source("[mail.schedule.a]\nevery = \"1m\"\njob = \"SEND\""));
    }
}

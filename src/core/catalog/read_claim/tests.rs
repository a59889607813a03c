//! What catalogs say of claimed jobs, by tables: what is right, and what is told of what is wrong.

use super::*;
use crate::core::catalog::job::JobBody;
use crate::core::catalog::read_catalog;
use crate::core::catalog::sections::Section;

fn section(text: &str) -> Section {
    let catalog = read_catalog::parse(text, &mut || 1).unwrap_or_else(|error| panic!("{text}\n-> {error}"));
    catalog.sections[0].clone()
}

/// Of a job whose `claim` is this.
fn claim(text: &str) -> ClaimSpec {
    let section = section(&format!("[email.job.SEND]\nclaim = {{ {text} }}"));
    let JobBody::Claim(claim) = &section.jobs[0].body else { panic!("no claimed job") };
    claim.clone()
}

#[test]
fn what_claim_does_not_say_has_its_default() {
    let default = ClaimSpec {
        lease_ms: 30_000,
        attempts: 3,
        backoff: Backoff::Exponential { base_ms: 2_000 },
        jitter: 0.0,
        priority: 5,
        keep: Keep::Default,
        keep_failed: Keep::Default,
    };
    let with = |change: &dyn Fn(&mut ClaimSpec)| {
        let mut claim = default.clone();
        change(&mut claim);
        claim
    };
    for (text, expected) in [
        ("", default.clone()),
        ("lease = \"10ms\"", with(&|claim| claim.lease_ms = 10)),
        ("lease = \"24h\"", with(&|claim| claim.lease_ms = 86_400_000)),
        ("attempts = 1", with(&|claim| claim.attempts = 1)),
        ("attempts = 100", with(&|claim| claim.attempts = 100)),
        ("backoff = \"1ms\"", with(&|claim| claim.backoff = Backoff::Exponential { base_ms: 1 })),
        ("backoff = [\"5s\"]", with(&|claim| claim.backoff = Backoff::Steps([5_000].into()))),
        (
            "backoff = [\"1s\", \"10s\", \"5m\"]",
            with(&|claim| claim.backoff = Backoff::Steps([1_000, 10_000, 300_000].into())),
        ),
        ("jitter = \"20%\"", with(&|claim| claim.jitter = 0.2)),
        ("jitter = \"100%\"", with(&|claim| claim.jitter = 1.0)),
        ("jitter = \"off\"", default.clone()),
        ("priority = 1", with(&|claim| claim.priority = 1)),
        ("priority = 10", with(&|claim| claim.priority = 10)),
        ("keep = 0", with(&|claim| claim.keep = Keep::Jobs(0))),
        (
            "keep = 100, keep_failed = \"7d\"",
            with(&|claim| {
                claim.keep = Keep::Jobs(100);
                claim.keep_failed = Keep::AgeMs(7 * 86_400_000);
            }),
        ),
        ("keep = \"1h\"", with(&|claim| claim.keep = Keep::AgeMs(3_600_000))),
    ] {
        assert_eq!(claim(text), expected, "{text}");
    }
}

#[test]
fn a_section_needs_neither_rows_nor_queries() {
    let text = "[email.job.SEND]\n\
                data  = { to = \"text\", n = \"int?\", data = \"json?\" }\n\
                claim = { lease = \"10s\" }\n\
                order = [\"to\"]\n\
                [email.limit]\nconcurrency = 5\nrate = \"80/s\"";
    let email = section(text);
    assert!(email.id.is_none() && email.queries.is_empty() && email.tables.is_empty() && email.open.is_none());
    assert_eq!(email.jobs[0].order, Order::Fields(vec!["to".into()]));
    let rate = Some(Rate { count: 80, per_ms: 1_000 });
    assert_eq!(email.limits, Limits { all: Limit { concurrency: Some(5), rate }, by: None });

    let mail = section("[mail]\nopen = true");
    assert_eq!(mail.open, Some(OpenJobs { claim: ClaimSpec::DEFAULT, order: vec![] }));
    assert_eq!(mail.limits, Limits::default());
    assert!(section("[mail]\nopen = false").open.is_none());
}

#[test]
fn open_sections_say_claim_order_and_limits_themselves() {
    let mail = section(
        "[mail]\ntenant = \"text\"\nopen = true\nclaim = { attempts = 9 }\norder = [\"to\", \"an der é\"]\n\
         limit = [{ concurrency = 3 }, { by = \"customer\", rate = \"10/m\" }]",
    );
    let open = mail.open.expect("open");
    assert_eq!((open.claim.attempts, open.claim.priority), (9, 5));
    assert_eq!(open.order, ["to".into(), "an der é".into()]);
    let by_rate = Limit { concurrency: None, rate: Some(Rate { count: 10, per_ms: 60_000 }) };
    let all = Limit { concurrency: Some(3), rate: None };
    assert_eq!(mail.limits, Limits { all, by: Some(("customer".into(), by_rate)) });
}

#[test]
fn claimed_jobs_have_no_order_unless_they_say_so() {
    for (order, expected) in [
        ("", Order::None),
        ("order = []", Order::None),
        ("order = [\"id\", \"to\"]", Order::Fields(vec!["id".into(), "to".into()])),
    ] {
        let text = format!("[a.job.A]\ndata = {{ id = \"int\", to = \"text?\" }}\nclaim = {{}}\n{order}");
        assert_eq!(section(&text).jobs[0].order, expected, "{order}");
    }
}

#[test]
fn what_is_wrong_is_told_once_with_what_would_be_right() {
    let job = |text: &str| format!("[a.job.A]\ndata = {{ id = \"int\", ids = \"int[]\" }}\n{text}");
    let claim = |text: &str| job(&format!("claim = {{ {text} }}"));
    let limit = |text: &str| job(&format!("claim = {{}}\n[a]\nlimit = {text}"));
    let open = |text: &str| format!("[a]\nopen = true\n{text}");
    const IN_CLAIM: &str = "section 'a', job 'A', claim: ";
    const IN_LIMIT: &str = "section 'a', limit: ";
    for (text, place, reason) in [
        (claim("leas = \"1s\""), IN_CLAIM, "unknown key 'leas'; the keys are lease, attempts, backoff, jitter, priority, keep, keep_failed"),
        (claim("lease = 30"), IN_CLAIM, "lease must be a string, got 30"),
        (claim("lease = \"soon\""), IN_CLAIM, "lease: a duration is a whole number and a unit"),
        (claim("lease = \"9ms\""), IN_CLAIM, "lease must be from 10ms to 1d, got '9ms'"),
        (claim("lease = \"25h\""), IN_CLAIM, "lease must be from 10ms to 1d, got '25h'"),
        (claim("attempts = 0"), IN_CLAIM, "attempts must be a whole number from 1 to 100, got 0"),
        (claim("attempts = 101"), IN_CLAIM, "got 101"),
        (claim("attempts = -1"), IN_CLAIM, "got -1"),
        (claim("attempts = \"3\""), IN_CLAIM, "attempts must be a whole number from 1 to 100, got a string"),
        (claim("attempts = 3.0"), IN_CLAIM, "attempts must be a whole number from 1 to 100, got 3.0"),
        (claim("backoff = 2"), IN_CLAIM, "backoff must be a duration or an array of durations, got 2"),
        (claim("backoff = [1]"), IN_CLAIM, "backoff must be a duration or an array of durations, got array"),
        (claim("backoff = []"), IN_CLAIM, "backoff: from 1 to 100 steps, got 0"),
        (claim("backoff = \"0s\""), IN_CLAIM, "backoff: a duration is a whole number and a unit, from 1ms"),
        (claim("backoff = [\"1s\", \"25h\"]"), IN_CLAIM, "backoff must be from 1ms to 1d, got '25h'"),
        (claim("jitter = 0.2"), IN_CLAIM, "jitter must be a string, got 0.2"),
        (claim("jitter = \"101%\""), IN_CLAIM, "jitter: a share is \"off\" or a whole number of percent from 1% to 100%, got '101%'"),
        (claim("priority = 0"), IN_CLAIM, "priority must be a whole number from 1 to 2147483647, got 0"),
        (claim("priority = 2147483648"), IN_CLAIM, "got 2147483648"),
        (claim("keep = true"), IN_CLAIM, "keep must be a whole number of jobs from 0 to 1000000 or a duration such as \"1h\", got true"),
        (claim("keep = -1"), IN_CLAIM, "got -1"),
        (claim("keep_failed = 1000001"), IN_CLAIM, "keep_failed must be a whole number of jobs"),
        (claim("keep_failed = \"100\""), IN_CLAIM, "keep_failed: a duration is a whole number and a unit"),
        (job("claim = true"), "section 'a', job 'A': ", "claim must be a table, got true"),
        (job("claim = {}\nsql = \"SELECT 1\""), "section 'a', job 'A': ", "claim, for workers, and sql or each, for Postgres, exclude each other; keep one"),
        (job("claim = {}\neach = [\"SELECT 1\"]"), "section 'a', job 'A': ", "exclude each other"),
        (job("claim = {}\norder = \"*\""), "section 'a', job 'A': ", "order: claimed jobs have no \"*\"; for one at a time say limit = { concurrency = 1 }"),
        (job("claim = {}\norder = [\"*\"]"), "section 'a', job 'A': ", "order: claimed jobs have no \"*\""),
        (job("claim = {}\norder = \"id\""), "section 'a', job 'A': ", "order must be an array of strings, got a string"),
        (job("claim = {}\norder = [\"to\"]"), "section 'a', job 'A': ", "order: data has no field 'to'; it has id, ids"),
        (job("claim = {}\norder = [\"ids\"]"), "section 'a', job 'A': ", "order: 'ids' is int[]; order needs fields with a single value"),
        ("[a.job.A]\nclaim = {}\norder = [\"to\"]".into(), "section 'a', job 'A': ", "order: data has no field 'to', nor any other"),
        (limit("5"), IN_LIMIT, "limit must be a table or an array of tables, got 5"),
        (limit("[5]"), IN_LIMIT, "limit must be a table or an array of tables, got array"),
        (limit("{ rate = \"8/s\", concurency = 5 }"), IN_LIMIT, "unknown key 'concurency'; the keys are by, concurrency, rate"),
        (limit("{}"), IN_LIMIT, "concurrency or rate is missing"),
        (limit("{ by = \"id\" }"), IN_LIMIT, "concurrency or rate is missing"),
        (limit("{ concurrency = 0 }"), IN_LIMIT, "concurrency must be a whole number from 1 to 1000000, got 0"),
        (limit("{ rate = \"80/x\" }"), IN_LIMIT, "rate: a rate is a whole number from 1 to 1000000 and a unit of time (80/s, 100/m, 1000/h, 5/d), got '80/x'"),
        (limit("{ rate = 80 }"), IN_LIMIT, "rate must be a string, got 80"),
        (limit("{ by = \"to\", rate = \"80/s\" }"), IN_LIMIT, "by: no claimed job has a field 'to' with a single value; there are id"),
        (limit("{ by = \"ids\", rate = \"80/s\" }"), IN_LIMIT, "by: no claimed job has a field 'ids' with a single value"),
        (limit("[{ rate = \"8/s\" }, { concurrency = 5 }]"), IN_LIMIT, "two without by; there is one of the space as a whole, and one by a field"),
        (limit("[{ by = \"id\", rate = \"8/s\" }, { by = \"id\", concurrency = 5 }]"), IN_LIMIT, "two with by"),
        ("[a]\nlimit = { concurrency = 5 }".into(), "section 'a': ", "limit is for claimed jobs, and the section has none"),
        ("[a]\nlimit = { concurrency = 5 }\n[a.job.A]\neach = [\"SELECT 1\"]".into(), "section 'a': ", "limit is for claimed jobs"),
        ("[a]\nclaim = {}".into(), "section 'a': ", "claim of a section needs open = true; a job says it in its own table, [section.job.NAME]"),
        ("[a]\nopen = false\norder = [\"to\"]".into(), "section 'a': ", "order of a section needs open = true"),
        ("[a]\nopen = \"yes\"".into(), "section 'a': ", "open must be true or false, got a string"),
        (open("claim = { priority = 2147483648 }"), "section 'a', claim: ", "priority must be a whole number from 1 to 2147483647, got 2147483648"),
        (open("order = \"*\""), "section 'a': ", "order: claimed jobs have no \"*\""),
        (open("order = [\"a\\\"b\"]"), "section 'a': ", "order: a key of a payload is up to 128 bytes without control characters, \" and \\, got 'a\"b'"),
        (open("limit = { by = \"\", rate = \"1/s\" }"), IN_LIMIT, "by: a key of a payload is up to 128 bytes"),
    ] {
        let error = match read_catalog::parse(&text, &mut || 1) {
            Ok(_) => panic!("{text} was taken"),
            Err(error) => error.problems,
        };
        assert_eq!(error.len(), 1, "{text}\n-> {error:?}");
        assert!(error[0].starts_with(&format!("{place}{reason}")) || (error[0].starts_with(place) && error[0].contains(reason)), "{text}\n-> {error:?}");
    }
}

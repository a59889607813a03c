//! What Redis tells of the commands: COMMAND DOCS and COMMAND INFO, from which redis-cli takes its hints, and what it
//! says to a wrong number of words.

use std::collections::BTreeMap;

use crate::support::{Redis, Reply};

/// Name, arity, flags, flags of the key.
const COMMANDS: [(&str, i64, &str, &[&str]); 41] = [
    ("bear.query", -3, "readonly", &["RO", "access"]),
    ("bear.mquery", -4, "readonly", &["RO", "access"]),
    ("bear.get", -3, "readonly", &["RO", "access"]),
    ("bear.mget", -4, "readonly", &["RO", "access"]),
    ("bear.put", -5, "write", &["RW", "access", "delete"]),
    ("bear.forget", 3, "write", &["RW", "access", "delete"]),
    ("bear.explain", -3, "readonly", &["RO", "access"]),
    ("bear.invalidate", -3, "write", &["RW", "access", "delete"]),
    ("bear.catalog", -1, "readonly", &[]),
    ("bear.reload", 1, "admin", &[]),
    ("bear.feed", 1, "readonly", &[]),
    ("bear.propose", -1, "readonly admin", &[]),
    ("bear.enqueue", -4, "write", &["RW", "access", "delete"]),
    ("bear.job", -3, "readonly", &["RO", "access"]),
    ("bear.jobs", -3, "readonly", &["RO", "access"]),
    ("bear.stats", 2, "readonly", &["RO", "access"]),
    ("bear.retry", -3, "write admin", &["RW", "access", "delete"]),
    ("bear.remove", 3, "write admin", &["RW", "access", "delete"]),
    ("bear.pause", 2, "write admin", &["RW", "access", "delete"]),
    ("bear.resume", 2, "write admin", &["RW", "access", "delete"]),
    ("bear.claim", -2, "write", &["RW", "access", "delete"]),
    ("bear.ack", -4, "write", &["RW", "access", "delete"]),
    ("bear.fail", -5, "write", &["RW", "access", "delete"]),
    ("bear.extend", -4, "write", &["RW", "access", "delete"]),
    ("bear.release", 4, "write", &["RW", "access", "delete"]),
    ("bear.promote", 3, "write admin", &["RW", "access", "delete"]),
    ("bear.clean", -3, "write admin", &["RW", "access", "delete"]),
    ("bear.cancel", -3, "write admin", &["RW", "access", "delete"]),
    ("bear.log", 5, "write", &["RW", "access", "delete"]),
    ("bear.logs", -3, "readonly", &["RO", "access"]),
    ("bear.update", 4, "write", &["RW", "access", "delete"]),
    ("bear.limitqueue", -3, "write admin", &["RW", "access", "delete"]),
    ("bear.schedule", -7, "write", &["RW", "access", "delete"]),
    ("bear.schedules", 2, "readonly", &["RO", "access"]),
    ("bear.unschedule", 3, "write", &["RW", "access", "delete"]),
    ("bear.lock", -4, "write", &["RW", "access", "delete"]),
    ("bear.unlock", 4, "write", &["RW", "access", "delete"]),
    ("bear.extendlock", 5, "write", &["RW", "access", "delete"]),
    ("bear.limit", -4, "write", &["RW", "access", "delete"]),
    ("bear.adopt", 2, "write admin", &[]),
    ("bear.verify", -2, "readonly admin", &["RO", "access"]),
];

fn docs(redis: &Redis, name: &str) -> BTreeMap<String, Reply> {
    let reply = redis.resp3_wire().run(&format!("COMMAND DOCS {name}")).map();
    reply.get(name).unwrap_or_else(|| panic!("{name} is in {reply:?}")).map()
}

/// An argument as a line of a syntax: `<space>`, `[FRESH | CACHED]`, `word...`.
fn syntax(argument: &Reply) -> String {
    let fields = argument.map();
    let text = |name: &str| fields.get(name).map(Reply::text).unwrap_or_default();
    let parts = || -> Vec<String> { fields["arguments"].list().iter().map(syntax).collect() };
    let value = match text("type").as_str() {
        "oneof" => parts().join(" | "),
        "block" => parts().join(" "),
        "pure-token" => String::new(),
        "key" => format!("<{}>", text("name")),
        _ => text("name"),
    };
    let line = [text("token"), value].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let flags = fields.get("flags").map(Reply::sorted_texts).unwrap_or_default();
    let line = if flags.contains(&"multiple".into()) { format!("{line}...") } else { line };
    if flags.contains(&"optional".into()) {
        format!("[{line}]")
    } else {
        line
    }
}

#[test]
fn the_syntax_of_every_command_is_documented() {
    let redis = Redis::builder().start();
    for (name, expected) in [
        ("bear.query", "<space> [FRESH | CACHED | NOBLOCK name] [RAW] word..."),
        ("bear.mquery", "<space> [FRESH | CACHED] n word......"),
        ("bear.mget", "<space> [LEASE lease-ms] n word......"),
        ("bear.get", "<space> [LEASE lease-ms] [WAIT wait-ms] word..."),
        (
            "bear.put",
            "<space> n word... value [TOKEN token] [TTL ttl-ms] [TAG tag...] [ROW section id......] [IF ABSENT]",
        ),
        ("bear.forget", "<space> token"),
        ("bear.explain", "<space> word..."),
        ("bear.invalidate", "<space> ROW id... | CHANGED id... | IMAGE image | TAG tag... | QUERY word... | PATTERN pattern | ALL"),
        ("bear.catalog", "[section]"),
        ("bear.reload", ""),
        ("bear.feed", ""),
        ("bear.propose", "[[SECTION section] [TABLE table...] | SQL statement [CALL call] | SLOW [COUNT count]]"),
        (
            "bear.enqueue",
            "<space> job json [UNIQUE unique-key] [DELAY delay-ms | AT unix-ms] [ATTEMPTS attempts] [BACKOFF backoff-ms] \
             [PRIORITY priority] [TRACEPARENT traceparent] [BLOCK block-ms]",
        ),
        ("bear.job", "<space> id | UNIQUE unique-key [BLOCK block-ms]"),
        (
            "bear.jobs",
            "<space> waiting | active | delayed | completed | failed [JOB job] [COUNT count] [AFTER after-id] [NEWEST] \
             [OFFSET offset]",
        ),
        ("bear.stats", "<space>"),
        ("bear.retry", "<space> id... | ALL"),
        ("bear.remove", "<space> id"),
        ("bear.pause", "<space>"),
        ("bear.resume", "<space>"),
        ("bear.verify", "<space> [COUNT count]"),
        ("bear.adopt", "section"),
        ("bear.claim", "<space> [JOB job...] [COUNT count] [LEASE lease-ms] [BLOCK block-ms] [WORKER worker]"),
        ("bear.ack", "<space> id token... [RESULT json]"),
        ("bear.fail", "<space> id token message [FINAL] [BACKOFF backoff-ms] [STACK stack]"),
        ("bear.extend", "<space> id token [LEASE lease-ms] [PROGRESS json]"),
        ("bear.release", "<space> id token"),
        ("bear.promote", "<space> id | ALL"),
        ("bear.clean", "<space> completed | failed | delayed | waiting [OLDER older-ms] [COUNT count]"),
        ("bear.cancel", "<space> id [message]"),
        ("bear.log", "<space> id token text"),
        ("bear.logs", "<space> id [COUNT count] [AFTER after-n]"),
        ("bear.update", "<space> id json"),
        ("bear.limitqueue", "<space> [BY field] [CONCURRENCY concurrency] [RATE rate] | DEFAULT"),
        (
            "bear.schedule",
            "<space> name CRON expression | EVERY every-ms [ZONE zone] [FROM from-unix-ms] [UNTIL until-unix-ms] [LIMIT limit] \
             [MISSED missed] JOB job json [PRIORITY priority] [ATTEMPTS attempts] [BACKOFF backoff-ms] | QUERY word...",
        ),
        ("bear.schedules", "<space>"),
        ("bear.unschedule", "<space> name"),
    ] {
        let docs = docs(&redis, name);
        let arguments = docs.get("arguments").map(|arguments| arguments.list().to_vec()).unwrap_or_default();
        assert_eq!(arguments.iter().map(syntax).collect::<Vec<_>>().join(" "), expected, "{name}");
    }
}

#[test]
fn every_command_has_a_summary_and_its_complexity() {
    let redis = Redis::builder().start();
    for (name, ..) in COMMANDS {
        let docs = docs(&redis, name);
        let summary = docs["summary"].text();
        assert!(summary.ends_with('.') && (20..120).contains(&summary.len()), "{name}: {summary}");
        let complexity = docs["complexity"].text();
        assert!(complexity.starts_with("O("), "{name}: {complexity}");
        assert_eq!(docs["since"].text(), env!("CARGO_PKG_VERSION"), "{name}");
        assert_eq!(docs["module"].text(), "bear", "{name}");
        // RESP2 says the same in flat arrays.
        let flat = redis.run(&format!("COMMAND DOCS {name}")).map()[name].map();
        assert_eq!(flat["summary"].text(), summary);
    }
}

#[test]
fn keys_in_the_docs_are_the_first_key_of_the_specs() {
    let redis = Redis::builder().start();
    for (name, _, _, key_flags) in COMMANDS {
        let docs = docs(&redis, name);
        let arguments = docs.get("arguments").map(|arguments| arguments.list().to_vec()).unwrap_or_default();
        let keys: Vec<_> = arguments.iter().filter(|argument| argument.map()["type"].text() == "key").collect();
        assert_eq!(keys.len(), usize::from(!key_flags.is_empty()), "{name}");
        for key in keys {
            assert_eq!(key.map()["key_spec_index"], Reply::Int(0), "{name}");
        }
    }
}

#[test]
fn arity_flags_and_keys_of_every_command() {
    let redis = Redis::builder().start();
    let mut wire = redis.wire();
    for (name, arity, flag, key_flags) in COMMANDS {
        let reply = wire.run(&format!("COMMAND INFO {name}"));
        let info = reply.list()[0].list();
        assert_eq!(info[0].text(), name);
        assert_eq!(info[1], Reply::Int(arity), "{name}");
        let flags = info[2].sorted_texts();
        assert!(flags.contains(&"module".to_owned()), "{name}: {flags:?}");
        for known in ["readonly", "write", "admin"] {
            let expected = flag.split(' ').any(|flag| flag == known);
            assert_eq!(flags.contains(&known.to_owned()), expected, "{name}: {flags:?}");
        }
        let has_key = i64::from(!key_flags.is_empty());
        assert_eq!(info[3..6], [has_key, has_key, has_key].map(Reply::Int), "{name}: first, last, step");
        let specs = info[8].list();
        assert_eq!(specs.len(), key_flags.len().min(1), "{name}: {specs:?}");
        for spec in specs {
            let spec = spec.map();
            assert_eq!(spec["flags"].sorted_texts(), key_flags, "{name}");
            let begin = spec["begin_search"].map();
            assert_eq!(begin["type"].text(), "index");
            assert_eq!(begin["spec"].map()["index"], Reply::Int(1));
            let find = spec["find_keys"].map();
            assert_eq!(find["type"].text(), "range");
            assert_eq!(find["spec"].map()["lastkey"], Reply::Int(0));
        }
    }
    let loaded = wire.run("COMMAND LIST FILTERBY MODULE bear").sorted_texts();
    let mut expected = COMMANDS.map(|(name, ..)| name);
    expected.sort_unstable();
    assert_eq!(loaded, expected);
}

/// What cluster clients go by: commands without a key say which nodes they are for.
#[test]
fn every_command_has_its_tips() {
    let redis = Redis::builder().start();
    let mut wire = redis.wire();
    for (name, .., key_flags) in COMMANDS {
        let nodes: &[&str] = match name {
            "bear.reload" => &["request_policy:all_nodes", "response_policy:all_succeeded"],
            "bear.adopt" => &["request_policy:all_shards", "response_policy:all_succeeded"],
            // Any node: what it asks is Postgres.
            "bear.propose" => &[],
            _ if key_flags.is_empty() => &["request_policy:all_shards", "response_policy:special"],
            // One node, that of the key's slot.
            _ => &[],
        };
        // The same command on the same data replies the same.
        let is_certain = [
            "bear.reload",
            "bear.adopt",
            "bear.remove",
            "bear.pause",
            "bear.resume",
            "bear.limitqueue",
            "bear.schedule",
            "bear.unschedule",
        ]
        .contains(&name);
        let mut expected: Vec<&str> = if is_certain { vec![] } else { vec!["nondeterministic_output"] };
        expected.extend(nodes);
        let reply = wire.run(&format!("COMMAND INFO {name}"));
        assert_eq!(reply.list()[0].list()[7].sorted_texts(), expected, "{name}");
    }
}

#[test]
fn too_few_or_too_many_words_are_told() {
    let redis = Redis::builder().start();
    let mut wire = redis.wire();
    for line in [
        "BEAR.QUERY",
        "BEAR.QUERY bear",
        "BEAR.EXPLAIN",
        "BEAR.EXPLAIN bear",
        "BEAR.INVALIDATE",
        "BEAR.INVALIDATE bear",
        "BEAR.RELOAD now",
    ] {
        let name = line.split(' ').next().unwrap().to_lowercase();
        let reply = wire.run(line).error().to_lowercase();
        assert_eq!(reply, format!("err wrong number of arguments for '{name}' command"), "{line}");
    }
    for (line, expected) in [
        ("BEAR.CATALOG bear color", "ERR 'color' is one word too many"),
        ("BEAR.INVALIDATE bear ROW", "ERR the row's id is missing"),
        ("BEAR.INVALIDATE bear TAG", "ERR the tag is missing"),
        ("BEAR.INVALIDATE bear QUERY", "ERR the call is missing"),
        ("BEAR.INVALIDATE bear PATTERN", "ERR the pattern is missing"),
        ("BEAR.INVALIDATE bear PATTERN a* b*", "ERR 'b*' is one word too many"),
        ("BEAR.INVALIDATE bear ALL of them", "ERR 'of' is one word too many"),
        (
            "BEAR.INVALIDATE bear EVERYTHING",
            "ERR what to invalidate is one of: ROW id … | CHANGED id … | IMAGE json | TAG tag … | QUERY word … | PATTERN glob \
             | ALL",
        ),
        ("BEAR.CATALOG bears", "ERR no section 'bears'; there are: bear, color"),
    ] {
        assert_eq!(wire.run(line).error(), expected, "{line}");
    }
}

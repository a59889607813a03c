//! The job commands before Redis' users, and what Redis tells of them: keys, flags, docs.

use crate::support::bears;
use crate::support::{Redis, Reply, Wire};

/// Name, arity, flags, syntax of a call with the key `bear`.
const COMMANDS: [(&str, i64, &[&str], &str); 8] = [
    ("bear.enqueue", -4, &["write", "denyoom"], r#"bear DELETE_BEAR {"id":5}"#),
    ("bear.job", -3, &["readonly"], "bear 1-1"),
    ("bear.jobs", -3, &["readonly"], "bear failed"),
    ("bear.stats", 2, &["readonly"], "bear"),
    ("bear.retry", -3, &["write", "admin"], "bear ALL"),
    ("bear.remove", 3, &["write", "admin"], "bear 1-1"),
    ("bear.pause", 2, &["write", "admin"], "bear"),
    ("bear.resume", 2, &["write", "admin"], "bear"),
];

fn start() -> Redis {
    let database = bears::database();
    let url = database.url();
    // Nothing here needs Postgres to answer.
    Redis::builder()
        .env("BEAR_POSTGRES_URL", url)
        .config("bear.drain", "no")
        .acl_file(
            "user default on nopass ~* &* +@all\n\
             user producer on >x ~bear -@all +bear.enqueue +bear.job\n\
             user reader on >x %R~bear -@all +bear.job +bear.jobs +bear.stats +bear.enqueue +bear.pause\n\
             user colors on >x ~color* +@all\n\
             user nothing on >x ~* -@all +ping\n",
        )
        .start()
}

fn user(redis: &Redis, name: &str) -> Wire {
    let mut wire = redis.wire();
    assert!(wire.run(&format!("AUTH {name} x")).is_ok());
    wire
}

#[test]
fn arity_flags_and_key_of_the_job_commands() {
    let redis = start();
    let mut wire = redis.wire();
    for (name, arity, flags, words) in COMMANDS {
        let reply = wire.run(&format!("COMMAND INFO {name}"));
        let info = reply.list()[0].list();
        assert_eq!(info[1], Reply::Int(arity), "{name}");
        let found = info[2].sorted_texts();
        for flag in flags {
            assert!(found.contains(&(*flag).to_owned()), "{name}: {found:?}");
        }
        let is_write = flags.contains(&"write");
        assert_ne!(found.contains(&"readonly".to_owned()), is_write, "{name}: {found:?}");
        assert_eq!(info[3..6], [1, 1, 1].map(Reply::Int), "{name}: first, last, step");
        assert_eq!(wire.run(&format!("COMMAND GETKEYS {name} {words}")).sorted_texts(), ["bear"], "{name}");
        let keys = wire.run(&format!("COMMAND GETKEYSANDFLAGS {name} {words}"));
        let key_flags = keys.list()[0].list()[1].sorted_texts();
        assert_eq!(key_flags.contains(&"RO".to_owned()), !is_write, "{name}: {key_flags:?}");
    }
}

#[test]
fn the_job_commands_are_documented() {
    let redis = start();
    for (name, ..) in COMMANDS {
        let docs = redis.resp3_wire().run(&format!("COMMAND DOCS {name}")).map()[name].map();
        let summary = docs["summary"].text();
        assert!(summary.ends_with('.') && (20..120).contains(&summary.len()), "{name}: {summary}");
        assert!(docs["complexity"].text().starts_with("O("), "{name}");
        let arguments = docs["arguments"].list();
        assert_eq!(arguments[0].map()["type"].text(), "key", "{name}");
        assert_eq!(arguments[0].map()["name"].text(), "space", "{name}");
    }
    let docs = redis.resp3_wire().run("COMMAND DOCS bear.enqueue").map()["bear.enqueue"].map();
    let token = |option: &Reply| option.map()["token"].text();
    let tokens: Vec<String> = docs["arguments"].list()[3..]
        .iter()
        .flat_map(|option| match option.map().get("arguments") {
            Some(either) => either.list().iter().map(token).collect(),
            None => vec![token(option)],
        })
        .collect();
    assert_eq!(tokens, ["UNIQUE", "DELAY", "AT", "ATTEMPTS", "BACKOFF", "PRIORITY", "TRACEPARENT", "BLOCK"]);
}

#[test]
fn a_user_has_the_jobs_of_its_key_patterns_and_permissions() {
    let redis = start();
    let enqueue = r#"BEAR.ENQUEUE bear DELETE_BEAR {"id":5}"#;
    let mut producer = user(&redis, "producer");
    let id = producer.run(enqueue).text();
    assert!(!producer.run(&format!("BEAR.JOB bear {id}")).is_error());
    for line in ["BEAR.STATS bear", "BEAR.PAUSE bear", r#"BEAR.ENQUEUE color DELETE_COLOR {"name":"brown"}"#] {
        assert!(producer.run(line).error().starts_with("NOPERM "), "{line}");
    }
    let mut reader = user(&redis, "reader");
    for line in [format!("BEAR.JOB bear {id}"), "BEAR.JOBS bear waiting".into(), "BEAR.STATS bear".into()] {
        assert!(!reader.run(&line).is_error(), "{line}");
    }
    for line in [enqueue, "BEAR.PAUSE bear", "BEAR.STATS color"] {
        assert!(reader.run(line).error().starts_with("NOPERM "), "{line}");
    }
    for (name, words) in COMMANDS.map(|(name, _, _, words)| (name, words)) {
        for other in ["colors", "nothing"] {
            let reply = user(&redis, other).run(&format!("{name} {words}"));
            assert!(reply.error().starts_with("NOPERM "), "{other}: {name}: {reply:?}");
        }
    }
    assert_eq!(redis.run("XLEN bear:queue"), Reply::Int(1));
    assert_eq!(redis.run("BEAR.STATS bear").map()["paused"], Reply::Int(0));
}

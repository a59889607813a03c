//! What one client can ask for that is large: each case of the table that a live test and the benchmark run, the one with
//! small numbers and generous bounds, the other with large ones.

use super::database::Database;
use super::jobs;
use super::server::{Builder, Redis};
use super::wait::eventually;
use super::wire::{packed, Reply, Wire};
use super::Postgres;

/// How large.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Failed jobs, and bytes of the payload of each.
    pub jobs: usize,
    pub payload: usize,
    /// Bytes of one result, and clients that wait for it.
    pub result: usize,
    pub waiters: usize,
    /// Rows of one result.
    pub rows: usize,
    /// Ids of one command.
    pub ids: usize,
    /// Sections of a catalog, and queries of one section.
    pub sections: usize,
    /// Calls in one pipeline, and clients that miss at once.
    pub calls: usize,
    pub clients: usize,
}

pub const SCHEMA: &str = "CREATE TABLE thing(id int PRIMARY KEY)";

pub const CATALOG: &str = r#"
[thing]
id = "int"
row = "SELECT id FROM thing WHERE id = ANY({ids})"
[[thing.query]]
call = "up to {n:int}"
sql = "SELECT i AS id FROM generate_series(1, {n}) i"
match = "id <= {n}"
tags = ["all"]
[[thing.query]]
call = "text {n:int}"
sql = "SELECT repeat('x', {n}::int) AS text"
single = true
rows = false
[thing.job.FAIL]
data = { id = "int", text = "text" }
sql = "SELECT job.n, job.id, 'no' AS error FROM {jobs} job"
[thing.job.DO]
data = { id = "int" }
sql = "SELECT job.n, job.id FROM {jobs} job"
[thing.job.NOTE]
data = { id = "int", note = "json" }
sql = "SELECT job.n, job.id FROM {jobs} job"
"#;

/// A catalog of so many sections.
pub fn sections(count: usize) -> String {
    let section = |i: usize| {
        format!(
            "[section_{i}]\nid = \"int\"\n[[section_{i}.query]]\ncall = \"one {{id:int}}\"\nmatch = \"id = {{id}}\"\n\
             sql = \"SELECT id FROM thing WHERE id = {{id}}\"\n"
        )
        .replace("[[", "row = \"SELECT id FROM thing WHERE id = ANY({ids})\"\n[[")
    };
    (0..count).map(section).collect::<String>() + CATALOG
}

/// A catalog with a section of so many queries.
pub fn queries(count: usize, call: impl Fn(usize) -> String) -> String {
    let query = |i: usize| {
        let call = call(i);
        format!("[[many.query]]\ncall = \"{call}\"\nsql = \"SELECT id FROM thing WHERE id = {{id}}\"\n")
    };
    "[many]\nid = \"int\"\n".to_owned() + &(0..count).map(query).collect::<String>() + CATALOG
}

pub fn start() -> (Database, Redis) {
    start_with(|builder| builder)
}

pub fn start_with(with: impl FnOnce(Builder) -> Builder) -> (Database, Redis) {
    let database = Postgres::shared().database(SCHEMA);
    database.log_errors_only();
    let redis = with(Redis::builder())
        .postgres(&database)
        .catalog(CATALOG)
        .config("bear.feed", "off")
        .config("bear.query-timeout-ms", 60_000)
        .config("bear.failed-max-jobs", 10_000)
        .config("bear.queue-max-bytes", 4_000_000_000_u64)
        .start();
    redis.wire().run("BEAR.QUERY thing up to 1").bulk();
    (database, redis)
}

/// One thing to ask for.
pub struct Case {
    pub name: fn(&Sizes) -> String,
    /// What has to stand before.
    pub prepare: fn(&Redis, &Sizes),
    pub ask: fn(&Redis, &Sizes),
}

fn nothing(_: &Redis, _: &Sizes) {}

fn invalidate(redis: &Redis, words: &[&str], sizes: &Sizes) -> Reply {
    let ids: Vec<String> = (0..sizes.ids).map(|id| id.to_string()).collect();
    let all: Vec<&str> = words.iter().copied().chain(ids.iter().map(String::as_str)).collect();
    redis.wire().call(&all)
}

#[track_caller]
fn assert_too_large(reply: &Reply) {
    assert!(reply.error().starts_with("TOOLARGE "), "{reply:?}");
}

fn fail_jobs(redis: &Redis, sizes: &Sizes) {
    let mut wire = redis.wire();
    let text = "x".repeat(sizes.payload);
    for id in 0..sizes.jobs {
        let data = format!(r#"{{"id":{id},"text":"{text}"}}"#);
        jobs::id_of(&wire.call(&["BEAR.ENQUEUE", "thing", "FAIL", &data, "ATTEMPTS", "1"]));
    }
    wait_failed(&mut wire, sizes);
}

fn wait_failed(wire: &mut Wire, sizes: &Sizes) {
    eventually("all jobs have failed", || wire.run("XLEN thing:queue:failed").int() == sizes.jobs as i64);
}

fn complete_jobs(redis: &Redis, sizes: &Sizes) {
    let mut wire = redis.wire();
    let one = |id: usize| packed(&["BEAR.ENQUEUE", "thing", "DO", &format!(r#"{{"id":{id}}}"#)]);
    wire.send_bytes(&(0..sizes.jobs).flat_map(one).collect::<Vec<u8>>());
    (0..sizes.jobs).for_each(|_| drop(jobs::id_of(&wire.receive())));
    jobs::wait_settled(&mut wire, "thing");
}

fn set_catalog(redis: &Redis, text: &str) {
    std::fs::write(redis.catalog_path(), text).expect("the catalog's file");
}

fn reload(redis: &Redis) {
    let reply = redis.run("BEAR.RELOAD");
    assert!(reply.is_ok(), "{reply:?}");
}

fn large_result(redis: &Redis, sizes: &Sizes, waiters: usize) {
    let call = format!("BEAR.QUERY thing FRESH text {}", sizes.result);
    let mut wires: Vec<Wire> = (0..waiters).map(|_| redis.wire()).collect();
    wires.iter_mut().for_each(|wire| wire.begin(&call));
    std::thread::scope(|scope| {
        for wire in &mut wires {
            scope.spawn(|| assert_eq!(wire.receive().bulk().len(), sizes.result + r#"{"text":""}"#.len()));
        }
    });
}

/// In the order in which they are run: what one leaves is what another finds.
/// Of one BEAR.MQUERY, at most as many as it takes.
fn many_calls(sizes: &Sizes) -> usize {
    sizes.calls.min(1_000)
}

/// So many calls in one command, with results of `bytes` and more.
fn mquery(redis: &Redis, option: &str, calls: usize, bytes: usize) -> Reply {
    let mut words = vec!["BEAR.MQUERY".to_owned(), "thing".into(), option.into()];
    words.extend((0..calls).flat_map(|n| ["2".into(), "text".into(), (bytes + n).to_string()]));
    redis.wire().call(&words)
}

pub const CASES: [Case; 25] = [
    Case {
        name: |sizes| format!("EXPLAIN of an entry of {} rows", sizes.rows),
        prepare: |redis, sizes| {
            redis.run(&format!("BEAR.QUERY thing up to {}", sizes.rows)).bulk();
            redis.wait_stored();
        },
        ask: |redis, sizes| {
            let reply = redis.run(&format!("BEAR.EXPLAIN thing up to {}", sizes.rows));
            let more =
                reply.map()["dropped_by"].list().iter().map(Reply::text).any(|text| text.ends_with(" more rows"));
            assert!(more, "{reply:?}");
        },
    },
    Case {
        name: |sizes| format!("ROW with {} ids", sizes.ids),
        prepare: nothing,
        ask: |redis, sizes| assert_too_large(&invalidate(redis, &["BEAR.INVALIDATE", "thing", "ROW"], sizes)),
    },
    Case {
        name: |sizes| format!("CHANGED with {} ids", sizes.ids),
        prepare: nothing,
        ask: |redis, sizes| assert_too_large(&invalidate(redis, &["BEAR.INVALIDATE", "thing", "CHANGED"], sizes)),
    },
    Case {
        name: |sizes| format!("TAG with {} tags", sizes.ids),
        prepare: nothing,
        ask: |redis, sizes| assert_too_large(&invalidate(redis, &["BEAR.INVALIDATE", "thing", "TAG"], sizes)),
    },
    Case {
        name: |_| "ROW with 2,000 ids".to_owned(),
        prepare: nothing,
        ask: |redis, sizes| {
            let sizes = Sizes { ids: 2_000, ..*sizes };
            invalidate(redis, &["BEAR.INVALIDATE", "thing", "ROW"], &sizes).int();
        },
    },
    Case {
        name: |sizes| format!("DEL with {} keys, for comparison", sizes.ids),
        prepare: nothing,
        ask: |redis, sizes| assert_eq!(invalidate(redis, &["DEL"], sizes), Reply::Int(0)),
    },
    Case {
        name: |sizes| format!("IMAGE of {} columns", sizes.ids / 2),
        prepare: nothing,
        ask: |redis, sizes| {
            let columns: Vec<String> = (0..sizes.ids / 2).map(|i| format!(r#""c{i}":{i}"#)).collect();
            let image = format!("{{{}}}", columns.join(","));
            assert_too_large(&redis.wire().call(&["BEAR.INVALIDATE", "thing", "IMAGE", &image]));
        },
    },
    Case {
        name: |_| "IMAGE with a list of 30,000 numbers".to_owned(),
        prepare: nothing,
        ask: |redis, _| {
            let image = format!(r#"{{"id":1,"list":[{}1]}}"#, "1,".repeat(30_000));
            redis.wire().call(&["BEAR.INVALIDATE", "thing", "IMAGE", &image]).int();
        },
    },
    Case {
        name: |sizes| format!("a result of {} bytes, {} waiters", sizes.result, 1),
        prepare: nothing,
        ask: |redis, sizes| large_result(redis, sizes, 1),
    },
    Case {
        name: |sizes| format!("a result of {} bytes, {} waiters", sizes.result, sizes.waiters),
        prepare: nothing,
        ask: |redis, sizes| large_result(redis, sizes, sizes.waiters),
    },
    Case {
        name: |sizes| format!("{} distinct misses in one pipeline", sizes.calls),
        prepare: nothing,
        ask: |redis, sizes| {
            let mut wire = redis.wire();
            let call = |n: usize| packed(&["BEAR.QUERY", "thing", "FRESH", "text", &n.to_string()]);
            wire.send_bytes(&(0..sizes.calls).flat_map(call).collect::<Vec<u8>>());
            (0..sizes.calls).for_each(|_| assert!(!wire.receive().bulk().is_empty()));
        },
    },
    Case {
        name: |sizes| format!("BEAR.MQUERY of {} misses", many_calls(sizes)),
        prepare: nothing,
        ask: |redis, sizes| assert_eq!(mquery(redis, "FRESH", many_calls(sizes), 0).list().len(), many_calls(sizes)),
    },
    Case {
        name: |sizes| format!("BEAR.MQUERY of {} hits", many_calls(sizes)),
        prepare: |redis, sizes| drop(mquery(redis, "FRESH", many_calls(sizes), 0)),
        ask: |redis, sizes| {
            let reply = mquery(redis, "CACHED", many_calls(sizes), 0);
            assert!(reply.list().iter().all(|reply| !reply.bulk().is_empty()));
        },
    },
    Case {
        name: |sizes| format!("BEAR.MQUERY of {} hits of {} bytes", many_calls(sizes) / 10, sizes.payload / 10),
        prepare: |redis, sizes| drop(mquery(redis, "FRESH", many_calls(sizes) / 10, sizes.payload / 10)),
        ask: |redis, sizes| {
            let reply = mquery(redis, "CACHED", many_calls(sizes) / 10, sizes.payload / 10);
            assert!(reply.list().iter().all(|reply| reply.bulk().len() >= sizes.payload / 10));
        },
    },
    Case {
        name: |sizes| format!("{} clients miss distinct calls at once", sizes.clients),
        prepare: nothing,
        ask: |redis, sizes| {
            let mut wires: Vec<Wire> = (0..sizes.clients).map(|_| redis.wire()).collect();
            for (n, wire) in wires.iter_mut().enumerate() {
                wire.begin(&format!("BEAR.QUERY thing FRESH text {n}"));
            }
            wires.iter_mut().for_each(|wire| assert!(!wire.receive().bulk().is_empty()));
        },
    },
    Case {
        name: |sizes| format!("BEAR.JOBS failed COUNT 1000: {} of {} bytes", sizes.jobs, sizes.payload),
        prepare: fail_jobs,
        ask: |redis, sizes| {
            // A list of over 16 MB ends early.
            let (mut wire, mut after, mut seen) = (redis.wire(), String::new(), 0);
            while seen < sizes.jobs {
                let reply = wire.run(&format!("BEAR.JOBS thing failed COUNT 1000 {after}"));
                let last = reply.list().last().expect("more jobs").map();
                assert!(last["data"].bulk().len() > sizes.payload);
                seen += reply.list().len();
                after = format!("AFTER {}", last["id"].text());
            }
        },
    },
    Case {
        name: |sizes| format!("BEAR.JOBS failed NEWEST, {} passed over by their type, and by OFFSET", sizes.jobs),
        prepare: nothing,
        ask: |redis, sizes| {
            let mut wire = redis.wire();
            assert_eq!(wire.run("BEAR.JOBS thing failed JOB OTHER NEWEST").list(), []);
            let offset = sizes.jobs - 1;
            assert_eq!(wire.run(&format!("BEAR.JOBS thing failed NEWEST OFFSET {offset}")).list().len(), 1);
        },
    },
    Case {
        name: |sizes| format!("BEAR.REMOVE of the last of {} failed jobs", sizes.jobs),
        prepare: nothing,
        ask: |redis, _| {
            let mut wire = redis.wire();
            let last = wire.run("XREVRANGE thing:queue:failed + - COUNT 1").list()[0].list()[1].clone();
            let fields: Vec<String> = last.list().iter().take(2).map(Reply::text).collect();
            assert_eq!(wire.run(&format!("BEAR.REMOVE thing {}", fields[1])), Reply::Int(1));
        },
    },
    Case {
        name: |sizes| format!("BEAR.RETRY ALL of {} failed jobs of {} bytes", sizes.jobs - 1, sizes.payload),
        prepare: nothing,
        ask: |redis, sizes| {
            let mut wire = redis.wire();
            assert_eq!(wire.run("BEAR.RETRY thing ALL").list().len(), sizes.jobs - 1);
            wait_failed(&mut wire, &Sizes { jobs: sizes.jobs - 1, ..*sizes });
        },
    },
    Case {
        name: |sizes| format!("BEAR.JOBS completed COUNT 1000: {}", sizes.jobs.min(1000)),
        prepare: complete_jobs,
        ask: |redis, sizes| {
            let reply = redis.run("BEAR.JOBS thing completed COUNT 1000");
            assert_eq!(reply.list().len(), sizes.jobs.min(1_000));
        },
    },
    Case {
        name: |_| "BEAR.ENQUEUE of 1 MB of nested json".to_owned(),
        prepare: nothing,
        ask: |redis, _| {
            let json = format!(r#"{{"id":1,"note":[{}1]}}"#, r#"[{"a":1}],"#.repeat(90_000));
            jobs::id_of(&redis.wire().call(&["BEAR.ENQUEUE", "thing", "NOTE", &json]));
        },
    },
    Case {
        name: |sizes| format!("BEAR.RELOAD of {} sections", sizes.sections),
        prepare: |redis, sizes| set_catalog(redis, &sections(sizes.sections)),
        ask: |redis, _| reload(redis),
    },
    Case {
        name: |sizes| format!("INFO bear, BEAR.CATALOG, BEAR.STATS with {} sections", sizes.sections),
        prepare: nothing,
        ask: |redis, sizes| {
            assert_eq!(redis.info("bear").int("bear_sections"), sizes.sections as i64 + 1);
            assert_eq!(redis.run("BEAR.CATALOG").map()["sections"].list().len(), sizes.sections + 1);
            redis.run("BEAR.STATS thing").map();
        },
    },
    Case {
        name: |sizes| format!("BEAR.RELOAD of {} queries", sizes.sections),
        prepare: |redis, sizes| set_catalog(redis, &queries(sizes.sections, |i| format!("list q{i} {{id:int}}"))),
        ask: |redis, sizes| {
            reload(redis);
            assert_eq!(redis.run("BEAR.CATALOG many").map()["queries"].list().len(), sizes.sections);
        },
    },
    Case {
        name: |sizes| format!("BEAR.RELOAD of {} queries that are refused", sizes.sections),
        prepare: |redis, sizes| set_catalog(redis, &queries(sizes.sections, |_| "list {id:int}".to_owned())),
        ask: |redis, _| assert!(redis.run("BEAR.RELOAD").error().starts_with("ERR nothing is changed: ")),
    },
];

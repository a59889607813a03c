//! Servers with claimed jobs, and what workers do, for the tests of what operators do to jobs.

use std::collections::BTreeMap;

use crate::support::{Redis, Reply, Unit, Wire};

/// Mail that workers send, with an order and a field to limit by; open sections; and bears, whose jobs are SQL.
pub const CATALOG: &str = r#"
[mail.job.SEND]
data  = { to = "text", subject = "text?" }
claim = { lease = "30s", attempts = 3, backoff = "1h" }
order = ["to"]
[mail.job.CALL]
data  = { number = "int" }
claim = { keep = 0, keep_failed = 0 }
[any]
open = true
[bear]
id = "int"
tables = { bear = "id" }
[[bear.query]]
call = "all"
sql = "SELECT id, id AS _bear FROM bear b ORDER BY id"
[bear.job.NAME]
data = { id = "int", name = "text" }
sql = "UPDATE bear SET name = job.name FROM {jobs} job WHERE bear.id = job.id RETURNING job.n, bear.id"
"#;

/// With an AOF, and without a Postgres, which claimed jobs do not need.
pub fn server() -> Redis {
    Redis::builder().catalog(CATALOG).append_only().start()
}

/// What a worker was given.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub id: String,
    pub token: String,
    pub data: String,
}

fn claimed(job: &Reply) -> Claimed {
    let job: BTreeMap<String, Reply> = job.map();
    Claimed { id: job["id"].text(), token: job["token"].int().to_string(), data: job["data"].text() }
}

/// Claims up to so many jobs.
#[track_caller]
pub fn claim(wire: &mut Wire, space: &str, count: usize) -> Vec<Claimed> {
    let reply = wire.run(&format!("BEAR.CLAIM {space} COUNT {count} WORKER w"));
    reply.list().iter().map(claimed).collect()
}

#[track_caller]
pub fn claim_one(wire: &mut Wire, space: &str) -> Claimed {
    let mut some = claim(wire, space, 1);
    assert_eq!(some.len(), 1, "a job of {space} can be claimed");
    some.remove(0)
}

/// The job of a reply to a claimer that waited.
#[track_caller]
pub fn received(wire: &mut Wire) -> Claimed {
    let reply = wire.receive();
    let [job] = reply.list() else { panic!("one job was expected: {reply:?}") };
    claimed(job)
}

/// `word` names claim's job with its token.
#[track_caller]
pub fn tell(wire: &mut Wire, word: &str, space: &str, job: &Claimed, more: &[&str]) -> Reply {
    let mut words = vec![word, space, &job.id, &job.token];
    words.extend(more);
    wire.call(&words)
}

/// The ids of claimed jobs that the stream has.
#[track_caller]
pub fn queued(wire: &mut Wire, space: &str) -> Vec<String> {
    let entries = wire.run(&format!("XRANGE {space}:queue:work - +"));
    entries.list().iter().map(|entry| entry.list()[0].text()).collect()
}

/// The records of failed jobs, oldest first: the id, and the JSON.
#[track_caller]
pub fn failures(wire: &mut Wire, key: &str) -> Vec<(String, serde_json::Value)> {
    let entries = wire.run(&format!("XRANGE {key} - +"));
    let fields = entries.list().iter().map(|entry| entry.list()[1].map());
    fields.map(|fields| (fields["id"].text(), fields["record"].json())).collect()
}

/// Keys of a space's claimed jobs that name a job: none once all are gone.
#[track_caller]
pub fn leftovers(redis: &Redis, space: &str) -> Vec<String> {
    let lasting = [
        "queue:id",
        "queue:work:token",
        "queue:work:totals",
        "queue:work",
        "queue:work:completed",
        "queue:work:failed",
    ];
    let is_lasting = |key: &String| lasting.iter().any(|part| *key == format!("{space}:{part}"));
    redis.keys().into_iter().filter(|key| key.starts_with(&format!("{space}:queue")) && !is_lasting(key)).collect()
}

/// Commands of a unit that name the key, as lines.
pub fn lines<'a>(unit: &'a Unit, key: &'a str) -> impl Iterator<Item = String> + 'a {
    unit.iter().filter(move |command| command.text(1) == key).map(|command| format!("{command:?}"))
}

/// The only unit since `seen` units of the AOF.
#[track_caller]
pub fn unit_after(redis: &Redis, seen: usize) -> Unit {
    let units = redis.aof().split_off(seen);
    let [unit] = units.as_slice() else { panic!("one unit was expected: {units:?}") };
    unit.clone()
}

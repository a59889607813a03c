//! Jobs: enqueueing them, looking at them, and waiting for what becomes of them.

use std::collections::BTreeMap;

use super::wait::eventually;
use super::wire::{Reply, Wire};

/// What BEAR.JOB says of a job.
pub type JobMap = BTreeMap<String, Reply>;

/// The states of a job.
pub const STATES: [&str; 5] = ["waiting", "active", "delayed", "completed", "failed"];

/// A log of what happened to bears, in the order in which it happened: a repeat is a row more.
pub const EFFECTS_SQL: &str = "
CREATE TABLE effect(seq bigint GENERATED ALWAYS AS IDENTITY, bear_id bigint, name text, size bigint,
                    at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE FUNCTION log_effect() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO effect(bear_id, name, size) VALUES (NEW.id, NEW.name, NEW.size);
    RETURN NEW;
END $$;
CREATE TRIGGER effects AFTER INSERT OR UPDATE ON bear FOR EACH ROW EXECUTE FUNCTION log_effect();
";

/// The shipped catalog with UPDATE_BEAR_NAME held by gates, see `Database::close_gate`. Who closes one wants
/// [`PATIENT`], or the appliers give up waiting.
pub fn gated_catalog() -> String {
    let catalog = include_str!("../../catalogs/bear.toml");
    let gated = catalog.replace(
        "UPDATE bear SET name = job.name FROM {jobs} job WHERE",
        "UPDATE bear SET name = job.name FROM {jobs} job, gate() WHERE",
    );
    assert_eq!(gated.matches("gate()").count(), 1, "UPDATE_BEAR_NAME is gated");
    gated
}

/// Settings under which appliers wait for a gate as long as a test takes.
pub const PATIENT: [(&str, &str); 2] = [("bear.lock-timeout-ms", "30000"), ("bear.apply-timeout-ms", "30000")];

/// Enqueues what `line` says (space, job, compact JSON, options) and returns the job's id.
#[track_caller]
pub fn enqueue(wire: &mut Wire, line: &str) -> String {
    id_of(&wire.run(&format!("BEAR.ENQUEUE {line}")))
}

/// The id that ENQUEUE replied: a bulk string with the two numbers of a stream's id.
#[track_caller]
pub fn id_of(reply: &Reply) -> String {
    let id = String::from_utf8(reply.bulk().to_vec()).expect("an id is ASCII");
    parse_id(&id);
    id
}

/// The two numbers of an id, which sort in the order of enqueueing.
#[track_caller]
pub fn parse_id(id: &str) -> (u64, u64) {
    let (ms, seq) = id.split_once('-').unwrap_or_else(|| panic!("{id:?} is no id"));
    (ms.parse().expect("milliseconds"), seq.parse().expect("a number"))
}

/// Enqueues and waits until the job has settled; what BEAR.JOB says of it then.
#[track_caller]
pub fn settle(wire: &mut Wire, line: &str) -> JobMap {
    let reply = wire.run(&format!("BEAR.ENQUEUE {line} BLOCK 20000"));
    assert!(!reply.is_error(), "{line}: {reply:?}");
    reply.map()
}

/// The same, for a job that must succeed.
#[track_caller]
pub fn complete(wire: &mut Wire, line: &str) -> JobMap {
    let job = settle(wire, line);
    assert_eq!(job["state"].text(), "completed", "{line}: {job:?}");
    job
}

/// What BEAR.JOB says; None where it knows no such job.
#[track_caller]
pub fn find(wire: &mut Wire, space: &str, id: &str) -> Option<JobMap> {
    let reply = wire.run(&format!("BEAR.JOB {space} {id}"));
    (!reply.is_nil()).then(|| reply.map())
}

/// The job's state; `unknown` where there is no such job.
#[track_caller]
pub fn state(wire: &mut Wire, space: &str, id: &str) -> String {
    find(wire, space, id).map_or_else(|| "unknown".into(), |job| job["state"].text())
}

#[track_caller]
pub fn wait_state(wire: &mut Wire, space: &str, id: &str, expected: &str) -> JobMap {
    eventually(&format!("job {id} of {space} is {expected}"), || state(wire, space, id) == expected);
    find(wire, space, id).unwrap_or_else(|| panic!("job {id} of {space} is gone"))
}

/// The ids of a space's jobs in one state, in BEAR.JOBS' order.
#[track_caller]
pub fn ids_in(wire: &mut Wire, space: &str, state: &str) -> Vec<String> {
    let reply = wire.run(&format!("BEAR.JOBS {space} {state} COUNT 1000"));
    reply.list().iter().map(|job| job.map()["id"].text()).collect()
}

/// The message and the SQLSTATE of a failed job.
#[track_caller]
pub fn error_of(job: &JobMap) -> (String, Option<String>) {
    assert_eq!(job["state"].text(), "failed", "{job:?}");
    let error = job["error"].map();
    let code = &error["sqlstate"];
    (error["message"].text(), (!code.is_nil()).then(|| code.text()))
}

/// A field of BEAR.STATS.
#[track_caller]
pub fn figure(wire: &mut Wire, space: &str, name: &str) -> Reply {
    let stats = wire.run(&format!("BEAR.STATS {space}")).map();
    stats.get(name).unwrap_or_else(|| panic!("BEAR.STATS has no {name}: {stats:?}")).clone()
}

/// The same, a number.
#[track_caller]
pub fn stat(wire: &mut Wire, space: &str, name: &str) -> i64 {
    figure(wire, space, name).int()
}

/// Has every job of the space settled?
#[track_caller]
pub fn has_settled(wire: &mut Wire, space: &str) -> bool {
    let stats = wire.run(&format!("BEAR.STATS {space}")).map();
    ["waiting", "active", "delayed"].iter().all(|state| stats[*state].int() == 0)
}

/// Waits until every job of the space has settled.
#[track_caller]
pub fn wait_settled(wire: &mut Wire, space: &str) {
    eventually(&format!("the jobs of {space} have settled"), || has_settled(wire, space));
}

/// Starts (`yes`) or stops (`no`) applying.
#[track_caller]
pub fn set_drain(wire: &mut Wire, value: &str) {
    assert!(wire.run(&format!("CONFIG SET bear.drain {value}")).is_ok());
}

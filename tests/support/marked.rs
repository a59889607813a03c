//! Bears whose jobs leave a mark: each application of a job is a row of the table `effect`, which names the job. A repeat,
//! a loss and a change of order are seen there, though a statement alone (`SET name = …`) would hide them.
//!
//! Effects are numbered when the row is locked already, so of one row they stand in the order of their commits.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::time::Duration;

use super::database::Database;
use super::jobs;
use super::postgres::Postgres;
use super::proxy::Proxy;
use super::server::{Builder, Redis};
use super::wait::wait_at_most;
use super::wire::{packed, Reply};

const SCHEMA: &str =
    concat!(include_str!("../../schema/bear.sql"), include_str!("bears.sql"), include_str!("marked.sql"));

/// The jobs of section `bear`. Those that the shipped catalog has do what they do there, but that UPDATE_BEAR_SIZE adds.
const JOBS: &str = r#"
[bear.job.CREATE_BEAR]
data = { mark = "text", name = "text", size = "int", colors = "text[]" }
sql = """WITH j AS MATERIALIZED (SELECT job.*, nextval('bear_id_seq') AS id, (SELECT min(x) FROM unnest(job.colors) x WHERE NOT EXISTS (SELECT FROM color c WHERE c.name = x)) AS bad FROM {jobs} job),
 i AS (INSERT INTO bear(id, name, size) SELECT id, name, size FROM j WHERE bad IS NULL RETURNING id),
 k AS (INSERT INTO bear_colors SELECT j.id, c.id FROM j JOIN color c ON c.name = ANY(j.colors) WHERE j.bad IS NULL),
 e AS (INSERT INTO effect(mark, bear_id) SELECT j.mark, i.id FROM i JOIN j ON j.id = i.id)
SELECT n, id, 'unknown colour ' || bad AS error FROM j"""

[bear.job.PLACE_BEAR]
data = { mark = "text", id = "int", name = "text", size = "int", colors = "text[]" }
sql = """WITH j AS MATERIALIZED (SELECT job.* FROM {jobs} job),
 i AS (INSERT INTO bear(id, name, size) SELECT id, name, size FROM j RETURNING id),
 k AS (INSERT INTO bear_colors SELECT j.id, c.id FROM j JOIN color c ON c.name = ANY(j.colors)),
 e AS (INSERT INTO effect(mark, bear_id) SELECT j.mark, i.id FROM i JOIN j ON j.id = i.id)
SELECT n, id FROM j"""

[bear.job.UPDATE_BEAR_NAME]
data = { mark = "text", id = "int", name = "text" }
sql = """WITH u AS (UPDATE bear SET name = job.name FROM {jobs} job WHERE bear.id = job.id RETURNING job.n, job.mark, bear.id),
 e AS (INSERT INTO effect(mark, bear_id) SELECT mark, id FROM u)
SELECT n, id FROM u"""

[bear.job.UPDATE_BEAR_SIZE]
data = { mark = "text", id = "int", size = "int" }
sql = """WITH u AS (UPDATE bear SET size = bear.size + job.size FROM {jobs} job WHERE bear.id = job.id RETURNING job.n, job.mark, bear.id),
 e AS (INSERT INTO effect(mark, bear_id) SELECT mark, id FROM u)
SELECT n, id FROM u"""

[bear.job.UPDATE_BEAR_COLORS]
data = { mark = "text", id = "int", colors = "text[]" }
sql = """WITH j AS MATERIALIZED (SELECT job.n, job.mark, b.id, job.colors, (SELECT min(x) FROM unnest(job.colors) x WHERE NOT EXISTS (SELECT FROM color c WHERE c.name = x)) AS bad FROM {jobs} job JOIN bear b ON b.id = job.id FOR UPDATE OF b),
 d AS (DELETE FROM bear_colors x USING j WHERE j.bad IS NULL AND x.bear_id = j.id AND x.color_id <> ALL (SELECT c.id FROM color c WHERE c.name = ANY(j.colors))),
 i AS (INSERT INTO bear_colors SELECT j.id, c.id FROM j JOIN color c ON c.name = ANY(j.colors) WHERE j.bad IS NULL ON CONFLICT DO NOTHING),
 e AS (INSERT INTO effect(mark, bear_id) SELECT mark, id FROM j WHERE bad IS NULL)
SELECT n, id, 'unknown colour ' || bad AS error FROM j"""

[bear.job.DELETE_BEAR]
data = { mark = "text", id = "int" }
sql = """WITH d AS (DELETE FROM bear USING {jobs} job WHERE bear.id = job.id RETURNING job.n, job.mark, bear.id),
 e AS (INSERT INTO effect(mark, bear_id) SELECT mark, id FROM d)
SELECT n, id FROM d"""

[bear.job.HOUSE_BEAR]
data = { mark = "text", id = "int", den = "int" }
sql = """WITH u AS (UPDATE bear SET den = job.den FROM {jobs} job WHERE bear.id = job.id RETURNING job.n, job.mark, bear.id),
 e AS (INSERT INTO effect(mark, bear_id) SELECT mark, id FROM u)
SELECT n, id FROM u"""

[bear.job.HOLD_BEAR]
data = { mark = "text", id = "int" }
sql = """WITH u AS (UPDATE bear SET name = bear.name FROM {jobs} job, gate() WHERE bear.id = job.id RETURNING job.n, job.mark, bear.id),
 e AS (INSERT INTO effect(mark, bear_id) SELECT mark, id FROM u)
SELECT n, id FROM u"""

"#;

/// What a client asks for, beside its mark. New names are the mark itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    Create {
        size: i64,
        colors: Vec<&'static str>,
    },
    /// A bear at an id of the caller's choice: of a deleted one, say.
    Place {
        id: i64,
        size: i64,
        colors: Vec<&'static str>,
    },
    Rename {
        id: i64,
    },
    /// Adds to the size.
    Grow {
        id: i64,
        by: i64,
    },
    Recolor {
        id: i64,
        colors: Vec<&'static str>,
    },
    Delete {
        id: i64,
    },
    /// Moves it to a den; whether there is one, a deferred constraint looks.
    House {
        id: i64,
        den: i64,
    },
    /// Waits at the gate of the database, and changes nothing but `effect`.
    Hold {
        id: i64,
    },
}

impl Job {
    pub fn name(&self) -> &'static str {
        match self {
            Job::Create { .. } => "CREATE_BEAR",
            Job::Place { .. } => "PLACE_BEAR",
            Job::Rename { .. } => "UPDATE_BEAR_NAME",
            Job::Grow { .. } => "UPDATE_BEAR_SIZE",
            Job::Recolor { .. } => "UPDATE_BEAR_COLORS",
            Job::Delete { .. } => "DELETE_BEAR",
            Job::House { .. } => "HOUSE_BEAR",
            Job::Hold { .. } => "HOLD_BEAR",
        }
    }

    /// The bear that it changes, where that is known before.
    pub fn bear(&self) -> Option<i64> {
        match *self {
            Job::Create { .. } => None,
            Job::Place { id, .. }
            | Job::Rename { id }
            | Job::Grow { id, .. }
            | Job::Recolor { id, .. }
            | Job::Delete { id }
            | Job::House { id, .. }
            | Job::Hold { id } => Some(id),
        }
    }

    pub fn payload(&self, mark: &str) -> String {
        let mut json = format!(r#"{{"mark":"{mark}""#);
        if let Some(id) = self.bear() {
            let _ = write!(json, r#","id":{id}"#);
        }
        let _ = match self {
            Job::Create { size, colors } | Job::Place { size, colors, .. } => {
                write!(json, r#","name":"{mark}","size":{size},"colors":{colors:?}"#)
            }
            Job::Rename { .. } => write!(json, r#","name":"{mark}""#),
            Job::Grow { by, .. } => write!(json, r#","size":{by}"#),
            Job::Recolor { colors, .. } => write!(json, r#","colors":{colors:?}"#),
            Job::House { den, .. } => write!(json, r#","den":{den}"#),
            Job::Delete { .. } | Job::Hold { .. } => Ok(()),
        };
        json + "}"
    }

    /// The words of BEAR.ENQUEUE, without options.
    pub fn command(&self, mark: &str) -> Vec<String> {
        ["BEAR.ENQUEUE", "bear", self.name(), &self.payload(mark)].map(str::to_owned).into()
    }

    /// Enqueues it and returns the job's id.
    #[track_caller]
    pub fn enqueue(&self, redis: &Redis, mark: &str) -> String {
        let reply = redis.wire().call(&self.command(mark));
        String::from_utf8(reply.bulk().to_vec()).expect("an id is ASCII")
    }
}

/// Enqueues so many jobs that grow bears 1 to 8 in turn, marked `<prefix>0`, `<prefix>1`, …; their marks.
#[track_caller]
pub fn enqueue_many(redis: &Redis, prefix: &str, count: usize) -> Vec<String> {
    let mut wire = redis.wire();
    let marks: Vec<String> = (0..count).map(|number| format!("{prefix}{number}")).collect();
    let numbered: Vec<(usize, &String)> = marks.iter().enumerate().collect();
    for some in numbered.chunks(500) {
        let command = |(number, mark): &(usize, &String)| Job::Grow { id: 1 + *number as i64 % 8, by: 1 }.command(mark);
        wire.send_bytes(&some.iter().flat_map(|job| packed(&command(job))).collect::<Vec<u8>>());
        for _ in some {
            let reply = wire.receive();
            assert!(matches!(reply, Reply::Bulk(_)), "{reply:?}");
        }
    }
    marks
}

/// The shipped queries over the jobs above.
pub fn catalog() -> String {
    let shipped = include_str!("../../catalogs/bear.toml");
    let (queries, _) = shipped.split_once("[bear.job.CREATE_BEAR]").expect("its first job");
    let (_, colors) = shipped.split_once("\n[color]").expect("its second section");
    [queries, JOBS, "[color]", colors].concat()
}

/// The eight bears of `bears.sql`, in a cluster of the caller's own.
pub fn database_in(postgres: &Postgres) -> Database {
    postgres.database(SCHEMA)
}

pub fn database() -> Database {
    database_in(Postgres::shared())
}

/// A Redis with this catalog, which reaches Postgres through `proxy`: while that is cut, jobs stay in the queue. Appliers
/// are patient with gates.
pub fn redis(database: &Database, proxy: &Proxy) -> Builder {
    Redis::builder()
        .env("BEAR_POSTGRES_URL", database.url_through(proxy.port()))
        .catalog(catalog())
        .config("appendfsync", "always")
        .config("bear.lock-timeout-ms", 30_000)
        .config("bear.apply-timeout-ms", 30_000)
}

/// The first of the bears that `add_bears` adds.
pub const FIRST_ADDED: i64 = 1001;

/// Adds bears, all of one size: many jobs can be under way at once, each on a bear of its own.
pub fn add_bears(database: &Database, count: i64) {
    let last = FIRST_ADDED + count - 1;
    database.run(&format!(
        "INSERT INTO bear(id, name, size) SELECT i, 'bear ' || i, 100 FROM generate_series({FIRST_ADDED}, {last}) i"
    ));
}

/// A row of `effect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    pub seq: i64,
    pub mark: String,
    pub bear: i64,
}

/// What was applied after `seq`, oldest first.
pub fn effects_after(database: &Database, seq: i64) -> Vec<Effect> {
    let rows = database.client().query("SELECT seq, mark, bear_id FROM effect WHERE seq > $1 ORDER BY seq", &[&seq]);
    let rows = rows.expect("the effects");
    rows.iter().map(|row| Effect { seq: row.get(0), mark: row.get(1), bear: row.get(2) }).collect()
}

/// The marks of all that was applied, oldest first.
pub fn applied(database: &Database) -> Vec<String> {
    effects_after(database, 0).into_iter().map(|effect| effect.mark).collect()
}

/// Exactly these were applied, each once, those of each bear in the order given.
#[track_caller]
pub fn assert_applied_once<M: AsRef<str>>(database: &Database, expected: &[M]) {
    assert_each_once(database, expected);
    assert_order(database, expected);
}

/// Exactly these were applied, each once, in any order.
#[track_caller]
pub fn assert_each_once<M: AsRef<str>>(database: &Database, expected: &[M]) {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for mark in applied(database) {
        *times.entry(mark).or_default() += 1;
    }
    // There may be very many of them.
    let some = |marks: Vec<String>| (marks.len(), marks.into_iter().take(10).collect::<Vec<_>>());
    let missing = expected.iter().map(AsRef::as_ref).filter(|mark| times.remove(*mark).is_none_or(|times| times != 1));
    let (count, first) = some(missing.map(str::to_owned).collect());
    assert_eq!(count, 0, "not applied once: {first:?} …");
    let (count, first) = some(times.into_keys().collect());
    assert_eq!(count, 0, "applied, and should not have been: {first:?} …");
}

/// Of these, those of each bear were applied in the order given.
#[track_caller]
pub fn assert_order<M: AsRef<str>>(database: &Database, expected: &[M]) {
    let places: HashMap<&str, usize> = expected.iter().enumerate().map(|(at, mark)| (mark.as_ref(), at)).collect();
    let mut last: BTreeMap<i64, usize> = BTreeMap::new();
    for effect in effects_after(database, 0) {
        let Some(place) = places.get(effect.mark.as_str()) else { continue };
        let before = last.insert(effect.bear, *place);
        assert!(before.is_none_or(|before| before < *place), "{effect:?} was applied too late");
    }
}

/// A field of BEAR.STATS.
#[track_caller]
pub fn stat(redis: &Redis, name: &str) -> Reply {
    jobs::figure(&mut redis.wire(), "bear", name)
}

/// Waits until every job of section `bear` has settled and is out of the queue.
#[track_caller]
pub fn wait_drained(redis: &Redis) {
    wait_drained_within(redis, super::wait::PATIENCE);
}

#[track_caller]
pub fn wait_drained_within(redis: &Redis, limit: Duration) {
    let mut wire = redis.wire();
    let mut is_drained = || wire.run("XLEN bear:queue") == Reply::Int(0) && jobs::has_settled(&mut wire, "bear");
    if wait_at_most(limit, || is_drained().then_some(())).is_none() {
        let (stats, queue) = (wire.run("BEAR.STATS bear"), wire.run("XRANGE bear:queue - + COUNT 3"));
        panic!("the queue is not empty after {limit:?}: {stats:?}, it begins with {queue:?}");
    }
}

//! Servers of the write path and the feed: a Postgres that waits for its disk, with fresh tables for each run, and a Redis with an
//! append-only file that fills its queue before it drains it.

use std::time::{Duration, Instant};

use crate::jobs::{growth, Job};
use crate::setup::{bears_sql, CATALOG, SCHEMA};
use crate::support::{Database, Postgres, Redis, Wire};

pub const STREAM: &str = "bear:queue";

/// Jobs of a batch at most.
pub const BATCH_SETTING: &str = "bear.apply-batch-jobs";

/// Settings of the queue, beside the defaults.
pub const SETTINGS: [(&str, &str); 3] =
    [("bear.drain", "no"), ("bear.queue-max-jobs", "100000000"), ("bear.queue-max-bytes", "8000000000")];

/// Commands sent before their replies are read.
const PIPELINE: usize = 500;

const LOOK_EVERY: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(180);

/// A Postgres with fsync, whose commits bear their times.
pub struct Durable {
    postgres: Postgres,
    schema: String,
    bears: usize,
}

impl Durable {
    pub fn start(bears: usize) -> Durable {
        let postgres = Postgres::start_durable();
        let mut admin = postgres.client("postgres");
        admin.batch_execute("ALTER SYSTEM SET track_commit_timestamp = on").expect("a superuser");
        drop(admin);
        postgres.stop_fast();
        postgres.start_again();
        Durable::of(postgres, bears)
    }

    /// One whose changes can be followed by logical decoding.
    pub fn start_logical(bears: usize) -> Durable {
        Durable::of(Postgres::start_durable_logical(), bears)
    }

    fn of(postgres: Postgres, bears: usize) -> Durable {
        Durable { postgres, schema: format!("{SCHEMA}\n{}", bears_sql(bears)), bears }
    }

    /// Calls `run` with tables as they were at the beginning.
    pub fn with_fresh_tables<T>(&self, run: impl FnOnce(&Database) -> T) -> T {
        let database = self.postgres.database(&self.schema);
        database.log_errors_only();
        database.run("VACUUM ANALYZE");
        database.run("CHECKPOINT");
        let result = run(&database);
        let drop_database = format!("DROP DATABASE {} WITH (FORCE)", database.name());
        self.postgres.client("postgres").batch_execute(&drop_database).expect("nobody needs it");
        result
    }

    /// Checks that every job has had its effect on the number of bears, the sample's 200 among them.
    pub fn check(&self, database: &Database, jobs: &[Job]) {
        let found: i64 = database.client().query_one("SELECT count(*) FROM bear", &[]).expect("bears").get(0);
        assert_eq!(found, 200 + self.bears as i64 + growth(jobs), "bears after the jobs");
    }
}

/// A Redis whose queue is not drained yet; AOF everysec.
pub fn redis(database: &Database) -> Redis {
    redis_with(database, CATALOG)
}

/// The same with another catalog.
pub fn redis_with(database: &Database, catalog: &str) -> Redis {
    let builder = Redis::builder().postgres(database).catalog(catalog).append_only().config("appendfsync", "everysec");
    let redis = SETTINGS.iter().fold(builder, |builder, (name, value)| builder.config(name, value)).start();
    redis.wire().call(&["BEAR.QUERY", "color", "all"]).bulk();
    redis
}

pub fn enqueue(redis: &Redis, jobs: &[Job]) {
    let mut wire = redis.wire();
    for jobs in jobs.chunks(PIPELINE) {
        for job in jobs {
            wire.send(&["BEAR.ENQUEUE", "bear", job.name, &job.data]);
        }
        for _ in jobs {
            wire.receive().bulk();
        }
    }
}

/// Lets the queue drain; the time until nothing is left of it. All jobs must have succeeded.
pub fn drain(redis: &Redis) -> Duration {
    let mut wire = redis.wire();
    let begun = Instant::now();
    set(&mut wire, "bear.drain", "yes");
    while wire.call(&["XLEN", STREAM]).int() > 0 {
        assert!(begun.elapsed() < PATIENCE, "the queue does not drain");
        std::thread::sleep(LOOK_EVERY);
    }
    let took = begun.elapsed();
    assert_eq!(wire.call(&["XLEN", "bear:queue:failed"]).int(), 0, "no job fails");
    took
}

/// CONFIG SET.
pub fn set(wire: &mut Wire, name: &str, value: &str) {
    let reply = wire.call(&["CONFIG", "SET", name, value]);
    assert!(reply.is_ok(), "{name}: {reply:?}");
}

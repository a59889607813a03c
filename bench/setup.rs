//! The servers: one Postgres with many bears, and a fresh Redis for each part.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use postgres::types::Type;
use postgres::{Client, Statement};
use rustix::process::{setpriority_process, Pid};

use crate::support::{eventually, Database, Info, Postgres, Redis, Wire};

/// Bears of the benchmark, beside the sample's 200. Number `i` has the id `FIRST_ID + i` and the size `FIRST_SIZE + i`,
/// which nobody else has: a range of sizes is as many rows as it is long.
pub const BEARS: usize = 120_000;
pub const FIRST_ID: usize = 1_000;
pub const FIRST_SIZE: usize = 1_000_000;

/// Nice value of the server's main thread and of the probe where latency is measured, so that other processes of a
/// small machine do not show up as gaps.
const RAISED_PRIORITY: i32 = -10;

pub const SCHEMA: &str = concat!(include_str!("../schema/bear.sql"), include_str!("../schema/bear-data.sql"));
pub const CATALOG: &str = concat!(include_str!("../catalogs/bear.toml"), "\n", include_str!("sections.toml"));

pub struct Servers {
    pub database: Database,
}

impl Servers {
    pub fn start() -> Servers {
        let database = Postgres::shared().database(SCHEMA);
        database.run(&bears_sql(BEARS));
        database.run("VACUUM ANALYZE");
        let servers = Servers { database };
        servers.log_statements(false);
        servers
    }

    /// Whether sessions that begin from now on have their statements logged, and so counted.
    pub fn log_statements(&self, logged: bool) {
        let what = if logged { "all" } else { "none" };
        self.database.run(&format!("ALTER DATABASE {} SET log_statement = '{what}'", self.database.name()));
    }

    /// A new Redis with the module, connected to Postgres.
    pub fn redis(&self) -> Redis {
        self.redis_with(CATALOG)
    }

    /// The same with another catalog.
    pub fn redis_with(&self, catalog: &str) -> Redis {
        let redis = Redis::builder().postgres(&self.database).catalog(catalog).start();
        eventually("Postgres has seen the catalog", || redis.run("BEAR.CATALOG").map()["checked"].text() == "yes");
        redis
    }
}

/// Adds so many bears with two colours each.
pub fn bears_sql(bears: usize) -> String {
    // Keys are checked by triggers, a row at a time; these are right.
    format!(
        "SET session_replication_role = replica;
         INSERT INTO bear (id, name, size)
         SELECT {FIRST_ID} + i, 'Bench bear ' || i, {FIRST_SIZE} + i FROM generate_series(0, {bears} - 1) AS i;
         INSERT INTO bear_colors (bear_id, color_id)
         SELECT {FIRST_ID} + i, 1 + (i + k * 3) % 8 FROM generate_series(0, {bears} - 1) AS i, generate_series(0, 1) AS k;
         SELECT setval('bear_id_seq', (SELECT max(id) FROM bear));
         SET session_replication_role = DEFAULT;"
    )
}

/// A call of so many rows, the first of them the bear of this number.
pub fn call(section: &str, query: &str, bear: usize, rows: usize) -> Vec<String> {
    let start = FIRST_SIZE + bear;
    ["BEAR.QUERY", section, query, &start.to_string(), &(start + rows - 1).to_string()].map(str::to_owned).into()
}

/// The key of such a call's entry.
pub fn key(call: &[String]) -> String {
    call[1..].join(":")
}

/// A plain client's statement for a call of `bear size`, as the module sends it: finished JSON, the id, the tag's column.
pub fn prepare(client: &mut Client, redis: &Redis, call: &[String]) -> Statement {
    let explain = [&["BEAR.EXPLAIN".to_owned()], &call[1..]].concat();
    let sql = redis.wire().call(&explain).map()["sql"].text();
    let wrapped = format!("SELECT row_to_json(q.*)::text, q.id::text, q.colors::text[] FROM ({sql}) q");
    client.prepare_typed(&wrapped, &[Type::INT8, Type::INT8, Type::INT8, Type::INT8]).expect("the catalog's statement")
}

/// Has `clients` clients make the calls 0 to `count` - 1, each as soon as its last is answered. Returns the time it took
/// and the bytes of all answers.
pub fn fill(
    redis: &Redis,
    clients: usize,
    count: usize,
    call: impl Fn(usize) -> Vec<String> + Sync,
) -> (Duration, usize) {
    let (next, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let wires: Vec<Wire> = (0..clients).map(|_| redis.wire()).collect();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for mut wire in wires {
            let (next, bytes, call) = (&next, &bytes, &call);
            scope.spawn(move || loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= count {
                    return;
                }
                bytes.fetch_add(wire.call(&call(at)).bulk().len(), Ordering::Relaxed);
            });
        }
    });
    (begun.elapsed(), bytes.into_inner())
}

/// Waits until nothing is left to publish, remove or sweep, looking seldom, for INFO takes time too.
pub fn wait_idle(redis: &Redis) {
    let begun = Instant::now();
    loop {
        let info = redis.info("bear");
        if ["publishing", "removals_running", "to_sweep", "fills_running"].iter().all(|name| bear(&info, name) == 0) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(300), "the module is still at work");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A figure of INFO bear.
pub fn bear(info: &Info, name: &str) -> i64 {
    info.int(&format!("bear_{name}"))
}

/// The longest tick so far, in microseconds.
pub fn longest_tick_us(redis: &Redis) -> i64 {
    bear(&redis.info("bear"), "longest_tick_us")
}

/// Gives the server's main thread precedence over other processes. False where we may not.
pub fn raise_priority(redis: &Redis) -> bool {
    setpriority_process(Pid::from_raw(redis.pid() as i32), RAISED_PRIORITY).is_ok()
}

/// The same for the calling thread.
pub fn raise_own_priority() -> bool {
    setpriority_process(None, RAISED_PRIORITY).is_ok()
}

//! Several Redis servers before one Postgres: how fast they drain together, and what it costs that each follows a feed of its own.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::drain_feed::{children, nanos};
use crate::figures::{count, median, ms, quantile, Table};
use crate::followed::{self, is_cached, Feed};
use crate::queue::{set, Durable, SETTINGS};
use crate::setup::{call, Servers, CATALOG, FIRST_ID};
use crate::support::{eventually, Cluster, Database, Postgres, Redis, Wire};

const JOBS: usize = 60_000;

/// Commands sent before their replies are read.
const PIPELINE: usize = 500;

/// Masters, and spaces that the jobs are spread over.
const DRAINS: [(usize, usize); 6] = [(1, 1), (1, 2), (1, 6), (2, 2), (2, 6), (3, 6)];

const PATIENCE: Duration = Duration::from_secs(180);

/// Servers that follow.
const FOLLOWERS: [(Feed, usize); 7] = [
    (Feed::Wal, 1),
    (Feed::Wal, 3),
    (Feed::Wal, 8),
    (Feed::Outbox, 1),
    (Feed::Outbox, 3),
    (Feed::Outbox, 10),
    (Feed::Outbox, 30),
];

const CHANGES: usize = 100;
const IDLE: Duration = Duration::from_secs(4);

pub fn run_draining(_: &Servers, rounds: usize) -> Vec<Table> {
    let mut table = Table::new(
        format!("{} jobs of one UPDATE each, over masters of a cluster", count(JOBS as f64)),
        &["masters", "spaces", "jobs a second", "times one master, one space"],
    );
    let names = names();
    let postgres = Postgres::start_durable();
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); DRAINS.len()];
    for _ in 0..rounds {
        for ((masters, spaces), rates) in DRAINS.into_iter().zip(&mut rates) {
            rates.push(drain(&postgres, masters, &names[..spaces]));
        }
    }
    for ((masters, spaces), rates_of) in DRAINS.into_iter().zip(&rates) {
        let times: Vec<f64> = rates_of.iter().zip(&rates[0]).map(|(rate, one)| rate / one).collect();
        let times = format!("{:.2}", median(&times));
        table.row(vec![masters.to_string(), spaces.to_string(), count(median(rates_of)), times]);
    }
    table.note(format!(
        "Medians of {rounds} rounds in turn; ratios are those of a round. Postgres with fsync and synchronous_commit on, beside the masters on \
         the same cores; AOF everysec; `bear.apply-threads` 2 at each master."
    ));
    vec![table]
}

/// Names of sections, the first of which are spread over as many masters as there are.
fn names() -> Vec<String> {
    let one = Cluster::start(1, |_| Redis::builder().plain());
    // Slots of 16,384: of each sixth one, in an order in which the first two and three are of different halves and thirds.
    let sixths = [0, 5, 2, 3, 1, 4];
    let named = |sixth: u32| {
        let lies_there = |name: &String| u32::from(one.slot(name)) * 6 / 16_384 == sixth;
        (0..).map(|number| format!("space{number}")).find(lies_there).expect("there are endless names")
    };
    sixths.map(named).to_vec()
}

fn drain(postgres: &Postgres, masters: usize, names: &[String]) -> f64 {
    let database = postgres.database("CREATE TABLE counter (id int PRIMARY KEY, total bigint NOT NULL DEFAULT 0); INSERT INTO counter SELECT generate_series(1, 50000)");
    database.log_errors_only();
    database.run("VACUUM ANALYZE");
    let catalog: String = names
        .iter()
        .map(|name| {
            format!(
                "[{name}]\n[{name}.job.COUNT]\ndata = {{ id = \"int\" }}\n\
                 sql = \"UPDATE counter SET total = total + 1 FROM {{jobs}} job WHERE counter.id = job.id RETURNING job.n\"\n"
            )
        })
        .collect();
    let cluster = Cluster::start(masters, |_| {
        let builder = Redis::builder().postgres(&database).catalog(&*catalog).append_only();
        builder.configs(&SETTINGS).config("appendfsync", "everysec").config("bear.feed", "off")
    });
    let mut wires: Vec<(Wire, &String)> = names
        .iter()
        .map(|name| (cluster.node(cluster.owner(cluster.slot(name)).expect("an owner")).wire(), name))
        .collect();
    for (at, (wire, name)) in wires.iter_mut().enumerate() {
        let ids: Vec<usize> =
            (0..JOBS / names.len()).map(|job| 1 + (job * names.len() + at) * 7_919 % 50_000).collect();
        for ids in ids.chunks(PIPELINE) {
            ids.iter().for_each(|id| wire.send(&["BEAR.ENQUEUE", name, "COUNT", &format!("{{\"id\":{id}}}")]));
            ids.iter().for_each(|_| assert!(!wire.receive().is_error()));
        }
    }
    let begun = Instant::now();
    (0..masters).for_each(|node| set(&mut cluster.node(node).wire(), "bear.drain", "yes"));
    for (wire, name) in &mut wires {
        while wire.call(&["XLEN", &format!("{{{name}}}:queue")]).int() > 0 {
            assert!(begun.elapsed() < PATIENCE, "the queue does not drain");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let took = begun.elapsed();
    let done: i64 = database.client().query_one("SELECT sum(total)::int8 FROM counter", &[]).expect("a sum").get(0);
    assert_eq!(done as usize, JOBS / names.len() * names.len());
    drop(cluster);
    postgres
        .client("postgres")
        .batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", database.name()))
        .expect("nobody needs it");
    JOBS as f64 / took.as_secs_f64()
}

pub fn run_following(_: &Servers, _: usize) -> Vec<Table> {
    let mut table = Table::new(
        "Servers that each follow the changes of one Postgres",
        &[
            "feed",
            "servers",
            "connections each",
            "idle: Postgres' processor time, ms a second",
            "from an outside COMMIT until the entry is gone everywhere, p50 ms",
            "p90 ms",
        ],
    );
    let durable = Durable::start_logical(1_000);
    for (feed, servers) in FOLLOWERS {
        durable.with_fresh_tables(|database| {
            let redises: Vec<Redis> = (0..servers)
                .map(|_| Redis::builder().postgres(database).catalog(CATALOG).config("bear.feed", feed.name()).start())
                .collect();
            let begun = Instant::now();
            for redis in &redises {
                eventually("the feed follows", || followed::has_told(redis, begun));
            }
            let connections = connections(database) as f64 / servers as f64;
            std::thread::sleep(Duration::from_secs(1));
            let before = postgres_ms(database);
            std::thread::sleep(IDLE);
            let idle = (postgres_ms(database) - before) / IDLE.as_secs_f64();
            let gone_us = latencies(database, &redises);
            table.row(vec![
                feed.name().to_owned(),
                servers.to_string(),
                format!("{connections:.1}"),
                format!("{idle:.0}"),
                ms(median(&gone_us)),
                ms(quantile(&gone_us, 0.9)),
            ]);
            redises.iter().for_each(|redis| set(&mut redis.wire(), "bear.feed", Feed::Off.name()));
            let mut client = database.client();
            eventually("the slots are gone", || {
                client.query("SELECT FROM pg_replication_slots", &[]).expect("pg_replication_slots").is_empty()
            });
        });
    }
    table.note(format!(
        "{CHANGES} changes, one after the other; each is over when the last server has dropped the result. All servers on the same cores as Postgres. \
         Connections while nothing is asked for: those that fetch and apply are made when they are needed."
    ));
    vec![table]
}

fn connections(database: &Database) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database.client().query_one(sql, &[]).expect("pg_stat_activity").get(0)
}

fn postgres_ms(database: &Database) -> f64 {
    let ms = |pid: u32| nanos(&Path::new("/proc").join(pid.to_string())).unwrap_or(0) as f64 / 1e6;
    children(database.postgres().pid()).into_iter().map(ms).sum()
}

fn latencies(database: &Database, redises: &[Redis]) -> Vec<f64> {
    let mut client = database.client();
    let rename = client.prepare("UPDATE bear SET name = name || '.' WHERE id = $1").expect("a statement");
    let mut wires: Vec<Wire> = redises.iter().map(Redis::wire).collect();
    let mut gone_us = Vec::new();
    for bear in 0..CHANGES {
        let call = call("bear", "size", bear, 1);
        for (redis, wire) in redises.iter().zip(&mut wires) {
            wire.call(&call).bulk();
            redis.wait_stored();
        }
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(client.execute(&rename, &[&((FIRST_ID + bear) as i64)]).expect("an UPDATE"), 1);
        let committed = Instant::now();
        for wire in &mut wires {
            while is_cached(wire, &call) {
                assert!(committed.elapsed() < PATIENCE, "the entry stays");
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        gone_us.push(committed.elapsed().as_secs_f64() * 1e6);
    }
    gone_us
}

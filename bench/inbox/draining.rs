//! From a COMMIT that enqueues many jobs until their effects are committed and the inbox is empty, against the plain path's drain.

use std::time::{Duration, Instant};

use super::{is_empty, wait_served, INBOX};
use crate::drain::{bear_rate, followed_rate, JOBS, SPREAD};
use crate::figures::{count, median, Table};
use crate::followed::{self, Feed};
use crate::jobs::{bears_for, mixed, Job};
use crate::queue::{self, Durable};
use crate::setup::Servers;
use crate::support::{eventually, Wire};

/// Jobs of a batch, as by default.
const BATCH: usize = 500;

const LOOK_EVERY: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(180);

pub fn run(_: &Servers, rounds: usize) -> Vec<Table> {
    let mut table = Table::new(
        format!("Drain through the inbox: {} jobs of five kinds, jobs a second", count(JOBS as f64)),
        &["", "BEAR.ENQUEUE before, drained", "bear.enqueue, from COMMIT on", "ratio"],
    );
    let jobs = mixed(JOBS, SPREAD);
    for feed in [Feed::Off, Feed::Wal] {
        let durable = match feed {
            Feed::Off => Durable::start(bears_for(&jobs)),
            _ => Durable::start_logical(bears_for(&jobs)),
        };
        let plain = || match feed {
            Feed::Off => bear_rate(&durable, &jobs, None),
            _ => followed_rate(&durable, &jobs, BATCH),
        };
        let pairs: Vec<(f64, f64)> = (0..rounds).map(|_| (plain(), rate(&durable, &jobs, feed))).collect();
        let of = |figure: fn(&(f64, f64)) -> f64| median(&pairs.iter().map(figure).collect::<Vec<_>>());
        table.row(vec![
            format!("`bear.feed {}`", feed.name()),
            count(of(|pair| pair.0)),
            count(of(|pair| pair.1)),
            format!("{:.2}", of(|(plain, inbox)| inbox / plain)),
        ]);
    }
    table.note(format!(
        "Medians of {rounds} rounds in turn; ratios are those of the pairs. All jobs are enqueued by one transaction; batches of 500, the \
         default; fsync and synchronous_commit on, Redis with AOF everysec. The plain jobs stand in Redis when the clock \
         begins; those of the inbox are read from Postgres, taken over, applied and deleted."
    ));
    vec![table]
}

/// Jobs a second, from the COMMIT that enqueues them until nothing is left.
fn rate(durable: &Durable, jobs: &[Job], feed: Feed) -> f64 {
    durable.with_fresh_tables(|database| {
        database.run(&format!("{INBOX}; CREATE TABLE public.staged (n serial, job text, data jsonb)"));
        let mut client = database.client();
        for some in jobs.chunks(1_000) {
            let rows: Vec<String> = some.iter().map(|job| format!("('{}', '{}')", job.name, job.data)).collect();
            client
                .batch_execute(&format!("INSERT INTO public.staged (job, data) VALUES {}", rows.join(",")))
                .expect("rows");
        }
        let redis = queue::redis(database);
        let mut wire = redis.wire();
        queue::set(&mut wire, "bear.inbox", "yes");
        queue::set(&mut wire, "bear.drain", "yes");
        let begun = Instant::now();
        if feed != Feed::Off {
            queue::set(&mut wire, "bear.feed", feed.name());
            eventually("the feed follows", || followed::has_told(&redis, begun));
        }
        let first = "SELECT bear.enqueue('bear', 'UPDATE_BEAR_NAME', '{\"id\":1,\"name\":\"first\"}')";
        wait_served(database, first);
        let mut transaction = client.transaction().expect("a transaction");
        transaction
            .execute(
                "SELECT count(bear.enqueue('bear', job, data)) FROM (SELECT job, data FROM public.staged ORDER BY n) s",
                &[],
            )
            .expect("jobs");
        let begun = Instant::now();
        transaction.commit().expect("it commits");
        wait_settled(&mut wire, || is_empty(database), begun);
        let took = begun.elapsed();
        durable.check(database, jobs);
        if feed != Feed::Off {
            followed::end(&redis, database);
        }
        jobs.len() as f64 / took.as_secs_f64()
    })
}

/// Looks into Postgres only where Redis has nothing any more.
fn wait_settled(wire: &mut Wire, is_empty: impl Fn() -> bool, begun: Instant) {
    let mut has_begun = false;
    loop {
        let left = wire.call(&["XLEN", queue::STREAM]).int();
        has_begun |= left > 0;
        if has_begun && left == 0 && is_empty() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the inbox does not drain");
        std::thread::sleep(LOOK_EVERY);
    }
    assert_eq!(wire.call(&["XLEN", "bear:queue:failed"]).int(), 0, "no job fails");
}

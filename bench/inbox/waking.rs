//! How soon a worker that waits has a job that somebody enqueues in Postgres: from sending COMMIT to the reply of BEAR.CLAIM.

use std::time::{Duration, Instant};

use super::{with_redis, PAYLOAD};
use crate::figures::{median, ms, quantile, Table};
use crate::followed::{self, Feed};
use crate::queue;
use crate::setup::{raise_priority, Servers};
use crate::support::{eventually, Database, Postgres, Redis};

/// Jobs of each kind.
const JOBS: usize = 500;

/// Rest before each job: of always another length, so that no poll keeps in step.
const IDLE_MS: std::ops::Range<u64> = 5..37;

pub fn run(_: &Servers, _: usize) -> Vec<Table> {
    let mut table = Table::new(
        "From sending the COMMIT of a bear.enqueue to the reply of who waits, ms",
        &["", "p50", "p99", "most", "the COMMIT itself, p50"],
    );
    for feed in [Feed::Off, Feed::Wal] {
        let postgres = Postgres::start_ordinary();
        with_redis(&postgres, &[], |database, redis| {
            let begun = Instant::now();
            if feed != Feed::Off {
                queue::set(&mut redis.wire(), "bear.feed", feed.name());
                eventually("the feed follows", || followed::has_told(redis, begun));
            }
            raise_priority(redis);
            let (times, commits) = measure(database, redis);
            let name = if feed == Feed::Off { "by polls, 10 ms apart" } else { "woken by `bear.feed wal`" };
            let cells = [median(&times), quantile(&times, 0.99), quantile(&times, 1.0), median(&commits)];
            table.row([name.to_owned()].into_iter().chain(cells.map(ms)).collect());
            if feed != Feed::Off {
                followed::end(redis, database);
            }
        });
    }
    table.note(format!(
        "{JOBS} of each, {} to {} ms apart, on an idle system; Postgres with fsync, Redis with AOF everysec.",
        IDLE_MS.start, IDLE_MS.end
    ));
    vec![table]
}

/// In microseconds: until the reply, and until COMMIT is answered.
fn measure(database: &Database, redis: &Redis) -> (Vec<f64>, Vec<f64>) {
    let (mut waiter, mut other) = (redis.wire(), redis.wire());
    let mut client = database.client();
    let enqueue = client.prepare("SELECT bear.enqueue('mail', 'SEND', $1::text::jsonb)").expect("a statement");
    let (mut times, mut commits) = (Vec::new(), Vec::new());
    for number in 0..JOBS as u64 {
        waiter.begin("BEAR.CLAIM mail BLOCK 0");
        redis.wait_blocked(1);
        let range = IDLE_MS.end - IDLE_MS.start;
        std::thread::sleep(Duration::from_micros(1000 * IDLE_MS.start + number * 7_919 % (1000 * range)));
        let mut transaction = client.transaction().expect("a transaction");
        transaction.execute(&enqueue, &[&PAYLOAD]).expect("a job");
        let (committed, took) = std::thread::scope(|scope| {
            let begun = Instant::now();
            let commit = scope.spawn(move || {
                transaction.commit().expect("it commits");
                begun.elapsed()
            });
            let reply = waiter.receive();
            let took = begun.elapsed();
            let job = reply.list()[0].map();
            let token = job["token"].int().to_string();
            assert_eq!(other.call(&["BEAR.ACK", "mail", &job["id"].text(), &token]).int(), 1);
            (commit.join().expect("a commit"), took)
        });
        times.push(took.as_secs_f64() * 1e6);
        commits.push(committed.as_secs_f64() * 1e6);
    }
    (times, commits)
}

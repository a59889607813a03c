//! How soon a worker that waits has a job that is enqueued, against BLPOP after RPUSH of the same bytes.

use std::time::{Duration, Instant};

use super::{ack, claimed, redis, PAYLOAD};
use crate::figures::{median, quantile, Table};
use crate::setup::{raise_priority, Servers};
use crate::support::Redis;

/// Jobs of one turn, and turns of each kind.
const TURN: usize = 50;
const TURNS: usize = 20;

/// Rest before each job.
const IDLE: Duration = Duration::from_millis(3);

pub fn run(_: &Servers, _: usize) -> Vec<Table> {
    let redis = redis();
    raise_priority(&redis);
    let (mut lists, mut claims) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        for _ in 0..TURN {
            lists.push(woken(&redis, "BLPOP list 0", &["RPUSH", "list", PAYLOAD], |_| {}));
        }
        for _ in 0..TURN {
            claims.push(woken(&redis, "BEAR.CLAIM bare BLOCK 0", &["BEAR.ENQUEUE", "bare", "RUN", PAYLOAD], |reply| {
                let jobs = claimed(reply);
                assert_eq!(redis.wire().call(&ack("bare", &jobs)).int(), 1);
            }));
        }
    }
    let mut table = Table::new("From an enqueue to the reply of who waits, on an idle server, µs", &["", "p50", "p99"]);
    for (name, times) in [("RPUSH, BLPOP", &lists), ("BEAR.ENQUEUE, BEAR.CLAIM … BLOCK", &claims)] {
        let of = |share| format!("{:.0}", quantile(times, share));
        table.row(vec![name.to_owned(), of(0.5), of(0.99)]);
    }
    let ratio = |share| format!("{:.2}", quantile(&claims, share) / quantile(&lists, share));
    table.row(vec!["ratio".to_owned(), format!("{:.2}", median(&claims) / median(&lists)), ratio(0.99)]);
    table.note(format!(
        "{} of each, in turns of {TURN}, {} ms apart, over two connections of one client; AOF everysec.",
        TURN * TURNS,
        IDLE.as_millis()
    ));
    vec![table]
}

/// From sending `add` until who waits has its reply, in microseconds.
fn woken(redis: &Redis, wait: &str, add: &[&str], then: impl Fn(&crate::support::Reply)) -> f64 {
    let (mut waiter, mut producer) = (redis.wire(), redis.wire());
    waiter.begin(wait);
    redis.wait_blocked(1);
    std::thread::sleep(IDLE);
    let begun = Instant::now();
    producer.send(add);
    let reply = waiter.receive();
    let took = begun.elapsed();
    assert!(!producer.receive().is_error());
    then(&reply);
    took.as_secs_f64() * 1e6
}

//! From COMMIT to a worker that waits.

use std::time::{Duration, Instant};

use crate::support::claims::claimed;
use crate::support::inbox::{database, enqueue, server};

#[test]
fn a_worker_that_waits_has_the_job_within_some_milliseconds() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut worker, mut wire) = (database.client(), redis.wire(), redis.wire());
    let mut round = || {
        let mut times: Vec<Duration> = (0..61)
            .map(|v| {
                worker.begin("BEAR.CLAIM mail BLOCK 0");
                redis.wait_blocked(1);
                enqueue(&mut client, "mail", "SEND", v);
                let committed = Instant::now();
                let job = claimed(&worker.receive()).remove(0);
                let took = committed.elapsed();
                crate::support::claims::ack(&mut wire, &job);
                took
            })
            .collect();
        times.sort_unstable();
        let median = times[times.len() / 2];
        eprintln!("from commit to claimer: median {median:?}, all but one of 61 {:?}", times[times.len() - 2]);
        median
    };
    // Other tests run beside it: what it takes is what it takes in the best of some rounds.
    let medians: Vec<Duration> =
        (0..5).map(|_| round()).take_while(|median| *median >= Duration::from_millis(10)).collect();
    assert!(medians.len() < 5, "{medians:?}");
}

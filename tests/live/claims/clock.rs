//! The wall clock steps: leases run by a clock that does not, and delayed jobs fall due by Unix time.

use std::time::{Duration, Instant};

use crate::support::claims::{self, ack, claim, claim_one, enqueue, tell};
use crate::support::{eventually, stays, Clock, Redis, Reply};

const CATALOG: &str = r#"
[work]
[work.job.A]
data = { n = "int" }
claim = { lease = "2s", attempts = 9, backoff = "1ms" }
[slow.job.A]
data = { n = "int" }
claim = { lease = "60s" }
[slow.limit]
rate = "2/s"
"#;

fn start(clock: &Clock) -> Redis {
    Redis::builder().catalog(CATALOG).clock(clock).start()
}

#[test]
fn a_lease_ends_when_its_time_is_over_however_the_wall_clock_steps() {
    for steps in [[3_600, 7_200, 10_800], [-3_600, -7_200, -10_800], [90_000, -90_000, 0]] {
        let clock = Clock::new();
        let redis = start(&clock);
        let mut wire = redis.wire();
        enqueue(&mut wire, r#"work A {"n":1}"#);
        claim_one(&mut wire, "work");
        let begun = Instant::now();
        let mut next = steps.into_iter();
        stays(&format!("it is held: {steps:?}"), Duration::from_millis(1700), || {
            if begun.elapsed() > Duration::from_millis(300) {
                next.by_ref().take(1).for_each(|seconds| clock.shift(seconds));
            }
            wire.run("HLEN work:queue:work:claims") == Reply::Int(1)
        });
        eventually("it has ended", || wire.run("HLEN work:queue:work:claims") == Reply::Int(0));
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(6), "{steps:?}: {took:?}");
        assert_eq!(claim_one(&mut wire, "work").attempt, 2);
    }
}

/// One that waits has its answer, and its job, in time.
#[test]
fn who_waits_is_answered_in_time_though_the_wall_clock_steps_back() {
    let clock = Clock::new();
    let redis = start(&clock);
    let mut wire = redis.wire();
    let mut waiter = redis.wire();
    waiter.begin("BEAR.CLAIM work BLOCK 1000");
    redis.wait_blocked(1);
    clock.shift(-7_200);
    let begun = Instant::now();
    assert_eq!(waiter.receive(), Reply::Array(Vec::new()));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let first = enqueue(&mut wire, r#"work A {"n":1}"#);
    let held = claim_one(&mut wire, "work LEASE 1000");
    waiter.begin("BEAR.CLAIM work BLOCK 0");
    redis.wait_blocked(1);
    clock.shift(-90_000);
    let begun = Instant::now();
    let job = crate::support::claims::claimed(&waiter.receive()).remove(0);
    assert_eq!((job.id, job.attempt), (first, 2));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(tell(&mut wire, "ACK", &held, "").error().starts_with("LOST "));
}

#[test]
fn delayed_jobs_fall_due_by_unix_time() {
    let clock = Clock::new();
    let redis = start(&clock);
    let mut wire = redis.wire();
    let id = enqueue(&mut wire, r#"work A {"n":1} DELAY 3600000"#);
    let mut waiter = redis.wire();
    waiter.begin("BEAR.CLAIM work BLOCK 0");
    redis.wait_blocked(1);
    clock.shift(3_590);
    assert!(waiter.silent_for(Duration::from_millis(1500)), "ten seconds are left");
    clock.shift(3_601);
    let begun = Instant::now();
    let job = crate::support::claims::claimed(&waiter.receive()).remove(0);
    assert_eq!(job.id, id);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    ack(&mut wire, &job);
    // Back by an hour: what was to come in a second comes in an hour and a second.
    let id = enqueue(&mut wire, r#"work A {"n":2} DELAY 1000"#);
    clock.shift(1);
    stays("it is delayed", Duration::from_millis(2500), || claim(&mut wire, "work").is_empty());
    clock.shift(3_603);
    let job = claim_one(&mut wire, "work BLOCK 4000");
    assert_eq!(job.id, id);
}

#[test]
fn a_rate_runs_by_the_clock_that_does_not_step() {
    let clock = Clock::new();
    let redis = start(&clock);
    let mut wire = redis.wire();
    (0..9).for_each(|n| drop(enqueue(&mut wire, &format!(r#"slow A {{"n":{n}}}"#))));
    for seconds in [0, 5_000, -5_000] {
        let begun = Instant::now();
        clock.shift(seconds);
        let mut begun_jobs = 0;
        eventually("two are begun", || {
            begun_jobs += claim(&mut wire, "slow COUNT 9").len();
            begun_jobs >= 2
        });
        assert_eq!(begun_jobs, 2);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(4), "{seconds}: {took:?}");
        clock.shift(seconds + 3);
        if begun.elapsed() < Duration::from_millis(500) {
            assert_eq!(claim(&mut wire, "slow COUNT 9"), [], "the window of a second is not over");
        }
    }
}

/// Each time that a lease ends has a timer of its own: a short one costs no more than a long one.
#[test]
fn the_shortest_lease_ends_in_time() {
    let redis = start(&Clock::new());
    let (mut wire, mut waiter) = (redis.wire(), redis.wire());
    enqueue(&mut wire, r#"work A {"n":1}"#);
    let begun = Instant::now();
    let first = claim_one(&mut wire, "work LEASE 10");
    waiter.begin("BEAR.CLAIM work BLOCK 0 LEASE 60000");
    let second = claims::claimed(&waiter.receive()).remove(0);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(10) && took < Duration::from_secs(1), "{took:?}");
    assert_eq!((&second.id, second.attempt), (&first.id, 2));
    assert!(tell(&mut wire, "ACK", &first, "").error().starts_with("LOST "));
    assert_eq!(tell(&mut wire, "EXTEND", &second, "LEASE 10"), Reply::Int(10));
    eventually("that one ends, too", || wire.run("HLEN work:queue:work:claims") == Reply::Int(0));
}

#[test]
fn what_was_sent_while_the_server_was_halted_is_read_before_leases_end() {
    let clock = Clock::new();
    let redis = start(&clock);
    let (mut wire, mut other) = (redis.wire(), redis.wire());
    for round in 0..3 {
        enqueue(&mut wire, &format!(r#"work A {{"n":{round}}}"#));
        let job = claim_one(&mut wire, "work LEASE 1000");
        other.begin("DEBUG SLEEP 1.5");
        wire.begin(&format!("BEAR.EXTEND work {} {}", job.id, job.token));
        wire.begin(&format!("BEAR.ACK work {} {}", job.id, job.token));
        assert!(other.receive().is_ok());
        let [extended, accepted] = [wire.receive(), wire.receive()];
        assert_eq!((extended.int(), accepted.int()), (1000, 1), "round {round}");
    }
}

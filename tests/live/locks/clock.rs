//! The clock on the wall steps: locks go by another one, tokens grow, and limits are used up at worst.

use std::time::{Duration, Instant};

use super::CATALOG;
use crate::support::locks::{limit, lock};
use crate::support::{eventually, stays, Clock, Redis, Reply};

fn start(clock: &Clock) -> Redis {
    let builder = Redis::builder().catalog(CATALOG).append_only().config("appendfsync", "always");
    builder.config("aof-load-truncated", "yes").clock(clock).start()
}

#[test]
fn a_lock_is_held_for_its_time_however_the_clock_steps() {
    for steps in [[3_600, 7_200, 90_000], [-3_600, -7_200, -90_000], [90_000, -90_000, 0]] {
        let clock = Clock::new();
        let redis = start(&clock);
        let mut wire = redis.wire();
        let begun = Instant::now();
        let held = lock(&mut wire, "api door 2000");
        let mut next = steps.into_iter();
        stays(&format!("it is held: {steps:?}"), Duration::from_millis(1_700), || {
            if begun.elapsed() > Duration::from_millis(300) {
                next.by_ref().take(1).for_each(|seconds| clock.shift(seconds));
            }
            begun.elapsed() > Duration::from_millis(1_900) || wire.run("BEAR.LOCK api door 1000").is_nil()
        });
        let after = lock(&mut wire, "api door 60000 WAIT 20000");
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(6), "{steps:?}: {took:?}");
        assert!(after > held, "{steps:?}");
        assert_eq!(wire.run(&format!("BEAR.UNLOCK api door {held}")), Reply::Int(0));
    }
}

/// Redis takes the key away when the clock steps forward; it is written again, for the next process.
#[test]
fn a_key_that_a_step_forward_has_taken_is_written_again() {
    let clock = Clock::new();
    let mut redis = start(&clock);
    let mut wire = redis.wire();
    let held = lock(&mut wire, "api door 60000");
    clock.shift(3_600);
    eventually("its key ends as the clock says now", || (1..=60_001).contains(&wire.run("PTTL api:@lock:door").int()));
    redis.kill9();
    redis.start_again();
    let mut wire = redis.wire();
    assert!(wire.run("BEAR.LOCK api door 1000").is_nil());
    assert_eq!(wire.run(&format!("BEAR.UNLOCK api door {held}")), Reply::Int(1));
}

/// Its key would have it held for an hour more.
#[test]
fn a_step_back_over_a_restart_makes_no_lock_longer_than_it_was_asked_for() {
    let clock = Clock::new();
    let mut redis = start(&clock);
    lock(&mut redis.wire(), "api door 1000");
    redis.kill9();
    clock.shift(-3_600);
    redis.start_again();
    let begun = Instant::now();
    lock(&mut redis.wire(), "api door 1000 WAIT 20000");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
}

#[test]
fn tokens_grow_though_the_clock_steps_back_at_a_restart() {
    let clock = Clock::new();
    let mut redis = start(&clock);
    let mut greatest = 0;
    for shift in [0, -10, -100_000, 50, -3_000] {
        let mut wire = redis.wire();
        for _ in 0..5 {
            let next = lock(&mut wire, "api door 60000 WAIT 20000");
            wire.run(&format!("BEAR.UNLOCK api door {next}"));
            assert!(next > greatest, "{next} after {greatest}, {shift} s");
            greatest = next;
        }
        redis.kill9();
        clock.shift(shift);
        redis.start_again();
    }
}

/// What was written after the first lock is lost, with the tokens that were handed out, and the clock has stepped back.
#[test]
fn tokens_grow_though_the_tail_of_the_file_is_lost() {
    let clock = Clock::new();
    let mut redis = start(&clock);
    let file = {
        let folder = redis.folder().join("appendonlydir");
        let files = std::fs::read_dir(folder).expect("the folder").flatten().map(|file| file.path());
        files.into_iter().find(|path| path.to_string_lossy().contains(".incr.")).expect("a file")
    };
    let pass = |redis: &Redis| {
        let mut wire = redis.wire();
        let token = lock(&mut wire, "api door 60000 WAIT 20000");
        wire.run(&format!("BEAR.UNLOCK api door {token}"));
        token
    };
    let mut greatest = pass(&redis);
    for shift in [-86_400, -90_000, 10, -200_000] {
        let kept = std::fs::metadata(&file).expect("the file").len();
        (0..20).for_each(|_| greatest = pass(&redis).max(greatest));
        redis.kill9();
        let opened = std::fs::File::options().write(true).open(&file).expect("the file");
        // In the middle of a command: what is left of it is cut off when it is loaded.
        opened.set_len(kept + 30).expect("it is cut off");
        clock.shift(shift);
        redis.start_again();
        let next = pass(&redis);
        assert!(next > greatest, "{next} after {greatest}, at {shift} s");
        greatest = next;
    }
}

#[test]
fn a_limit_is_used_up_at_worst_by_a_step_back() {
    let clock = Clock::new();
    let redis = start(&clock);
    let mut wire = redis.wire();
    // Five at once, one an hour.
    let ask = "api 42 4 1 3600000";
    (0..3).for_each(|_| assert_eq!(limit(&mut wire, ask)[0], 0));
    clock.shift(-86_400);
    let [limited, most, remaining, retry, reset] = limit(&mut wire, ask);
    assert_eq!((limited, most, remaining), (1, 5, 0));
    assert!((3_500_000..=3_600_000).contains(&retry) && (17_900_000..=18_000_000).contains(&reset), "{retry} {reset}");
    clock.shift(-86_400 + 3_600);
    assert_eq!(limit(&mut wire, ask)[..3], [0, 5, 0], "an hour later one more is let through");
    assert_eq!(limit(&mut wire, ask)[..3], [1, 5, 0]);
    // A step forward: time has passed, for a limit.
    clock.shift(86_400 * 3);
    assert_eq!(limit(&mut wire, ask)[..3], [0, 5, 4]);
}

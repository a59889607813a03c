//! The server's clock: steps, and the hours that clocks leave out or show twice.

use std::time::Duration;

use super::support::{count, enqueued, half_past, next, schedule, shift_to, unix_seconds, HOUR};
use crate::support::{eventually, stays, Clock, Redis, Reply, Wire};

const CATALOG: &str = r#"
[mail]
[mail.job.SEND]
claim = {}
"#;

fn start(clock: &Clock) -> Redis {
    Redis::builder().catalog(CATALOG).clock(clock).start()
}

#[test]
fn a_clock_that_steps_back_repeats_nothing_and_one_that_steps_on_misses_ticks() {
    let (clock, shift, hour) = half_past();
    let redis = start(&clock);
    let mut wire = redis.wire();
    for missed in ["none", "one", "all"] {
        assert!(wire.run(&format!("BEAR.SCHEDULE mail {missed} EVERY 3600000 MISSED {missed} JOB SEND {{}}")).is_ok());
    }
    clock.shift(shift + 1_810);
    for name in ["none", "one", "all"] {
        eventually(name, || enqueued(&mut wire, "mail", name) == [hour + HOUR]);
    }
    // Two hours back: the tick comes again by the clock, and is not carried out.
    for seconds in [-7_200, -5_400, 0, 1_700, 1_810] {
        clock.shift(shift + seconds);
        stays("no tick", Duration::from_millis(300), || {
            ["none", "one", "all"].iter().all(|name| enqueued(&mut wire, "mail", name) == [hour + HOUR])
        });
    }
    // Three hours on.
    clock.shift(shift + 3 * 3_600);
    eventually("all", || enqueued(&mut wire, "mail", "all") == [1, 2, 3].map(|at| hour + at * HOUR));
    eventually("one", || enqueued(&mut wire, "mail", "one") == [1, 3].map(|at| hour + at * HOUR));
    eventually("none", || next(&mut wire, "mail", "none").first() == Some(&((hour + 4 * HOUR) as i64)));
    assert_eq!(enqueued(&mut wire, "mail", "none"), [hour + HOUR]);
}

/// A schedule by Berlin's time, of which every tick counts.
fn make(wire: &mut Wire, name: &str, cron: &str) {
    let words =
        ["BEAR.SCHEDULE", "mail", name, "CRON", cron, "ZONE", "Europe/Berlin", "MISSED", "all", "JOB", "SEND", "{}"];
    assert!(wire.call(&words).is_ok(), "{name}");
}

/// Berlin: 2026-03-29 has no 02:00 to 02:59, 2026-10-25 has it twice.
#[test]
fn ticks_at_changes_of_clocks() {
    let clock = Clock::new();
    clock.shift(shift_to("2026-03-29T00:50:00"));
    let redis = start(&clock);
    let mut wire = redis.wire();
    make(&mut wire, "daily", "30 2 * * *");
    make(&mut wire, "often", "*/30 2 * * *");
    let at = |moments: &[&str]| moments.iter().map(|moment| unix_seconds(moment) as u64 * 1000).collect::<Vec<u64>>();
    assert_eq!(next(&mut wire, "mail", "daily")[0] as u64, at(&["2026-03-29T01:00:00"])[0], "right after the gap");
    clock.shift(shift_to("2026-03-29T01:00:05"));
    eventually("the daily one ticks", || enqueued(&mut wire, "mail", "daily") == at(&["2026-03-29T01:00:00"]));
    clock.shift(shift_to("2026-03-29T23:59:00"));
    stays("what ticks in the gap alone does not", Duration::from_millis(300), || {
        count(&mut wire, "mail", "often") == 0
    });
    // In autumn. What lies between was all missed: begin anew.
    for name in ["daily", "often"] {
        assert_eq!(wire.run(&format!("BEAR.UNSCHEDULE mail {name}")), Reply::Int(1));
    }
    clock.shift(shift_to("2026-10-24T23:59:00"));
    make(&mut wire, "once", "30 2 * * *");
    make(&mut wire, "twice", "*/30 2 * * *");
    clock.shift(shift_to("2026-10-25T00:45:00"));
    eventually("the first time", || enqueued(&mut wire, "mail", "once") == at(&["2026-10-25T00:30:00"]));
    eventually("the first time", || {
        enqueued(&mut wire, "mail", "twice") == at(&["2026-10-25T00:00:00", "2026-10-25T00:30:00"])
    });
    clock.shift(shift_to("2026-10-25T01:45:00"));
    eventually("the second time", || {
        enqueued(&mut wire, "mail", "twice")
            == at(&["2026-10-25T00:00:00", "2026-10-25T00:30:00", "2026-10-25T01:00:00", "2026-10-25T01:30:00"])
    });
    assert_eq!(enqueued(&mut wire, "mail", "once"), at(&["2026-10-25T00:30:00"]), "once");
    assert_eq!(schedule(&mut wire, "mail", "once")["zone"].text(), "Europe/Berlin");
    assert_eq!(next(&mut wire, "mail", "once")[0] as u64, at(&["2026-10-26T01:30:00"])[0]);
}

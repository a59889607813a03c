//! Limits: as CL.THROTTLE answers, exact however many ask at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::start;
use crate::support::locks::limit;
use crate::support::Reply;

#[test]
fn a_limit_answers_as_redis_cell_does() {
    let redis = start();
    for mut wire in [redis.wire(), redis.resp3_wire()] {
        wire.run("FLUSHALL");
        // Five at once, one an hour.
        for left in [4, 3, 2, 1, 0] {
            let [limited, most, remaining, retry, reset] = limit(&mut wire, "api 42 4 1 3600000");
            assert_eq!((limited, most, remaining, retry), (0, 5, left, -1));
            let full = 3_600_000 * (5 - left);
            assert!((full - 20_000..=full).contains(&reset), "{reset}");
        }
        let [limited, most, remaining, retry, _] = limit(&mut wire, "api 42 4 1 3600000");
        assert_eq!((limited, most, remaining), (1, 5, 0));
        assert!((3_580_000..=3_600_000).contains(&retry), "{retry}");
        assert_eq!(limit(&mut wire, "api 42 4 1 3600000 0")[..4], [0, 5, 0, -1], "a look");
        assert_eq!(limit(&mut wire, "api 42 4 1 3600000 6")[..4], [1, 5, 0, -1], "never");
        assert_eq!(limit(&mut wire, "api 7 4 1 3600000 3")[..4], [0, 5, 2, -1], "another key");
        assert_eq!(limit(&mut wire, "api 8 4 1 3600000 0"), [0, 5, 5, -1, 0]);
        assert_eq!(wire.run("EXISTS api:@limit:8"), Reply::Int(0), "a look keeps nothing");
    }
    let info = redis.info("bear");
    assert_eq!((info.int("bear_limits_asked"), info.int("bear_limits_limited")), (20, 4));
}

#[test]
fn limits_of_the_catalog_have_names() {
    let redis = start();
    let mut wire = redis.wire();
    for left in [4, 3, 2, 1, 0] {
        assert_eq!(limit(&mut wire, "api search user:42")[..3], [0, 5, left]);
    }
    assert_eq!(limit(&mut wire, "api search user:42")[0], 1);
    assert_eq!(limit(&mut wire, "api search user:43 5")[..3], [0, 5, 0]);
    assert_eq!(limit(&mut wire, "mail send 42")[..3], [0, 1, 0]);
    assert_eq!(redis.keys(), ["api:@limit:search:user%3A42", "api:@limit:search:user%3A43", "mail:@limit:send:42"]);
    let shown = wire.run("BEAR.CATALOG mail").map();
    let named = shown["named_limits"].list()[0].map();
    assert_eq!((named["name"].text(), named["burst"].int(), named["rate"].text()), ("send".into(), 0, "1/h".into()));
    assert_eq!(shown["limit"].list()[0].map()["concurrency"], Reply::Int(1), "that of claimed jobs stands beside it");
    // Another catalog, another limit; what was kept goes on.
    std::fs::write(redis.catalog_path(), super::CATALOG.replace("burst = 4", "burst = 9")).expect("the catalog");
    assert!(wire.run("BEAR.RELOAD").is_ok());
    assert_eq!(limit(&mut wire, "api search other")[..3], [0, 10, 9]);
}

fn unix_ns() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

/// Fifty clients ask as fast as they can: what is let through in a span is what the algorithm says, to the last one.
#[test]
fn a_limit_is_exact_under_fifty_clients() {
    const BURST: u64 = 1_999;
    const COUNT: u64 = 1_000;
    const INTERVAL_NS: u64 = 1_000_000_000 / COUNT;
    let ask = format!("api all {BURST} {COUNT} 1000");
    let redis = start();
    let mut first = redis.wire();
    let wires: Vec<_> = (0..50).map(|_| redis.wire()).collect();
    let before_ns = unix_ns();
    // All at once: from then on it is never whole, though the others begin late.
    assert_eq!(limit(&mut first, &format!("{ask} {}", BURST + 1))[0], 0);
    let after_ns = unix_ns();
    let through = AtomicU64::new(BURST + 1);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for mut wire in wires {
            let (through, ask) = (&through, &ask);
            scope.spawn(move || {
                while begun.elapsed() < Duration::from_millis(2_000) {
                    let [limited, ..] = limit(&mut wire, ask);
                    through.fetch_add(1 - limited as u64, Ordering::Relaxed);
                }
            });
        }
    });
    let mut through = through.into_inner();
    let mut last_ns = unix_ns();
    while limit(&mut first, &ask)[0] == 0 {
        through += 1;
        last_ns = unix_ns();
    }
    // Somebody has asked all the time, so that each one that was let through stands in the moment that is kept.
    let kept_ns: u64 = redis.run("GET api:@limit:all").text().parse().expect("a number");
    let began_ns = kept_ns - through * INTERVAL_NS;
    assert!(
        (before_ns..=after_ns).contains(&began_ns),
        "{before_ns} {began_ns} {after_ns}, {through} were let through"
    );
    // And not one was refused that the time allowed.
    let ahead_ns = kept_ns - last_ns;
    assert!(ahead_ns > BURST * INTERVAL_NS, "{ahead_ns}");
    let info = redis.info("bear");
    assert_eq!(info.int("bear_limits_asked") - info.int("bear_limits_limited"), (through - BURST) as i64);
}

/// The burst alone, which no clock changes: of fifty clients exactly so many are let through.
#[test]
fn a_burst_is_exact_under_fifty_clients() {
    let redis = start();
    let wires: Vec<_> = (0..50).map(|_| redis.wire()).collect();
    let through = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for mut wire in wires {
            let through = &through;
            scope.spawn(move || {
                for _ in 0..40 {
                    let [limited, ..] = limit(&mut wire, "api all 1233 1 86400000");
                    through.fetch_add(1 - limited as u64, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(through.into_inner(), 1234, "the burst and one");
}

#[test]
fn a_limit_that_is_full_lets_through_when_it_said() {
    let redis = start();
    let mut wire = redis.wire();
    assert_eq!(limit(&mut wire, "api 42 0 1 300")[0], 0);
    let [limited, _, _, retry, _] = limit(&mut wire, "api 42 0 1 300");
    assert!(limited == 1 && (1..=300).contains(&retry), "{retry}");
    std::thread::sleep(Duration::from_millis(retry as u64));
    assert_eq!(limit(&mut wire, "api 42 0 1 300")[0], 0);
}

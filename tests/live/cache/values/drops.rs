//! What drops a value, and strikes a lease.

use std::time::Duration;

use super::{assert_hit, figure, get, lease, parts, start, CATALOG};
use crate::support::{eventually, Redis, Reply, Wire};

/// Puts a value of `shelf 7` with a row and a tag of its own.
fn put(wire: &mut Wire) {
    let reply = wire.run("BEAR.PUT page 2 shelf 7 1 TAG hot ROW bear 5 6");
    assert_eq!(reply, Reply::Int(1));
}

/// Redis removes what is over when it is looked at, or by and by, and tells of that: it is not the end of what is stored there.
#[test]
fn what_is_put_in_the_place_of_a_value_whose_time_is_over_is_dropped_as_any() {
    let redis = start();
    let mut wire = redis.wire();
    wire.run("DEBUG SET-ACTIVE-EXPIRE 0");
    for n in 0..20 {
        assert_eq!(wire.run(&format!("BEAR.PUT page 2 blob {n} old ROW bear {n} TTL 200")), Reply::Int(1));
    }
    redis.wait_stored();
    // Their time passes, and nobody looks.
    std::thread::sleep(Duration::from_millis(250));
    for n in 0..20 {
        assert_eq!(wire.run(&format!("BEAR.PUT page 2 blob {n} new ROW bear {n}")), Reply::Int(1));
    }
    redis.wait_stored();
    for n in 0..20 {
        assert_hit(&mut wire, &format!("page blob {n}"), "new");
        assert_eq!(wire.run(&format!("BEAR.INVALIDATE bear ROW {n}")), Reply::Int(1), "{n}");
        assert_eq!(get(&mut wire, &format!("page WAIT 0 blob {n}")).0, None, "{n}");
    }
}

#[test]
fn rows_and_tags_that_are_named_drop_a_value() {
    let redis = start();
    let mut wire = redis.wire();
    for (invalidation, dropped) in [
        ("bear ROW 5", 1),
        ("bear ROW 4 06", 1),
        ("bear ROW 4", 0),
        ("page TAG hot", 1),
        ("page TAG shelf:7", 1),
        ("page TAG shelf:8", 0),
        ("page QUERY shelf 7", 1),
        ("page PATTERN shelf:*", 1),
        ("page ALL", 1),
        ("bear IMAGE {\"id\":9,\"size\":7}", 1),
        ("bear IMAGE {\"id\":9,\"size\":8}", 0),
    ] {
        for is_stored in [false, true] {
            put(&mut wire);
            if is_stored {
                redis.wait_stored();
            }
            let removed = wire.run(&format!("BEAR.INVALIDATE {invalidation}"));
            if is_stored {
                assert_eq!(removed, Reply::Int(dropped), "{invalidation}");
            }
            let (value, token) = get(&mut wire, "page shelf 7");
            assert_eq!(value.is_none(), dropped == 1, "{invalidation}, stored: {is_stored}");
            token.into_iter().for_each(|token| drop(wire.run(&format!("BEAR.FORGET page {token}"))));
        }
    }
}

#[test]
fn a_value_of_which_no_row_is_named_goes_with_any_of_its_section() {
    let redis = start();
    let mut wire = redis.wire();
    for (put, invalidation, dropped) in [
        ("1 summary 1", "bear ROW 99", 1),
        ("1 summary 1 ROW bear 5", "bear ROW 99", 0),
        ("1 summary 1 ROW bear 5", "bear IMAGE {\"id\":99,\"size\":1}", 1),
        ("2 one 5 1", "bear ROW 5", 1),
        ("2 one 5 1", "bear ROW 6", 0),
        ("2 one 5 1", "bear IMAGE {\"id\":6,\"size\":1}", 0),
    ] {
        assert_eq!(wire.run(&format!("BEAR.PUT bear {put}")), Reply::Int(1));
        redis.wait_stored();
        assert_eq!(wire.run(&format!("BEAR.INVALIDATE {invalidation}")), Reply::Int(dropped), "{put}, {invalidation}");
        wire.run("BEAR.INVALIDATE bear ALL");
    }
}

#[test]
fn tenants_have_values_of_their_own() {
    let redis = start();
    let mut wire = redis.wire();
    for tenant in [1, 2] {
        let put = format!("BEAR.PUT {{{tenant}}}:shop 1 front {tenant} ROW shop 5 ROW bear 6");
        assert_eq!(wire.run(&put), Reply::Int(1));
    }
    redis.wait_stored();
    assert_eq!(wire.run("BEAR.INVALIDATE {1}:shop ROW 5"), Reply::Int(1));
    assert_eq!(get(&mut wire, "{1}:shop WAIT 0 front").0, None);
    assert_hit(&mut wire, "{2}:shop front", "2");
    assert_eq!(wire.run("BEAR.INVALIDATE {2}:shop TAG of:2"), Reply::Int(1));
    let refused = wire.run("BEAR.PUT page 2 shelf 7 1 ROW shop 5");
    assert_eq!(refused.error(), "ERR rows of 'shop' are kept per tenant, and the values of 'page' are not");
}

/// Strikes a lease, and tells whether its value is stored, and is given to who asked before, and to who asked after.
#[track_caller]
fn strike(redis: &Redis, invalidation: &str) -> (Reply, bool, bool) {
    let mut wire = redis.wire();
    let token = lease(&mut wire, "page shelf 7");
    let (mut before, mut after) = (redis.wire(), redis.wire());
    before.begin("BEAR.GET page shelf 7");
    eventually("one waits", || figure(redis, "clients_waiting") == 1);
    assert!(!wire.run(invalidation).is_error());
    after.begin("BEAR.GET page shelf 7");
    let is_struck_at_once = figure(redis, "leases") == 2 || {
        eventually("the other waits, or has a lease", || {
            figure(redis, "clients_waiting") == 2 || figure(redis, "leases") == 2
        });
        figure(redis, "leases") == 2
    };
    let stored = wire.run(&format!("BEAR.PUT page 2 shelf 7 1 TOKEN {token} TAG hot ROW bear 5"));
    let (value, _) = parts(before.receive());
    let (late, next) = parts(after.receive());
    assert_eq!(late.is_none(), next.is_some());
    assert!(!is_struck_at_once || late.is_none());
    (stored, value.is_some(), late.is_some())
}

#[test]
fn what_is_invalidated_while_it_is_computed_is_not_stored() {
    for (invalidation, is_struck) in [
        ("BEAR.INVALIDATE page QUERY shelf 7", true),
        ("BEAR.INVALIDATE page ALL", true),
        ("BEAR.INVALIDATE page PATTERN shelf:*", true),
        ("BEAR.INVALIDATE page TAG hot", true),
        ("BEAR.INVALIDATE page TAG shelf:7", true),
        ("BEAR.INVALIDATE bear ROW 5", true),
        ("BEAR.INVALIDATE bear IMAGE {\"id\":9,\"size\":7}", true),
        ("BEAR.INVALIDATE bear ROW 6", false),
        ("BEAR.INVALIDATE page TAG shelf:8", false),
        ("FLUSHALL", true),
        ("BEAR.RELOAD", true),
    ] {
        let redis = start();
        let expected = (Reply::Int(i64::from(!is_struck)), true, !is_struck);
        assert_eq!(strike(&redis, invalidation), expected, "{invalidation}");
    }
}

#[test]
fn a_section_without_rows_has_none_to_name() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let refused = redis.run("BEAR.PUT page 2 shelf 7 1 ROW page 5");
    assert_eq!(refused.error(), "ERR section 'page' has no rows; its catalog says no id");
}

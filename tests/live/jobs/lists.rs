//! BEAR.JOBS as boards need it: the newest first, one job type, from an offset on.

use crate::support::bears;
use crate::support::jobs::{self, enqueue, ids_in, set_drain, stat, wait_settled};
use crate::support::{burst, eventually, Redis, Reply, Wire};

#[track_caller]
fn ids(wire: &mut Wire, words: &str) -> Vec<String> {
    let reply = wire.run(&format!("BEAR.JOBS bear {words}"));
    reply.list().iter().map(|job| job.map()["id"].text()).collect()
}

/// Pages of 7, each behind the last job of the one before.
#[track_caller]
fn by_after(wire: &mut Wire, words: &str) -> Vec<String> {
    let mut paged: Vec<String> = Vec::new();
    loop {
        let after = paged.last().map(|id| format!(" AFTER {id}")).unwrap_or_default();
        let page = ids(wire, &format!("{words} COUNT 7{after}"));
        if page.is_empty() {
            return paged;
        }
        paged.extend(page);
    }
}

/// Pages of 7, by how many stand before.
#[track_caller]
fn by_offset(wire: &mut Wire, words: &str) -> Vec<String> {
    let mut paged: Vec<String> = Vec::new();
    loop {
        let page = ids(wire, &format!("{words} OFFSET {} COUNT 7", paged.len()));
        if page.is_empty() {
            return paged;
        }
        paged.extend(page);
    }
}

/// A list in its order is known; every other way to ask for it follows from that.
#[track_caller]
fn assert_listed(wire: &mut Wire, state: &str, expected: &[String]) {
    let newest: Vec<String> = expected.iter().rev().cloned().collect();
    for (words, expected) in [(state.to_owned(), expected), (format!("{state} NEWEST"), &newest)] {
        assert_eq!(ids(wire, &format!("{words} COUNT 1000")), expected, "{words}");
        assert_eq!(ids(wire, &words), expected[..expected.len().min(10)], "{words}: ten, unless told");
        assert_eq!(by_after(wire, &words), expected, "{words}");
        assert_eq!(by_offset(wire, &words), expected, "{words}");
        assert_eq!(ids(wire, &format!("{words} OFFSET 3 COUNT 2 AFTER {}", expected[1])), expected[5..7], "{words}");
        assert!(ids(wire, &format!("{words} OFFSET {}", expected.len())).is_empty(), "{words}");
        assert!(ids(wire, &format!("{words} AFTER {}", expected[expected.len() - 1])).is_empty(), "{words}");
    }
}

fn rename(id: u32, name: &str) -> String {
    format!(r#"bear UPDATE_BEAR_NAME {{"id":{id},"name":"{name}"}}"#)
}

fn resize(id: u32, size: i32) -> String {
    format!(r#"bear UPDATE_BEAR_SIZE {{"id":{id},"size":{size}}}"#)
}

#[test]
fn jobs_in_every_state_are_listed_from_either_end() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    let mut wire = redis.wire();
    // Two types in turn; the one of a row that is not there fails, and so does a size that is none.
    let mut waiting = Vec::new();
    for n in 0..24 {
        waiting.push(enqueue(&mut wire, &rename(5, &n.to_string())));
        waiting.push(enqueue(&mut wire, &resize(5, n + 1)));
        waiting.push(enqueue(&mut wire, &format!("{} ATTEMPTS 1", rename(1000 + n as u32, "nobody"))));
        waiting.push(enqueue(&mut wire, &format!("{} ATTEMPTS 1", resize(6, -1 - n))));
    }
    let delayed: Vec<String> =
        (0..24).map(|n| enqueue(&mut wire, &format!("{} DELAY {}", rename(6, "late"), 900_000 - n))).collect();
    assert_listed(&mut wire, "waiting", &waiting);
    assert_listed(&mut wire, "delayed", &delayed);
    let of_type = |from: usize| waiting.iter().skip(from).step_by(2).cloned().collect::<Vec<_>>();
    assert_listed(&mut wire, "waiting JOB UPDATE_BEAR_NAME", &of_type(0));
    assert_listed(&mut wire, "waiting job UPDATE_BEAR_SIZE", &of_type(1));

    set_drain(&mut wire, "yes");
    eventually("they have settled", || stat(&mut wire, "bear", "completed") + stat(&mut wire, "bear", "failed") == 96);
    for state in ["completed", "failed"] {
        let settled = ids_in(&mut wire, "bear", state);
        assert_eq!(settled.len(), 48, "{state}");
        assert_listed(&mut wire, state, &settled);
        for job in ["UPDATE_BEAR_NAME", "UPDATE_BEAR_SIZE"] {
            let of_job: Vec<String> = settled
                .iter()
                .filter(|id| jobs::find(&mut wire, "bear", id).expect("it")["job"].text() == job)
                .cloned()
                .collect();
            assert_eq!(of_job.len(), 24, "{state} {job}");
            assert_listed(&mut wire, &format!("{state} JOB {job}"), &of_job);
        }
        assert!(ids(&mut wire, &format!("{state} JOB update_bear_name")).is_empty(), "names have one spelling");
    }
}

#[test]
fn an_id_that_is_not_there_is_a_place_among_the_queued() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    let mut wire = redis.wire();
    assert!(ids(&mut wire, "waiting NEWEST").is_empty(), "there is no queue");
    let waiting: Vec<String> = (0..5).map(|n| enqueue(&mut wire, &rename(5, &n.to_string()))).collect();
    let newest: Vec<String> = waiting.iter().rev().cloned().collect();
    for (after, forward, backward) in [
        ("0-0", &waiting[..], &[][..]),
        ("1-1", &waiting[..], &[][..]),
        ("18446744073709551615-18446744073709551615", &[][..], &newest[..]),
    ] {
        assert_eq!(ids(&mut wire, &format!("waiting AFTER {after}")), forward, "{after}");
        assert_eq!(ids(&mut wire, &format!("waiting NEWEST AFTER {after}")), backward, "{after}");
    }
    wire.run(&format!("BEAR.REMOVE bear {}", waiting[2]));
    assert_eq!(ids(&mut wire, &format!("waiting AFTER {}", waiting[2])), waiting[3..]);
    assert_eq!(ids(&mut wire, &format!("waiting NEWEST AFTER {}", waiting[2])), newest[3..]);
}

#[test]
fn a_list_that_takes_long_goes_on_in_slices() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let lines: Vec<String> = (1..=20_000).map(|size| format!("BEAR.ENQUEUE {}", resize(5, size))).collect();
    let mut wire = redis.wire();
    set_drain(&mut wire, "no");
    assert!(burst(&redis, &lines).iter().all(|reply| !reply.is_error()));
    let first = ids(&mut wire, "waiting COUNT 3");
    assert_eq!(ids(&mut wire, "waiting NEWEST OFFSET 19997").into_iter().rev().collect::<Vec<_>>(), first);
    let last = ids(&mut wire, "waiting NEWEST COUNT 3");
    assert_eq!(ids(&mut wire, "waiting OFFSET 19997").into_iter().rev().collect::<Vec<_>>(), last);
    assert!(ids(&mut wire, "waiting JOB UPDATE_BEAR_NAME NEWEST").is_empty());
    // Where nothing can wait it ends with what it has.
    wire.run("MULTI");
    wire.run("BEAR.JOBS bear waiting OFFSET 19997");
    assert_eq!(wire.run("EXEC").list()[0], Reply::Array(vec![]));
    // Applied meanwhile, it passes over what has gone, and shows nothing twice.
    set_drain(&mut wire, "yes");
    loop {
        let listed = ids(&mut wire, "waiting NEWEST COUNT 1000");
        assert!(listed.windows(2).all(|pair| jobs::parse_id(&pair[0]) > jobs::parse_id(&pair[1])));
        if listed.is_empty() {
            break;
        }
    }
    wait_settled(&mut wire, "bear");
}

//! Nobody's command holds Redis' thread for long, however much he asks for; and what is done in slices is whole.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::jobs::{self, set_drain};
use crate::support::one_client::{self, Sizes, CASES};
use crate::support::{eventually, Redis, Reply, StopAtEnd, Wire};

/// A tenth of what is measured by the benchmark: a build for tests is ten times slower.
const SIZES: Sizes = Sizes {
    jobs: 200,
    payload: 100_000,
    result: 20_000_000,
    waiters: 10,
    rows: 9_000,
    ids: 100_000,
    sections: 100,
    calls: 2_000,
    clients: 200,
};

/// Work of the server's thread between two replies to another client, at most. What held it before was seconds in such a
/// build; what holds it now is some milliseconds, and on a busy machine the kernel books a little of it late.
const MAX_MS: f64 = 60.0;

/// Milliseconds on a processor of the server's main thread.
fn worked_ms(file: &File) -> f64 {
    let mut text = [0; 64];
    let len = file.read_at(&mut text, 0).expect("schedstat");
    let nanos = std::str::from_utf8(&text[..len]).ok().and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    nanos.expect("its first figure") as f64 / 1e6
}

/// The most that the server's thread worked between two replies to a client that sends PING again and again.
fn longest_hold_ms(redis: &Redis, run: impl FnOnce()) -> f64 {
    let ended = AtomicBool::new(false);
    let pid = redis.pid();
    let file = File::open(format!("/proc/{pid}/task/{pid}/schedstat")).expect("Linux keeps it");
    std::thread::scope(|scope| {
        let probe = scope.spawn(|| {
            let mut wire = redis.wire();
            let (mut longest, mut last) = (0.0_f64, worked_ms(&file));
            while !ended.load(Ordering::Relaxed) {
                assert_eq!(wire.run("PING").text(), "PONG");
                let now = worked_ms(&file);
                longest = longest.max(now - last);
                last = now;
            }
            longest
        });
        let stop = StopAtEnd(&ended);
        run();
        drop(stop);
        probe.join().expect("the probe does not panic")
    })
}

#[test]
fn no_client_holds_the_thread_whatever_it_asks_for() {
    let (_database, redis) = one_client::start();
    let mut long = Vec::new();
    for case in &CASES {
        let name = (case.name)(&SIZES);
        (case.prepare)(&redis, &SIZES);
        let hold = longest_hold_ms(&redis, || (case.ask)(&redis, &SIZES));
        println!("{hold:8.1} ms  {name}");
        if hold > MAX_MS {
            long.push(format!("{name}: {hold:.1} ms"));
        }
    }
    assert!(long.is_empty(), "over {MAX_MS} ms: {long:#?}\n{}", redis.run("INFO bear_state").text());
}

fn fail(wire: &mut Wire, count: usize, bytes: usize) -> Vec<String> {
    let text = "x".repeat(bytes);
    let enqueue = |id| {
        let data = format!(r#"{{"id":{id},"text":"{text}"}}"#);
        jobs::id_of(&wire.call(&["BEAR.ENQUEUE", "thing", "FAIL", &data, "ATTEMPTS", "1"]))
    };
    let ids: Vec<String> = (0..count).map(enqueue).collect();
    eventually("they have failed", || wire.run("XLEN thing:queue:failed").int() >= count as i64);
    ids
}

#[test]
fn all_failed_jobs_are_retried_in_slices_and_none_twice() {
    let (_database, redis) = one_client::start();
    let mut wire = redis.wire();
    let failed = fail(&mut wire, 100, 100_000);
    set_drain(&mut wire, "no");
    let reply = wire.run("BEAR.RETRY thing ALL");
    let new: std::collections::BTreeSet<String> = reply.list().iter().map(Reply::text).collect();
    assert_eq!(
        (new.len(), wire.run("XLEN thing:queue").int(), wire.run("XLEN thing:queue:failed").int()),
        (100, 100, 0)
    );
    assert!(failed.iter().all(|id| !new.contains(id)));
    set_drain(&mut wire, "yes");
    eventually("they have failed again", || wire.run("XLEN thing:queue:failed").int() == 100);
}

#[test]
fn with_no_room_for_all_failed_jobs_some_are_retried_and_the_reply_says_how_many() {
    let (_database, redis) = one_client::start();
    let mut wire = redis.wire();
    fail(&mut wire, 50, 10);
    set_drain(&mut wire, "no");
    assert!(wire.run("CONFIG SET bear.queue-max-jobs 40").is_ok());
    let reply = wire.run("BEAR.RETRY thing ALL");
    let queued = wire.run("XLEN thing:queue").int();
    assert!(
        reply.error().starts_with("FULL ") && reply.error().contains(&format!("{queued} jobs are retried")),
        "{reply:?}"
    );
    assert_eq!(queued + wire.run("XLEN thing:queue:failed").int(), 50);
}

#[test]
fn in_a_transaction_all_failed_jobs_are_retried_a_slice_at_a_time() {
    let (_database, redis) = one_client::start();
    let mut wire = redis.wire();
    fail(&mut wire, 100, 100_000);
    set_drain(&mut wire, "no");
    let mut retried = 0;
    loop {
        assert!(wire.run("MULTI").is_ok());
        wire.run("BEAR.RETRY thing ALL");
        let some = wire.run("EXEC").list()[0].list().len();
        if some == 0 {
            break;
        }
        retried += some;
    }
    assert_eq!((retried, wire.run("XLEN thing:queue:failed").int()), (100, 0));
}

#[test]
fn more_ids_than_are_retried_in_one_piece_are_refused() {
    let (_database, redis) = one_client::start();
    let mut wire = redis.wire();
    let failed = fail(&mut wire, 4, 100_000);
    let reply = wire.run(&format!("BEAR.RETRY thing {}", failed.join(" ")));
    assert!(reply.error().starts_with("TOOLARGE ") && reply.error().contains("nothing is retried"), "{reply:?}");
    let many: Vec<String> = (0..201).map(|i| format!("1-{i}")).collect();
    let reply = wire.run(&format!("BEAR.RETRY thing {}", many.join(" ")));
    assert!(reply.error().starts_with("TOOLARGE "), "{reply:?}");
    assert_eq!(wire.run("XLEN thing:queue:failed").int(), 4);
    let reply = wire.run(&format!("BEAR.RETRY thing {} {}", failed[0], failed[1]));
    assert_eq!(reply.list().len(), 2);
}

#[test]
fn a_job_in_a_rare_state_is_found_behind_thousands_in_another() {
    let (_database, redis) = one_client::start();
    let mut wire = redis.wire();
    set_drain(&mut wire, "no");
    let one = |id: usize| crate::support::wire::packed(&["BEAR.ENQUEUE", "thing", "DO", &format!(r#"{{"id":{id}}}"#)]);
    wire.send_bytes(&(0..10_000).flat_map(one).collect::<Vec<u8>>());
    (0..10_000).for_each(|_| drop(jobs::id_of(&wire.receive())));
    let rare = jobs::enqueue(&mut wire, r#"thing DO {"id":1} DELAY 600000"#);
    assert_eq!(jobs::ids_in(&mut wire, "thing", "delayed"), [rare]);
}

#[test]
fn a_large_answer_is_the_same_in_either_protocol() {
    let (_database, redis) = one_client::start();
    let (mut old, mut new) = (redis.wire(), redis.resp3_wire());
    fail(&mut old, 30, 100_000);
    let (flat, maps) = (old.run("BEAR.JOBS thing failed COUNT 30"), new.run("BEAR.JOBS thing failed COUNT 30"));
    assert!(matches!(maps.list()[0], Reply::Map(_)) && matches!(flat.list()[0], Reply::Array(_)));
    for (flat, map) in flat.list().iter().zip(maps.list()) {
        let (flat, map) = (flat.map(), map.map());
        let same = |name: &str| flat[name] == map[name];
        assert!(["id", "job", "data", "attempts", "finished", "result"].into_iter().all(same));
        assert_eq!(jobs::error_of(&flat), jobs::error_of(&map));
    }
    assert_eq!((flat.list().len(), maps.list().len()), (30, 30));
    for wire in [&mut old, &mut new] {
        wire.begin("BEAR.QUERY thing text 3000000");
        wire.begin("PING");
        assert_eq!(wire.receive().bulk().len(), 3_000_011);
        assert_eq!(wire.receive().text(), "PONG", "nothing comes behind it");
    }
}

#[test]
fn who_leaves_while_his_large_answer_is_written_disturbs_nobody() {
    let (_database, redis) = one_client::start();
    for _ in 0..10 {
        let mut leaves = redis.wire();
        leaves.begin("BEAR.QUERY thing FRESH text 20000000");
        redis.wait_blocked(1);
        drop(leaves);
    }
    let mut wire = redis.wire();
    assert_eq!(wire.run("BEAR.QUERY thing text 3000000").bulk().len(), 3_000_011);
    redis.wait_blocked(0);
}

#[test]
fn a_large_catalog_is_set_aside_and_one_that_is_refused_leaves_the_other() {
    let (_database, redis) = one_client::start();
    let mut wire = redis.wire();
    let path = |name: &str, text: &str| {
        let path = redis.folder().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let (good, bad) = (
        path("good.toml", &one_client::sections(300)),
        path("bad.toml", &one_client::sections(300).replace("int", "integer")),
    );
    assert!(wire.run(&format!("CONFIG SET bear.catalog {good}")).is_ok());
    eventually("it is in use", || !wire.run("BEAR.CATALOG section_299").is_error());
    assert!(wire.run(&format!("CONFIG SET bear.catalog {bad}")).is_ok());
    eventually("its error is told", || {
        let errors = wire.run("BEAR.CATALOG").map()["errors"].list().iter().map(Reply::text).collect::<Vec<_>>();
        errors.iter().any(|error| error.contains("bad.toml"))
    });
    assert!(!wire.run("BEAR.CATALOG section_299").is_error(), "the one before it stays");
    let reply = wire.run("BEAR.RELOAD");
    assert!(reply.error().starts_with("ERR nothing is changed: ") && reply.error().contains("bad.toml"), "{reply:?}");
    for name in ["/dev/zero", "/", "/nowhere/x.toml"] {
        let reply = wire.run(&format!("CONFIG SET bear.catalog {name}"));
        assert!(reply.is_error(), "{name}: {reply:?}");
    }
}

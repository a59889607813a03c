//! Operators and other clients at a queue: what they do to it is noticed, and costs no other job anything.

use crate::support::bears;
use crate::support::jobs::{self, complete, enqueue, set_drain, stat, state, wait_settled, wait_state};
use crate::support::{eventually, Redis};

const RENAME: &str = r#"bear UPDATE_BEAR_NAME {"id":5,"name":"Kodiak"}"#;

#[test]
fn a_job_enqueued_as_writes_are_paused_is_applied_after_the_pause() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    complete(&mut wire, RENAME);
    for _ in 0..5 {
        // In one write, so that both come in one pass of the server's loop.
        wire.send_bytes(
            b"BEAR.ENQUEUE bear UPDATE_BEAR_SIZE '{\"id\":6,\"size\":7}'
CLIENT PAUSE 200 WRITE
",
        );
        let id = wire.receive().text();
        assert!(wire.receive().is_ok());
        wait_state(&mut wire, "bear", &id, "completed");
    }
}

#[test]
fn a_unique_key_ends_with_a_job_that_is_removed() {
    let database = bears::database();
    let mut redis = Redis::builder().postgres(&database).append_only().start();
    let mut wire = redis.wire();
    assert!(wire.run("BEAR.PAUSE bear").is_ok());
    let removed = enqueue(&mut wire, &format!("{RENAME} UNIQUE removed"));
    let deleted = enqueue(&mut wire, &format!("{RENAME} UNIQUE deleted"));
    redis.kill9();
    redis.start_again();
    let mut wire = redis.wire();
    assert_eq!(wire.run(&format!("BEAR.REMOVE bear {removed}")).int(), 1);
    assert_eq!(wire.run(&format!("XDEL bear:queue {deleted}")).int(), 1);
    for (key, gone) in [("removed", &removed), ("deleted", &deleted)] {
        let again = enqueue(&mut wire, &format!("{RENAME} UNIQUE {key}"));
        assert_ne!(again, *gone, "{key}");
        assert_eq!(state(&mut wire, "bear", &again), "waiting");
    }
    assert!(wire.run("BEAR.RESUME bear").is_ok());
    wait_settled(&mut wire, "bear");
    assert_eq!(stat(&mut wire, "bear", "completed"), 2);
}

#[test]
fn removed_jobs_make_room_in_a_full_queue() {
    let database = bears::database();
    let redis =
        Redis::builder().postgres(&database).config("bear.queue-max-bytes", 3000).config("bear.drain", "no").start();
    let mut wire = redis.wire();
    let long = format!(r#"bear UPDATE_BEAR_NAME {{"id":5,"name":"{}"}} DELAY 600000"#, "x".repeat(900));
    for _ in 0..9 {
        let id = enqueue(&mut wire, &long);
        assert_eq!(wire.run(&format!("BEAR.REMOVE bear {id}")).int(), 1);
    }
    assert_eq!((stat(&mut wire, "bear", "bytes"), redis.info("bear").int("bear_jobs_delayed")), (0, 0));
}

#[test]
fn a_stream_that_takes_anothers_place_is_not_taken_for_applied() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    assert!(wire.run("BEAR.PAUSE color").is_ok());
    let strange = enqueue(&mut wire, r##"color CREATE_COLOR {"name":"pink","hex":"#ffc0cb"}"##);
    // Ids of two queues may be equal; not these.
    let enqueued_ms = jobs::parse_id(&strange).0;
    eventually("another millisecond begins", || {
        let time = wire
            .run("TIME")
            .list()
            .iter()
            .map(|part| part.text().parse::<u64>().expect("a number"))
            .collect::<Vec<_>>();
        time[0] * 1000 + time[1] / 1000 > enqueued_ms
    });
    complete(&mut wire, RENAME);
    assert!(wire.run("RENAME color:queue bear:queue").is_ok());
    eventually("the queue says so", || {
        wire.run("BEAR.STATS bear").map()["ledger"].text().starts_with("LEDGER the stream was replaced")
    });
    assert_eq!(state(&mut wire, "bear", &strange), "waiting");
    assert!(wire.run("BEAR.RESUME bear").is_ok());
    // It is no job of this section.
    wait_state(&mut wire, "bear", &strange, "failed");
    complete(&mut wire, RENAME);
}

#[test]
fn who_hangs_up_waits_for_no_job_any_more() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    let waiting = || redis.info("bear").int("bear_clients_waiting_for_jobs");
    for _ in 0..5 {
        redis.wire().begin(&format!("BEAR.ENQUEUE {RENAME} UNIQUE one BLOCK 0"));
    }
    let mut stays = redis.wire();
    stays.begin(&format!("BEAR.ENQUEUE {RENAME} UNIQUE one BLOCK 0"));
    eventually("one of them is left", || waiting() == 1);
    set_drain(&mut redis.wire(), "yes");
    assert_eq!(stays.receive().map()["state"].text(), "completed");
    assert_eq!(waiting(), 0);
}

#[test]
fn unique_keys_count_for_a_full_queue_only_while_their_job_is_queued() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).start();
    let mut wire = redis.wire();
    // The queue is never empty: what is left over would stay.
    assert!(wire.run("BEAR.PAUSE bear").is_ok());
    enqueue(&mut wire, &format!("{RENAME} DELAY 600000"));
    let alone = stat(&mut wire, "bear", "bytes");
    for key in 0..20 {
        enqueue(&mut wire, &format!("{RENAME} UNIQUE {}{key}", "k".repeat(900)));
    }
    assert!(stat(&mut wire, "bear", "bytes") > alone + 20 * 900);
    assert!(wire.run("BEAR.RESUME bear").is_ok());
    eventually("they have completed", || stat(&mut wire, "bear", "completed") == 20);
    assert_eq!(stat(&mut wire, "bear", "bytes"), alone);
}

#[test]
fn asking_about_spaces_keeps_none_in_memory() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    for command in ["BEAR.STATS bear", "BEAR.JOB bear 1-1", "BEAR.JOBS bear failed", "BEAR.REMOVE bear 1-1"] {
        assert!(!wire.run(command).is_error(), "{command}");
    }
    assert_eq!(redis.info("bear").int("bear_queues"), 0);
}

#[test]
fn work_that_waits_for_its_time_or_a_free_applier_costs_nothing() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    set_drain(&mut wire, "no");
    enqueue(&mut wire, &format!("{RENAME} DELAY 1"));
    complete_later(&mut wire);
    let used = || redis.info("cpu").text("used_cpu_user_main_thread").parse::<f64>().expect("seconds");
    let before = used();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let share = used() - before;
    assert!(share < 0.2, "{share} s of a second while nothing can be done");
}

/// A job that was left out and whose time comes while nothing is applied.
fn complete_later(wire: &mut crate::support::Wire) {
    set_drain(wire, "yes");
    let id = enqueue(wire, &format!("{RENAME} DELAY 700"));
    wait_state(wire, "bear", &id, "delayed");
    eventually("it is left out", || wire.run("INFO bear").text().contains("bear_jobs_left_out:1"));
    set_drain(wire, "no");
}

/// What is done to one queue's keys is nobody else's business.
#[test]
fn who_waits_for_jobs_of_other_queues_hears_nothing_of_one_that_is_deleted() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    for keys in ["DEL bear:queue", "UNLINK bear:queue:id", "SET bear:queue:id 5", "RENAME bear:queue elsewhere"] {
        let (mut of_bear, mut of_color) = (redis.wire(), redis.wire());
        of_color.begin(r##"BEAR.ENQUEUE color CREATE_COLOR {"name":"pink","hex":"#ffc0cb"} UNIQUE pink BLOCK 0"##);
        of_bear.begin(&format!("BEAR.ENQUEUE {RENAME} BLOCK 0"));
        redis.wait_blocked(2);
        let mut wire = redis.wire();
        assert!(!wire.run(keys).is_error(), "{keys}");
        let told = of_bear.receive();
        assert!(told.error().starts_with("ERR the queue was replaced"), "{keys}: {told:?}");
        redis.wait_blocked(1);
        assert_eq!(stat(&mut wire, "color", "waiting"), 1, "{keys}");
        set_drain(&mut wire, "yes");
        assert_eq!(of_color.receive().map()["state"].text(), "completed", "{keys}");
        set_drain(&mut wire, "no");
        assert!(redis.run("FLUSHALL").is_ok());
        database.run("DELETE FROM color WHERE name = 'pink'");
    }
}

/// Keys of claimed jobs are beside those of SQL jobs.
#[test]
fn what_others_do_to_keys_of_claimed_jobs_says_nothing_of_sql_jobs() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    let (mut wire, mut waiting) = (redis.wire(), redis.wire());
    waiting.begin(&format!("BEAR.ENQUEUE {RENAME} BLOCK 0"));
    redis.wait_blocked(1);
    for line in [
        "HSET bear:queue:work:claims a b",
        "XADD bear:queue:work 1-1 a b",
        "DEL bear:queue:work:claims bear:queue:work",
    ] {
        assert!(!wire.run(line).is_error(), "{line}");
        assert_eq!(stat(&mut wire, "bear", "waiting"), 1, "{line}");
    }
    set_drain(&mut wire, "yes");
    assert_eq!(waiting.receive().map()["state"].text(), "completed");
    assert!(!redis.log().contains("by another hand"), "{}", redis.log());
}

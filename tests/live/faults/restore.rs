//! Histories of a queue that do not fit together: a clock that steps back, a Redis with what it had before, two that both
//! hold the queue, a queue that is gone. A new job is never silently skipped, an old one never repeated.

use std::time::Duration;

use crate::support::marked::{
    self, assert_applied_once, assert_each_once, assert_order, enqueue_many, wait_drained, Job,
};
use crate::support::{eventually, stays, Clock, Database, Gate, Proxy, Redis, Reply};

fn start() -> (Database, Proxy, Redis) {
    let database = marked::database();
    let proxy = Proxy::to(database.postgres().port());
    let redis = marked::redis(&database, &proxy).append_only().start();
    (database, proxy, redis)
}

/// A job of bear 1 whose batch stands at a gate.
fn hold(redis: &Redis, database: &Database) -> Gate {
    let mut gate = database.close_gate();
    Job::Hold { id: 1 }.enqueue(redis, "held");
    gate.wait(1);
    gate
}

#[test]
fn a_clock_that_steps_back_skips_and_repeats_nothing() {
    let clock = Clock::new();
    let database = marked::database();
    let proxy = Proxy::to(database.postgres().port());
    let mut redis = marked::redis(&database, &proxy).append_only().clock(&clock).start();
    let mut marks = enqueue_many(&redis, "before", 10);
    wait_drained(&redis);
    clock.shift(-3600);
    marks.extend(enqueue_many(&redis, "back", 10));
    wait_drained(&redis);
    clock.shift(-86_400);
    redis.kill9();
    redis.start_again();
    marks.extend(enqueue_many(&redis, "restarted", 10));
    wait_drained(&redis);
    assert_applied_once(&database, &marks);
}

#[test]
fn a_clock_that_steps_back_while_jobs_wait_skips_and_repeats_nothing() {
    let clock = Clock::new();
    let database = marked::database();
    let proxy = Proxy::to(database.postgres().port());
    let mut redis = marked::redis(&database, &proxy).append_only().clock(&clock).start();
    proxy.cut();
    let mut marks = enqueue_many(&redis, "before", 10);
    clock.shift(-3600);
    marks.extend(enqueue_many(&redis, "back", 10));
    redis.kill9();
    clock.shift(-7200);
    redis.start_again();
    marks.extend(enqueue_many(&redis, "restarted", 10));
    proxy.resume();
    wait_drained(&redis);
    assert_applied_once(&database, &marks);
}

/// With the clock back, new jobs have ids that others had, which were applied and which this Redis does not know.
#[test]
fn an_older_append_only_file_repeats_nothing_and_skips_nothing() {
    for shift in [0, -3600] {
        let clock = Clock::new();
        let database = marked::database();
        let proxy = Proxy::to(database.postgres().port());
        let mut redis = marked::redis(&database, &proxy).append_only().clock(&clock).start();
        proxy.cut();
        let mut marks = enqueue_many(&redis, "saved", 10);
        let backup = redis.copy_data();
        marks.extend(enqueue_many(&redis, "unsaved", 10));
        proxy.resume();
        wait_drained(&redis);
        redis.kill9();
        redis.restore_data(&backup);
        clock.shift(shift);
        redis.start_again();
        marks.extend(enqueue_many(&redis, "after", 10));
        wait_drained(&redis);
        assert_applied_once(&database, &marks);
    }
}

#[test]
fn an_rdb_of_yesterday_repeats_nothing_and_skips_nothing() {
    for shift in [0, -86_400] {
        let clock = Clock::new();
        let database = marked::database();
        let proxy = Proxy::to(database.postgres().port());
        let mut redis = marked::redis(&database, &proxy).clock(&clock).start();
        let mut marks = enqueue_many(&redis, "first", 10);
        wait_drained(&redis);
        proxy.cut();
        marks.extend(enqueue_many(&redis, "saved", 10));
        assert!(redis.run("SAVE").is_ok());
        marks.extend(enqueue_many(&redis, "unsaved", 10));
        proxy.resume();
        wait_drained(&redis);
        redis.kill9();
        clock.shift(shift);
        redis.start_again();
        assert_eq!(redis.run("EXISTS bear:queue"), Reply::Int(1), "the RDB has a queue");
        marks.extend(enqueue_many(&redis, "after", 10));
        wait_drained(&redis);
        assert_applied_once(&database, &marks);
    }
}

/// What waited for another attempt, and what waited behind it, has settled since the backup.
#[test]
fn what_was_left_out_in_a_backup_is_not_repeated() {
    let (database, _proxy, mut redis) = start();
    let mut command = Job::Recolor { id: 1, colors: vec!["mauve"] }.command("bad");
    command.extend(["ATTEMPTS", "2", "BACKOFF", "1500"].map(str::to_owned));
    assert!(!redis.wire().call(&command).is_error());
    eventually("it waits for its second attempt", || marked::stat(&redis, "delayed") == Reply::Int(1));
    let marks = enqueue_many(&redis, "other", 16);
    eventually("all but those behind it are applied", || marked::applied(&database).len() == 14);
    let backup = redis.copy_data();
    wait_drained(&redis);
    redis.kill9();
    redis.restore_data(&backup);
    redis.start_again();
    wait_drained(&redis);
    assert_applied_once(&database, &marks);
}

/// What an operator paused is not what the ledger paused: nothing is taken for not applied.
#[test]
fn resuming_an_older_queue_that_was_paused_repeats_nothing() {
    let (database, _proxy, mut redis) = start();
    assert!(!redis.run("BEAR.PAUSE bear").is_error());
    let marks = enqueue_many(&redis, "saved", 10);
    let backup = redis.copy_data();
    assert!(redis.run("BEAR.RESUME bear").is_ok());
    wait_drained(&redis);
    redis.kill9();
    redis.restore_data(&backup);
    redis.start_again();
    assert_eq!(redis.run("XLEN bear:queue"), Reply::Int(10));
    assert!(redis.run("BEAR.RESUME bear").is_ok());
    wait_drained(&redis);
    assert_applied_once(&database, &marks);
}

/// Both hold the same jobs, and both take new ones.
#[test]
fn a_second_redis_with_a_copy_of_the_queue_repeats_and_skips_nothing() {
    let (database, proxy, one) = start();
    let mut common = enqueue_many(&one, "first", 10);
    wait_drained(&one);
    proxy.cut();
    common.extend(enqueue_many(&one, "common", 10));
    let other = marked::redis(&database, &proxy).append_only().data_of(&one).start();
    let mut of_one = enqueue_many(&one, "one", 10);
    let mut of_other = enqueue_many(&other, "other", 10);
    proxy.resume();
    wait_drained(&one);
    wait_drained(&other);
    of_one.extend(enqueue_many(&one, "one_later", 10));
    of_other.extend(enqueue_many(&other, "other_later", 10));
    wait_drained(&one);
    wait_drained(&other);
    assert_each_once(&database, &[common.clone(), of_one.clone(), of_other.clone()].concat());
    for own in [of_one, of_other] {
        assert_order(&database, &[common.clone(), own].concat());
    }
}

#[test]
fn two_masters_of_one_queue_repeat_and_skip_nothing() {
    let (database, proxy, master) = start();
    let mut common = enqueue_many(&master, "first", 10);
    wait_drained(&master);
    let replica = marked::redis(&database, &proxy).append_only().replica_of(&master).start();
    proxy.cut();
    common.extend(enqueue_many(&master, "common", 10));
    replica.wait_in_sync(&master);
    assert!(replica.run("REPLICAOF NO ONE").is_ok());
    let mut of_master = enqueue_many(&master, "master", 10);
    let mut of_promoted = enqueue_many(&replica, "promoted", 10);
    proxy.resume();
    of_master.extend(enqueue_many(&master, "master_later", 10));
    of_promoted.extend(enqueue_many(&replica, "promoted_later", 10));
    wait_drained(&master);
    wait_drained(&replica);
    assert_each_once(&database, &[common.clone(), of_master.clone(), of_promoted.clone()].concat());
    for own in [of_master, of_promoted] {
        assert_order(&database, &[common.clone(), own].concat());
    }
}

#[test]
fn a_flush_ends_the_queue_and_a_new_one_begins() {
    for flush in ["FLUSHALL", "FLUSHALL ASYNC", "FLUSHDB"] {
        let (database, _proxy, redis) = start();
        let first = enqueue_many(&redis, "first", 8);
        wait_drained(&redis);
        let gate = hold(&redis, &database);
        let mut waiter = redis.wire();
        let mut command = Job::Rename { id: 2 }.command("awaited");
        command.extend(["BLOCK", "0"].map(str::to_owned));
        waiter.send(&command);
        redis.wait_blocked(1);
        enqueue_many(&redis, "queued", 8);
        assert!(redis.run(flush).is_ok());
        assert!(waiter.receive().is_error(), "{flush}: who waited is told");
        assert_eq!(redis.run("EXISTS bear:queue"), Reply::Int(0));
        let after = enqueue_many(&redis, "after", 8);
        gate.open();
        wait_drained(&redis);
        // What stood at the gate may have been committed, or not.
        let held = marked::applied(&database).into_iter().filter(|mark| mark == "held");
        let expected: Vec<String> = first.into_iter().chain(held.take(1)).chain(after).collect();
        assert_each_once(&database, &expected);
    }
}

/// Ids begin where the clock is, below those of the queue before.
#[test]
fn a_queue_that_was_deleted_begins_anew() {
    for keys in ["bear:queue", "bear:queue bear:queue:id", "bear:queue bear:queue:id bear:queue:ledger"] {
        let clock = Clock::new();
        let database = marked::database();
        let proxy = Proxy::to(database.postgres().port());
        let redis = marked::redis(&database, &proxy).append_only().clock(&clock).start();
        let mut marks = enqueue_many(&redis, "before", 8);
        wait_drained(&redis);
        clock.shift(-3600);
        assert!(!redis.run(&format!("DEL {keys}")).is_error());
        marks.extend(enqueue_many(&redis, "after", 8));
        wait_drained(&redis);
        assert_applied_once(&database, &marks);
    }
}

/// Of a queue that nobody used for a while nothing is in memory, not even how far its ids had come.
#[test]
fn a_forgotten_queue_that_was_deleted_begins_anew() {
    for command in ["DEL bear:queue", "RENAME bear:queue elsewhere"] {
        let clock = Clock::new();
        let database = marked::database();
        let proxy = Proxy::to(database.postgres().port());
        let redis = marked::redis(&database, &proxy).clock(&clock).env("BEAR_IDLE_MS", "100").start();
        let mut marks = enqueue_many(&redis, "before", 8);
        wait_drained(&redis);
        eventually("it is forgotten", || redis.info("bear").int("bear_queues") == 0);
        clock.shift(-3600);
        let mut wire = redis.wire();
        wire.begin(command);
        // Before the server has looked around.
        wire.send(&Job::Grow { id: 1, by: 1 }.command("after"));
        assert!(!wire.receive().is_error() && !wire.receive().is_error());
        marks.push("after".into());
        marks.extend(enqueue_many(&redis, "later", 8));
        wait_drained(&redis);
        assert_applied_once(&database, &marks);
    }
}

#[test]
fn databases_that_are_swapped_bring_their_queues() {
    let (database, _proxy, redis) = start();
    let mut marks = enqueue_many(&redis, "before", 8);
    wait_drained(&redis);
    let gate = hold(&redis, &database);
    marks.push("held".to_owned());
    marks.extend(enqueue_many(&redis, "queued", 8));
    assert!(redis.run("SWAPDB 0 1").is_ok());
    assert_eq!(redis.run("EXISTS bear:queue"), Reply::Int(0));
    let other = enqueue_many(&redis, "other", 8);
    gate.open();
    wait_drained(&redis);
    stays("what was swapped away rests", Duration::from_millis(200), || {
        !marked::applied(&database).iter().any(|mark| mark.starts_with("queued"))
    });
    assert!(redis.run("SWAPDB 0 1").is_ok());
    marks.extend(enqueue_many(&redis, "after", 8));
    wait_drained(&redis);
    assert_each_once(&database, &[marks.clone(), other].concat());
    assert_order(&database, &marks);
}

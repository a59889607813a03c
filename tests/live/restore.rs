//! Histories that do not fit together: a clock that steps back, a Redis or a Postgres with what it had before, two that
//! both hold a queue, a queue or a ledger that is gone. A new job is never silently skipped, an old one never repeated;
//! where the ledger cannot tell, the queue pauses and says so.

use std::time::Duration;

use crate::support::marked::{
    self, assert_applied_once, assert_each_once, assert_order, enqueue_many, wait_drained, Job,
};
use crate::support::server::Builder;
use crate::support::{eventually, stays, Clock, Database, Gate, Postgres, Proxy, Redis, Reply};

/// A Redis that reaches Postgres through a wire of its own: while that is cut, jobs stay in the queue.
fn builder(database: &Database, proxy: &Proxy) -> Builder {
    Redis::builder()
        .env("BEAR_POSTGRES_URL", database.url_through(proxy.port()))
        .catalog(marked::catalog())
        .config("appendfsync", "always")
        .config("bear.lock-timeout-ms", 30_000)
        .config("bear.apply-timeout-ms", 30_000)
}

fn start() -> (Database, Proxy, Redis) {
    start_in(Postgres::shared())
}

fn start_in(postgres: &Postgres) -> (Database, Proxy, Redis) {
    let database = marked::database_in(postgres);
    let proxy = Proxy::to(postgres.port());
    let redis = builder(&database, &proxy).append_only().start();
    (database, proxy, redis)
}

/// The queue has paused by itself, and says why; nothing is applied beyond `marks`.
#[track_caller]
fn assert_pauses(redis: &Redis, database: &Database, marks: &[String]) {
    eventually("the queue pauses with LEDGER", || marked::stat(redis, "ledger").text().starts_with("LEDGER"));
    stays("nothing is applied", Duration::from_millis(300), || marked::applied(database).len() == marks.len());
    assert_each_once(database, marks);
}

#[track_caller]
fn resume(redis: &Redis) {
    let reply = redis.run("BEAR.RESUME bear");
    assert!(!reply.is_error(), "{reply:?}");
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
    let mut redis = builder(&database, &proxy).append_only().clock(&clock).start();
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
    let mut redis = builder(&database, &proxy).append_only().clock(&clock).start();
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
        let mut redis = builder(&database, &proxy).append_only().clock(&clock).start();
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
        let mut redis = builder(&database, &proxy).clock(&clock).start();
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
    resume(&redis);
    wait_drained(&redis);
    redis.kill9();
    redis.restore_data(&backup);
    redis.start_again();
    assert_eq!(redis.run("XLEN bear:queue"), Reply::Int(10));
    resume(&redis);
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
    let other = builder(&database, &proxy).append_only().data_of(&one).start();
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
    let replica = builder(&database, &proxy).append_only().replica_of(&master).start();
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
        let redis = builder(&database, &proxy).append_only().clock(&clock).start();
        let mut marks = enqueue_many(&redis, "before", 8);
        wait_drained(&redis);
        clock.shift(-3600);
        assert!(!redis.run(&format!("DEL {keys}")).is_error());
        marks.extend(enqueue_many(&redis, "after", 8));
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

#[test]
fn without_its_ledger_the_queue_pauses_until_it_is_told_to_go_on() {
    for damage in [
        "DROP SCHEMA bear CASCADE",
        "DELETE FROM bear.ledger",
        "TRUNCATE bear.ledger, bear.left_out",
        "UPDATE bear.ledger SET mark_ms = mark_ms - 1000",
    ] {
        let (database, _proxy, mut redis) = start();
        let mut marks = enqueue_many(&redis, "before", 8);
        wait_drained(&redis);
        database.run(damage);
        let waiting = enqueue_many(&redis, "waiting", 8);
        assert_pauses(&redis, &database, &marks);
        marks.extend(waiting);
        // Nor does a restart make it forget, though the epoch is another.
        redis.kill9();
        redis.start_again();
        let later = enqueue_many(&redis, "later", 8);
        assert_pauses(&redis, &database, &marks[..8]);
        marks.extend(later);
        resume(&redis);
        wait_drained(&redis);
        assert_applied_once(&database, &marks);
        // From here on it knows again.
        redis.kill9();
        redis.start_again();
        marks.extend(enqueue_many(&redis, "after", 8));
        wait_drained(&redis);
        assert_applied_once(&database, &marks);
        assert!(!marked::stat(&redis, "ledger").text().starts_with("LEDGER"), "{damage}");
    }
}

#[test]
fn a_ledger_that_goes_while_jobs_wait_pauses_the_queue() {
    let (database, proxy, redis) = start();
    let mut marks = enqueue_many(&redis, "before", 8);
    wait_drained(&redis);
    proxy.cut();
    let waiting = enqueue_many(&redis, "waiting", 8);
    database.run("DROP SCHEMA bear CASCADE");
    proxy.resume();
    assert_pauses(&redis, &database, &marks);
    marks.extend(waiting);
    resume(&redis);
    wait_drained(&redis);
    assert_applied_once(&database, &marks);
}

#[test]
fn a_postgres_restored_from_before_pauses_the_queue() {
    for redis_restarts in [false, true] {
        let postgres = Postgres::start();
        let (database, proxy, mut redis) = start_in(&postgres);
        let mut marks = enqueue_many(&redis, "before", 8);
        wait_drained(&redis);
        proxy.cut();
        postgres.stop_fast();
        let backup = postgres.copy_data();
        postgres.start_again();
        proxy.resume();
        // Applied, and then undone by the restore.
        enqueue_many(&redis, "undone", 8);
        wait_drained(&redis);
        proxy.cut();
        let waiting = enqueue_many(&redis, "waiting", 8);
        postgres.stop_fast();
        postgres.restore_data(&backup);
        postgres.start_again();
        if redis_restarts {
            redis.kill9();
            redis.start_again();
        }
        proxy.resume();
        assert_pauses(&redis, &database, &marks);
        marks.extend(waiting);
        resume(&redis);
        marks.extend(enqueue_many(&redis, "after", 8));
        wait_drained(&redis);
        assert_applied_once(&database, &marks);
    }
}

/// A standby that had not received the last commits is a restore as well; one that had them all is none.
#[test]
fn a_failover_of_postgres_pauses_the_queue_where_commits_are_lost() {
    for loses_commits in [true, false] {
        let primary = Postgres::start();
        let (database, proxy, redis) = start_in(&primary);
        let standby = primary.standby();
        let promoted = database.in_cluster(&standby);
        let mut marks = enqueue_many(&redis, "before", 8);
        wait_drained(&redis);
        standby.wait_in_sync(&primary);
        if loses_commits {
            standby.stop_fast();
        }
        let last = enqueue_many(&redis, "last", 8);
        wait_drained(&redis);
        if loses_commits {
            primary.stop_immediate();
            standby.start_again();
        } else {
            marks.extend(last);
            standby.wait_in_sync(&primary);
            primary.stop_immediate();
        }
        standby.promote();
        let waiting = enqueue_many(&redis, "waiting", 8);
        proxy.lead_to(standby.port());
        if loses_commits {
            assert_pauses(&redis, &promoted, &marks);
            resume(&redis);
        }
        marks.extend(waiting);
        wait_drained(&redis);
        assert_applied_once(&promoted, &marks);
    }
}

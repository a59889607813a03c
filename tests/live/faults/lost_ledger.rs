//! A Postgres that knows less than Redis: a ledger that was dropped, a backup that was restored, a standby that had not
//! received the last commits. Nobody can tell then what has been applied: the queue pauses with `LEDGER`, and goes on when
//! an operator says that what is still queued counts as not applied.

use std::time::Duration;

use crate::support::marked::{self, assert_applied_once, assert_each_once, enqueue_many, wait_drained};
use crate::support::{eventually, stays, Database, Postgres, Proxy, Redis};

fn start_in(postgres: &Postgres) -> (Database, Proxy, Redis) {
    let database = marked::database_in(postgres);
    let proxy = Proxy::to(postgres.port());
    let redis = marked::redis(&database, &proxy).append_only().start();
    (database, proxy, redis)
}

fn start() -> (Database, Proxy, Redis) {
    start_in(Postgres::shared())
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

/// The epochs of its jobs are gathered in slices; what is put there meanwhile was not looked at by who said so.
#[test]
fn a_stream_that_is_replaced_while_it_is_resumed_is_not_resumed() {
    let (database, _proxy, redis) = start();
    let marks = enqueue_many(&redis, "before", 8);
    wait_drained(&redis);
    assert!(redis.run("BEAR.PAUSE bear").is_ok());
    enqueue_many(&redis, "of before", 3);
    assert_eq!(redis.run("COPY bear:queue elsewhere"), crate::support::Reply::Int(1));
    database.run("DROP SCHEMA bear CASCADE");
    assert!(redis.run("BEAR.RESUME bear").is_ok());
    assert_pauses(&redis, &database, &marks);
    enqueue_many(&redis, "waiting", 20_000);
    for replace in ["RENAME elsewhere bear:queue", "DEL bear:queue", "XTRIM bear:queue MAXLEN 5"] {
        assert_pauses(&redis, &database, &marks);
        let mut operator = redis.wire();
        let mut other = redis.wire();
        operator.begin("BEAR.RESUME bear");
        redis.wait_blocked(1);
        assert!(!other.run(&format!("COPY bear:queue kept{} REPLACE", replace.len())).is_error());
        assert!(!other.run(replace).is_error(), "{replace}");
        let reply = operator.receive();
        assert!(reply.is_error() && reply.error().contains("another hand"), "{replace}: {reply:?}");
        assert!(!other.run(&format!("RENAME kept{} bear:queue", replace.len())).is_error());
    }
}

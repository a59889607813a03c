//! A primary that dies under load, and a standby that is promoted, behind a URL with both hosts: how soon everything goes on, that
//! what was cached goes, that no job is done twice, and that the queue pauses with `LEDGER` where commits were lost and nowhere else.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::marked::{self, assert_each_once, enqueue_many, wait_drained};
use crate::support::postgres::SUPERUSER;
use crate::support::{eventually, feed, stays, Database, Postgres, Proxy, Redis, StopAtEnd};

/// Both servers, each behind a relay, so that the dead one can be looked into without the module's seeing it.
struct Pair {
    primary: Postgres,
    standby: Postgres,
    database: Database,
    promoted: Database,
    to_primary: Proxy,
    redis: Redis,
}

impl Pair {
    fn start(feed: &str) -> Pair {
        let primary = Postgres::start_logical();
        let database = marked::database_in(&primary);
        let standby = primary.standby();
        standby.wait_in_sync(&primary);
        let promoted = database.in_cluster(&standby);
        let (to_primary, to_standby) = (Proxy::to(primary.port()), Proxy::to(standby.port()));
        let url = format!(
            "postgres://{SUPERUSER}@127.0.0.1:{},127.0.0.1:{}/{}?target_session_attrs=read-write",
            to_primary.port(),
            to_standby.port(),
            database.name()
        );
        // The relays end with the test.
        std::mem::forget(to_standby);
        let redis = Redis::builder()
            .env("BEAR_POSTGRES_URL", url)
            .catalog(marked::catalog())
            .config("bear.feed", feed)
            .append_only()
            .start();
        feed::wait_told(&redis);
        Pair { primary, standby, database, promoted, to_primary, redis }
    }

    /// Commits wait for the standby from now on.
    fn make_synchronous(&self, commit: &str) {
        let mut client = self.primary.client(SUPERUSER);
        for sql in [
            "ALTER SYSTEM SET synchronous_standby_names = 'standby'",
            &format!("ALTER SYSTEM SET synchronous_commit = {commit}"),
            "SELECT pg_reload_conf()",
        ] {
            client.batch_execute(sql).expect("a setting");
        }
        eventually("the standby is synchronous", || {
            let sql = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
            client.query_one(sql, &[]).expect("a number").get::<_, i64>(0) == 1
        });
        // It is in force once the checkpointer has read it; the first may have begun already.
        client.batch_execute("CHECKPOINT").expect("a checkpoint");
        client.batch_execute("CHECKPOINT").expect("a checkpoint");
    }

    /// The standby receives nothing more.
    fn part(&self) {
        let mut client = self.standby.client(SUPERUSER);
        client.batch_execute("ALTER SYSTEM SET primary_conninfo = ''").expect("a setting");
        client.batch_execute("SELECT pg_reload_conf()").expect("a setting");
        eventually("the standby receives no more", || {
            let sql = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'";
            client.query_one(sql, &[]).expect("a number").get::<_, i64>(0) == 0
        });
    }

    /// The primary dies and the standby becomes one; how long until queries, jobs and the feed went on.
    fn fail_over(&self) -> [Duration; 3] {
        let begun = Instant::now();
        self.primary.kill9();
        self.to_primary.cut();
        self.standby.promote();
        let promoted = begun.elapsed();
        self.promoted.run("UPDATE bear SET name = 'promoted' WHERE id = 8");
        let mut wire = self.redis.wire();
        eventually("queries go on", || !wire.run("BEAR.QUERY bear FRESH all").is_error());
        let queries = begun.elapsed();
        let shown = wire.run("BEAR.QUERY bear all").text();
        assert!(shown.contains("promoted"), "nothing older is served: {shown}");
        // The queue may have paused, which is one way of going on.
        let applied = marked::applied(&self.promoted).len();
        eventually("jobs go on", || self.is_paused() || marked::applied(&self.promoted).len() > applied);
        let jobs = begun.elapsed();
        feed::wait_told(&self.redis);
        let told = begun.elapsed();
        println!(
            "promoted after {promoted:?}; queries after {queries:?}, jobs after {jobs:?}, the feed after {told:?}"
        );
        [queries, jobs, told].map(|took| took - promoted.min(took))
    }

    fn is_paused(&self) -> bool {
        marked::stat(&self.redis, "ledger").text().starts_with("LEDGER")
    }

    /// What the primary had committed when it died.
    fn committed(&self) -> HashSet<String> {
        self.primary.start_again();
        let committed = marked::applied(&self.database).into_iter().collect();
        self.primary.stop_immediate();
        committed
    }

    /// What somebody else changes at the new primary is told.
    #[track_caller]
    fn assert_fed(&self) {
        let mut wire = self.redis.wire();
        wire.run("BEAR.QUERY bear all").text();
        self.redis.wait_stored();
        self.promoted.run("UPDATE bear SET name = 'fed' WHERE id = 8");
        feed::wait_told(&self.redis);
        let shown = wire.run("BEAR.QUERY bear all").text();
        assert!(shown.contains("fed"), "{shown}");
    }
}

/// Enqueues and asks without an end while `act` runs; all that was enqueued, and what `act` says.
fn under_load<T>(redis: &Redis, act: impl FnOnce() -> T) -> (Vec<String>, T) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut marks = Vec::new();
            let mut wire = redis.wire();
            while !over.load(Ordering::Relaxed) {
                marks.extend(enqueue_many(redis, &format!("load{}_", marks.len()), 8));
                let _ = wire.run("BEAR.QUERY bear all");
                // A load, and no flood that takes long to drain.
                std::thread::sleep(Duration::from_millis(5));
            }
            marks
        });
        let stop = StopAtEnd(&over);
        let done = act();
        drop(stop);
        (load.join().expect("the load"), done)
    })
}

#[test]
fn after_a_promotion_all_goes_on_and_each_job_is_done_once() {
    fail_over_under_load("wal");
}

#[test]
fn after_a_promotion_the_outbox_goes_on_too() {
    fail_over_under_load("outbox");
}

fn fail_over_under_load(kind: &str) {
    let pair = Pair::start(kind);
    let (mut marks, took) = under_load(&pair.redis, || {
        eventually("jobs are applied", || marked::applied(&pair.database).len() > 200);
        pair.fail_over()
    });
    let committed = pair.committed();
    // Of those that were lost, Redis may have heard of none.
    let kept: HashSet<String> = marked::applied(&pair.promoted).into_iter().collect();
    let is_paused = pair.is_paused();
    println!("{kind}: {} jobs, paused: {is_paused}", marks.len());
    if is_paused {
        let lost = committed.difference(&kept).count();
        assert!(lost > 0, "it pauses without a loss");
        assert!(!pair.redis.run("BEAR.RESUME bear").is_error());
        wait_drained(&pair.redis);
        // What was told to be done before the loss is not done again.
        let now: HashSet<String> = marked::applied(&pair.promoted).into_iter().collect();
        marks.retain(|mark| now.contains(mark) || !committed.contains(mark));
    }
    marks.extend(enqueue_many(&pair.redis, "after", 8));
    wait_drained(&pair.redis);
    assert_each_once(&pair.promoted, &marks);
    assert_eq!(marked::stat(&pair.redis, "failed").int(), 0);
    pair.assert_fed();
    assert!(took.iter().all(|took| *took < Duration::from_secs(5)), "{took:?} after the promotion");
}

#[test]
fn a_promotion_that_loses_commits_pauses_the_queue_and_shows_nothing_of_them() {
    let pair = Pair::start("wal");
    let mut marks = enqueue_many(&pair.redis, "kept", 8);
    wait_drained(&pair.redis);
    pair.standby.wait_in_sync(&pair.primary);
    pair.part();
    enqueue_many(&pair.redis, "lost", 8);
    wait_drained(&pair.redis);
    pair.database.run("UPDATE bear SET name = 'lost' WHERE id = 7");
    feed::wait_told(&pair.redis);
    assert!(pair.redis.run("BEAR.QUERY bear all").text().contains("lost"));
    pair.redis.wait_stored();
    // What is enqueued from here on is not among it.
    pair.to_primary.cut();
    let (waiting, _) = under_load(&pair.redis, || pair.fail_over());
    eventually("the queue pauses with LEDGER", || pair.is_paused());
    let shown = pair.redis.run("BEAR.QUERY bear all").text();
    assert!(!shown.contains("lost"), "{shown}");
    stays("nothing is applied", Duration::from_millis(300), || marked::applied(&pair.promoted).len() == marks.len());
    assert!(!pair.redis.run("BEAR.RESUME bear").is_error());
    marks.extend(waiting);
    marks.extend(enqueue_many(&pair.redis, "after", 8));
    wait_drained(&pair.redis);
    assert_each_once(&pair.promoted, &marks);
}

#[test]
fn a_synchronous_standby_loses_nothing_and_the_queue_does_not_pause() {
    fail_over_to_synchronous("on");
}

#[test]
fn nor_does_it_where_commits_wait_until_they_are_visible_there() {
    fail_over_to_synchronous("remote_apply");
}

fn fail_over_to_synchronous(commit: &str) {
    let pair = Pair::start("wal");
    pair.make_synchronous(commit);
    let (mut marks, took) = under_load(&pair.redis, || {
        eventually("jobs are applied", || marked::applied(&pair.database).len() > 200);
        pair.fail_over()
    });
    assert!(!pair.is_paused(), "{commit}");
    marks.extend(enqueue_many(&pair.redis, "after", 8));
    wait_drained(&pair.redis);
    assert_each_once(&pair.promoted, &marks);
    pair.assert_fed();
    assert!(took.iter().all(|took| *took < Duration::from_secs(5)), "{took:?} after the promotion");
}

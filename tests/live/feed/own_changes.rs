//! What a job changes is dropped once, though the change feed hears of it, too; what it changes and does not tell of is
//! dropped by the feed.

use crate::support::feed::{is_cached, wait_told};
use crate::support::jobs::complete;
use crate::support::{bears, eventually, Database, Postgres, Redis};

/// A database and a server that follows it, for each kind of feed.
fn each_feed(sql: &str, settings: &[(&str, &str)], check: impl Fn(&Database, &Redis)) {
    for feed in ["wal", "outbox"] {
        let database = bears::database_in(Postgres::shared_logical());
        database.run(sql);
        let redis = Redis::builder().postgres(&database).config("bear.feed", feed).prompt_feed();
        let redis = settings.iter().fold(redis, |redis, (name, value)| redis.config(name, *value)).start();
        wait_told(&redis);
        check(&database, &redis);
    }
}

fn figure(redis: &Redis, name: &str) -> i64 {
    redis.info("bear").int(&format!("bear_feed_{name}"))
}

#[test]
fn a_jobs_own_rows_are_not_dropped_a_second_time() {
    each_feed("", &[], |_, redis| {
        let mut wire = redis.wire();
        wire.run("BEAR.QUERY bear size 100 200");
        let (rows, heard) = (figure(redis, "rows"), figure(redis, "transactions"));
        for name in ["Boo-Boo", "Cindy", "Ranger"] {
            complete(&mut wire, &format!(r#"bear UPDATE_BEAR_NAME {{"id":5,"name":"{name}"}}"#));
            assert!(wire.run("BEAR.QUERY bear size 100 200").text().contains(name));
        }
        redis.wait_stored();
        wait_told(redis);
        eventually("the feed has heard of all three", || figure(redis, "transactions") >= heard + 3);
        assert_eq!(figure(redis, "rows"), rows);
        assert!(is_cached(&mut wire, "bear size 100 200"), "fetched after the last job");
    });
}

#[test]
fn what_a_job_has_not_told_of_is_told_by_the_feed() {
    let trigger = "CREATE FUNCTION follow_size() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN UPDATE public.bear SET size = NEW.size + 1 WHERE id = NEW.id + 1; RETURN NULL; END $$;
         CREATE TRIGGER follow_size AFTER UPDATE OF size ON bear FOR EACH ROW WHEN (pg_trigger_depth() = 0)
         EXECUTE FUNCTION follow_size()";
    each_feed(trigger, &[], |_, redis| {
        let mut wire = redis.wire();
        let calls = ["bear size 200 205", "bear size 300 305", "bear size 500 600"];
        for call in calls {
            wire.run(&format!("BEAR.QUERY {call}"));
        }
        redis.wait_stored();
        let rows = figure(redis, "rows");
        // Bear 6, of 200, follows.
        complete(&mut wire, r#"bear UPDATE_BEAR_SIZE {"id":5,"size":302}"#);
        assert!(!is_cached(&mut wire, "bear size 300 305"), "Yogi belongs there, as the job has told");
        wait_told(redis);
        assert_eq!(calls.map(|call| is_cached(&mut wire, call)), [false, false, true]);
        assert_eq!(figure(redis, "rows"), rows + 1);
        let found = wire.run("BEAR.QUERY bear size 300 305").text();
        assert!(found.contains("Yogi") && found.contains("Kumamon"), "{found}");
    });
}

#[test]
fn a_large_batch_drops_its_own_rows_and_not_all() {
    let more = "INSERT INTO bear(id, name, size) SELECT 10000 + i, 'b', 10000 + i FROM generate_series(1, 1500) i";
    let settings = [("bear.apply-batch-jobs", "5000"), ("bear.drain", "no")];
    each_feed(more, &settings, |_, redis| {
        let mut wire = redis.wire();
        let calls = ["bear size 100 200", "bear size 10001 10010", "bear size 50001 50010"];
        for call in calls {
            wire.run(&format!("BEAR.QUERY {call}"));
        }
        redis.wait_stored();
        let heard = figure(redis, "transactions");
        for bear in 1..=1500 {
            let payload = format!(r#"{{"id":{},"size":{}}}"#, 10_000 + bear, 50_000 + bear);
            assert!(!wire.call(&["BEAR.ENQUEUE", "bear", "UPDATE_BEAR_SIZE", &payload]).is_error());
        }
        assert!(wire.run("CONFIG SET bear.drain yes").is_ok());
        eventually("all are applied", || wire.run("XLEN bear:queue").int() == 0);
        wait_told(redis);
        eventually("the feed has heard of them", || figure(redis, "transactions") > heard);
        assert_eq!(calls.map(|call| is_cached(&mut wire, call)), [true, false, false]);
    });
}

//! One bad job holds up its own row alone, whatever its error says and whatever it does to its connection; an outage costs
//! nobody an attempt.

use std::time::{Duration, Instant};

use crate::support::jobs::{self, enqueue, error_of, find, ids_in, set_drain, stat, wait_settled, wait_state};
use crate::support::wait::wait_at_most;
use crate::support::{burst, eventually, Database, Postgres, Redis, Wire};

const CATALOG: &str = r#"
[item]
id = "int"
tables = { item = "id" }
[[item.query]]
call = "all"
sql = "SELECT id, value FROM item"
[item.job.SET]
data = { id = "int", value = "text" }
sql = "UPDATE item SET value = job.value FROM {jobs} job WHERE item.id = job.id RETURNING job.n, item.id, CASE WHEN job.value = 'endless' THEN 'infinity'::timestamptz ELSE now() END AS result"
[item.job.EACH]
data = { id = "int", value = "text" }
each = ["UPDATE item SET value = {value} WHERE id = {id}"]
[item.job.ALL]
data = { value = "text" }
order = "*"
sql = "UPDATE item SET value = job.value FROM {jobs} job WHERE item.id = 1 RETURNING job.n, item.id"
"#;

/// The value says what is to happen: `kill` ends its own backend, five characters are raised as a SQLSTATE.
const SCHEMA: &str = "
CREATE TABLE item (id bigint PRIMARY KEY, value text, changes int NOT NULL DEFAULT 0);
INSERT INTO item SELECT i, '' FROM generate_series(1, 2000) i;
CREATE FUNCTION misbehave() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.value = 'kill' THEN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(0.5); END IF;
    IF NEW.value ~ '^[0-9A-Z]{5}$' THEN RAISE EXCEPTION 'own' USING ERRCODE = NEW.value; END IF;
    IF NEW.value = 'slow' THEN PERFORM pg_sleep(0.4); END IF;
    NEW.changes := OLD.changes + 1;
    RETURN NEW;
END $$;
CREATE TRIGGER misbehave BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION misbehave();
";

fn start() -> (Database, Redis) {
    let database = Postgres::shared().database(SCHEMA);
    database.log_errors_only();
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).start();
    (database, redis)
}

fn job(kind: &str, id: usize, value: &str) -> String {
    format!(r#"item {kind} {{"id":{id},"value":"{value}"}} ATTEMPTS 1"#)
}

fn good(database: &Database) -> i64 {
    database.client().query_one("SELECT count(*) FROM item WHERE value = 'good'", &[]).expect("a count").get(0)
}

/// Enqueues a thousand jobs at once, some of them bad; ids of the bad ones, once all others are done, and how long that took.
fn race(database: &Database, redis: &Redis, kind: &str, bad: &[(usize, &str)]) -> (Vec<String>, Duration) {
    let mut wire = redis.wire();
    set_drain(&mut wire, "no");
    database.run("ALTER TABLE item DISABLE TRIGGER USER; UPDATE item SET value = '', changes = 0; ALTER TABLE item ENABLE TRIGGER USER");
    let lines: Vec<String> = (1..=1_000)
        .map(|id| {
            let value = bad.iter().find(|(bad, _)| *bad == id).map_or("good", |(_, value)| value);
            format!("BEAR.ENQUEUE {}", job(kind, id, value))
        })
        .collect();
    let replies = burst(redis, &lines);
    let begun = Instant::now();
    set_drain(&mut wire, "yes");
    let done = wait_at_most(Duration::from_secs(60), || (good(database) == 1_000 - bad.len() as i64).then_some(()));
    assert!(done.is_some(), "the good jobs are done beside {bad:?}");
    let took = begun.elapsed();
    (bad.iter().map(|(id, _)| jobs::id_of(&replies[id - 1])).collect(), took)
}

#[test]
fn the_others_of_a_thousand_do_not_wait_for_a_bad_one() {
    let (database, redis) = start();
    let mut wire = redis.wire();
    for kind in ["SET", "EACH"] {
        let (_, alone) = race(&database, &redis, kind, &[]);
        // On an idle machine it is well below 3 s; a busy one is slow without bad ones, too.
        let limit = Duration::from_secs(15) + 20 * alone;
        println!("{kind}: {alone:?} without a bad one");
        for bad in [
            &[(500, "kill")][..],
            &[(1, "kill"), (2, "kill"), (999, "kill")],
            &[(500, "08001")],
            &[(500, "53400")],
            &[(500, "53100")],
            &[(500, "57014")],
            &[(1, "57P01"), (400, "58030"), (401, "F0000"), (1_000, "25006")],
            &[(500, "40001")],
            &[(500, "42501")],
        ] {
            let (ids, took) = race(&database, &redis, kind, bad);
            println!("{kind} {bad:?}: the others after {took:?}");
            assert!(took < limit, "{kind} {bad:?}: {took:?} of {limit:?}");
            for (id, (_, value)) in ids.iter().zip(bad) {
                let job = wait_state(&mut wire, "item", id, "failed");
                let (message, code) = error_of(&job);
                let (words, expected) = match *value {
                    "kill" => ("ends its connection each time", "57P01"),
                    code => ("own", code),
                };
                assert!(message.contains(words), "{kind} {value}: {message}");
                assert_eq!(code.as_deref(), Some(expected), "{kind}");
                assert_eq!(job["attempts"].int(), 1);
            }
            wait_settled(&mut wire, "item");
            assert_eq!(jobs::figure(&mut wire, "item", "connection").text(), "up");
            assert_eq!(jobs::figure(&mut wire, "item", "refused").list(), []);
            let twice: i64 = database
                .client()
                .query_one("SELECT count(*) FROM item WHERE changes > 1", &[])
                .expect("a count")
                .get(0);
            assert_eq!(twice, 0, "{kind} {bad:?}");
        }
    }
    let (ids, took) = race(&database, &redis, "SET", &[(77, "endless")]);
    println!("a result that cannot be read: the others after {took:?}");
    let (message, code) = error_of(&wait_state(&mut wire, "item", &ids[0], "failed"));
    assert!(message.contains("'result' that cannot be read") && code.is_none(), "{message}");
}

#[test]
fn later_jobs_of_its_row_and_behind_a_barrier_wait_only_until_it_has_failed() {
    let (_database, redis) = start();
    let mut wire = redis.wire();
    set_drain(&mut wire, "no");
    let bad = enqueue(&mut wire, &job("SET", 5, "kill"));
    let behind = enqueue(&mut wire, &job("EACH", 5, "good"));
    let barrier = enqueue(&mut wire, r#"item ALL {"value":"kill"} ATTEMPTS 1"#);
    let last = enqueue(&mut wire, &job("SET", 6, "good"));
    set_drain(&mut wire, "yes");
    wait_settled(&mut wire, "item");
    for (id, expected) in [(bad, "failed"), (behind, "completed"), (barrier, "failed"), (last, "completed")] {
        assert_eq!(jobs::state(&mut wire, "item", &id), expected, "{id}");
    }
}

#[test]
fn a_bad_job_can_be_removed_and_the_figures_are_true() {
    let (database, redis) = start();
    let mut wire = redis.wire();
    // Many attempts: it is still tried.
    let bad = enqueue(&mut wire, r#"item SET {"id":5,"value":"kill"} ATTEMPTS 50 BACKOFF 20"#);
    eventually("it has failed some times", || {
        find(&mut wire, "item", &bad).is_some_and(|job| job["attempts"].int() > 1)
    });
    let found = find(&mut wire, "item", &bad).expect("it is queued");
    assert!(found["error"].map()["message"].text().contains("ends its connection"), "{found:?}");
    let good_one = enqueue(&mut wire, &job("SET", 6, "good"));
    wait_state(&mut wire, "item", &good_one, "completed");
    assert_eq!(
        stat(&mut wire, "item", "waiting") + stat(&mut wire, "item", "active") + stat(&mut wire, "item", "delayed"),
        1
    );
    remove(&mut wire, &bad);
    wait_settled(&mut wire, "item");
    let behind = enqueue(&mut wire, &job("SET", 5, "good"));
    wait_state(&mut wire, "item", &behind, "completed");
    assert_eq!(ids_in(&mut wire, "item", "failed"), Vec::<String>::new());
    eventually("its row of the ledger is gone", || {
        let rows: i64 = database.client().query_one("SELECT count(*) FROM bear.left_out", &[]).expect("a count").get(0);
        rows == 0
    });
}

/// It is refused while the job is being applied, which is a moment.
fn remove(wire: &mut Wire, id: &str) {
    eventually("it is removed", || {
        let reply = wire.run(&format!("BEAR.REMOVE item {id}"));
        assert!(!reply.is_error() || reply.error().contains("is active"), "{reply:?}");
        !reply.is_error()
    });
}

#[test]
fn outages_cost_nobody_an_attempt_while_a_job_ends_its_connection() {
    let (database, redis) = start();
    let mut wire = redis.wire();
    let slow: Vec<String> = (1..=3).map(|id| enqueue(&mut wire, &job("SET", id, "slow"))).collect();
    let bad = enqueue(&mut wire, &job("SET", 9, "kill"));
    let mut admin = database.client();
    for _ in 0..6 {
        // All connections, as a shutdown does, amid whatever they do.
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        admin.execute(sql, &[]).expect("the others end");
        std::thread::sleep(Duration::from_millis(150));
    }
    wait_settled(&mut wire, "item");
    for id in slow {
        let job = find(&mut wire, "item", &id).expect("its record");
        assert_eq!((job["state"].text().as_str(), job["attempts"].int()), ("completed", 1), "{job:?}");
    }
    assert_eq!(jobs::state(&mut wire, "item", &bad), "failed");
}

/// As where the system is out of memory: Postgres ends all sessions and recovers.
#[test]
fn a_job_under_which_its_backend_is_killed_fails_alone() {
    let postgres = Postgres::start();
    let crash = "CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.value = 'crash' THEN
                EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'kill -9 ' || pg_backend_pid());
                PERFORM pg_sleep(5);
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER crash BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION crash();";
    let database = postgres.database(&[SCHEMA, crash].concat());
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).start();
    let mut wire = redis.wire();
    set_drain(&mut wire, "no");
    let value = |id: usize| if id == 50 { "crash" } else { "good" };
    let lines: Vec<String> = (1..=100).map(|id| format!("BEAR.ENQUEUE {}", job("SET", id, value(id)))).collect();
    let replies = burst(&redis, &lines);
    set_drain(&mut wire, "yes");
    let ended = |wire: &mut Wire| {
        let state = jobs::find(wire, "item", &jobs::id_of(&replies[49])).map(|job| job["state"].text());
        state.as_deref() == Some("failed")
    };
    assert!(wait_at_most(Duration::from_secs(90), || ended(&mut wire).then_some(())).is_some(), "the job fails");
    let (message, code) = error_of(&wait_state(&mut wire, "item", &jobs::id_of(&replies[49]), "failed"));
    assert!(message.contains("ends its connection each time"), "{message} {code:?}");
    eventually("the others are done", || {
        database.try_client().and_then(|mut client| {
            let sql = "SELECT count(*) FROM item WHERE value = 'good' AND changes = 1";
            Some(client.query_one(sql, &[]).ok()?.get::<_, i64>(0) == 99)
        }) == Some(true)
    });
    let crashes = postgres.log().matches("was terminated by signal 9").count();
    println!("{crashes} crashes");
    assert!((1..=12).contains(&crashes), "{crashes}");
    assert!(!wire.run("BEAR.QUERY item all").is_error());
}

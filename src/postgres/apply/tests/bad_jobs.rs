//! A bad job costs itself alone, whatever its error says, and whatever it does to its connection.

use std::time::{Duration, Instant};

use crate::core::jobs::batch::{Applied, Batch, JobOutcome, Lane, Left, SpaceApplied};
use crate::postgres::tests::batches::*;
use crate::postgres::tests::eventually;
use crate::postgres::tests::server::Server;
use crate::postgres::Applier;

/// Renaming bear `i` to `bad` does what is to be tried.
fn database(does: &str) -> Database {
    let database = Database::bears();
    database.run(&format!(
        "CREATE FUNCTION misbehave() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF NEW.name = 'bad' THEN {does}; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER misbehave BEFORE UPDATE ON bear FOR EACH ROW EXECUTE FUNCTION misbehave()"
    ));
    database
}

const KILLS: &str = "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(0.2)";

/// Jobs for bears 1 to `count`, of which some are bad, with one attempt each.
fn jobs(count: u64, bad: &[u64]) -> Batch {
    let jobs = (1..=count).map(|i| {
        let name = if bad.contains(&i) { "bad" } else { "good" };
        let mut job = job(i, "UPDATE_BEAR_NAME", format!(r#"{{"id":{i},"name":"{name}"}}"#));
        job.max_attempts = 1;
        job
    });
    bears(jobs.collect())
}

/// Indexes of those that have not been applied.
fn not_done(applied: &Applied) -> Vec<(usize, JobOutcome)> {
    outcomes(applied).iter().cloned().enumerate().filter(|(_, outcome)| !is_done(outcome)).collect()
}

/// What a job became that was set aside: tried in the side lane until it has failed, and the batches that it took.
fn side_until_failed(applier: &mut Applier, batch: &Batch, at: usize, ends: u32) -> (String, u32) {
    let mut job = batch.spaces[0].jobs[at].clone();
    job.ends = Some(ends);
    for tries in 1..10 {
        let mut side = bears(vec![job.clone()]);
        side.lane = Lane::Side;
        let applied = applier.apply(&side).unwrap();
        match &outcomes(&applied)[0] {
            JobOutcome::Left { why: Left::Suspected { ends, .. }, .. } => job.ends = Some(*ends),
            JobOutcome::Failed { error, .. } => {
                return (format!("{} {}", error.code.as_deref().unwrap_or("-"), error.message), tries)
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it never fails");
}

#[test]
fn a_job_that_raises_the_class_of_an_outage_fails_alone() {
    let database = database("RAISE EXCEPTION 'own' USING ERRCODE = (SELECT code FROM raised)");
    database.run("CREATE TABLE raised (code text)");
    let mut applier = database.applier();
    for code in [
        "08001", "08006", "53100", "53200", "53300", "53400", "57014", "57P01", "57P02", "57P03", "58030", "58P01",
        "F0000", "25006", "25P02", "25P03", "40001", "40P01", "42501", "42P01", "42883", "3F000", "XX000",
    ] {
        database.run(&format!("DELETE FROM raised; INSERT INTO raised VALUES ('{code}')"));
        for (count, bad) in [(1_000, vec![300, 301, 777]), (2, vec![1, 2]), (1, vec![1])] {
            let begun = Instant::now();
            let applied = applier.apply(&jobs(count, &bad)).unwrap();
            let took = begun.elapsed();
            let failed = not_done(&applied);
            let places: Vec<u64> = failed.iter().map(|(at, _)| *at as u64 + 1).collect();
            assert_eq!(places, bad, "{code}: {failed:?}");
            for (_, outcome) in failed {
                assert!(matches!(outcome, JobOutcome::Failed { .. }), "{code}: {outcome:?}");
                assert_eq!(reason(&outcome), format!("{code} own"));
            }
            assert!(applied.refused.is_empty(), "{code}");
            eprintln!("{code}: {count} jobs with {} bad ones: {took:?}", bad.len());
            assert!(took < Duration::from_secs(10), "{code}: {took:?}");
            database.run("DELETE FROM bear.ledger; DELETE FROM bear.left_out");
        }
    }
}

#[test]
fn a_job_that_ends_its_connection_is_set_aside_at_no_cost_and_then_fails() {
    let database = database(KILLS);
    let mut applier = database.applier();
    let batch = jobs(1_000, &[100, 101, 900]);
    let begun = Instant::now();
    let applied = applier.apply(&batch).unwrap();
    eprintln!("1,000 jobs with 3 that end their connection: {:?}", begun.elapsed());
    let left = not_done(&applied);
    let places: Vec<usize> = left.iter().map(|(at, _)| *at).collect();
    assert_eq!(places, [99, 100, 899]);
    for (at, outcome) in left {
        assert!(matches!(outcome, JobOutcome::Left { why: Left::Suspected { ends: 1, .. }, .. }), "{outcome:?}");
        let (reason, tries) = side_until_failed(&mut applier, &batch, at, 1);
        assert!(reason.starts_with("57P01 its statement ends its connection"), "{reason}");
        assert_eq!(tries, 1);
    }
    assert_eq!(database.int("SELECT count(*) FROM bear WHERE name = 'good'"), 997);
}

#[test]
fn a_job_that_crashes_postgres_is_found_by_few_crashes() {
    let server = std::sync::Arc::new(Server::new());
    let database = Database::on(server, "crashed");
    database.run(
        "CREATE TABLE bear (id bigint PRIMARY KEY, name text); INSERT INTO bear SELECT i, 'old' FROM generate_series(1, 100) i; \
         CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF NEW.name = 'bad' THEN EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'kill -9 ' || pg_backend_pid()); PERFORM pg_sleep(5); \
         END IF; RETURN NEW; END $$; \
         CREATE TRIGGER crash BEFORE UPDATE ON bear FOR EACH ROW EXECUTE FUNCTION crash()",
    );
    let mut applier = database.applier();
    let mut batch = jobs(100, &[42]);
    batch.sections = sections(
        "[bear]\nid = \"int\"\ntables = { bear = \"id\" }\n[[bear.query]]\ncall = \"all\"\nsql = \"SELECT id FROM bear\"\n\
         [bear.job.UPDATE_BEAR_NAME]\ndata = { id = \"int\", name = \"text\" }\n\
         sql = \"UPDATE bear SET name = job.name FROM {jobs} job WHERE bear.id = job.id RETURNING job.n, bear.id\"",
    );
    batch.spaces[0].section = 0;
    let applied = applier.apply(&batch).unwrap();
    let left = not_done(&applied);
    assert!(matches!(left[..], [(41, JobOutcome::Left { why: Left::Suspected { ends: 1, .. }, .. })]), "{left:?}");
    let mut job = batch.spaces[0].jobs[41].clone();
    job.ends = Some(0);
    for expected in [Some(1), None] {
        let mut side = crate::postgres::tests::batches::batch(
            &batch.sections,
            Lane::Side,
            vec![space("bear", 0, vec![job.clone()])],
        );
        side.limits = batch.limits;
        let applied = applier.apply(&side).unwrap();
        let ends = match &outcomes(&applied)[0] {
            JobOutcome::Left { why: Left::Suspected { ends, .. }, .. } => Some(*ends),
            JobOutcome::Failed { error, .. } => {
                assert_eq!(error.code.as_deref(), Some("08006"), "{error:?}");
                None
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(ends, expected);
        job.ends = ends;
    }
}

#[test]
fn outages_cost_a_suspect_nothing() {
    let database = database("PERFORM pg_sleep(0.5)");
    let (mut applier, control, _) = applier(database.settings());
    let mut slow = jobs(1, &[1]);
    slow.spaces[0].jobs[0].ends = Some(1);
    let batch = std::sync::Arc::new(slow);
    let thread = std::thread::spawn({
        let batch = batch.clone();
        move || applier.apply(&batch)
    });
    // All of bear's connections, as an administrator or a shutdown does; more often than a batch waits for one job.
    for _ in 0..3 {
        eventually("its statement", || {
            database.int(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'",
            ) == 1
        });
        database.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
        eventually("the end of its statement", || {
            database.int(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'",
            ) == 0
        });
    }
    let applied = thread.join().unwrap().unwrap();
    assert!(is_done(&outcomes(&applied)[0]), "{applied:?}");
    control.stop();
}

#[test]
fn a_barrier_that_ends_its_connection_is_set_aside_in_its_place() {
    let database = database(KILLS);
    let mut applier = database.applier();
    let mut batch = jobs(5, &[3]);
    let text = BEAR.replacen("[bear.job.UPDATE_BEAR_NAME]", "[bear.job.UPDATE_BEAR_NAME]\norder = \"*\"", 1);
    batch.sections = sections(&text);
    let applied = applier.apply(&batch).unwrap();
    let jobs = outcomes(&applied);
    assert!(is_done(&jobs[0]) && is_done(&jobs[1]), "{jobs:?}");
    assert!(matches!(jobs[2], JobOutcome::Left { barrier: true, why: Left::Suspected { .. }, .. }), "{jobs:?}");
    assert!(jobs[3..].iter().all(|job| *job == JobOutcome::NotTaken), "{jobs:?}");
    let mut again = bears(batch.spaces[0].jobs[2..].to_vec());
    again.sections = batch.sections.clone();
    for ends in 0..2 {
        again.token += 10 + ends;
        again.spaces[0].jobs[0].ends = Some(ends as u32);
        let applied = applier.apply(&again).unwrap();
        let jobs = outcomes(&applied);
        match ends {
            0 => assert!(matches!(jobs[0], JobOutcome::Left { why: Left::Suspected { ends: 1, .. }, .. }), "{jobs:?}"),
            _ => assert!(matches!(jobs[0], JobOutcome::Failed { .. }) && jobs[1..].iter().all(is_done), "{jobs:?}"),
        }
    }
}

#[test]
fn a_row_that_cannot_be_read_is_its_jobs_fault() {
    let catalog = |returning: &str| {
        format!(
            "[bear]\nid = \"int\"\ntables = {{ bear = \"id\" }}\n[[bear.query]]\ncall = \"all\"\nsql = \"SELECT id FROM bear\"\n\
             [bear.job.UPDATE_BEAR_NAME]\ndata = {{ id = \"int\", name = \"text\" }}\n\
             sql = \"UPDATE bear SET name = job.name FROM {{jobs}} job WHERE bear.id = job.id RETURNING {returning}\""
        )
    };
    let bad = "CASE WHEN job.name = 'bad' THEN";
    for returning in [
        format!("job.n, bear.id, {bad} 'infinity'::timestamptz ELSE now() END AS result"),
        format!("job.n, bear.id, {bad} 'infinity'::date ELSE current_date END AS result"),
        format!("job.n, bear.id, {bad} 'NaN'::numeric ELSE 1 END AS result"),
        format!("job.n, bear.id, {bad} 'Infinity'::float8 ELSE 1 END AS result"),
        format!("job.n, bear.id, {bad} repeat('x', 5000) ELSE 'x' END AS result"),
        format!("job.n, bear.id, {bad} 'nowhere' ELSE 'bear' END AS section"),
        format!("job.n, {bad} 'x' ELSE bear.id::text END AS id"),
        format!("{bad} 99999 ELSE job.n END AS n, bear.id"),
        format!("{bad} NULL ELSE job.n END AS n, bear.id"),
        format!("{bad} -1 ELSE job.n END AS n, bear.id"),
        format!("job.n, bear.id, {bad} 'own' END AS error"),
    ] {
        let database = Database::bears();
        let mut applier = database.applier();
        for (count, bad) in [(200, vec![7, 150]), (1, vec![1])] {
            let mut batch = jobs(count, &bad);
            batch.sections = sections(&catalog(&returning));
            batch.spaces[0].section = 0;
            let applied = applier.apply(&batch).unwrap();
            let failed = not_done(&applied);
            let places: Vec<u64> = failed.iter().map(|(at, _)| *at as u64 + 1).collect();
            assert_eq!(places, bad, "{returning}: {failed:?}");
            assert!(failed.iter().all(|(_, outcome)| matches!(outcome, JobOutcome::Failed { .. })), "{returning}");
            assert!(applied.refused.is_empty(), "{returning}");
            database.run("DELETE FROM bear.ledger; DELETE FROM bear.left_out");
        }
    }
}

#[test]
fn what_is_wrong_for_every_job_of_a_type_pauses_it() {
    let database = database("NULL");
    let mut applier = database.applier();
    // Its trigger's function does not fit: no plan of the statement tells.
    database.run(
        "CREATE FUNCTION misfit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM * FROM no_such_table; RETURN NEW; END $$; \
         CREATE TRIGGER misfit BEFORE UPDATE ON bear FOR EACH ROW EXECUTE FUNCTION misfit()",
    );
    let applied = applier.apply(&jobs(200, &[])).unwrap();
    let paused = |outcome: &JobOutcome| matches!(outcome, JobOutcome::Left { why: Left::TypePaused, .. });
    assert!(outcomes(&applied).iter().all(paused), "{:?}", &outcomes(&applied)[..3]);
    assert_eq!(applied.refused.len(), 1);
}

#[test]
fn what_fails_at_the_end_of_the_transaction_is_found_too() {
    let database = database("SET CONSTRAINTS ALL DEFERRED");
    database.run(
        "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF NEW.name = 'bad' THEN RAISE EXCEPTION 'late'; END IF; RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON bear DEFERRABLE FOR EACH ROW EXECUTE FUNCTION late()",
    );
    let mut applier = database.applier();
    let applied = applier.apply(&jobs(100, &[50])).unwrap();
    let failed = not_done(&applied);
    assert!(matches!(&failed[..], [(49, JobOutcome::Failed { error, .. })] if &*error.message == "late"), "{failed:?}");
    let [SpaceApplied::Done { .. }] = &applied.spaces[..] else { panic!() };
}

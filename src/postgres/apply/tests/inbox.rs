//! Jobs of the inbox: a job's row goes in the transaction of its effect, and who does not get the row leaves no effect.

use std::sync::Arc;
use std::time::Duration;

use crate::core::catalog::Section;
use crate::core::jobs::batch::{Applied, Batch, JobOutcome, Lane, Left, QueuedJob};
use crate::core::jobs::job_id::JobId;
use crate::postgres::tests::batches::*;
use crate::postgres::tests::eventually;
use crate::postgres::tests::proxy::{Proxy, Verdict};
use crate::postgres::{Applier, ApplierEvent};

const INBOX: &str = include_str!("../../../../schema/inbox.sql");

/// A table without any uniqueness: each effect is a row.
const CATALOG: &str = r#"
[mark]
id = "int"
tables = { mark = "id" }
[mark.job.MARK]
data = { of = "int" }
sql = """WITH j AS MATERIALIZED (SELECT job.*, nextval('mark_id_seq') AS id FROM {jobs} job),
 i AS (INSERT INTO mark (id, of) SELECT id, of FROM j)
SELECT n, id, 'not this one' AS error FROM j WHERE of = 13 UNION ALL SELECT n, id, NULL FROM j WHERE of <> 13"""
"#;

fn database(rows: u64) -> Database {
    // For a role named bear the schema bear comes first in the path, once it is there.
    let database = Database::new("CREATE TABLE mark (id bigserial, of bigint CHECK (of >= 0))");
    database.run(INBOX);
    add(&database, rows);
    database
}

/// Rows of the inbox, the next ids on.
fn add(database: &Database, rows: u64) {
    database.run(&format!(
        "INSERT INTO bear.inbox (space, job, data) SELECT 'mark', 'MARK', '{{}}' FROM generate_series(1, {rows})"
    ));
}

/// The job of a row; its place in the stream is by `ms`.
fn from_row(ms: u64, row: u64, of: i64) -> QueuedJob {
    let id = JobId { ms, seq: 1_000_000_000_000 + row };
    QueuedJob { id, max_attempts: 1, ..job(0, "MARK", format!(r#"{{"of":{of}}}"#)) }
}

fn marks(sections: &Arc<[Section]>, queue: i64, lane: Lane, jobs: Vec<QueuedJob>) -> Batch {
    let mut space = space("mark", 0, jobs);
    space.queue = queue;
    batch(sections, lane, vec![space])
}

/// Applies jobs until none is left, as Redis has them applied: what is left out goes through the side lane.
fn drain(applier: &mut Applier, sections: &Arc<[Section]>, queue: i64, jobs: Vec<QueuedJob>) -> Vec<JobOutcome> {
    let mut outcomes_of = vec![JobOutcome::NotTaken; jobs.len()];
    let (mut left, mut lane) = ((0..jobs.len()).collect::<Vec<_>>(), Lane::Main);
    while !left.is_empty() {
        let some = left.iter().map(|at| jobs[*at].clone()).collect();
        let applied = applier.apply(&marks(sections, queue, lane, some)).unwrap();
        for (at, outcome) in left.iter().zip(outcomes(&applied)) {
            outcomes_of[*at] = outcome.clone();
        }
        left.retain(|at| matches!(outcomes_of[*at], JobOutcome::Left { .. }));
        lane = Lane::Side;
    }
    outcomes_of
}

fn count(applied: &Applied, is: impl Fn(&JobOutcome) -> bool) -> usize {
    outcomes(applied).iter().filter(|outcome| is(outcome)).count()
}

fn is_failed(outcome: &JobOutcome) -> bool {
    matches!(outcome, JobOutcome::Failed { .. })
}

#[test]
fn a_row_goes_with_the_effect_of_its_job_and_one_that_fails_is_kept_with_the_reason() {
    for prepare in [true, false] {
        let database = database(4);
        let mut settings = database.settings();
        settings.prepare = prepare;
        let (mut applier, ..) = applier(settings);
        let sections = sections(CATALOG);
        let mut again = from_row(5, 4, -2);
        again.max_attempts = 2;
        let jobs = [
            job(1, "MARK", r#"{"of":1}"#),
            QueuedJob { id: JobId { ms: 1_800_000_000_001, seq: 0 }, ..job(0, "MARK", r#"{"of":2}"#) },
        ];
        let mut all: Vec<_> = vec![from_row(1_800_000_000_000, 1, 3), from_row(1_800_000_000_000, 2, 13)];
        all.splice(0..0, jobs[..1].iter().cloned());
        all.push(jobs[1].clone());
        all.push(from_row(1_800_000_000_002, 3, -1));
        again.id.ms = 1_800_000_000_003;
        all.push(again.clone());
        let applied = applier.apply(&marks(&sections, 7, Lane::Main, all.clone())).unwrap();
        assert_eq!((count(&applied, is_done), count(&applied, is_failed)), (3, 2), "{applied:?}");
        assert!(matches!(&outcomes(&applied)[5], JobOutcome::Left { why: Left::Retry(_), .. }), "{applied:?}");
        assert_eq!(database.text("SELECT string_agg(id::text, ',' ORDER BY id) FROM bear.inbox"), "2,3,4");
        let failed = |id: u64, what: &str| {
            database.text(&format!("SELECT coalesce(failed->>'{what}', '-') FROM bear.inbox WHERE id = {id}"))
        };
        assert_eq!([failed(2, "message"), failed(2, "sqlstate"), failed(2, "attempts")], ["not this one", "-", "1"]);
        assert_eq!([failed(3, "sqlstate"), failed(3, "attempts"), failed(4, "message")], ["23514", "1", "-"]);
        let age = "SELECT extract(epoch FROM now()) * 1000 - (failed->>'at')::int8 BETWEEN -5000 AND 60000 FROM bear.inbox WHERE id = 3";
        assert_eq!(database.text(age), "true");
        assert_eq!(database.text("SELECT string_agg(of::text, ',' ORDER BY id) FROM mark"), "1,3,2");
        // In the side lane it fails for good.
        again.attempts = 1;
        let applied = applier.apply(&marks(&sections, 7, Lane::Side, vec![again])).unwrap();
        assert!(is_failed(&outcomes(&applied)[0]), "{applied:?}");
        assert_eq!(failed(4, "attempts"), "2");
        // As after a crash before it was published: the ledger knows. A row that should have gone goes.
        database.run(
            "INSERT INTO bear.inbox (id, space, job, data) OVERRIDING SYSTEM VALUE VALUES (1, 'mark', 'MARK', '{}')",
        );
        let applied = applier.apply(&marks(&sections, 7, Lane::Main, all)).unwrap();
        assert_eq!((count(&applied, is_earlier), count(&applied, is_failed)), (3, 3), "{applied:?}");
        assert_eq!(database.text("SELECT string_agg(id::text, ',' ORDER BY id) FROM bear.inbox"), "2,3,4");
        assert_eq!(database.int("SELECT count(*) FROM mark"), 3);
    }
}

#[test]
fn two_queues_with_the_same_rows_have_each_effect_once() {
    let database = database(0);
    let sections = sections(CATALOG);
    for round in 0..12u64 {
        let first = database.int("SELECT nextval(pg_get_serial_sequence('bear.inbox', 'id'))") as u64 + 1;
        add(&database, 120);
        let run = |queue: i64| {
            let (database, sections) = (&database, &sections);
            move || {
                let mut applier = database.applier();
                let mut done = 0;
                // Each has them in an order and in batches of its own; some fail, some are bad in themselves.
                let rows: Vec<u64> = (0..120).map(|i| (i * [7, 11][(queue % 2) as usize] + round) % 120).collect();
                let size = [17, 40, 120, 63][((round + queue as u64) % 4) as usize];
                for (at, rows) in rows.chunks(size).enumerate() {
                    let jobs = rows.iter().enumerate().map(|(i, row)| {
                        let of = match row % 40 {
                            3 => 13,
                            17 => -1,
                            _ => (first + row) as i64 + 1_000,
                        };
                        from_row(1_800_000_000_000 + (at * 1_000 + i) as u64, first + row, of)
                    });
                    let outcomes = drain(&mut applier, sections, queue, jobs.collect());
                    assert!(!outcomes.iter().any(|outcome| matches!(outcome, JobOutcome::NotTaken)));
                    done += outcomes.iter().filter(|outcome| is_done(outcome)).count();
                    for (row, outcome) in rows.iter().zip(&outcomes) {
                        assert_eq!(is_failed(outcome), [3, 17].contains(&(row % 40)), "{row} {outcome:?}");
                    }
                }
                done
            }
        };
        let base = (round as i64 + 1) * 2;
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(run(base + 1));
            (run(base)(), other.join().unwrap())
        });
        assert_eq!(one + other, 114, "{one} and {other}");
    }
    assert_eq!(database.int("SELECT count(*) FROM mark"), 12 * 114);
    assert_eq!(database.int("SELECT count(DISTINCT of) FROM mark"), 12 * 114);
    assert_eq!(database.int("SELECT count(*) FROM bear.inbox WHERE failed IS NULL"), 0);
    assert_eq!(database.int("SELECT count(*) FROM bear.inbox"), 12 * 6);
}

#[test]
fn what_others_have_settled_is_taken_from_them_and_has_no_effect() {
    let database = database(5);
    database.run(
        "DELETE FROM bear.inbox WHERE id = 1; UPDATE bear.inbox SET done = 7 WHERE id = 2; \
         UPDATE bear.inbox SET failed = '{\"message\":\"before\",\"sqlstate\":\"22000\",\"attempts\":3}' WHERE id = 3",
    );
    let sections = sections(CATALOG);
    let mut applier = database.applier();
    // The last one fails, and its row is gone: it was completed.
    let jobs: Vec<_> = (1..=5).map(|i| from_row(i, i, if i == 5 { 13 } else { i as i64 })).collect();
    database.run("DELETE FROM bear.inbox WHERE id = 5");
    let applied = applier.apply(&marks(&sections, 7, Lane::Main, jobs)).unwrap();
    let [gone, done, JobOutcome::Failed { error, attempts: 3 }, own, late] = outcomes(&applied) else {
        panic!("{applied:?}")
    };
    assert!(is_earlier(gone) && is_earlier(done) && is_done(own) && is_earlier(late), "{applied:?}");
    assert_eq!((error.code.as_deref(), &*error.message), (Some("22000"), "before"));
    assert_eq!(database.text("SELECT string_agg(id::text, ',' ORDER BY id) FROM bear.inbox"), "3");
    assert_eq!(database.text("SELECT string_agg(of::text, ',') FROM mark"), "4");
    // The same in the side lane, where the ledger has a row of the job that goes, too.
    let mut job = from_row(10, 1, 1);
    job.undue = true;
    applier.apply(&marks(&sections, 7, Lane::Main, vec![job.clone()])).unwrap();
    job.undue = false;
    let applied = applier.apply(&marks(&sections, 7, Lane::Side, vec![job])).unwrap();
    assert!(is_earlier(&outcomes(&applied)[0]), "{applied:?}");
    assert_eq!(database.int("SELECT count(*) FROM bear.left_out WHERE failed IS NULL"), 0);
    assert_eq!(database.int("SELECT count(*) FROM mark"), 1);
}

#[test]
fn two_jobs_of_one_row_have_one_effect() {
    let database = database(2);
    let sections = sections(CATALOG);
    let mut applier = database.applier();
    let jobs = vec![from_row(1, 1, 1), from_row(2, 2, 13), from_row(3, 1, 1), from_row(4, 2, 1)];
    let outcomes = drain(&mut applier, &sections, 7, jobs);
    let [one, two, again, failed] = &outcomes[..] else { panic!() };
    assert!(is_done(one) && is_failed(two) && is_earlier(again) && is_failed(failed), "{outcomes:?}");
    assert_eq!(database.int("SELECT count(*) FROM mark"), 1);
}

#[test]
fn a_row_that_is_held_delays_its_own_job_and_a_table_that_is_locked_leaves_none_out() {
    let database = database(200);
    let sections = sections(CATALOG);
    let mut applier = database.applier();
    let mut holder = database.client();
    let mut held = holder.transaction().unwrap();
    held.execute("SELECT FROM bear.inbox WHERE id = 50 FOR UPDATE", &[]).unwrap();
    let jobs: Vec<_> = (1..=100).map(|i| from_row(i, i, i as i64 + 100)).collect();
    let applied = applier.apply(&marks(&sections, 7, Lane::Main, jobs.clone())).unwrap();
    assert_eq!(count(&applied, is_done), 99, "{applied:?}");
    assert!(reason(&outcomes(&applied)[49]).starts_with("55P03 another transaction holds row 50"), "{applied:?}");
    let side = || marks(&sections, 7, Lane::Side, vec![jobs[49].clone()]);
    assert!(matches!(&outcomes(&applier.apply(&side()).unwrap())[0], JobOutcome::Left { why: Left::Isolated(_), .. }));
    held.rollback().unwrap();
    assert!(is_done(&outcomes(&applier.apply(&side()).unwrap())[0]));
    assert_eq!(database.int("SELECT count(*) FROM mark"), 100);
    let mut locked = holder.transaction().unwrap();
    locked.batch_execute("LOCK TABLE bear.inbox").unwrap();
    let batch = marks(&sections, 7, Lane::Main, (101..=200).map(|i| from_row(i, i, i as i64 + 100)).collect());
    let thread = std::thread::spawn(move || applier.apply(&batch).unwrap());
    eventually("it has given up an attempt", || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle' AND query = 'ROLLBACK'";
        database.int(sql) == 1
    });
    locked.rollback().unwrap();
    assert_eq!(count(&thread.join().unwrap(), is_done), 100);
    assert_eq!(
        database.int("SELECT count(DISTINCT of) FROM mark") + database.int("SELECT count(*) FROM bear.inbox"),
        200
    );
}

#[test]
fn a_commit_without_an_answer_has_taken_the_row_or_left_it() {
    for verdict in [Verdict::PassAndCut, Verdict::Cut] {
        let database = database(40);
        let proxy = Proxy::to(database.server.port);
        let mut settings = database.settings();
        settings.url = settings.url.replace(&database.server.port.to_string(), &proxy.port().to_string());
        let (mut applier, ..) = applier(settings);
        let sections = sections(CATALOG);
        let first = marks(&sections, 7, Lane::Main, (1..=20).map(|i| from_row(i, i, i as i64 + 100)).collect());
        assert_eq!(count(&applier.apply(&first).unwrap(), is_done), 20);
        proxy.hold("; COMMIT", "BEGIN");
        let second = marks(&sections, 7, Lane::Main, (21..=40).map(|i| from_row(i, i, i as i64 + 100)).collect());
        let thread = std::thread::spawn(move || applier.apply(&second).unwrap());
        eventually("its COMMIT", || proxy.is_holding());
        proxy.release(verdict);
        let applied = thread.join().unwrap();
        assert_eq!(count(&applied, is_done), 20, "{applied:?}");
        assert_eq!(database.int("SELECT count(*) FROM mark"), 40);
        assert_eq!(database.int("SELECT count(*) FROM bear.inbox"), 0);
    }
}

#[test]
fn a_connection_cut_in_the_middle_takes_no_row_without_its_effect() {
    let database = database(600);
    let proxy = Proxy::to(database.server.port);
    let mut settings = database.settings();
    settings.url = settings.url.replace(&database.server.port.to_string(), &proxy.port().to_string());
    let (mut applier, ..) = applier(settings);
    let sections = sections(CATALOG);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Not for ever: where a batch takes longer than the pauses, no other would get through.
            for pause in (0u64..80).map(|i| 3 + i * 37 % 90) {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(pause));
                proxy.cut_once();
            }
        });
        for round in 0..30u64 {
            let jobs = (1..=20).map(|i| from_row(round * 20 + i, round * 20 + i, (round * 20 + i) as i64 + 100));
            let applied = applier.apply(&marks(&sections, 7, Lane::Main, jobs.collect())).unwrap();
            assert_eq!(count(&applied, is_done), 20, "{applied:?}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(database.int("SELECT count(DISTINCT of) FROM mark"), 600);
    assert_eq!(database.int("SELECT count(*) FROM mark") + database.int("SELECT count(*) FROM bear.inbox"), 600);
}

#[test]
fn without_the_table_its_jobs_are_settled_and_other_jobs_are_applied() {
    let database = database(3);
    let sections = sections(CATALOG);
    let mut applier = database.applier();
    database.run("DROP TABLE bear.inbox");
    let plain = QueuedJob { id: JobId { ms: 9, seq: 0 }, ..job(0, "MARK", r#"{"of":9}"#) };
    let batch = marks(&sections, 7, Lane::Main, vec![from_row(1, 1, 1), from_row(2, 2, 13), plain]);
    let applied = applier.apply(&batch).unwrap();
    let [one, two, plain] = outcomes(&applied) else { panic!("{applied:?}") };
    assert!(is_earlier(one) && is_earlier(two) && is_done(plain), "{applied:?}");
    assert_eq!(database.text("SELECT string_agg(of::text, ',') FROM mark"), "9");
}

#[test]
fn a_role_that_may_not_delete_rows_says_so_and_goes_on_once_it_may() {
    let database = database(1);
    let role = format!("r_{}", database.name);
    database.run(&format!(
        "CREATE ROLE {role} LOGIN; GRANT ALL ON mark TO {role}; GRANT ALL ON SEQUENCE mark_id_seq TO {role}"
    ));
    // The ledger's tables are made.
    database.applier().apply(&marks(&sections(CATALOG), 8, Lane::Main, vec![job(1, "MARK", r#"{"of":2}"#)])).unwrap();
    database.run(&format!(
        "GRANT USAGE ON SCHEMA bear TO {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON bear.ledger, bear.left_out, bear.ledger_version TO {role}"
    ));
    let mut settings = database.settings();
    settings.url = settings.url.replace("bear@", &format!("{role}@"));
    let (mut applier, _control, events) = applier(settings);
    let batch = marks(&sections(CATALOG), 7, Lane::Main, vec![from_row(1, 1, 1)]);
    let thread = std::thread::spawn(move || applier.apply(&batch).unwrap());
    eventually("the complaint", || {
        let event = events.recv_timeout(Duration::from_secs(10)).unwrap();
        matches!(event, ApplierEvent::Down { error } if error.contains("permission denied for table inbox (42501)"))
    });
    database.run(&format!("GRANT SELECT, UPDATE, DELETE ON bear.inbox TO {role}"));
    assert!(is_done(&outcomes(&thread.join().unwrap())[0]));
    assert_eq!(events.try_iter().last(), Some(ApplierEvent::Up));
    assert_eq!(database.int("SELECT count(*) FROM bear.inbox"), 0);
}

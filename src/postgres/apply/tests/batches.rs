//! What a batch does to rows and tells of them, and which jobs a bad one or a lock holds up.

use std::time::Duration;

use crate::core::jobs::batch::{Batch, JobOutcome, Lane, Left, SpaceApplied};
use crate::postgres::tests::batches::*;
use crate::postgres::tests::eventually;
use crate::postgres::ApplierEvent;

#[test]
fn all_bear_jobs_are_applied_once_and_tell_what_changed() {
    for prepare in [true, false] {
        let database = Database::bears();
        let mut settings = database.settings();
        settings.prepare = prepare;
        let (mut applier, _, events) = applier(settings);
        let batch = bears(vec![
            job(1, "CREATE_BEAR", r#"{"name":"New","size":5,"colors":["brown","black"]}"#),
            job(2, "UPDATE_BEAR_NAME", r#"{"id":1,"name":"a"}"#),
            job(3, "UPDATE_BEAR_SIZE", r#"{"id":1,"size":9}"#),
            job(4, "UPDATE_BEAR_COLORS", r#"{"id":1,"colors":["white"]}"#),
            job(5, "UPDATE_BEAR", r#"{"id":2,"name":"both"}"#),
            job(6, "UPDATE_BEAR_NAME", r#"{"id":1,"name":"b"}"#),
            job(7, "DELETE_BEAR", r#"{"id":3}"#),
        ]);
        let applied = applier.apply(&batch).unwrap();
        assert!(outcomes(&applied).iter().all(is_done), "{applied:?}");
        assert_eq!(events.try_recv().ok(), Some(ApplierEvent::Up));
        let [SpaceApplied::Done { mark, changed, .. }] = &applied.spaces[..] else { panic!() };
        assert_eq!(*mark, batch.spaces[0].jobs[6].id);
        let ids: Vec<_> = changed.iter().map(|changed| changed.id.as_deref().unwrap()).collect();
        assert_eq!(ids, ["1", "2", "2001", "3"]);
        assert_eq!(applied.accepted.len(), 6);
        assert_eq!(database.text("SELECT name || size FROM bear WHERE id = 1"), "b9");
        assert_eq!(
            database.text("SELECT string_agg(name, ',' ORDER BY n) FROM effect WHERE row = 1 AND what = 'UPDATE'"),
            "a,a,b"
        );
        let before = database.int("SELECT count(*) FROM effect");
        // The same jobs again, as after a crash before the outcome was published: the ledger knows.
        let again = batch_again(&batch);
        let applied = applier.apply(&again).unwrap();
        assert!(outcomes(&applied).iter().all(is_earlier), "{applied:?}");
        assert_eq!(database.int("SELECT count(*) FROM effect"), before);
    }
}

fn batch_again(batch: &Batch) -> Batch {
    let mut again = crate::postgres::tests::batches::batch(&batch.sections, batch.lane, batch.spaces.clone());
    again.limits = batch.limits;
    again
}

#[test]
fn bad_jobs_fail_alone() {
    let database = Database::bears();
    let mut applier = database.applier();
    let mut jobs: Vec<_> =
        (1..=1000).map(|i| job(i, "UPDATE_BEAR_NAME", format!(r#"{{"id":{i},"name":"n{i}"}}"#))).collect();
    for i in (0..10u64).map(|i| i * 97 + 3) {
        jobs[i as usize] = match i % 4 {
            0 => job(i + 1, "CREATE_BEAR", r#"{"name":"x","size":1,"colors":["mauve"]}"#),
            1 => job(i + 1, "UPDATE_BEAR_NAME", r#"{"id":99999,"name":"x"}"#),
            2 => job(i + 1, "UPDATE_BEAR_SIZE", r#"{"id":5,"size":-1}"#),
            _ => job(i + 1, "NO_SUCH_JOB", "{}"),
        };
        jobs[i as usize].max_attempts = 1;
    }
    let batch = bears(jobs);
    let started = std::time::Instant::now();
    let applied = applier.apply(&batch).unwrap();
    eprintln!("1,000 jobs with 10 bad ones: {:?}", started.elapsed());
    let failed: Vec<_> = outcomes(&applied).iter().enumerate().filter(|(_, outcome)| !is_done(outcome)).collect();
    assert_eq!(failed.len(), 10, "{failed:?}");
    for (i, outcome) in failed {
        let reason = reason(outcome);
        let expected = match i % 4 {
            0 => "- unknown colour mauve",
            1 => "- changed nothing",
            2 => "23514 ",
            _ => "CATALOG ",
        };
        assert!(reason.starts_with(expected), "{i} {reason}");
    }
    assert_eq!(database.int("SELECT count(*) FROM bear_colors"), 0);
    assert_eq!(database.int("SELECT count(*) FROM effect"), 990);
    assert_eq!(database.int("SELECT count(*) FROM bear.left_out WHERE failed IS NOT NULL"), 10);
}

#[test]
fn a_locked_row_delays_only_its_own_jobs() {
    let database = Database::bears();
    let mut applier = database.applier();
    let mut holder = database.client();
    let mut held = holder.transaction().unwrap();
    held.execute("SELECT FROM bear WHERE id = 500 FOR UPDATE", &[]).unwrap();
    let mut jobs: Vec<_> =
        (1..=1000).map(|i| job(i, "UPDATE_BEAR_NAME", format!(r#"{{"id":{i},"name":"n{i}"}}"#))).collect();
    jobs.push(job(1001, "UPDATE_BEAR_SIZE", r#"{"id":500,"size":77}"#));
    let started = std::time::Instant::now();
    let applied = applier.apply(&bears(jobs.clone())).unwrap();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    let left: Vec<_> = outcomes(&applied).iter().enumerate().filter(|(_, outcome)| !is_done(outcome)).collect();
    assert!(
        matches!(
            left[..],
            [
                (499, JobOutcome::Left { why: Left::Isolated(_), .. }),
                (1000, JobOutcome::Left { why: Left::Behind, .. })
            ]
        ),
        "{left:?}"
    );
    drop(held);
    let mut side = bears(vec![jobs[499].clone(), jobs[1000].clone()]);
    side.lane = Lane::Side;
    let applied = applier.apply(&side).unwrap();
    assert!(outcomes(&applied).iter().all(is_done), "{applied:?}");
    assert_eq!(database.text("SELECT name || size FROM bear WHERE id = 500"), "n50077");
    assert_eq!(database.int("SELECT count(*) FROM bear.left_out"), 0);
    // Once more: they are settled.
    let applied = applier.apply(&batch_again(&side)).unwrap();
    assert!(outcomes(&applied).iter().all(is_earlier), "{applied:?}");
    assert_eq!(database.int("SELECT count(*) FROM effect"), 1001);
}

#[test]
fn a_locked_table_leaves_no_job_out() {
    let database = Database::bears();
    let mut applier = database.applier();
    let mut holder = database.client();
    let mut held = holder.transaction().unwrap();
    held.batch_execute("LOCK TABLE bear").unwrap();
    let jobs = (1..=200).map(|i| job(i, "UPDATE_BEAR_NAME", format!(r#"{{"id":{i},"name":"n"}}"#))).collect();
    let thread = std::thread::spawn(move || applier.apply(&bears(jobs)).unwrap());
    // Between two attempts: who is let in amid one finds some jobs tried alone, and in vain.
    eventually("it has given up an attempt", || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle' AND query = 'ROLLBACK'";
        database.int(sql) == 1
    });
    assert!(!thread.is_finished());
    held.rollback().unwrap();
    let applied = thread.join().unwrap();
    assert!(outcomes(&applied).iter().all(is_done), "{applied:?}");
    assert_eq!(database.int("SELECT count(*) FROM effect"), 200);
}

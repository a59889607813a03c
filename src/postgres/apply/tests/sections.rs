//! The statements of the other catalogs: tenants, results, other sections, several rows a job, statements a job.

use crate::core::jobs::batch::{Changed, JobOutcome, Lane, Left, QueuedJob, SpaceApplied};

use crate::postgres::tests::batches::*;

const SALON: &str = include_str!("../../../../catalogs/salon.toml");
const EXAM: &str = include_str!("../../../../catalogs/exam.toml");

fn uuid(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

#[test]
fn many_tenants_share_a_batch_and_never_a_row() {
    let database = Database::new(include_str!("../../../../schema/salon.sql"));
    database.run("INSERT INTO counter SELECT ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 100 * i FROM generate_series(0, 49) i");
    let mut applier = database.applier();
    let sections = sections(SALON);
    let invoice = section(&sections, "invoice");
    let spaces = (0..50)
        .map(|tenant| {
            let jobs = (1..=3u64)
                .map(|seq| {
                    let data = format!(
                        r#"{{"id":"{}","customer_id":"{}","amount":12.5}}"#,
                        uuid(1000 + tenant * 10 + seq as usize),
                        uuid(1)
                    );
                    job(seq, "ISSUE", data)
                })
                .collect();
            let mut space = space(&format!("{{{}}}:invoice", uuid(tenant)), invoice, jobs);
            (space.queue, space.tenant) = (1000 + tenant as i64, Some(uuid(tenant).into()));
            space
        })
        .collect();
    let applied = applier.apply(&batch(&sections, Lane::Main, spaces)).unwrap();
    for (tenant, space) in applied.spaces.iter().enumerate() {
        let SpaceApplied::Done { jobs, changed, .. } = space else { panic!("{space:?}") };
        assert_eq!(changed.len(), 3);
        for (i, outcome) in jobs.iter().enumerate() {
            let JobOutcome::Completed(completed) = outcome else { panic!("{outcome:?}") };
            let expected = format!("{{\"number\":{}}}", tenant * 100 + i + 1);
            assert_eq!(completed.result.as_deref(), Some(&*expected));
        }
    }
    assert_eq!(database.int("SELECT count(*) FROM invoice"), 150);
    assert_eq!(database.int("SELECT count(*) FROM invoice WHERE number / 100 <> substr(tenant_id::text, 25)::int"), 0);
}

#[test]
fn exams_return_results_and_deferred_constraints_name_their_job() {
    let database = Database::new(include_str!("../../../../schema/exam.sql"));
    database.run(include_str!("../../../../schema/exam-data.sql"));
    let catalog = format!(
        "{EXAM}\n[question.job.MOVE]\ndata = {{ id = \"int\", position = \"int\" }}\n\
         sql = \"UPDATE question SET position = job.position FROM {{jobs}} job WHERE question.id = job.id RETURNING job.n, question.id\"\n\
         [question.job.SWAP]\ndata = {{ a = \"int\", b = \"int\", pa = \"int\", pb = \"int\" }}\norder = [\"a\", \"b\"]\n\
         each = [\"UPDATE question SET position = {{pb}} WHERE id = {{a}}\", \"UPDATE question SET position = {{pa}} WHERE id = {{b}}\"]\n"
    );
    let sections = sections(&catalog);
    let (result, question) = (section(&sections, "result"), section(&sections, "question"));
    let mut applier = database.applier();
    let user = database.text("SELECT id FROM users LIMIT 1");
    let exam = database.int("SELECT exam_id FROM question ORDER BY id LIMIT 1");
    let (q, answer) = (
        database.int("SELECT id FROM question ORDER BY id LIMIT 1"),
        database.text("SELECT answer FROM question ORDER BY id LIMIT 1"),
    );
    let data = serde_json::json!({"user_id": user, "exam_id": exam, "answers": [{"q": q, "v": answer}]}).to_string();
    let mut second = space("result", result, vec![job(1, "SUBMIT", data)]);
    second.queue = 8;
    // Positions are unique, checked late: of these the one that takes another's place is guilty.
    let ids = database.text("SELECT string_agg(id || ':' || position, ',' ORDER BY id) FROM question WHERE exam_id = (SELECT exam_id FROM question ORDER BY id LIMIT 1)");
    let pairs: Vec<(i64, i64)> = ids
        .split(',')
        .map(|pair| pair.split_once(':').map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).unwrap())
        .collect();
    let (a, b) = (pairs[0], pairs[1]);
    let jobs = vec![
        job(1, "MOVE", format!(r#"{{"id":{},"position":900}}"#, a.0)),
        QueuedJob { max_attempts: 1, ..job(2, "MOVE", format!(r#"{{"id":{},"position":{}}}"#, a.0, b.1)) },
        job(3, "MOVE", format!(r#"{{"id":{},"position":{}}}"#, a.0, a.1)),
        job(4, "SWAP", format!(r#"{{"a":{},"b":{},"pa":{},"pb":{}}}"#, a.0, b.0, a.1, b.1)),
        QueuedJob { max_attempts: 1, ..job(5, "SWAP", r#"{"a":-1,"b":-2,"pa":1,"pb":2}"#) },
    ];
    let applied =
        applier.apply(&batch(&sections, Lane::Main, vec![space("question", question, jobs), second])).unwrap();
    let [SpaceApplied::Done { jobs, .. }, SpaceApplied::Done { jobs: results, changed, .. }] = &applied.spaces[..]
    else {
        panic!("{applied:?}")
    };
    assert!(is_done(&jobs[0]) && is_done(&jobs[2]) && is_done(&jobs[3]), "{jobs:?}");
    assert!(reason(&jobs[1]).starts_with("23505 "), "{jobs:?}");
    assert!(reason(&jobs[4]).contains("affected no row"), "{jobs:?}");
    assert_eq!(database.int(&format!("SELECT position FROM question WHERE id = {}", a.0)), b.1);
    let JobOutcome::Completed(completed) = &results[0] else { panic!("{results:?}") };
    let id = changed[0].id.as_deref().unwrap();
    assert!(completed.result.as_deref().unwrap().starts_with(&format!("{{\"id\":{id},\"score\":")), "{completed:?}");
}

#[test]
fn a_job_may_change_rows_of_another_section() {
    let database = Database::bears();
    database.run("INSERT INTO bear_colors SELECT i, 1 FROM generate_series(1, 3) i");
    let sections = sections(BEAR);
    let (color, bear) = (section(&sections, "color"), section(&sections, "bear"));
    let jobs = vec![
        job(1, "DELETE_COLOR", r#"{"name":"brown"}"#),
        job(2, "CREATE_COLOR", r##"{"name":"red","hex":"#ff0000"}"##),
    ];
    let applied = database.applier().apply(&batch(&sections, Lane::Main, vec![space("color", color, jobs)])).unwrap();
    let [SpaceApplied::Done { changed, .. }] = &applied.spaces[..] else { panic!("{applied:?}") };
    let bears: Vec<_> =
        changed.iter().filter(|changed| changed.section == bear).map(|c| c.id.as_deref().unwrap()).collect();
    assert_eq!(bears, ["1", "2", "3"]);
    assert!(changed.contains(&Changed { section: color, id: Some("1".into()) }), "{changed:?}");
    let JobOutcome::Completed(completed) = &outcomes(&applied)[0] else { panic!() };
    assert_eq!(completed.rows, 4);
}

#[test]
fn a_refused_type_waits_and_the_others_do_not() {
    let database = Database::bears();
    let mut applier = database.applier();
    let name = |seq, id: u64| job(seq, "UPDATE_BEAR_NAME", format!(r#"{{"id":{id},"name":"n"}}"#));
    let size = |seq, id: u64| job(seq, "UPDATE_BEAR_SIZE", format!(r#"{{"id":{id},"size":4}}"#));
    assert!(outcomes(&applier.apply(&bears(vec![size(1, 1), name(2, 1)])).unwrap()).iter().all(is_done));
    database.run("ALTER TABLE bear RENAME COLUMN size TO bulk");
    let applied = applier.apply(&bears(vec![size(3, 1), size(4, 2), name(5, 1), name(6, 3)])).unwrap();
    let paused = |outcome: &JobOutcome| matches!(outcome, JobOutcome::Left { why: Left::TypePaused, .. });
    let jobs = outcomes(&applied);
    assert!(paused(&jobs[0]) && paused(&jobs[1]) && is_done(&jobs[3]), "{jobs:?}");
    assert!(matches!(jobs[2], JobOutcome::Left { why: Left::Behind, .. }), "{jobs:?}");
    let [(kind, error)] = &applied.refused[..] else { panic!("{applied:?}") };
    assert_eq!(error.code.as_deref(), Some("42703"));
    let mut known = bears(vec![size(7, 4), name(8, 5)]);
    known.paused = vec![*kind];
    let applied = applier.apply(&known).unwrap();
    assert!(paused(&outcomes(&applied)[0]) && applied.refused.is_empty(), "{applied:?}");
    database.run("ALTER TABLE bear RENAME COLUMN bulk TO size");
    let mut side = bears(vec![size(3, 1), size(4, 2), name(5, 1), size(7, 4)]);
    side.lane = Lane::Side;
    let applied = applier.apply(&side).unwrap();
    assert!(outcomes(&applied).iter().all(is_done) && applied.accepted.contains(kind), "{applied:?}");
}

#[test]
fn a_barrier_waits_for_what_is_left_before_it() {
    let database = Database::bears();
    let catalog = format!(
        "{BEAR}\n[color.job.ALL]\ndata = {{ hex = \"text\" }}\norder = \"*\"\n\
         sql = \"WITH u AS (UPDATE color SET hex = job.hex FROM {{jobs}} job RETURNING job.n) SELECT n FROM u\"\n\
         [color.job.ONE]\ndata = {{ id = \"int\", hex = \"text\" }}\n\
         sql = \"UPDATE color SET hex = job.hex FROM {{jobs}} job WHERE color.id = job.id RETURNING job.n, color.id\"\n"
    );
    let sections = sections(&catalog);
    let color = section(&sections, "color");
    let mut applier = database.applier();
    let jobs = vec![
        job(1, "ONE", r##"{"id":1,"hex":"#000001"}"##),
        job(2, "ALL", r##"{"hex":"#000002"}"##),
        job(3, "ONE", r##"{"id":1,"hex":"#000003"}"##),
        job(4, "ONE", r##"{"id":1,"hex":"bad"}"##),
        job(5, "ALL", r##"{"hex":"#000005"}"##),
        job(6, "ONE", r##"{"id":2,"hex":"#000006"}"##),
        job(7, "NO_SUCH", "{}"),
    ];
    let applied = applier.apply(&batch(&sections, Lane::Main, vec![space("color", color, jobs.clone())])).unwrap();
    let [SpaceApplied::Done { mark, jobs: outcomes, .. }] = &applied.spaces[..] else { panic!("{applied:?}") };
    assert_eq!(*mark, jobs[3].id);
    assert!(outcomes[..3].iter().all(is_done), "{outcomes:?}");
    assert!(matches!(outcomes[3], JobOutcome::Left { why: Left::Retry(_), .. }), "{outcomes:?}");
    assert!(outcomes[4..].iter().all(|outcome| *outcome == JobOutcome::NotTaken), "{outcomes:?}");
    assert_eq!(database.text("SELECT string_agg(hex, ',' ORDER BY id) FROM color"), "#000003,#000002,#000002");
    // A barrier that fails stays beyond the mark.
    let bad = vec![job(8, "ALL", r##"{"hex":"bad"}"##), jobs[5].clone()];
    let mut fresh = space("color", color, bad);
    fresh.epoch = 2;
    let applied = applier.apply(&batch(&sections, Lane::Main, vec![fresh])).unwrap();
    assert!(
        matches!(
            &applied.spaces[..],
            [SpaceApplied::Done { mark, jobs, .. }] if *mark == crate::core::jobs::job_id::JobId::ZERO
                && matches!(jobs[..], [JobOutcome::Left { barrier: true, why: Left::Retry(_), .. }, JobOutcome::NotTaken])
        ),
        "{applied:?}"
    );
    assert_eq!(database.int("SELECT count(*) FROM bear.left_out WHERE epoch = 2"), 0);
}

#[test]
fn a_statement_older_than_a_change_of_its_table_is_prepared_anew() {
    let database = Database::bears();
    // Its function would keep a plan of its own.
    database.run("DROP TRIGGER effects ON bear");
    let mut applier = database.applier();
    let name = |seq| job(seq, "UPDATE_BEAR_NAME", r#"{"id":1,"name":"n"}"#);
    for (seq, change) in [
        (1, ""),
        (2, "ALTER TABLE bear ALTER COLUMN id TYPE int4"),
        (3, ""),
        (4, "ALTER TABLE bear ALTER COLUMN id TYPE int8"),
    ] {
        database.run(change);
        let applied = applier.apply(&bears(vec![name(seq)])).unwrap();
        assert!(is_done(&outcomes(&applied)[0]), "{change} {applied:?}");
    }
}

//! Batches against a private Postgres, through the applier's threads.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crate::core::catalog::read_catalog;
use crate::core::catalog::Section;
use crate::core::jobs::batch::{
    Applied, Batch, Completed, JobOutcome, Lane, Left, Limits, QueuedJob, SpaceApplied, SpaceBatch,
};
use crate::core::jobs::job_id::JobId;
use crate::postgres::{Applier, ApplierControl, ApplierEvent, Settings, UrlSource};

use super::eventually;
use super::server::Server;

pub(crate) const BEAR: &str = include_str!("../../../catalogs/bear.toml");
const SCHEMA: &str = include_str!("../../../schema/bear.sql");

/// A database of its own on the shared server.
pub(crate) struct Database {
    pub(crate) server: Arc<Server>,
    pub(crate) name: String,
}

impl Database {
    pub(crate) fn new(sql: &str) -> Database {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = format!("apply_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let database = Database::on(Server::shared(), &name);
        database.run(sql);
        database
    }

    /// On a server that may be harmed.
    pub(crate) fn on(server: Arc<Server>, name: &str) -> Database {
        server.run(&format!("CREATE DATABASE {name}"));
        Database { server, name: name.to_owned() }
    }

    pub(crate) fn bears() -> Database {
        let database = Database::new(SCHEMA);
        database.run(
            "INSERT INTO color (name, hex) VALUES ('brown', '#000000'), ('black', '#111111'), ('white', '#222222'); \
             INSERT INTO bear (id, name, size) SELECT i, 'old', 1 FROM generate_series(1, 2000) i; \
             SELECT setval('bear_id_seq', 2000); \
             CREATE TABLE effect (n bigint GENERATED ALWAYS AS IDENTITY, what text, row bigint, name text); \
             CREATE FUNCTION log_effect() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               INSERT INTO effect (what, row, name) VALUES (TG_OP, coalesce(NEW.id, OLD.id), coalesce(NEW.name, OLD.name)); \
               RETURN NULL; END $$; \
             CREATE TRIGGER effects AFTER INSERT OR UPDATE OR DELETE ON bear FOR EACH ROW EXECUTE FUNCTION log_effect()",
        );
        database
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://bear@127.0.0.1:{}/{}", self.server.port, self.name)
    }

    pub(crate) fn client(&self) -> ::postgres::Client {
        ::postgres::Client::connect(&self.url(), ::postgres::NoTls).unwrap()
    }

    pub(crate) fn run(&self, sql: &str) {
        self.client().batch_execute(sql).unwrap();
    }

    pub(crate) fn int(&self, sql: &str) -> i64 {
        self.client().query_one(&format!("SELECT ({sql})::int8"), &[]).unwrap().get(0)
    }

    pub(crate) fn text(&self, sql: &str) -> String {
        self.client().query_one(&format!("SELECT ({sql})::text"), &[]).unwrap().get(0)
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::new(self.url(), UrlSource::Config)
    }

    pub(crate) fn applier(&self) -> Applier {
        applier(self.settings()).0
    }
}

pub(crate) fn applier(settings: Settings) -> (Applier, Arc<ApplierControl>, crossbeam_channel::Receiver<ApplierEvent>) {
    let control = Arc::new(ApplierControl::new(settings, Arc::default()));
    let (sender, events) = crossbeam_channel::unbounded();
    let applier = Applier::new(control.clone(), move |event| drop(sender.send(event)));
    (applier, control, events)
}

pub(crate) fn sections(catalog: &str) -> Arc<[Section]> {
    read_catalog::parse(catalog, &mut || 1).unwrap().sections
}

pub(crate) const LIMITS: Limits =
    Limits { lock_timeout_ms: 200, statement_timeout_ms: 10_000, max_result_bytes: 1_000, keep_days: 30 };

pub(crate) fn job(seq: u64, name: &str, data: impl Into<String>) -> QueuedJob {
    QueuedJob {
        id: JobId { ms: 1_700_000_000_000, seq },
        name: name.as_bytes().into(),
        data: data.into().into_bytes().into(),
        attempts: 0,
        max_attempts: 2,
        undue: false,
        ends: None,
    }
}

pub(crate) fn space(name: &str, section: usize, jobs: Vec<QueuedJob>) -> SpaceBatch {
    SpaceBatch {
        space: name.into(),
        section,
        tenant: None,
        queue: 7,
        epoch: 1,
        own_epoch: true,
        known: None,
        adopt: false,
        blocked: Default::default(),
        any_blocked: false,
        jobs,
        published: JobId::ZERO,
        forget: vec![],
    }
}

pub(crate) fn batch(sections: &Arc<[Section]>, lane: Lane, spaces: Vec<SpaceBatch>) -> Batch {
    static TOKEN: AtomicI64 = AtomicI64::new(1);
    Batch {
        ticket: 1,
        token: TOKEN.fetch_add(1, Ordering::Relaxed),
        lane,
        sections: sections.clone(),
        spaces,
        paused: vec![],
        limits: LIMITS,
    }
}

/// Bear jobs of one space in the main lane.
pub(crate) fn bears(jobs: Vec<QueuedJob>) -> Batch {
    let sections = sections(BEAR);
    let section = section(&sections, "bear");
    batch(&sections, Lane::Main, vec![space("bear", section, jobs)])
}

pub(crate) fn section(sections: &[Section], name: &str) -> usize {
    sections.iter().position(|section| *section.name == *name).unwrap()
}

/// The outcomes of the only space.
pub(crate) fn outcomes(applied: &Applied) -> &[JobOutcome] {
    let [SpaceApplied::Done { jobs, .. }] = &applied.spaces[..] else { panic!("{applied:?}") };
    jobs
}

pub(crate) fn is_done(outcome: &JobOutcome) -> bool {
    matches!(outcome, JobOutcome::Completed(Completed { earlier: false, .. }))
}

pub(crate) fn is_earlier(outcome: &JobOutcome) -> bool {
    matches!(outcome, JobOutcome::Completed(Completed { earlier: true, .. }))
}

/// Why the job failed or is to be tried again.
pub(crate) fn reason(outcome: &JobOutcome) -> String {
    match outcome {
        JobOutcome::Failed { error, .. } | JobOutcome::Left { why: Left::Retry(error) | Left::Isolated(error), .. } => {
            format!("{} {}", error.code.as_deref().unwrap_or("-"), error.message)
        }
        other => panic!("{other:?}"),
    }
}

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
    let mut again = super::apply::batch(&batch.sections, batch.lane, batch.spaces.clone());
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

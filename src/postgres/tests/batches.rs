//! Databases with the bears, batches of jobs, and what has become of each.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::Arc;

use crate::core::catalog::read_catalog;
use crate::core::catalog::Section;
use crate::core::jobs::batch::{
    Applied, Batch, Completed, JobOutcome, Lane, Left, Limits, QueuedJob, SpaceApplied, SpaceBatch,
};
use crate::core::jobs::job_id::JobId;
use crate::postgres::{Applier, ApplierControl, ApplierEvent, Settings, UrlSource};

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
        in_cluster: false,
        spaces,
        paused: vec![],
        traceparent: None,
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

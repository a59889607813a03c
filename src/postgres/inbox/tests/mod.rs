//! Against a real Postgres: what is found in which order, what is settled, and whose sections are.

mod owners;
mod polls;
mod tells;

use std::sync::atomic::AtomicBool;
use std::sync::Arc;

use super::{CatalogJob, Found, Holding, InboxLink, Linked, Listing};
use crate::core::inbox::snapshot::Snapshot;
use crate::postgres::tests::server::Server;
use crate::postgres::{Settings, UrlSource};

/// A data set's side of the inbox.
struct Side {
    link: InboxLink,
    holding: Holding,
    last: Snapshot,
}

impl Side {
    fn new(server: &Server, owner: i64, jobs: &[(&str, &str)]) -> Side {
        Side::with(server, owner, jobs, true)
    }

    fn with(server: &Server, owner: i64, jobs: &[(&str, &str)], prepare: bool) -> Side {
        let (mut link, mut holding) = (connect(server, prepare), holding(owner, jobs));
        link.renew(&mut holding, true).unwrap();
        let (_, last) = link.list(&holding, Listing::All).unwrap();
        Side { link, holding, last }
    }

    fn poll(&mut self) -> Found {
        self.link.poll(&self.holding, &mut self.last, true).unwrap()
    }

    /// Names of the jobs of new rows.
    fn names(&mut self) -> Vec<String> {
        let found = self.poll();
        assert!(found.ids.is_empty() && found.done.is_empty(), "{found:?}");
        found.rows.iter().map(|row| row.job.to_string()).collect()
    }
}

fn connect(server: &Server, prepare: bool) -> InboxLink {
    let settings = Settings { prepare, ..Settings::new(server.url(), UrlSource::Config) };
    match InboxLink::connect(Arc::new(settings), true, Arc::new(AtomicBool::new(false))).unwrap() {
        Linked::Link(link) => *link,
        Linked::Absent => panic!("no tables"),
    }
}

fn holding(owner: i64, jobs: &[(&str, &str)]) -> Holding {
    let jobs = jobs.iter().map(|(section, job)| CatalogJob {
        section: (*section).into(),
        job: (*job).into(),
        kind: if *section == "bear" { "sql".into() } else { "claimed".into() },
    });
    Holding::new(owner, format!("host:{owner}").into(), jobs.collect())
}

/// Enqueues in a transaction of its own.
fn enqueue(server: &Server, space: &str, job: &str) -> u64 {
    let row = server.client().query_one("SELECT bear.enqueue($1, $2, '{}')", &[&space, &job]).unwrap();
    row.get::<_, i64>(0) as u64
}

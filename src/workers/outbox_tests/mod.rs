//! The change feed through triggers, against private Postgres servers whose WAL cannot be decoded.

mod changes;
mod faults;
mod speed;

use super::*;
use crate::postgres::FeedKind;

/// One server for all tests that have it to themselves within a database.
fn plain() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(Server::new());
    *shared = Arc::downgrade(&server);
    server
}

pub(super) fn database(sql: &str) -> Database {
    Database::on(plain(), sql)
}

pub(super) fn follow(database: &Database, catalog: &str) -> Followed {
    follow_as(database, catalog, "bear", database.server.port)
}

fn follow_as(database: &Database, catalog: &str, user: &str, port: u16) -> Followed {
    let mut settings = settings(&database.url(user, port));
    settings.kind = FeedKind::Outbox;
    settings.settings.query_timeout_ms = 5000;
    Followed::start(settings, catalog)
}

/// Waits for the next connection through whatever goes wrong before.
fn connected_again(followed: &Followed) -> Vec<(String, bool)> {
    loop {
        if let FeedOutcome::Connected { coverage } = followed.next() {
            let line = |table: &crate::core::feed::TableCoverage| {
                (table.table.to_string(), matches!(table.state, Coverage::Covered { .. }))
            };
            return coverage.iter().map(line).collect();
        }
    }
}

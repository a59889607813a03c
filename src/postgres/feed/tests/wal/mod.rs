//! What logical decoding alone can tell, or be asked.

mod changes;
mod faults;
mod own;
mod tables;
mod ways_in;

use super::*;

fn database(sql: &str) -> Database {
    Database::new(FeedKind::Wal, sql)
}

/// On a server that may be harmed.
fn database_alone(sql: &str) -> Database {
    Database::on(FeedKind::Wal, Arc::new(server_for(FeedKind::Wal)), sql)
}

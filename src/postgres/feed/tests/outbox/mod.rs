//! What triggers and their table alone can tell, or be asked.

mod changes;
mod faults;

use super::*;

fn database(sql: &str) -> Database {
    Database::new(FeedKind::Outbox, sql)
}

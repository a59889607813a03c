//! The inbox: what `bear.enqueue` costs who enqueues, how fast its jobs are done, how soon a worker has one, what it writes, and
//! whether it grows.

mod draining;
mod growing;
mod inserting;
mod waking;
mod writing;

pub use draining::run as run_draining;
pub use growing::run as run_growing;
pub use inserting::run as run_inserting;
pub use waking::run as run_waking;
pub use writing::run as run_writing;

use crate::queue::redis_with;
use crate::setup::{CATALOG, SCHEMA};
use crate::support::{eventually, Database, Postgres, Redis};

const INBOX: &str = include_str!("../../schema/inbox.sql");
const RIVER: &str = include_str!("river.sql");

/// Beside the catalog's own sections: a job for workers, and one for Postgres that changes nothing.
const SECTIONS: &str = r#"
[mail.job.SEND]
data = { to = "text", subject = "text", template = "text", campaign = "int", locale = "text" }
claim = { keep = 0 }
[nothing.job.SEND]
data = { to = "text", subject = "text", template = "text", campaign = "int", locale = "text" }
sql = "SELECT n FROM {jobs} job"
"#;

/// 120 bytes.
const PAYLOAD: &str = r#"{"to":"someone@example.org","subject":"Welcome to the bears","template":"welcome","campaign":471199001,"locale":"en-GB"}"#;

fn schema() -> String {
    // Not into the schema bear, for a role of that name.
    format!("{SCHEMA}\n{RIVER}\n{INBOX}")
}

/// A database in which the inbox is, and a Redis that takes its rows over; drained as they come, without a feed.
fn with_redis<T>(postgres: &Postgres, settings: &[(&str, &str)], run: impl FnOnce(&Database, &Redis) -> T) -> T {
    let database = postgres.database(&schema());
    let redis = redis_with(&database, &format!("{CATALOG}\n{SECTIONS}"));
    let mut wire = redis.wire();
    for (name, value) in [("bear.feed", "off"), ("bear.inbox", "yes"), ("bear.drain", "yes")].iter().chain(settings) {
        crate::queue::set(&mut wire, name, value);
    }
    wait_served(&database, &format!("SELECT bear.enqueue('nothing', 'SEND', '{PAYLOAD}')"));
    let result = run(&database, &redis);
    drop(redis);
    result
}

/// It has taken the sections over once a job of theirs is done.
fn wait_served(database: &Database, enqueue: &str) {
    let mut client = database.client();
    eventually("the catalog's jobs are known", || {
        let known = client.query_one("SELECT count(*) FROM bear.inbox_job", &[]);
        known.is_ok_and(|row| row.get::<_, i64>(0) > 0) && client.batch_execute(enqueue).is_ok()
    });
    eventually("the inbox is served", || is_empty(database));
}

/// Has everything that was enqueued settled?
fn is_empty(database: &Database) -> bool {
    let found = database.client().query_one("SELECT EXISTS (SELECT FROM bear.inbox)", &[]).expect("the inbox");
    !found.get::<_, bool>(0)
}

//! Whether a connection is a session, or a pooler gives each transaction of it whichever session of Postgres is free.
//!
//! Invariant: behind such a pooler nothing is set for a session. What was set would be met by whoever comes next there, who could not
//! write any more for one (`default_transaction_read_only`); and what was prepared or pinned would be missing for us.
//!
//! Nobody says which of both it is. Two connections tell: in turn each asks which backend serves it. One that serves both, or one
//! that changes, is shared. Poolers hand out the backend that was used last, so of one that is idle the first question tells; where it is
//! busy, backends change.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::{Config, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::client::{Client, ClientError};

/// How often both are asked.
const ROUNDS: usize = 3;

/// The second connection gets no longer than this: a pooler in session mode may have none left.
const LIMIT: Duration = Duration::from_millis(300);

/// What was found of a place holds so long.
const LIFE: Duration = Duration::from_secs(60);

/// What is to be done about it.
pub(in crate::postgres) const REMEDY: &str =
    "the pooler there gives each transaction another session (transaction or statement mode), where nothing stays prepared or set: say \
     bear.prepare no, and lead bear.feed-url past it; or let it pool sessions";

/// PgBouncer refuses transactions in statement mode by these words.
const STATEMENT_MODE: &str = "statement pooling mode";

#[derive(Default)]
struct Found {
    /// When a place was last found to hold sessions.
    sessions: HashMap<String, Instant>,
    suspected: Option<Instant>,
}

static FOUND: LazyLock<Mutex<Found>> = LazyLock::new(Mutex::default);

/// Does the connection share its session with others? Nothing may have been set on it yet. Asks nobody where that was found a moment
/// ago.
pub(in crate::postgres) fn is_shared(
    client: &mut Client,
    config: &Config,
    connector: &MakeRustlsConnect,
) -> Result<bool, ClientError> {
    let place = place(config);
    if lock(&FOUND).sessions.get(&place).is_some_and(|found| found.elapsed() < LIFE) {
        return Ok(false);
    }
    let is_shared = meets_another(client, config, connector)?;
    if !is_shared {
        lock(&FOUND).sessions.insert(place, Instant::now());
    }
    Ok(is_shared)
}

/// Something that was prepared has gone, or was there already: the next connection is looked at again. False where that was so a
/// moment ago, and connections turned out to be sessions: a function raises such errors.
pub(in crate::postgres) fn suspect() -> bool {
    let mut found = lock(&FOUND);
    if found.suspected.is_some_and(|suspected| suspected.elapsed() < LIFE) && !found.sessions.is_empty() {
        return false;
    }
    *found = Found { suspected: Some(Instant::now()), ..Found::default() };
    true
}

/// What is said of an error that a pooler's mode explains.
pub(in crate::postgres) fn explained(what: String) -> String {
    match what.contains(STATEMENT_MODE) {
        true => format!(
            "{what}: bear needs transactions; let the pooler pool them (pool_mode = transaction, and bear.prepare no), or sessions"
        ),
        false => what,
    }
}

/// Is the message about a statement that the driver has prepared, which another session has or ours has not?
pub(in crate::postgres) fn is_of_others(sqlstate: &str, message: &str) -> bool {
    let name = message.split('"').nth(1).and_then(|name| name.strip_prefix('s'));
    matches!(sqlstate, "26000" | "42P05")
        && name.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn meets_another(client: &mut Client, config: &Config, connector: &MakeRustlsConnect) -> Result<bool, ClientError> {
    let first = backend(client)?;
    // Where there is no second connection to be had, nobody can tell.
    let Ok(mut other) = Client::connect(config, connector.clone(), Instant::now() + LIMIT) else { return Ok(false) };
    for _ in 0..ROUNDS {
        let Ok(theirs) = backend(&mut other) else { return Ok(false) };
        let ours = backend(client)?;
        if theirs == first || ours != first {
            return Ok(true);
        }
    }
    Ok(false)
}

fn backend(client: &mut Client) -> Result<Option<String>, ClientError> {
    let messages = client.simple_query("SELECT pg_catalog.pg_backend_pid()")?;
    Ok(messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

fn place(config: &Config) -> String {
    format!(
        "{:?} {:?} {:?} {:?} {:?}",
        config.get_hosts(),
        config.get_hostaddrs(),
        config.get_ports(),
        config.get_user(),
        config.get_dbname()
    )
}

fn lock(found: &Mutex<Found>) -> MutexGuard<'_, Found> {
    // Each change is one assignment.
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_of_the_drivers_is_told_from_one_of_a_function() {
        for (sqlstate, message, is) in [
            ("26000", "prepared statement \"s12\" does not exist", true),
            ("42P05", "prepared statement \"s0\" already exists", true),
            ("26000", "prepared statement \"mine\" does not exist", false),
            ("26000", "prepared statement \"s\" does not exist", false),
            ("22000", "prepared statement \"s12\" does not exist", false),
            ("26000", "gone", false),
        ] {
            assert_eq!(is_of_others(sqlstate, message), is, "{message}");
        }
    }

    #[test]
    fn only_the_refusal_of_a_transaction_is_explained() {
        let refusal = "transaction blocks not allowed in statement pooling mode";
        assert!(explained(refusal.to_owned()).contains("pool_mode = transaction"));
        assert_eq!(explained("server closed".to_owned()), "server closed");
    }
}

//! Whether a connection reaches the server that filled the cache.
//!
//! A crash or a failover may have erased what was cached, so anything that differs counts as another server.

use tokio_postgres::SimpleQueryMessage;

use super::client::{Client, ClientError};

/// Asked in simple protocol, so that it works behind any pooler; a plain role may read all of it.
///
/// A crash of one backend restarts the server without a new start time, but its statistics begin anew: the archiver's
/// reset time, which nothing else moves but `pg_stat_reset_shared('archiver')`, tells.
pub(in crate::postgres) const QUERY: &str =
    "SELECT pg_catalog.pg_is_in_recovery(), s.system_identifier, c.timeline_id, \
    extract(epoch FROM pg_catalog.pg_postmaster_start_time()), extract(epoch FROM a.stats_reset) \
    FROM pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c, pg_catalog.pg_stat_archiver a";

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerIdentity {
    pub system_identifier: i64,
    /// Start of the server, in seconds since 1970, and of its statistics, which a crash begins anew.
    pub started_at: String,
    pub timeline: i32,
}

impl ServerIdentity {
    /// When the server was started, as it writes it: `extract(epoch FROM pg_postmaster_start_time())`.
    pub(in crate::postgres) fn server_start(&self) -> &str {
        self.started_at.split('/').next().unwrap_or_default()
    }
}

/// What the answer to [`QUERY`] says.
pub(in crate::postgres) enum Standing {
    Primary(ServerIdentity),
    /// A standby, which may lag behind what has been committed.
    InRecovery,
}

/// Runs `prefix` and the question about the identity in one round trip.
pub(in crate::postgres) fn ask(client: &mut Client, prefix: &str) -> Result<Standing, ClientError> {
    let messages = client.simple_query(&format!("{prefix}{QUERY}"))?;
    let row = messages.iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(read(|i| row.and_then(|row| row.try_get(i).ok().flatten())))
}

/// The answer to [`QUERY`] by its columns.
pub(in crate::postgres) fn read<'a>(column: impl Fn(usize) -> Option<&'a str>) -> Standing {
    let text = |i: usize| column(i).unwrap_or_default();
    if text(0) != "f" {
        return Standing::InRecovery;
    }
    Standing::Primary(ServerIdentity {
        system_identifier: text(1).parse().unwrap_or_default(),
        started_at: format!("{}/{}", text(3), text(4)),
        timeline: text(2).parse().unwrap_or_default(),
    })
}

//! Removes what earlier versions left in the database: publications, by which UPDATEs fail once a table has no key.
//!
//! Rule: what goes is named and made as theirs were, and belongs to a role that we are.

use tokio_postgres::SimpleQueryMessage;

use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;

use super::error::FeedError;

const PUBLICATIONS: &str = "SELECT pg_catalog.format('%I', p.pubname) FROM pg_catalog.pg_publication p \
    WHERE p.pubname::pg_catalog.text OPERATOR(pg_catalog.~) '^bear_[0-9a-f]{16}$' AND p.pubviaroot AND NOT p.puballtables \
    AND pg_catalog.pg_has_role(p.pubowner, 'USAGE') AND pg_catalog.obj_description(p.oid, 'pg_publication') IS NULL";

/// Who may not, or would have to wait, leaves them: another connection will come.
pub(super) fn drop_publications(client: &mut Client) -> Result<(), FeedError> {
    let messages = client.simple_query(PUBLICATIONS)?;
    let names: Vec<&str> = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    for name in names {
        let drop = format!("SET LOCAL lock_timeout = 100; DROP PUBLICATION IF EXISTS {name}");
        match client.simple_query(&drop).map_err(Failure::from) {
            Ok(_) => log::info!("dropped publication {name}, which an earlier version had made"),
            Err(failure @ (Failure::Broken(_) | Failure::Silent)) => return Err(failure.into()),
            Err(failure) => {
                log::warn!(
                    "publication {name}, which an earlier version had made, cannot be dropped: {}",
                    FeedError::from(failure)
                );
            }
        }
    }
    Ok(())
}

//! Error replies: one place that turns what went wrong into a code and a sentence.
//!
//! | code | when |
//! |---|---|
//! | `ERR` | the command is wrong; the text says what would be right |
//! | `NOWAIT` | in MULTI or a script, where nothing can wait |
//! | `READONLY` | an invalidation, or BEAR.VERIFY, on a replica; a client that waits for a job as its master is demoted |
//! | `POSTGRES` | Postgres cannot be reached |
//! | `TIMEOUT` | no answer within `bear.query-timeout-ms`; a job that has not settled within BLOCK |
//! | `TOOLARGE` | the result is over `bear.max-result-bytes`; a payload over `bear.max-job-bytes`, a UNIQUE key over 1,024 bytes |
//! | `QUERY` | Postgres refused the statement, or its result has not the promised shape |
//! | `OVERLOADED` | `bear.max-fills` fetches, or leases, are under way; 16 BEAR.VERIFY, or BEAR.PROPOSE, wait |
//! | `FULL` | a queue is at `bear.queue-max-jobs` or `bear.queue-max-bytes` |
//! | `DUPLICATE` | another job holds the UNIQUE key |
//! | `UNSAFE` | the memory policy may evict queued jobs |
//! | `CATALOG` | a job does not fit its definition any more |
//! | `LEDGER` | in BEAR.STATS: Postgres has not the ledger that Redis knows |
//! | `LOST` | the token is not, or not any more, that of the job's claim |
//! | `CANCELLED` | BEAR.EXTEND of a job that BEAR.CANCEL is to end |
//! | `WRONGTYPE` | a key of a queue holds another type |
//! | `TRYAGAIN` | in a cluster, the space's slot is on its way to this node |
//! | `FOREIGN` | keys under the section's names, or a queue's, are somebody's |

use crate::core::cache::fetch::FetchError;

/// The reply for a fetch that failed.
pub fn of_fetch(error: &FetchError, section: &str, call: &str) -> String {
    match error {
        FetchError::Unavailable { .. } => format!("POSTGRES {error}"),
        FetchError::Timeout { timeout_ms } => format!(
            "TIMEOUT '{call}' of '{section}' had no answer from Postgres within {timeout_ms} ms \
             (bear.query-timeout-ms); it is cancelled there"
        ),
        FetchError::TooLarge { limit } => format!(
            "TOOLARGE the result of '{call}' of '{section}' is larger than {limit} bytes (bear.max-result-bytes)"
        ),
        FetchError::Statement { .. } | FetchError::Shape(_) => {
            format!("QUERY '{call}' of '{section}': {error}")
        }
    }
}

/// The reply for a client whose time was up before its fetch had ended.
pub fn timeout(timeout_ms: i64) -> String {
    format!(
        "TIMEOUT no answer from Postgres within {timeout_ms} ms (bear.query-timeout-ms); the query is cancelled there"
    )
}

/// The reply for a command about a space of which this node may have a part only.
pub fn slot_moves() -> String {
    "TRYAGAIN the slot of this space is being moved between nodes; try again in a moment".into()
}

pub fn usage(error: impl std::fmt::Display) -> String {
    format!("ERR {error}")
}

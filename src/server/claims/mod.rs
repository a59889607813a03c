//! Jobs that workers claim, as their master sees them.
//!
//! | file | what |
//! |---|---|
//! | `claim` | BEAR.CLAIM |
//! | `settle` | BEAR.ACK, BEAR.FAIL, BEAR.RELEASE |
//! | `lease` | BEAR.EXTEND |
//! | `control` | BEAR.PROMOTE, BEAR.CLEAN, BEAR.CANCEL, BEAR.UPDATE, BEAR.LIMITQUEUE |
//! | `logs` | BEAR.LOG, BEAR.LOGS |
//!
//! Ids, tokens and JSON come as the words that they were sent as, and are checked here; numbers and options have been
//! checked against their bounds (`src/commands/`).

mod claim;
mod control;
mod lease;
mod logs;
mod settle;

pub use claim::ClaimRequest;
pub use control::{LimitRequest, PromoteTarget};
pub use settle::FailRequest;

/// Until a command does what it says.
fn not_built() -> Result<(), String> {
    Err("ERR not built yet".into())
}

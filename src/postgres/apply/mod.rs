//! Applying jobs: exactly once, whatever ends amid it.
//!
//! | file | what |
//! |---|---|
//! | `applier` | keeps at a batch through outages |
//! | `attempt` | one attempt at it: one transaction |
//! | `course` | what the attempts have learned, and why one ended |
//! | `ledger`, `left_out` | what has been applied, and what has not in its turn |
//! | `inbox` | rows of bear.inbox, which go with their jobs' effects |
//! | `isolate` | statements on savepoints: who is at fault is found by halving |
//! | `answer` | what a job's statement says it did |
//! | `tally` | what has become of each job, and which may still run |
//! | `present` | present values of the rows that jobs changed |
//! | `witness` | another connection, that tells an outage from a job which ends its own |
//! | `writer` | the connection that writes |
//!
//! ```text
//! batch -> BEGIN -> ledger: what is new? -> isolate, wave by wave -> inbox, ledger written -> COMMIT -> outcome
//!   ^                                                                 |               |
//!   |---- outage, collision: once more ------------------------------+---------------/ in doubt: the ledger's token tells
//!   \---- a row of the inbox was settled by others, or is held ------/
//! ```
//! A new outcome of a job: `core/jobs/batch` first, then `tally`, and a failpoint where a crash would show.

pub(super) mod answer;
pub(super) mod applier;
pub(super) mod attempt;
pub(super) mod course;
pub(super) mod inbox;
pub(super) mod isolate;
pub(super) mod ledger;
pub(super) mod left_out;
pub(super) mod present;
pub(super) mod tally;
#[cfg(test)]
mod tests;
pub(super) mod witness;
pub(super) mod writer;

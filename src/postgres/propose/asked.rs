//! What BEAR.PROPOSE asks, and what comes of it.

use std::time::Instant;

use crate::core::cache::fetch::FetchError;
use crate::core::propose::Wanted;
use crate::postgres::connect::pool::Pool;

/// One BEAR.PROPOSE.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The caller's own number, brought back with the text.
    pub ticket: u64,
    pub asked: Asked,
    pub deadline: Instant,
}

#[derive(Debug, Clone)]
pub enum Asked {
    /// A catalog for tables.
    Tables(Wanted),
}

/// Why there is no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposalError {
    /// What is asked for is not to be had; says what would be right.
    #[error("{0}")]
    Refused(String),
    /// Postgres could not be asked.
    #[error(transparent)]
    Postgres(#[from] FetchError),
}

impl Pool {
    /// The text that is asked for.
    pub fn propose(&self, proposal: &Proposal) -> Result<String, ProposalError> {
        match &proposal.asked {
            Asked::Tables(wanted) => self.propose_tables(wanted, proposal.deadline),
        }
    }
}

//! What BEAR.PROPOSE asks, and what comes of it.

use std::sync::Arc;
use std::time::Instant;

use crate::core::cache::fetch::FetchError;
use crate::core::catalog::Section;
use crate::core::propose::facts::Feed;
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
    /// A catalog for tables, with this feed.
    Tables(Wanted, Feed),
    /// The lines of one query.
    Statement(Statement, Known),
    /// Queries for the statements that cost most, so many at most.
    Slow(usize, Known),
}

/// A statement, as an application sends it.
#[derive(Debug, Clone)]
pub struct Statement {
    pub sql: Box<str>,
    /// None: it is made of the parameters.
    pub call: Option<Box<str>>,
}

/// The catalog in use, beside which queries are proposed.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its file.
    pub text: Arc<str>,
    /// As the file says them, without what was derived.
    pub sections: Arc<[Section]>,
    /// See [`crate::core::catalog::read_catalog::parse_with`].
    pub plan_id: fn() -> u64,
    /// Who tells of what others change.
    pub feed: Feed,
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
            Asked::Tables(wanted, feed) => self.propose_tables(wanted, *feed, proposal.deadline),
            Asked::Statement(statement, known) => self.propose_statement(statement, known, proposal.deadline),
            Asked::Slow(count, known) => self.propose_slow(*count, known, proposal.deadline),
        }
    }
}

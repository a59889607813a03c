//! What the attempts at one batch have learned, and why one of them ended.

use crate::core::jobs::batch::{Applied, Batch};
use crate::core::jobs::suspects::{End, JobPlace, Suspects};

use super::inbox;
use super::writer::Trouble;

/// Why an attempt ended without an answer to its COMMIT.
#[derive(Debug, thiserror::Error)]
pub(in crate::postgres) enum Abort {
    /// The connection is of no more use, or leads nowhere good.
    #[error("{0}")]
    Lost(String),
    /// The connection ended under a statement for these jobs.
    #[error("{what}")]
    Ended { end: End, sqlstate: Option<Box<str>>, what: String, under: Vec<JobPlace> },
    /// Somebody holds, or has used up, what every job needs. The connection is good.
    #[error("nobody gets what all need: {0}")]
    Busy(String),
    /// Run it again at once. The connection is good.
    #[error("collided: {0}")]
    Again(String),
    /// The same, and it is no collision: it goes on with what has been learned of rows of the inbox.
    #[error("{0}")]
    Learned(String),
    /// Something that an operator has to mend keeps the batch back. The connection is good.
    #[error("{0}")]
    Refused(String),
    #[error("stopped")]
    Stopped,
}

impl From<Trouble> for Abort {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Stopped => Abort::Stopped,
            Trouble::Lost(what) | Trouble::Ended { what, .. } => Abort::Lost(what),
            Trouble::Statement { sqlstate, message } => match &*sqlstate {
                "55P03" | "57014" => Abort::Busy(message.into()),
                code if code.starts_with("40") => Abort::Again(message.into()),
                // Whatever it is, a new connection looks at the ledger's tables and says what is wrong with them.
                _ => Abort::Lost(format!("{message} ({sqlstate})")),
            },
        }
    }
}

/// What the attempts at one batch have learned. It outlives their connections.
pub(in crate::postgres) struct Course {
    /// The outcome of a transaction whose COMMIT was sent: its token in the ledger says that it counts.
    pub(in crate::postgres) in_doubt: Option<Applied>,
    /// Attempts that collided with others.
    pub(in crate::postgres) collisions: u32,
    pub(in crate::postgres) suspects: Suspects,
    /// Of this connection: another one may lead to a server that has lost the last commits.
    pub(in crate::postgres) inbox: inbox::Known,
    /// Did the end of a transaction fail? Something deferred may have: from then on each statement is told to check it.
    checks_deferred: bool,
}

impl Course {
    /// Is what was deferred to be checked with each statement?
    pub(in crate::postgres) fn checks_deferred(&self) -> bool {
        self.checks_deferred
    }

    pub(in crate::postgres) fn new(batch: &Batch) -> Course {
        let known = batch.spaces.iter().enumerate().flat_map(|(space, of_space)| {
            of_space.jobs.iter().enumerate().filter_map(move |(at, job)| Some(((space, at), job.ends?)))
        });
        Course {
            in_doubt: None,
            collisions: 0,
            suspects: Suspects::new(known),
            inbox: inbox::Known::default(),
            checks_deferred: false,
        }
    }

    pub(in crate::postgres) fn at_end<T>(&mut self, result: Result<T, Trouble>) -> Result<T, Trouble> {
        self.checks_deferred |= result.is_err();
        result
    }
}

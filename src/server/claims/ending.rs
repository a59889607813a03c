//! How a job settles, and what others are told of that.

use crate::core::claims::attempts::AttemptError;
use crate::core::inbox::tell::Telling;
use crate::core::jobs::job_id::JobId;
use crate::server::queues::wall_ms;

/// A job that settles.
pub struct Settling {
    pub id: JobId,
    pub ending: Ending,
}

pub enum Ending {
    /// With its result, JSON.
    Completed {
        result: Option<Vec<u8>>,
    },
    Failed {
        error: AttemptError,
    },
}

impl Ending {
    /// What Postgres is told, of a job of the inbox.
    pub(super) fn telling(&self, attempts: u32) -> Telling {
        match self {
            Ending::Completed { .. } => Telling::Done,
            Ending::Failed { error } => Telling::failed(&error.message, attempts, wall_ms()),
        }
    }

    /// The attempt that failed, and who tried; 0: it was nobody's.
    pub(super) fn attempt(&self) -> u32 {
        match self {
            Ending::Completed { .. } => 0,
            Ending::Failed { error } => error.attempt,
        }
    }

    pub(super) fn worker(&self) -> &str {
        match self {
            Ending::Completed { .. } => "",
            Ending::Failed { error } => error.worker.as_deref().unwrap_or_default(),
        }
    }
}

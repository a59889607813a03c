//! How far a space has been read from its keys: jobs, starts, records. Until it has come beyond the first two, nothing is
//! handed out.

use std::collections::BTreeSet;

use crate::core::claims::queue::Queue;
use crate::core::jobs::job_id::JobId;

pub struct Loading {
    pub stage: Stage,
    /// The first entry that has not been read.
    pub from: JobId,
    /// What this process knew of the space.
    pub before: Option<Queue>,
    /// Of that: jobs of the inbox of which Postgres has not said yet that their rows are open.
    pub unverified: BTreeSet<JobId>,
    /// Are there any at all? Then each job is looked up.
    pub has: Has,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Jobs,
    Started,
    Completed,
    Failed,
}

impl Stage {
    pub fn next(self) -> Option<Stage> {
        match self {
            Stage::Jobs => Some(Stage::Started),
            Stage::Started => Some(Stage::Completed),
            Stage::Completed => Some(Stage::Failed),
            Stage::Failed => None,
        }
    }
}

/// Which keys hold anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Has {
    pub claims: bool,
    pub delayed: bool,
    pub attempts: bool,
    pub data: bool,
    pub progress: bool,
    /// Of rows of the inbox.
    pub tells: bool,
}

impl Loading {
    /// Has it come beyond jobs and starts?
    pub fn knows_jobs(&self) -> bool {
        matches!(self.stage, Stage::Completed | Stage::Failed)
    }

    /// Does it still come to jobs that are added?
    pub fn reads_jobs(&self) -> bool {
        self.stage == Stage::Jobs
    }

    /// A job that is delayed has been added behind what was read.
    pub fn expect_delayed(&mut self) {
        self.has.delayed = true;
    }
}

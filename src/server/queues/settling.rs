//! Outcomes of batches on their way to be published, as they wait for their turn.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use crate::core::feed::promise::Promised;
use crate::core::jobs::batch::{Batch, SpaceApplied};

/// The outcome of a batch on its way to be published.
pub struct Settling {
    pub(super) batch: Rc<Batch>,
    pub(super) spaces: VecDeque<SpaceOutcome>,
    /// When an applier began with it, Unix time.
    pub(super) begun_ms: u64,
    /// To the change feed, that what its rows concern is dropped.
    pub(super) promised: Option<Arc<Promised>>,
}

/// What came of one space's jobs.
pub(super) struct SpaceOutcome {
    /// Its place in the batch.
    pub(super) at: usize,
    /// Of the queue when the batch was sent.
    pub(super) life: Option<u64>,
    pub(super) applied: SpaceApplied,
    /// Records of its jobs, as far as the applier has made them.
    pub(super) records: Vec<Option<Vec<u8>>>,
}

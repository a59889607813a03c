//! A claimed job as the policy knows it, and the claim of one that somebody holds. Payloads and options stay in the keys.

use std::sync::Arc;

use smallvec::SmallVec;

use super::place::Place;
use super::ready::{Group, Head};
use crate::core::jobs::job_id::JobId;
use crate::core::values::priority::Priority;

/// Hashes of the values that keep a job's order; sorted, without duplicates.
pub type Orders = SmallVec<[u64; 2]>;

/// What the queue must know of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub id: JobId,
    pub name: Arc<str>,
    pub priority: Priority,
    pub orders: Orders,
    pub group: Group,
    /// The Unix time before which it was not to be had, as it was enqueued.
    pub due_ms: Option<u64>,
}

/// A job that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub token: u64,
    /// Which attempt it is, from 1 on.
    pub attempt: u32,
    /// Whose it is: a number that the caller gives.
    pub worker: u32,
    /// Unix time.
    pub started_ms: u64,
    pub lease_ms: u64,
    /// Monotonic.
    pub deadline_ms: u64,
    pub cancelled: bool,
}

impl Facts {
    pub(super) fn place(&self) -> Place {
        Place::new(self.id, self.due_ms)
    }

    pub(super) fn head(&self) -> Head {
        Head::new(self.priority, self.place())
    }
}

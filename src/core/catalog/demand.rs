//! Whether anybody depends on the values of a section's rows: a cached result, or a fetch under way, whose `match` or `on`
//! they may meet. Where nobody does, the values of changed rows need no reading.
//!
//! Redis' thread counts, the threads that read changed rows ask. Rule: a fetch counts before it is sent. So who asks after
//! a commit and finds nobody knows that every result to come is read by a snapshot that sees the commit; and whoever read
//! before the commit has been counted by then, for the fetch's snapshot was taken after it was sent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// Of one section.
#[derive(Debug, Default)]
pub struct Demand(AtomicUsize);

/// One that counts for as long as it lives.
#[derive(Debug)]
pub struct Want(Arc<Demand>);

impl Demand {
    pub fn is_any(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }

    pub fn want(self: &Arc<Demand>) -> Want {
        self.0.fetch_add(1, Ordering::SeqCst);
        Want(self.clone())
    }
}

impl Drop for Want {
    fn drop(&mut self) {
        self.0 .0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_demand_as_long_as_one_who_wants_is_left() {
        let demand: Arc<Demand> = Arc::default();
        assert!(!demand.is_any());
        let (first, second) = (demand.want(), demand.want());
        drop(first);
        assert!(demand.is_any());
        drop(second);
        assert!(!demand.is_any());
    }
}

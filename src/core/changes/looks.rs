//! How much may be looked at in one go. A value that cannot be told, or of which thousands of calls are, would hold Redis' thread:
//! the search then gives up, and whoever searches takes all of the space for concerned, or goes through it in slices.

use std::cell::Cell;
use std::ops::ControlFlow;

/// Looks of one search: about half a millisecond.
pub const MAX_LOOKS: usize = 2_000;

/// Those that are left.
#[derive(Debug)]
pub struct Looks(Cell<usize>);

impl Default for Looks {
    fn default() -> Looks {
        Looks(Cell::new(MAX_LOOKS))
    }
}

impl Looks {
    /// Takes one; breaks if none is left.
    pub fn take(&self) -> ControlFlow<()> {
        match self.0.get().checked_sub(1) {
            Some(left) => {
                self.0.set(left);
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }
}

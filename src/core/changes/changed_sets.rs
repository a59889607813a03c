//! Metadata sets of rows of one section that have changed, each with what of its row is as it was: an entry in the set goes
//! unless its query reads nothing else.

use crate::core::catalog::columns_read::{ColumnsRead, Unchanged};

#[derive(Debug, Clone, Default)]
pub struct ChangedSets {
    /// Name of the rows' section.
    pub section: Box<[u8]>,
    /// Names of the sets; that of any row with what all of the rows have left as it was.
    pub sets: Vec<(Box<[u8]>, Unchanged)>,
}

impl ChangedSets {
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.sets.iter().map(|(name, _)| &**name)
    }

    /// Does a result go that belongs to these sets (sorted) and reads these columns (None: all)?
    pub fn concern(&self, metas: &[Box<[u8]>], reads: Option<&ColumnsRead>) -> bool {
        self.sets.iter().any(|(name, unchanged)| {
            metas.binary_search(name).is_ok() && !reads.is_some_and(|reads| reads.pass_over(&self.section, unchanged))
        })
    }
}

//! What a cached call wants to know of: changed rows of a space that meet its predicate.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::image::Image;
use crate::core::calls::pattern::CallPattern;
use crate::core::calls::predicate::Predicate;
use crate::core::catalog::columns_read::{Columns, Unchanged};
use crate::core::values::value::Value;

/// A call wants to know of rows of a space that meet a predicate; one without terms: of any change there.
#[derive(Debug, Clone)]
pub struct Dependency {
    /// Prefix of the keys of the rows' space.
    pub space: Arc<[u8]>,
    pub predicate: Arc<Predicate>,
    /// Its arguments are those that the predicate names.
    pub call: Arc<CallPattern>,
    pub args: Arc<[Value]>,
    /// Columns of the space's rows that the result reads; None: all.
    pub reads: Option<Columns>,
}

impl Dependency {
    /// Whether the changed row's present values meet the predicate.
    pub fn meets(&self, change: &RowChange) -> bool {
        self.space == change.space
            && !self.passes_over(&change.unchanged)
            && self.predicate.meets(self.call.args(), &self.args, &change.image)
    }

    /// Does a change of a row of its space leave all that the result reads as it was?
    pub fn passes_over(&self, unchanged: &Unchanged) -> bool {
        self.reads.as_ref().is_some_and(|read| unchanged.covers(read))
    }
}

/// A row of a space changed, and these are its present values.
#[derive(Debug, Clone)]
pub struct RowChange {
    pub space: Arc<[u8]>,
    pub image: Image,
    pub unchanged: Unchanged,
}

/// Number of a registered call. A later one has a greater number; none is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DependentId(NonZeroU64);

impl DependentId {
    /// Numbers begin with 1.
    pub(in crate::core) fn of(number: u64) -> DependentId {
        DependentId(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN))
    }

    pub(in crate::core) fn number(self) -> u64 {
        self.0.get()
    }
}

//! Rows that jobs changed and whose drop is promised, by section and tenant: what the feed need not tell again.

use rustc_hash::FxHashSet;

use super::rules::Tenant;
use crate::mutations;

/// Rows that will be dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromisedRows {
    /// Sorted by section and tenant.
    pub(in crate::core) groups: Vec<((usize, Tenant), Ids)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::core) enum Ids {
    All,
    These(FxHashSet<Box<str>>),
}

impl PromisedRows {
    /// Of groups in any order.
    pub(in crate::core) fn merged(mut groups: Vec<((usize, Tenant), Ids)>) -> PromisedRows {
        groups.sort_by(|(one, _), (other, _)| one.cmp(other));
        groups.dedup_by(|(later, more), (earlier, ids)| {
            let is_same = later == earlier;
            match (is_same, &mut *ids, &mut *more) {
                (false, _, _) | (true, Ids::All, _) => {}
                (true, ids, Ids::All) => *ids = Ids::All,
                (true, Ids::These(ids), Ids::These(more)) => ids.extend(more.drain()),
            }
            is_same
        });
        PromisedRows { groups }
    }

    pub fn holds(&self, section: usize, tenant: &Tenant, id: &str) -> bool {
        if mutations::is("own-transactions-whole") {
            return true;
        }
        let at = self.groups.binary_search_by(|((of, whose), _)| (*of, whose).cmp(&(section, tenant)));
        match at.ok().map(|at| &self.groups[at].1) {
            Some(Ids::All) => true,
            Some(Ids::These(ids)) => ids.contains(id),
            None => false,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(in crate::core) fn len(&self) -> usize {
        let of = |ids: &Ids| match ids {
            Ids::All => 1,
            Ids::These(ids) => ids.len(),
        };
        self.groups.iter().map(|(_, ids)| of(ids)).sum()
    }
}

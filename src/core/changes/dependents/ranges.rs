//! Intervals of places on a line, many lines in one structure: which of them overlap a given one?
//!
//! This is the relational interval tree of Kriegel, Pötke and Seidl (VLDB 2000): an interval belongs to the node where
//! the ways to its two ends part, in a binary tree over all places that exists in the arithmetic only. Two ordinary
//! sorted sets keep the intervals by node, one by their beginnings and one by their ends.
//!
//! Node `w` at level `t` (its zeros at the right) stands over the places `w - 2^t ..= w + 2^t - 1`: its intervals hold
//! `w`, and none goes beyond these. One that overlaps `first ..= last` belongs to a node in there, or above an end:
//!
//! ```text
//!   w < first          : those that end at or after `first`
//!   first <= w <= last : all
//!   last < w           : those that begin at or before `last`
//! ```

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::core::changes::looks::Looks;

/// An interval, both ends included. Places begin with 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) struct Interval {
    first: u64,
    last: u64,
}

/// Line, node, an end of the interval, and whose it is.
type Row = (u64, u64, u64, u64);

#[derive(Debug, Default)]
pub(in crate::core) struct Ranges {
    by_first: BTreeSet<Row>,
    by_last: BTreeSet<Row>,
    /// Bit `t` is set if an interval may belong to a node at level `t`: the others need no look.
    levels: u64,
}

impl Interval {
    /// The ends may be given in any order. Place 0 is taken for 1, which keeps all orders.
    pub(in crate::core) fn new(a: u64, b: u64) -> Interval {
        Interval { first: a.min(b).max(1), last: a.max(b).max(1) }
    }

    /// Where the ways to its ends part.
    fn node(self) -> u64 {
        match (self.first ^ self.last).checked_ilog2() {
            Some(top) => self.last >> top << top,
            None => self.first,
        }
    }
}

impl Ranges {
    pub(in crate::core) fn is_empty(&self) -> bool {
        self.by_first.is_empty()
    }

    pub(in crate::core) fn insert(&mut self, line: u64, interval: Interval, owner: u64) {
        let node = interval.node();
        self.levels |= 1 << node.trailing_zeros();
        self.by_first.insert((line, node, interval.first, owner));
        self.by_last.insert((line, node, interval.last, owner));
    }

    pub(in crate::core) fn remove(&mut self, line: u64, interval: Interval, owner: u64) {
        let node = interval.node();
        self.by_first.remove(&(line, node, interval.first, owner));
        self.by_last.remove(&(line, node, interval.last, owner));
        if self.is_empty() {
            self.levels = 0;
        }
    }

    /// The owners of the line's intervals that overlap this one.
    pub(in crate::core) fn overlapping(
        &self,
        line: u64,
        Interval { first, last }: Interval,
        looks: &Looks,
        visit: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut levels = self.levels;
        while levels != 0 {
            let level = levels.trailing_zeros();
            levels &= levels - 1;
            looks.take()?;
            let node = node_over(first, level);
            if node < first {
                visit_all(self.by_last.range((line, node, first, 0)..=(line, node, u64::MAX, u64::MAX)), visit)?;
            }
            let node = node_over(last, level);
            if node > last {
                visit_all(self.by_first.range((line, node, 0, 0)..=(line, node, last, u64::MAX)), visit)?;
            }
        }
        visit_all(self.by_first.range((line, first, 0, 0)..=(line, last, u64::MAX, u64::MAX)), visit)
    }

    /// The owners of all intervals of a line.
    pub(in crate::core) fn of_line(&self, line: u64, visit: &mut dyn FnMut(u64) -> ControlFlow<()>) -> ControlFlow<()> {
        visit_all(self.by_first.range((line, 0, 0, 0)..=(line, u64::MAX, u64::MAX, u64::MAX)), visit)
    }

    /// The owners of all intervals.
    pub(in crate::core) fn all(&self, visit: &mut dyn FnMut(u64) -> ControlFlow<()>) -> ControlFlow<()> {
        visit_all(self.by_first.iter(), visit)
    }

    /// The first line from this one on that has an interval.
    pub(in crate::core) fn next_line(&self, from: u64) -> Option<u64> {
        self.by_first.range((from, 0, 0, 0)..).next().map(|row| row.0)
    }
}

/// The node at the level that stands over the place.
fn node_over(place: u64, level: u32) -> u64 {
    place >> level >> 1 << 1 << level | 1 << level
}

fn visit_all<'a>(
    mut rows: impl Iterator<Item = &'a Row>,
    visit: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> ControlFlow<()> {
    rows.try_for_each(|row| visit(row.3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn overlapping(ranges: &Ranges, line: u64, wanted: Interval) -> Vec<u64> {
        let mut found = Vec::new();
        let ended = ranges.overlapping(line, wanted, &Looks::default(), &mut |owner| {
            found.push(owner);
            ControlFlow::Continue(())
        });
        assert!(ended.is_continue());
        found.sort_unstable();
        found
    }

    #[test]
    fn an_interval_belongs_to_the_node_where_the_ways_to_its_ends_part() {
        for (first, last, node) in
            [(5, 5, 5), (4, 7, 6), (3, 4, 4), (5, 7, 6), (1, 15, 8), (1, u64::MAX, 1 << 63), (0, 0, 1), (7, 3, 4)]
        {
            assert_eq!(Interval::new(first, last).node(), node, "{first} {last}");
        }
        assert_eq!((node_over(5, 0), node_over(5, 1), node_over(5, 2), node_over(5, 63)), (5, 6, 4, 1 << 63));
    }

    #[test]
    fn a_visit_ends_when_it_is_told_to() {
        let mut ranges = Ranges::default();
        (0..10).for_each(|owner| ranges.insert(0, Interval::new(5, 9), owner));
        let mut visits = 0;
        let ended = ranges.overlapping(0, Interval::new(6, 6), &Looks::default(), &mut |_| {
            visits += 1;
            if visits == 3 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!((ended, visits), (ControlFlow::Break(()), 3));
    }

    fn any_place() -> impl Strategy<Value = u64> {
        let near = |middle: u64| (0..40u64).prop_map(move |n| middle.wrapping_sub(20).wrapping_add(n));
        prop_oneof![0..40u64, near(1 << 63), near(u64::MAX - 20), near(1 << 32), any::<u64>()]
    }

    proptest! {
        #[test]
        fn what_overlaps_is_found_once(
            rows in prop::collection::vec((0..2u64, any_place(), any_place()), 0..40),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            queries in prop::collection::vec((0..2u64, any_place(), any_place()), 1..10),
        ) {
            let mut ranges = Ranges::default();
            let mut model: Vec<(u64, Interval, u64)> = Vec::new();
            for (owner, (line, a, b)) in rows.iter().enumerate() {
                let row = (*line, Interval::new(*a, *b), owner as u64);
                ranges.insert(row.0, row.1, row.2);
                model.push(row);
            }
            for index in removed {
                if !model.is_empty() {
                    let row = model.swap_remove(index.index(model.len()));
                    ranges.remove(row.0, row.1, row.2);
                }
            }
            for (line, a, b) in queries.iter().flat_map(|(l, a, b)| [(*l, *a, *b), (*l, *a, *a)]) {
                let wanted = Interval::new(a, b);
                let overlaps = |interval: Interval| interval.first <= wanted.last && wanted.first <= interval.last;
                let mut expected: Vec<u64> =
                    model.iter().filter(|row| row.0 == line && overlaps(row.1)).map(|row| row.2).collect();
                expected.sort_unstable();
                prop_assert_eq!(overlapping(&ranges, line, wanted), expected);
            }
            for row in model {
                ranges.remove(row.0, row.1, row.2);
            }
            prop_assert!(ranges.is_empty() && ranges.by_last.is_empty() && ranges.levels == 0);
        }
    }
}

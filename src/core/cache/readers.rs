//! What the results of live entries read, as numbers and marks: an entry bears a number, and each metadata set the marks of who
//! is in it, so that a change that leaves all as it was which these read passes over the set without a look at its members.
//!
//! Marks are few: several readers share one. So a mark may say that a reader is concerned who is not, which its number tells;
//! never the other way round.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::core::catalog::columns_read::{ColumnsRead, Unchanged};

/// Of what a query's results read. Queries that read the same have one number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReaderId(u32);

impl ReaderId {
    /// Who reads all columns.
    pub const OF_ALL: ReaderId = ReaderId(0);

    pub fn marks(self) -> Marks {
        match self.0.checked_sub(1) {
            None => Marks(1),
            Some(at) => Marks(2 << (at % (u32::BITS - 1))),
        }
    }
}

/// Readers, several under one mark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks(u32);

impl Marks {
    pub const ALL: Marks = Marks(u32::MAX);

    pub fn add(&mut self, more: Marks) {
        self.0 |= more.0;
    }

    pub fn meet(self, others: Marks) -> bool {
        self.0 & others.0 != 0
    }
}

/// Those who read rows of one section.
#[derive(Debug, Default)]
struct OfSection {
    by_column: BTreeMap<Box<str>, Marks>,
    /// Who says nothing of the section, and reads all.
    others: Marks,
}

/// All that there have been since the index was emptied: as many as queries of catalogs say differently what they read.
#[derive(Debug, Default)]
pub struct Readers {
    known: Vec<Arc<ColumnsRead>>,
    ids: FxHashMap<Arc<ColumnsRead>, ReaderId>,
    sections: FxHashMap<Box<[u8]>, OfSection>,
}

impl Readers {
    /// The number of who reads this.
    pub fn of(&mut self, reads: Option<&Arc<ColumnsRead>>) -> ReaderId {
        let Some(reads) = reads else { return ReaderId::OF_ALL };
        if let Some(id) = self.ids.get(reads) {
            return *id;
        }
        let before = self.known.iter().enumerate().map(|(at, _)| ReaderId(at as u32 + 1).marks());
        let before = before.fold(ReaderId::OF_ALL.marks(), |mut all, marks| {
            all.add(marks);
            all
        });
        self.known.push(reads.clone());
        let id = ReaderId(self.known.len() as u32);
        self.ids.insert(reads.clone(), id);
        for (section, columns) in reads.sections() {
            let new = || OfSection { others: before, ..OfSection::default() };
            let of = self.sections.entry(section.as_bytes().into()).or_insert_with(new);
            for column in columns.iter() {
                of.by_column.entry(column.clone()).or_default().add(id.marks());
            }
        }
        let unnamed = self.sections.iter_mut().filter(|(section, _)| reads.of(section).is_none());
        unnamed.for_each(|(_, of)| of.others.add(id.marks()));
        id
    }

    /// Does a change leave all as it was that the reader reads?
    pub fn pass_over(&self, id: ReaderId, section: &[u8], unchanged: &Unchanged) -> bool {
        let reads = id.0.checked_sub(1).and_then(|at| self.known.get(at as usize));
        reads.is_some_and(|reads| reads.pass_over(section, unchanged))
    }

    /// Whom a change of a row of the section may concern.
    pub fn concerned(&self, section: &[u8], unchanged: &Unchanged) -> Marks {
        let of = self.sections.get(section).filter(|_| !unchanged.is_unknown());
        let Some(of) = of else { return Marks::ALL };
        let mut marks = of.others;
        for (column, readers) in &of.by_column {
            if !unchanged.covers(std::slice::from_ref(column)) {
                marks.add(*readers);
            }
        }
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reads(sections: &[(usize, u8)]) -> Arc<ColumnsRead> {
        let of = sections.iter().map(|(section, columns)| (format!("s{section}").into(), names(*columns).collect()));
        Arc::new(ColumnsRead::of_sections(of))
    }

    fn names(bits: u8) -> impl Iterator<Item = Box<str>> {
        (0..4).filter(move |at| bits >> at & 1 == 1).map(|at| format!("c{at}").into_boxed_str())
    }

    proptest! {
        /// Whoever a change is not passed over for has a mark among those concerned, however many share it.
        #[test]
        fn no_reader_who_is_concerned_lacks_the_mark(
            known in prop::collection::vec(prop::collection::vec((0..3usize, 0u8..16), 0..4), 0..80),
            section in 0..4usize,
            unchanged in prop::option::of(0u8..16),
        ) {
            let mut readers = Readers::default();
            let known: Vec<_> = known.iter().map(|sections| reads(sections)).collect();
            let ids: Vec<ReaderId> = known.iter().map(|reads| readers.of(Some(reads))).collect();
            let section = format!("s{section}").into_bytes();
            let unchanged = unchanged.map_or(Unchanged::UNKNOWN, |bits| Unchanged::columns(names(bits)));
            let concerned = readers.concerned(&section, &unchanged);
            prop_assert!(concerned.meet(ReaderId::OF_ALL.marks()));
            prop_assert!(!readers.pass_over(ReaderId::OF_ALL, &section, &unchanged));
            for (reads, id) in known.iter().zip(&ids) {
                let passes = reads.pass_over(&section, &unchanged);
                prop_assert_eq!(readers.pass_over(*id, &section, &unchanged), passes);
                prop_assert!(passes || concerned.meet(id.marks()));
                prop_assert_eq!(readers.of(Some(&reads.clone())), *id);
            }
        }
    }

    #[test]
    fn a_set_whose_readers_are_not_concerned_is_passed_over() {
        let mut readers = Readers::default();
        let (price, name, other) = (reads(&[(0, 1)]), reads(&[(0, 2)]), reads(&[(1, 1)]));
        let [price, name, other] = [price, name, other].map(|reads| readers.of(Some(&reads)).marks());
        let unchanged = |bits| Unchanged::columns(names(bits));
        for (same, expected) in [(1, [false, true, true]), (2, [true, false, true]), (3, [false, false, true])] {
            let concerned = readers.concerned(b"s0", &unchanged(same));
            assert_eq!([price, name, other].map(|marks| marks.meet(concerned)), expected, "{same}");
        }
        assert_eq!(readers.concerned(b"s9", &unchanged(3)), Marks::ALL);
    }
}

//! Which columns of a section's rows the results of a query read, and which columns of a changed row are as they were.
//!
//! ```text
//! a row comes, goes, or is told without what it was     -> nothing is known to be as it was
//! an UPDATE, told with the old row and the new one      -> these columns are as they were
//!    several of one row, seen together                  -> those that each of them left as they were
//! ```
//! Invariant: a change is passed over for a result only where every column that it reads is known to be as it was. What nobody
//! knows, of a column, a row or a section, counts as changed.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Names of columns, sorted, each once.
pub type Columns = Arc<[Box<str>]>;

/// By section, sorted: the columns of its rows that results of a query read. Of a section that is not named: all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ColumnsRead(Box<[(Box<str>, Columns)]>);

impl ColumnsRead {
    pub(in crate::core) fn of_sections(sections: impl IntoIterator<Item = (Box<str>, Vec<Box<str>>)>) -> ColumnsRead {
        let by_section: BTreeMap<Box<str>, Columns> =
            sections.into_iter().map(|(section, columns)| (section, sorted(columns))).collect();
        ColumnsRead(by_section.into_iter().collect())
    }

    /// Those of a section's rows; None: any.
    pub fn of(&self, section: &[u8]) -> Option<&Columns> {
        let at = self.0.binary_search_by(|(name, _)| name.as_bytes().cmp(section)).ok()?;
        Some(&self.0[at].1)
    }

    /// Sections, and the columns of each.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Columns)> {
        self.0.iter().map(|(section, columns)| (&**section, columns))
    }

    /// Does a change of a row of the section leave all that is read of it as it was?
    pub fn pass_over(&self, section: &[u8], unchanged: &Unchanged) -> bool {
        self.of(section).is_some_and(|read| unchanged.covers(read))
    }
}

/// Columns of a changed row that are as they were; of all others nobody knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Unchanged(Option<Columns>);

impl Unchanged {
    /// Nobody knows of any: the row is new, or gone, or what it was is not told.
    pub const UNKNOWN: Unchanged = Unchanged(None);

    /// These, of a row that is there before and after.
    pub fn columns(names: impl IntoIterator<Item = Box<str>>) -> Unchanged {
        Unchanged(Some(sorted(names)))
    }

    /// Is nothing known of any?
    pub fn is_unknown(&self) -> bool {
        self.0.is_none()
    }

    /// Sorted; None: it is unknown.
    #[cfg(test)]
    pub fn names(&self) -> Option<&[Box<str>]> {
        self.0.as_deref()
    }

    /// Are all of these as they were? A result that reads none knows of the row that it is there, which it was.
    pub fn covers(&self, read: &[Box<str>]) -> bool {
        let Unchanged(Some(same)) = self else { return false };
        read.iter().all(|column| same.binary_search(column).is_ok())
    }

    /// Of two changes: what both of them left as it was.
    pub fn and(&self, other: &Unchanged) -> Unchanged {
        match (&self.0, &other.0) {
            (Some(one), Some(two)) if Arc::ptr_eq(one, two) => self.clone(),
            (Some(one), Some(two)) => {
                Unchanged::columns(one.iter().filter(|name| two.binary_search(name).is_ok()).cloned())
            }
            _ => Unchanged::UNKNOWN,
        }
    }
}

fn sorted(names: impl IntoIterator<Item = Box<str>>) -> Columns {
    let mut names: Vec<Box<str>> = names.into_iter().collect();
    names.sort_unstable();
    names.dedup();
    names.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unchanged(names: &str) -> Unchanged {
        Unchanged::columns(names.split_whitespace().map(Box::from))
    }

    #[test]
    fn a_change_is_passed_over_where_all_that_is_read_is_known_to_be_as_it_was() {
        let reads = ColumnsRead([("a".into(), sorted(["x".into(), "y".into()])), ("b".into(), sorted([]))].into());
        for (section, same, passes) in [
            ("a", Some("x y"), true),
            ("a", Some("w x y z"), true),
            ("a", Some("x z"), false),
            ("a", Some(""), false),
            ("a", None, false),
            // That the row is there is all that is read.
            ("b", Some(""), true),
            ("b", None, false),
            ("c", Some("x y"), false),
        ] {
            let same = same.map_or(Unchanged::UNKNOWN, unchanged);
            assert_eq!(reads.pass_over(section.as_bytes(), &same), passes, "{section} {same:?}");
        }
    }

    proptest! {
        #[test]
        fn two_changes_left_as_it_was_what_each_of_them_did(
            one in prop::option::of(0u8..64), two in prop::option::of(0u8..64), read in 0u8..64,
        ) {
            let names = |bits: u8| (0..6).filter(move |at| bits >> at & 1 == 1).map(|at| format!("c{at}").into_boxed_str());
            let of = |bits: Option<u8>| bits.map_or(Unchanged::UNKNOWN, |bits| Unchanged::columns(names(bits)));
            let read: Vec<Box<str>> = names(read).collect();
            let both = of(one).and(&of(two));
            prop_assert_eq!(both.covers(&read), of(one).covers(&read) && of(two).covers(&read));
            prop_assert_eq!(&both, &of(two).and(&of(one)));
        }
    }
}

//! What a job changes beside the rows that it tells of, by foreign keys that follow what it does, and who depends on it.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::catalog::Section;

/// What happens to the rows that refer to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Nothing,
    /// They go, or follow.
    Cascade,
    /// Their columns become NULL, or the default.
    Set,
}

#[derive(Debug, Clone)]
pub struct ForeignKey {
    pub from: u32,
    pub columns: Vec<Box<str>>,
    pub to: u32,
    pub to_columns: Vec<Box<str>>,
    pub on_delete: Action,
    pub on_update: Action,
}

/// A relation that a statement changes itself.
#[derive(Debug, Clone)]
pub struct Direct {
    pub relation: u32,
    pub deletes: bool,
    /// Columns that it may set of rows that are there.
    pub sets: BTreeSet<Box<str>>,
}

/// A relation that is changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reached {
    pub relation: u32,
    /// What follows from which relation's rows; None: the statement itself.
    pub by: Option<(u32, &'static str)>,
}

/// All that is changed, each relation once: by the statement itself, if it is.
pub fn reached(direct: &[Direct], keys: &[ForeignKey]) -> Vec<Reached> {
    let mut found: BTreeMap<u32, Option<(u32, &'static str)>> = BTreeMap::new();
    let mut seen: BTreeSet<(u32, bool, BTreeSet<Box<str>>)> = BTreeSet::new();
    let mut open: Vec<Direct> = direct.to_vec();
    found.extend(direct.iter().map(|direct| (direct.relation, None)));
    while let Some(Direct { relation, deletes, sets }) = open.pop() {
        if !seen.insert((relation, deletes, sets.clone())) {
            continue;
        }
        for key in keys.iter().filter(|key| key.to == relation) {
            let is_updated = key.to_columns.iter().any(|column| sets.contains(column));
            let set = || key.columns.iter().cloned().collect::<BTreeSet<_>>();
            let on_delete = match key.on_delete {
                Action::Cascade if deletes => Some(("ON DELETE CASCADE", true, BTreeSet::new())),
                Action::Set if deletes => Some(("ON DELETE SET", false, set())),
                _ => None,
            };
            let on_update = match key.on_update {
                Action::Cascade if is_updated => Some(("ON UPDATE CASCADE", false, set())),
                Action::Set if is_updated => Some(("ON UPDATE SET", false, set())),
                _ => None,
            };
            for (clause, deletes, sets) in on_delete.into_iter().chain(on_update) {
                found.entry(key.from).or_insert(Some((relation, clause)));
                open.push(Direct { relation: key.from, deletes, sets });
            }
        }
    }
    found.into_iter().map(|(relation, by)| Reached { relation, by }).collect()
}

/// The sections whose rows a job's statement may tell of: its own, and those that it names; None: nobody knows, for it works their
/// names out.
pub fn told(sections: &[Section], own: usize, sql: &str, has_section_column: bool) -> Option<BTreeSet<usize>> {
    let named = |section: &Section| has_section_column && sql.contains(&format!("'{}'", section.name));
    let named: BTreeSet<usize> =
        sections.iter().enumerate().filter(|(_, section)| named(section)).map(|(index, _)| index).collect();
    match has_section_column && named.is_empty() {
        true => None,
        false => Some(named.into_iter().chain([own]).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(from: u32, column: &str, to: u32, on_delete: Action, on_update: Action) -> ForeignKey {
        ForeignKey { from, columns: vec![column.into()], to, to_columns: vec!["id".into()], on_delete, on_update }
    }

    fn direct(relation: u32, deletes: bool, sets: &[&str]) -> Direct {
        Direct { relation, deletes, sets: sets.iter().map(|column| (*column).into()).collect() }
    }

    #[test]
    fn what_follows_from_a_change_is_reached() {
        use Action::{Cascade, Nothing, Set};
        // 1 <- 2 <- 3 by deletes; 4 refers to 2 and is set to NULL; 5 follows new ids of 1, and 6 those of 5's column.
        let keys = [
            key(2, "one", 1, Cascade, Nothing),
            key(3, "two", 2, Cascade, Nothing),
            key(4, "id", 2, Set, Nothing),
            key(5, "id", 1, Nothing, Cascade),
            key(6, "five", 5, Cascade, Set),
            key(7, "four", 4, Nothing, Cascade),
            // Its own parent.
            key(8, "up", 8, Cascade, Nothing),
        ];
        let delete = |of| Some((of, "ON DELETE CASCADE"));
        for (changes, expected) in [
            (&[direct(1, false, &["name"])][..], &[(1, None)][..]),
            (
                &[direct(1, true, &[])],
                &[
                    (1, None),
                    (2, delete(1)),
                    (3, delete(2)),
                    (4, Some((2, "ON DELETE SET"))),
                    (7, Some((4, "ON UPDATE CASCADE"))),
                ],
            ),
            (
                &[direct(1, false, &["id"])],
                &[(1, None), (5, Some((1, "ON UPDATE CASCADE"))), (6, Some((5, "ON UPDATE SET")))],
            ),
            (&[direct(3, true, &[]), direct(2, false, &["id"])], &[(2, None), (3, None)]),
            (
                &[direct(1, true, &[]), direct(3, false, &[])],
                &[
                    (1, None),
                    (2, delete(1)),
                    (3, None),
                    (4, Some((2, "ON DELETE SET"))),
                    (7, Some((4, "ON UPDATE CASCADE"))),
                ],
            ),
            (&[direct(8, true, &[])], &[(8, None)]),
            (&[], &[]),
        ] {
            let found = reached(changes, &keys);
            let found: Vec<_> = found.into_iter().map(|reached| (reached.relation, reached.by)).collect();
            assert_eq!(found, expected, "{changes:?}");
        }
    }

    #[test]
    fn a_job_tells_of_its_own_section_and_of_those_that_it_names() {
        let mut id = || 1;
        let catalog = crate::core::catalog::read_catalog::parse("[a]\n[b]\n[c]\n", &mut id).expect("a catalog");
        let told = |sql: &str, has_column| told(&catalog.sections, 0, sql, has_column).map(Vec::from_iter);
        assert_eq!(told("SELECT n, id FROM j", false), Some(vec![0]));
        assert_eq!(told("SELECT n, 'b' AS section, id FROM j", true), Some(vec![0, 1]));
        assert_eq!(told("SELECT n, 'b' AS name, id FROM j", false), Some(vec![0]));
        assert_eq!(told("SELECT n, j.kind AS section, id FROM j", true), None);
    }
}

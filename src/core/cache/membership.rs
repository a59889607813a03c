//! Which metadata sets a result belongs to: what has to change for it to be wrong.
//!
//! - `P:meta:<id>:caches` for each row that it lists, of its own section and of others; and for the one that the call
//!   asks for by id (`match = "id = {id}"`), so that a `null` goes when the row comes;
//! - `P:meta:*:caches` of each section that it depends on without listing its rows: any row's change concerns it;
//! - `P:tag:<tag>` for each tag.

use std::collections::BTreeSet;

use crate::core::calls::keys::{self, Row};
use crate::core::calls::tags::{TagTemplate, TooManyTags};
use crate::core::values::value::{ScalarType, Value};

/// Tags of one entry; a result with more is an error.
const MAX_TAGS: usize = 10_000;

/// What is known before the result is there.
#[derive(Debug, Clone)]
pub struct Membership {
    /// The call's own space.
    pub own: Related,
    /// Does the column `id` list rows of the own section?
    pub lists_own_rows: bool,
    /// The other sections whose rows the result may list.
    pub others: Vec<Related>,
    /// Rows of the own section that the call asks for by id, there or not.
    pub asked_for: Vec<Box<str>>,
    pub tags: Vec<TagTemplate>,
    pub args: Vec<Value>,
    pub tenant: Option<Box<str>>,
}

/// Rows that are listed, by the names of their sections.
pub type ListedRows = Vec<(Box<str>, Vec<Box<str>>)>;

/// Other values that are listed, by the name of their list; None: too many.
pub type ListedValues = (Box<str>, Option<Vec<Box<str>>>);

/// What a result says of where it belongs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// Ids of the column `id` where the plan tracks rows, sorted bytewise, without duplicates.
    pub ids: Vec<Box<str>>,
    /// For each column named `_<section>` that the result has: the section and the ids listed, sorted, without
    /// duplicates.
    pub listed: ListedRows,
    /// Sections of which it depends on so many rows that they are not listed.
    pub unlisted: Vec<Box<str>>,
    /// Sorted, without duplicates.
    pub values: Vec<ListedValues>,
    /// What the last row has in each of the plan's `last`; empty without a row.
    pub last: Vec<Option<Box<str>>>,
    /// For each row, for each of the plan's `tag_columns`: its values (none for NULL, several for an array).
    pub tag_values: Vec<Vec<Vec<Box<str>>>>,
}

/// A section as seen from a call.
#[derive(Debug, Clone)]
pub struct Related {
    pub section: Box<str>,
    /// Of its keys, without the colon.
    pub prefix: Box<[u8]>,
    /// Type of its row ids.
    pub id: Option<ScalarType>,
    /// Do its rows' changes concern the result, listed or not?
    pub depends_on: bool,
}

impl Membership {
    /// Names of the sets, sorted, without duplicates.
    pub fn metas(&self, found: &Found) -> Result<Vec<Box<[u8]>>, TooManyTags> {
        let mut metas = Vec::with_capacity(found.ids.len() + 4);
        metas.extend(self.asked_for.iter().map(|id| self.own.row_set(id)));
        if self.lists_own_rows {
            metas.extend(found.ids.iter().map(|id| self.own.row_set(id)));
        }
        for related in std::iter::once(&self.own).chain(&self.others) {
            let by_id = self.lists_own_rows && related.section == self.own.section;
            match found.listed.iter().find(|(section, _)| *section == related.section) {
                Some((_, ids)) => metas.extend(ids.iter().map(|id| related.row_set(id))),
                None if related.depends_on && !by_id => metas.push(related.set_of(&Row::Any)),
                None if found.unlisted.contains(&related.section) => metas.push(related.set_of(&Row::Any)),
                None => {}
            }
        }
        let mut tags = BTreeSet::new();
        for tag in &self.tags {
            tag.render(&self.args, self.tenant.as_deref(), &found.tag_values, MAX_TAGS, &mut tags)?;
        }
        metas.extend(tags.iter().map(|tag| {
            let mut key = Vec::new();
            keys::write_tag_key(&self.own.prefix, tag.as_bytes(), &mut key);
            key.into_boxed_slice()
        }));
        metas.sort_unstable();
        metas.dedup();
        Ok(metas)
    }
}

impl Related {
    /// The set of a row, whose id comes as Postgres spells it: `1.50` is the numeric that a client may write as `1.5`.
    fn row_set(&self, id: &str) -> Box<[u8]> {
        let mut canonical = Vec::with_capacity(id.len());
        let written = self.id.is_some_and(|id_type| id_type.write_canonical(id.as_bytes(), &mut canonical).is_ok());
        let id = if written { canonical.as_slice() } else { id.as_bytes() };
        self.set_of(&Row::Id(id.into()))
    }

    fn set_of(&self, row: &Row) -> Box<[u8]> {
        let mut key = Vec::with_capacity(self.prefix.len() + 32);
        keys::write_row_key(&self.prefix, row, &mut key);
        key.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn related(section: &str, depends_on: bool) -> Related {
        Related { section: section.into(), prefix: section.as_bytes().into(), id: None, depends_on }
    }

    #[test]
    fn ids_count_as_clients_write_them() {
        for (id_type, postgres, set) in [
            (ScalarType::Numeric, "1.50", "x:meta:1.5:caches"),
            (ScalarType::TimestampTz, "2026-11-21 10:00:00+00", "x:meta:2026-11-21T10%3A00%3A00Z:caches"),
            (ScalarType::Int, "7", "x:meta:7:caches"),
            (ScalarType::Bool, "true", "x:meta:true:caches"),
        ] {
            let related = Related { id: Some(id_type), ..related("x", false) };
            assert_eq!(String::from_utf8(related.row_set(postgres).to_vec()).unwrap(), set);
        }
    }

    fn names_of(lists_own_rows: bool, found: &Found) -> Vec<String> {
        let membership = Membership {
            own: related("exam", true),
            lists_own_rows,
            others: vec![related("question", true), related("result", false)],
            asked_for: Vec::new(),
            tags: Vec::new(),
            args: Vec::new(),
            tenant: None,
        };
        let metas = membership.metas(found).unwrap();
        metas.iter().map(|name| String::from_utf8(name.to_vec()).unwrap()).collect()
    }

    #[test]
    fn rows_that_are_listed_count_one_by_one() {
        let found = Found {
            ids: vec!["10".into(), "9".into()],
            listed: vec![("question".into(), vec!["7".into()]), ("result".into(), vec!["x:y".into()])],
            ..Found::default()
        };
        assert_eq!(
            names_of(true, &found),
            ["exam:meta:10:caches", "exam:meta:9:caches", "question:meta:7:caches", "result:meta:x%3Ay:caches"]
        );
    }

    #[test]
    fn what_a_result_depends_on_without_listing_it_counts_as_any_row() {
        assert_eq!(names_of(false, &Found::default()), ["exam:meta:*:caches", "question:meta:*:caches"]);
        let lists = Found { listed: vec![("exam".into(), vec!["1".into()])], ..Found::default() };
        assert_eq!(names_of(false, &lists), ["exam:meta:1:caches", "question:meta:*:caches"]);
        assert_eq!(names_of(true, &Found::default()), ["question:meta:*:caches"], "an empty result contains nothing");
    }
}

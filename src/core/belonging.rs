//! Which metadata sets a result belongs to: what has to change for it to be wrong.
//!
//! - `P:meta:<id>:caches` for each row that it lists, of its own section and of others;
//! - `P:meta:*:caches` of each section that it depends on without listing its rows: any row's change concerns it;
//! - `P:tag:<tag>` for each tag.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fetch::Fetched;
use super::names;
use super::tags::{TagArgs, TagTemplate};

/// What is known before the result is there.
#[derive(Debug, Clone)]
pub struct Belonging {
    /// Prefix of the call's own space.
    pub prefix: Box<[u8]>,
    /// Does the column `id` list rows of the own section?
    pub lists_own_rows: bool,
    /// Name of the own section.
    pub section: Box<str>,
    /// The other sections that the query depends on or may list, each with its prefix and whether the catalog's `on`
    /// names it.
    pub others: Vec<Other>,
    pub tags: Arc<[TagTemplate]>,
    pub tag_args: TagArgs,
    /// Columns that tags are made of, as the plan names them.
    pub tag_columns: Vec<Box<str>>,
}

/// Another section as seen from a call.
#[derive(Debug, Clone)]
pub struct Other {
    pub section: Box<str>,
    pub prefix: Box<[u8]>,
    pub depends_on: bool,
}

impl Belonging {
    /// Names of the sets, sorted, without duplicates.
    pub fn metas(&self, fetched: &Fetched) -> Vec<Box<[u8]>> {
        let mut metas = Vec::with_capacity(fetched.ids.len() + 4);
        let mut list = |prefix: &[u8], ids: &[Box<str>]| {
            metas.extend(ids.iter().map(|id| names::row_key(prefix, id).into_boxed_slice()));
        };
        let listed = |section: &str| fetched.listed.iter().find(|(name, _)| name.as_ref() == section);
        if self.lists_own_rows {
            list(&self.prefix, &fetched.ids);
        }
        if let Some((_, ids)) = listed(&self.section) {
            list(&self.prefix, ids);
        }
        for other in &self.others {
            if let Some((_, ids)) = listed(&other.section) {
                list(&other.prefix, ids);
            }
        }
        if !self.lists_own_rows && listed(&self.section).is_none() {
            metas.push(names::any_row_key(&self.prefix).into());
        }
        for other in self.others.iter().filter(|other| other.depends_on && listed(&other.section).is_none()) {
            metas.push(names::any_row_key(&other.prefix).into());
        }
        let mut tags = BTreeSet::new();
        for tag in self.tags.iter() {
            tag.render(&self.tag_args, &fetched.tag_values, &self.tag_columns, &mut tags);
        }
        metas.extend(tags.iter().map(|tag| names::tag_key(&self.prefix, tag).into_boxed_slice()));
        metas.sort_unstable();
        metas.dedup();
        metas
    }
}

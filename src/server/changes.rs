//! Rows have changed in Postgres: what contained them goes, and what they belong in now.

use std::sync::Arc;

use super::Server;
use crate::core::change::Changes;
use crate::core::image::Image;
use crate::core::keys::{self, Row};
use crate::core::names;
use crate::keyspace::{Outcome, Pace, What};
use crate::redis_api::Context;

/// Rows of one space that have changed.
pub struct ChangedRows<'a> {
    /// Index into the catalog's sections.
    pub section: usize,
    /// Of the space; None where the section has none, or nobody can tell.
    pub tenant: Option<&'a str>,
    pub ids: ChangedIds,
    /// Values of those that are there; None: nobody can tell.
    pub images: Option<Vec<Image>>,
}

pub enum ChangedIds {
    /// In canonical form.
    These(Vec<Box<str>>),
    All,
}

impl Server {
    /// Drops what the rows concern, outside commands, for nobody who waits.
    pub(super) fn rows_changed(&mut self, ctx: Context, rows: ChangedRows) {
        let catalog = self.catalog.clone();
        let section = &catalog.sections[rows.section];
        if section.tenant.is_some() && rows.tenant.is_none() {
            // Rows of a tenant that nobody named.
            self.fills.strike_where(|_, _| true);
            self.keyspace.abort_publications(|_, _| true);
            self.keyspace.make_tenants_cold(&section.name);
            return;
        }
        let tenant = rows.tenant.filter(|_| section.tenant.is_some());
        let mut prefix = Vec::new();
        names::write_prefix(names::space_name(&section.name, tenant).as_bytes(), self.deployment, &mut prefix);
        let ids = match rows.ids {
            ChangedIds::These(ids) => ids,
            ChangedIds::All => {
                self.fills.strike_where(|_, _| true);
                self.keyspace.abort_publications(|_, _| true);
                return self.keyspace.drop_space(ctx, &prefix);
            }
        };
        self.stats.section(rows.section).rows_invalidated += ids.len() as u64;
        let sets = row_sets(&prefix, &ids);
        let changes = Changes::of_space(&prefix, rows.images);
        self.remove_rows(ctx, &prefix, sets, changes, Pace::InSlices);
    }

    /// Removes what contains rows of these sets, what any row of the space concerns, and what the changes concern.
    pub(super) fn remove_rows(
        &mut self,
        ctx: Context,
        prefix: &[u8],
        mut sets: Vec<Box<[u8]>>,
        changes: Changes,
        pace: Pace,
    ) -> Outcome {
        sets.push(row_set(prefix, &Row::Any));
        let changes = Arc::new(changes);
        self.fills.change(sets.iter().map(AsRef::as_ref), Some(&changes));
        self.keyspace.abort_publications(|_, metas| sets.iter().any(|set| metas.binary_search(set).is_ok()));
        self.keyspace.remove(ctx, What::Rows { sets: &sets, changes: &changes }, pace)
    }
}

/// The sets of entries that contain these rows.
pub(super) fn row_sets(prefix: &[u8], ids: &[Box<str>]) -> Vec<Box<[u8]>> {
    ids.iter().map(|id| row_set(prefix, &Row::Id(id.as_bytes().into()))).collect()
}

fn row_set(prefix: &[u8], row: &Row) -> Box<[u8]> {
    let mut key = Vec::new();
    keys::write_row_key(prefix, row, &mut key);
    key.into()
}

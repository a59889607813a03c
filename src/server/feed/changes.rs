//! Rows have changed in Postgres: what contained them goes, and what they belong in now.

use std::sync::Arc;

use crate::core::cache::tenant_sets;
use crate::core::calls::keys::{self, Row};
use crate::core::calls::names;
use crate::core::catalog::columns_read::Unchanged;
use crate::core::changes::change::Changes;
use crate::core::changes::changed_sets::ChangedSets;
use crate::core::changes::image::Image;
use crate::keyspace::{Outcome, Pace, What};
use crate::redis_api::Context;
use crate::server::Server;

/// Removals under way by which a change of rows that nobody waits for is one of all rows of its space: each hit, and each
/// entry that is taken, is compared with all of their rows.
const MANY_REMOVALS: usize = 4;

/// Rows of one space that have changed.
pub struct ChangedRows<'a> {
    /// Index into the catalog's sections.
    pub section: usize,
    pub tenant: Whose<'a>,
    pub ids: ChangedIds,
    /// Of each id, what the change has left as it was; of those that are missing here nobody knows.
    pub unchanged: Vec<Unchanged>,
    /// Values of those that are there, with the same; None: nobody can tell.
    pub images: Option<Vec<(Image, Unchanged)>>,
}

/// Rows of which tenant of a section they are.
#[derive(Clone, Copy)]
pub enum Whose<'a> {
    /// Of this one; None where the section has no tenants, or nobody can tell.
    Tenant(Option<&'a str>),
    /// Of those who have them in a result.
    WhoHasThem,
}

pub enum ChangedIds {
    /// In canonical form.
    These(Vec<Box<str>>),
    All,
}

impl Server {
    /// Drops what the rows concern, outside commands, for nobody who waits.
    pub(in crate::server) fn rows_changed(&mut self, ctx: Context, rows: ChangedRows) {
        let catalog = self.catalog.clone();
        let section = &catalog.sections[rows.section];
        let tenant = match (rows.tenant, &rows.ids) {
            (Whose::Tenant(tenant), _) => tenant,
            (Whose::WhoHasThem, ChangedIds::These(ids)) => return self.rows_left(ctx, &section.name, ids),
            (Whose::WhoHasThem, ChangedIds::All) => None,
        };
        if section.tenant.is_some() && tenant.is_none() {
            // Rows of a tenant that nobody named.
            self.fills.strike_where(|_, _| true);
            self.keyspace.make_tenants_cold(&section.name);
            return;
        }
        let tenant = tenant.filter(|_| section.tenant.is_some());
        let prefix = section.prefix(tenant, self.deployment);
        let ids = match rows.ids {
            ChangedIds::These(ids) if self.keyspace.removals_in_force() < MANY_REMOVALS => ids,
            ChangedIds::These(_) | ChangedIds::All => {
                self.fills.strike_where(|_, _| true);
                return self.drop_space(ctx, &prefix);
            }
        };
        self.stats.section(rows.section).rows_invalidated += ids.len() as u64;
        let unchanged = rows.unchanged.into_iter().chain(std::iter::repeat(Unchanged::UNKNOWN));
        let sets: Vec<(Box<[u8]>, Unchanged)> = row_sets(&prefix, &ids).into_iter().zip(unchanged).collect();
        let mut of_all = sets.iter().map(|(_, unchanged)| unchanged);
        let first = of_all.next().cloned().unwrap_or_default();
        let changes = Changes::of_rows(&prefix, rows.images, of_all.fold(first, |all, one| all.and(one)));
        self.remove_changed(ctx, &prefix, sets, changes, Pace::InSlices);
    }

    /// Drops all of a space, and what any row of it concerns.
    fn drop_space(&mut self, ctx: Context, prefix: &[u8]) {
        match ctx.writes_allowed() {
            true => {
                self.keyspace.abort_changed(|_, _| true);
                self.keyspace.drop_space(ctx, prefix);
            }
            false => self.keyspace.make_space_cold(prefix),
        }
    }

    /// The rows are gone from whichever tenants had them.
    fn rows_left(&mut self, ctx: Context, section: &str, ids: &[Box<str>]) {
        let sets = row_sets(section.as_bytes(), ids);
        // Results that are on their way have the row, too, and no entry tells whose they are.
        self.fills.change_of_any_tenant(sets.iter().map(AsRef::as_ref));
        self.keyspace.abort_changed(|metas, _| sets.iter().any(|set| tenant_sets::lists(metas, set)));
        for set in &sets {
            for (prefix, set) in self.keyspace.tenants_with(section, set) {
                if self.keyspace.removals_in_force() >= MANY_REMOVALS {
                    self.drop_space(ctx, &prefix);
                    continue;
                }
                let changes = Changes::of_space(&prefix, Some(Vec::new()));
                self.remove_rows(ctx, &prefix, vec![set], changes, Pace::InSlices);
            }
        }
    }

    /// Removes what contains rows of these sets, what any row of the space concerns, and what the changes concern.
    pub(in crate::server) fn remove_rows(
        &mut self,
        ctx: Context,
        prefix: &[u8],
        sets: Vec<Box<[u8]>>,
        changes: Changes,
        pace: Pace,
    ) -> Outcome {
        let sets = sets.into_iter().map(|set| (set, Unchanged::UNKNOWN)).collect();
        self.remove_changed(ctx, prefix, sets, changes, pace)
    }

    /// The same, but for what reads nothing of what has changed.
    fn remove_changed(
        &mut self,
        ctx: Context,
        prefix: &[u8],
        mut sets: Vec<(Box<[u8]>, Unchanged)>,
        changes: Changes,
        pace: Pace,
    ) -> Outcome {
        sets.push((row_set(prefix, &Row::Any), changes.unchanged.clone()));
        let sets = Arc::new(ChangedSets { section: names::section_of_prefix(prefix).into(), sets });
        let changes = Arc::new(changes);
        self.fills.change_rows(&sets, &changes);
        self.keyspace.abort_changed(|metas, reads| sets.concern(metas, reads));
        if !ctx.writes_allowed() {
            // FAILOVER, CLIENT PAUSE or SHUTDOWN: in force, and carried out when that is over.
            self.keyspace.invalidate_rows_later(prefix, &sets, &changes);
            return Outcome::Removed(0);
        }
        self.keyspace.remove(ctx, What::Rows { sets: &sets, changes: &changes }, pace)
    }
}

/// The sets of entries that contain these rows.
pub(in crate::server) fn row_sets(prefix: &[u8], ids: &[Box<str>]) -> Vec<Box<[u8]>> {
    ids.iter().map(|id| row_set(prefix, &Row::Id(id.as_bytes().into()))).collect()
}

fn row_set(prefix: &[u8], row: &Row) -> Box<[u8]> {
    let mut key = Vec::new();
    keys::write_row_key(prefix, row, &mut key);
    key.into()
}

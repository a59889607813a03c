//! What the rows that a batch changed were cached in, or belong in now, is dropped, in the unit that records its jobs'
//! outcomes.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::core::changes::change::Present;
use crate::core::jobs::batch::{Batch, Changed, SpaceBatch};
use crate::redis_api::Context;
use crate::server::feed::changes::{ChangedIds, ChangedRows, Whose};
use crate::server::Server;

impl Server {
    /// Drops what the changed rows concern, and strikes what is being fetched of it.
    pub(super) fn drop_changed(
        &mut self,
        ctx: Context,
        batch: &Batch,
        of_space: &SpaceBatch,
        changed: &[Changed],
        mut present: Vec<Present>,
    ) {
        let mut sections = BTreeSet::new();
        for change in changed {
            // Nothing is known of what changed, or the catalog is another by now.
            let same =
                batch.sections.get(change.section).filter(|_| Arc::ptr_eq(&batch.sections, &self.catalog.sections));
            if same.is_none() {
                return self.make_all_cold();
            }
            sections.insert(change.section);
        }
        for section in sections {
            let of_section = || changed.iter().filter(|change| change.section == section);
            let ids = match of_section().all(|change| change.id.is_some()) {
                true => ChangedIds::These(of_section().filter_map(|change| change.id.clone()).collect()),
                false => ChangedIds::All,
            };
            let at = present.iter().position(|present| present.section == section);
            let images = at.map(|at| present.swap_remove(at).images);
            let rows = ChangedRows { section, tenant: Whose::Tenant(of_space.tenant.as_deref()), ids, images };
            self.rows_changed(ctx, rows);
        }
    }
}

//! What the rows that a batch changed were cached in, or belong in now, is dropped, in the unit that records its jobs'
//! outcomes.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::core::catalog::columns_read::Unchanged;
use crate::core::changes::change::Present;
use crate::core::events::entry::{Cause, Listed};
use crate::core::jobs::batch::{Batch, Changed, SpaceBatch};
use crate::core::jobs::job_id::JobId;
use crate::redis_api::Context;
use crate::server::events::rows_of;
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
        jobs: &[JobId],
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
            // A job says which rows, and not what they were.
            let of_row = |image| (image, Unchanged::UNKNOWN);
            let images = at.map(|at| present.swap_remove(at).images.into_iter().map(of_row).collect());
            self.entries_go(|| {
                let ids = if let ChangedIds::These(ids) = &ids { Some(ids.as_slice()) } else { None };
                let name = batch.sections[section].space_name(of_space.tenant.as_deref());
                Cause::Job { jobs: Listed::of_jobs(jobs.iter().copied()), rows: rows_of(&name, ids) }
            });
            let tenant = Whose::Tenant(of_space.tenant.as_deref());
            let rows = ChangedRows { section, tenant, ids, unchanged: Vec::new(), images };
            self.rows_changed(ctx, rows);
            self.tell_of_entries(ctx);
        }
    }
}

//! What the rows that a batch changed were cached in is dropped, in the unit that records its jobs' outcomes.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::core::batch::{Batch, Changed, SpaceBatch};
use crate::core::names;
use crate::redis_api::Context;
use crate::server::Server;

impl Server {
    /// Drops what the changed rows were cached in, and strikes what is being fetched of it.
    pub(super) fn drop_changed(&mut self, ctx: Context, batch: &Batch, of_space: &SpaceBatch, changed: &[Changed]) {
        if changed.is_empty() {
            return;
        }
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
        let catalog = self.catalog.clone();
        for index in sections {
            let section = &catalog.sections[index];
            if section.tenant.is_some() && of_space.tenant.is_none() {
                // A row of a tenant that nobody named.
                self.fills.strike_where(|_, call| call.section == index);
                self.keyspace.abort_publications(|_, _| true);
                self.keyspace.make_tenants_cold(&section.name);
                continue;
            }
            let tenant = of_space.tenant.as_deref().filter(|_| section.tenant.is_some());
            let mut prefix = Vec::new();
            names::write_prefix(names::space_name(&section.name, tenant).as_bytes(), self.deployment, &mut prefix);
            let ids = changed.iter().filter(|change| change.section == index).map(|change| change.id.as_deref());
            self.rows_changed(ctx, index, prefix, ids);
        }
    }
}

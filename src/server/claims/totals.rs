//! How many jobs were claimed, completed and so on since the queue began: counted in memory at once, and written to their hash
//! a little later, for with each job they would be a quarter of the work. A crash may lose the last tenth of a second of them;
//! nothing but figures goes by them.

use std::time::Instant;

use smallvec::SmallVec;

use super::space::WorkSpace;
use crate::core::claims::record::Total;
use crate::keyspace::claims as keys;
use crate::keyspace::slots;
use crate::redis_api::Context;
use crate::server::Server;

/// They are written so often at most.
pub const COUNT_MS: u64 = 100;

impl Server {
    /// Writes totals that have changed since they were written last.
    pub(super) fn write_due_totals(&mut self, ctx: Context, deadline: Instant) {
        let now_ms = self.claims.now_ms();
        while self.claims.totals_due_ms <= now_ms {
            let Some(name) = self.claims.unwritten_totals.pop() else { return };
            if let Some(space) = self.claims.spaces.get_mut(&name) {
                space.totals_awaited = false;
                if space.wrong_type.is_none() && slots::is_here(&space.prefix) {
                    space.totals_written_ms = now_ms;
                    space.write_totals(ctx);
                }
            }
            if Instant::now() >= deadline {
                return;
            }
        }
    }
}

impl WorkSpace {
    /// Totals have changed: they are written now, or, where that was done a moment ago, a little later.
    pub(super) fn totals_changed(&mut self, ctx: Context, now_ms: u64) {
        if now_ms >= self.totals_written_ms + COUNT_MS {
            self.totals_written_ms = now_ms;
            self.write_totals(ctx);
        } else {
            self.totals_changed = true;
        }
    }

    pub(super) fn write_totals(&mut self, ctx: Context) {
        let changed = Total::ALL.iter().filter(|total| self.totals.get(**total) != self.totals_written.get(**total));
        let texts: SmallVec<[(&str, String); 5]> =
            changed.map(|total| (total.name(), self.totals.get(*total).to_string())).collect();
        self.totals_written = self.totals;
        self.totals_changed = false;
        let fields: SmallVec<[(&[u8], &[u8]); 5]> =
            texts.iter().map(|(name, text)| (name.as_bytes(), text.as_bytes())).collect();
        if !fields.is_empty() {
            let _ = keys::set_fields(ctx, &self.keys.totals, &fields);
        }
    }
}

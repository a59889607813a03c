//! Spaces that a new catalog names otherwise, as another `group` does: what stands under the old name is found by no command, and
//! the log says so.

use std::time::Instant;

use super::Server;
use crate::core::calls::keys::{queue_key, QueuePart};
use crate::core::calls::names::{space_name, write_prefix};
use crate::core::catalog::Catalog;
use crate::redis_api::{Context, KeyType, Replicate};

/// What is looked for. Locks and limits of BEAR.LIMIT have names that nobody knows, and end by themselves.
const KINDS: [(&str, &[QueuePart]); 6] = [
    ("jobs", &[QueuePart::Jobs, QueuePart::Work]),
    ("schedules", &[QueuePart::Schedules]),
    ("a pause", &[QueuePart::Paused]),
    ("limits", &[QueuePart::WorkLimits]),
    ("UNIQUE keys", &[QueuePart::UniqueJobs]),
    ("records of jobs", &[QueuePart::Completed, QueuePart::Failed, QueuePart::WorkCompleted, QueuePart::WorkFailed]),
];

/// A space that had this name under the catalog before.
pub struct Renamed {
    old: String,
    new: String,
}

impl Server {
    /// Another catalog is in force.
    pub(super) fn note_renamed(&mut self, old: &Catalog) {
        for section in old.sections.iter().filter(|section| section.tenant.is_none()) {
            let Some((_, now)) = self.catalog.section(section.name.as_bytes()) else { continue };
            let name = section.space_name(None);
            let new = space_name(&now.name, now.group.as_deref().or(now.tenant.map(|_| "…")));
            if name != new {
                self.renamed.push(Renamed { old: name, new });
            }
        }
    }

    /// Warns of what those have left. True: there are more.
    pub(super) fn look_at_renamed(&mut self, ctx: Context, deadline: Instant) -> bool {
        while let Some(Renamed { old, new }) = self.renamed.pop() {
            let mut prefix = Vec::new();
            write_prefix(old.as_bytes(), self.deployment, &mut prefix);
            let is_there = |part: &QueuePart| stands(ctx, &queue_key(&prefix, *part), *part);
            let left: Vec<&str> =
                KINDS.iter().filter(|(_, parts)| parts.iter().any(is_there)).map(|(kind, _)| *kind).collect();
            if !left.is_empty() {
                log::warn!(
                    "the space '{old}' is '{new}' from now on, and what stands under the old name is seen no more: {}; a catalog \
                     that names it so finds it again",
                    left.join(", ")
                );
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        !self.renamed.is_empty()
    }
}

/// A stream stays when all of it has gone.
fn stands(ctx: Context, key: &[u8], part: QueuePart) -> bool {
    match part {
        QueuePart::Schedules | QueuePart::Paused | QueuePart::WorkLimits | QueuePart::UniqueJobs => {
            KeyType::of(ctx, key).is_some()
        }
        _ => ctx.call(c"XLEN", Replicate::No, &[key]).and_then(|reply| reply.integer()).is_some_and(|len| len > 0),
    }
}

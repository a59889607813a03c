//! Queues that an earlier process, or an earlier master, left are found by a walk over the database, in slices.

use std::time::{Duration, Instant};

use crate::core::calls::keys::{queue_part, QueuePart};
use crate::core::catalog::space;
use crate::core::slots::unsettled::Touched;
use crate::keyspace::slots;
use crate::redis_api::{Context, Scan};
use crate::server::Server;

/// Until it is looked again whether the walk may begin.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

impl Server {
    /// Looks for queues in the whole database.
    pub(in crate::server) fn begin_discovery(&mut self) {
        self.queues.discovery = Some(Scan::default());
        self.arm_soon();
    }

    /// Goes on until the deadline. True: the walk is not over.
    pub(super) fn discover(&mut self, ctx: Context, deadline: Instant) -> bool {
        if self.keyspace.is_looking() {
            // Until it is known whose the sections' names are.
            if self.queues.discovery.is_some() {
                crate::redis_api::arm(LOOK_AGAIN);
            }
            return false;
        }
        while let Some(mut scan) = self.queues.discovery.take() {
            let mut names = Vec::new();
            let more = scan.step(ctx, &mut names);
            for key in names {
                self.note_queue(ctx, &key);
            }
            if more {
                self.queues.discovery = Some(scan);
                if Instant::now() >= deadline {
                    return true;
                }
            }
        }
        false
    }

    fn note_queue(&mut self, ctx: Context, key: &[u8]) {
        let catalog = self.catalog.clone();
        let Some((space, part)) = space::split_key(&catalog, self.deployment, key) else { return };
        let is_wanted = |kind: &QueuePart| {
            matches!(kind, QueuePart::Jobs | QueuePart::Work | QueuePart::InboxTell) || kind.is_of_schedules()
        };
        let kind = queue_part(part).filter(is_wanted);
        let Some(kind) = kind.filter(|_| self.keyspace.is_owned(space.section)) else { return };
        let name = catalog.sections[space.section].space_name(space.tenant);
        let prefix = &key[..key.len() - part.len() - 1];
        if slots::touched_elsewhere(prefix, Touched::Jobs) {
            // It is read when all of it is here.
            return;
        }
        match kind {
            QueuePart::Work => return self.found_work(ctx, &name, prefix),
            QueuePart::InboxTell => return self.inbox_found(&name.into()),
            kind if kind.is_of_schedules() => return self.found_schedules(&(*name).into()),
            _ => {}
        }
        let is_empty = self.queues.space(ctx, &name, prefix).jobs == 0;
        if is_empty {
            self.queues.forget_idle(&name);
        }
    }
}

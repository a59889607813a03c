//! What other hands do to jobs of the inbox, and to what is known of their rows: a job that is not in the hash is put there again, and
//! a row whose job stands nowhere is nobody's: it is taken once more, if it is open.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::core::jobs::job_id::JobId;
use crate::keyspace::jobs::QueueKeys;
use crate::keyspace::{claims, inbox as keys, jobs};
use crate::redis_api::Context;
use crate::server::Server;
use crate::workers::InboxRequest;

/// A space whose hash is looked through.
pub struct Looking {
    name: Arc<str>,
    cursor: u64,
    /// What was read of it.
    read: VecDeque<(u64, JobId)>,
    is_read: bool,
    /// Rows were found whose jobs are gone.
    has_lost: bool,
}

impl Server {
    /// True: there is more to do at once.
    pub(super) fn look_at_touched(&mut self, ctx: Context, until: Instant) -> bool {
        loop {
            let mut looking = match self.inbox.looking.take() {
                Some(looking) => looking,
                None => match self.inbox.touched.pop_first() {
                    Some(name) => self.begin_to_look(ctx, name),
                    None => return false,
                },
            };
            let of = QueueKeys::new(&self.prefix_of(&looking.name));
            if let Some((row, id)) = looking.read.pop_front() {
                let stands =
                    jobs::entry_stands(ctx, &of.jobs, id) || claims::entry(ctx, &of.work(), id, |_| ()).is_some();
                if !stands && keys::taken(ctx, &of, row).is_some_and(|(of, _)| of == id) {
                    keys::leave(ctx, &of, &[row]);
                    looking.has_lost = true;
                }
            } else if !looking.is_read {
                let read = &mut looking.read;
                looking.cursor = keys::scan(ctx, &of.inbox, looking.cursor, &mut |row, value| {
                    read.extend(keys::job_of(value).map(|(id, _)| (row, id)));
                });
                looking.is_read = looking.cursor == 0;
            } else {
                if looking.has_lost {
                    self.ask_inbox(InboxRequest::Rescan { space: (*looking.name).into() });
                }
                continue;
            }
            self.inbox.looking = Some(looking);
            if Instant::now() >= until {
                return true;
            }
        }
    }

    fn begin_to_look(&mut self, ctx: Context, name: Arc<str>) -> Looking {
        let of = QueueKeys::new(&self.prefix_of(&name));
        if let Some((_, space)) = self.claims.space_of(&name) {
            for (row, id) in std::mem::take(&mut space.unlinked) {
                if claims::entry(ctx, &space.keys.work, id, |_| ()).is_some() && space.wrong_type.is_none() {
                    keys::take(ctx, &of, row, id, false);
                }
            }
        }
        Looking { name, cursor: 0, read: VecDeque::new(), is_read: of.wrong_type(ctx).is_some(), has_lost: false }
    }
}

//! Jobs of the inbox that were read from the keys are withheld until Postgres has said that their rows are open: what this data
//! set believes to be undone may have been done since it was written down. After each loss of the connection all claimed jobs
//! are asked for once more: Postgres may be an earlier one by now.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use crate::core::jobs::job_id::JobId;
use crate::keyspace::inbox as keys;
use crate::keyspace::jobs::{self, QueueKeys, LAST};
use crate::redis_api::{Context, Direction};
use crate::server::Server;
use crate::workers::InboxRequest;

/// Rows that are asked for at once, and that are on their way.
const AT_ONCE: usize = 1_000;
const ON_THEIR_WAY: usize = 5_000;

impl Server {
    /// True: there is more to do at once.
    pub(super) fn ask_what_is_open(&mut self, ctx: Context, until: Instant) -> bool {
        if !self.inbox.link.is_up() {
            return false;
        }
        let mut rows = Vec::new();
        while rows.len() < AT_ONCE && self.inbox.verifying.len() < ON_THEIR_WAY {
            match self.inbox.unverified.pop_front() {
                Some((row, name)) => {
                    if self.inbox.verifying.insert(row, name).is_none() {
                        rows.push(row);
                    }
                }
                None if self.recheck_some(ctx, until) => {}
                None => break,
            }
            if Instant::now() >= until {
                break;
            }
        }
        if !rows.is_empty() {
            self.ask_inbox(InboxRequest::Verify(rows));
        }
        let inbox = &self.inbox;
        let has_more = !inbox.unverified.is_empty() || !inbox.recheck.is_empty() || inbox.rechecking.is_some();
        has_more && inbox.verifying.len() < ON_THEIR_WAY
    }

    /// Walks over claimed jobs of a space that is to be looked at once more. False: there is none.
    fn recheck_some(&mut self, ctx: Context, until: Instant) -> bool {
        let (name, from) = match self.inbox.rechecking.take() {
            Some(rechecking) => rechecking,
            None => match self.inbox.recheck.pop_first() {
                Some(name) => (name, JobId::ZERO),
                None => return false,
            },
        };
        let Some((_, space)) = self.claims.space_of(&name) else { return true };
        let (mut next, mut looked_at) = (None, 0);
        let unverified = &mut self.inbox.unverified;
        jobs::walk(ctx, &space.keys.work, Direction::Forward, (from, LAST), &mut |id, _| {
            unverified.extend(id.inbox().map(|row| (row, name.clone())));
            looked_at += 1;
            if looked_at >= AT_ONCE || Instant::now() >= until {
                next = id.next();
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        self.inbox.rechecking = next.map(|next| (name, next));
        true
    }

    /// All that is to be said of a row has been said: if its job stands, the row is open.
    pub(super) fn row_is_verified(&mut self, ctx: Context, row: u64) {
        let Some(name) = self.inbox.verifying.remove(&row) else { return };
        let of = QueueKeys::new(&self.prefix_of(&name));
        let Some((id, _)) = keys::taken(ctx, &of, row) else { return };
        self.let_out_verified(&name, id);
    }

    fn let_out_verified(&mut self, name: &Arc<str>, id: JobId) {
        let Some((_, space)) = self.claims.space_of(name) else { return };
        let was_unverified = space.unverified.remove(&id);
        if let Some(loading) = &mut space.loading {
            loading.unverified.remove(&id);
        }
        if was_unverified {
            space.let_out(id);
            self.claims_changed(name);
        }
    }
}

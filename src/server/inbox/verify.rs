//! Jobs of the inbox that were read from the keys are withheld until Postgres has said that their rows are open: what this data
//! set believes to be undone may have been done since it was written down. After each loss of the connection all claimed jobs
//! are asked for once more: Postgres may be an earlier one by now.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
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

/// Whose rows are asked for.
#[derive(Default)]
pub struct Verifying {
    /// Spaces with jobs that were read from the keys; how far one of them has been walked.
    loaded: BTreeSet<Arc<str>>,
    walked: Option<(Arc<str>, JobId)>,
    /// Spaces are looked at once more from this one on, with all of their jobs; how far one of them has been walked.
    from: Option<Arc<str>>,
    rechecked: Option<(Arc<str>, JobId)>,
    /// Rows that the thread has been asked for.
    asked: BTreeMap<u64, Arc<str>>,
}

impl Verifying {
    pub fn loaded(&mut self, name: &Arc<str>) {
        self.loaded.insert(name.clone());
    }

    /// Whose row it is that was asked for.
    pub fn asked(&self, row: u64) -> Option<&Arc<str>> {
        self.asked.get(&row)
    }

    /// What was asked will not be answered.
    pub fn ask_again(&mut self) {
        self.loaded.extend(self.walked.take().map(|(name, _)| name));
        self.loaded.extend(std::mem::take(&mut self.asked).into_values());
        (self.from, self.rechecked) = (None, None);
    }

    /// The space that is being walked, and how far it has been; or else the next one.
    fn next_to_walk(&mut self) -> Option<(Arc<str>, JobId)> {
        self.walked.take().or_else(|| self.loaded.pop_first().map(|name| (name, JobId::ZERO)))
    }

    /// All jobs are to be looked at once more.
    pub fn recheck(&mut self) {
        self.from = Some("".into());
    }

    pub(super) fn has_more(&self) -> bool {
        !self.loaded.is_empty() || self.walked.is_some() || self.from.is_some() || self.rechecked.is_some()
    }
}

impl Server {
    /// True: there is more to do at once.
    pub(super) fn ask_what_is_open(&mut self, ctx: Context, until: Instant) -> bool {
        if !self.inbox.link.is_up() {
            return false;
        }
        let mut rows = Vec::new();
        while rows.len() < AT_ONCE && self.inbox.verifying.asked.len() < ON_THEIR_WAY {
            if !self.walk_loaded(&mut rows) && !self.recheck_some(ctx, until, &mut rows) {
                break;
            }
            if Instant::now() >= until {
                break;
            }
        }
        if !rows.is_empty() {
            self.ask_inbox(InboxRequest::Verify(rows));
        }
        let verifying = &self.inbox.verifying;
        verifying.has_more() && verifying.asked.len() < ON_THEIR_WAY
    }

    /// Some of the jobs that were read from the keys. False: there are none.
    fn walk_loaded(&mut self, rows: &mut Vec<u64>) -> bool {
        /// Between two looks at the clock.
        const SOME: usize = 64;

        let verifying = &mut self.inbox.verifying;
        let Some((name, after)) = verifying.next_to_walk() else { return false };
        let Some((name, space)) = self.claims.space_of(&name) else { return true };
        let range = (Bound::Excluded(after), Bound::Unbounded);
        let some: Vec<JobId> = space.unverified.range(range).take(SOME).copied().collect();
        for row in some.iter().filter_map(|id| id.inbox()) {
            if verifying.asked.insert(row, name.clone()).is_none() {
                rows.push(row);
            }
        }
        verifying.walked = some.last().filter(|_| some.len() == SOME).map(|last| (name, *last));
        true
    }

    /// Walks over claimed jobs of a space that is to be looked at once more. False: there is none.
    fn recheck_some(&mut self, ctx: Context, until: Instant, rows: &mut Vec<u64>) -> bool {
        let (name, from) = match self.inbox.verifying.rechecked.take() {
            Some(rechecked) => rechecked,
            None => {
                let Some(after) = self.inbox.verifying.from.take() else { return false };
                let Some(name) = self.claims.name_after(&after) else { return true };
                self.inbox.verifying.from = Some(name.clone());
                (name, JobId::ZERO)
            }
        };
        let Some((_, space)) = self.claims.space_of(&name) else { return true };
        let asked = &mut self.inbox.verifying.asked;
        let (mut next, mut looked_at) = (None, 0);
        jobs::walk(ctx, &space.keys.work, Direction::Forward, (from, LAST), &mut |id, _| {
            if let Some(row) = id.inbox() {
                if asked.insert(row, name.clone()).is_none() {
                    rows.push(row);
                }
            }
            looked_at += 1;
            if looked_at >= AT_ONCE || Instant::now() >= until {
                next = id.next();
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        self.inbox.verifying.rechecked = next.map(|next| (name, next));
        true
    }

    /// All that is to be said of a row has been said: if its job stands, the row is open.
    pub(super) fn row_is_verified(&mut self, ctx: Context, row: u64) {
        let Some(name) = self.inbox.verifying.asked.remove(&row) else { return };
        let of = QueueKeys::new(&self.prefix_of(&name));
        let Some((id, _)) = keys::taken(ctx, &of, row) else { return };
        let Some((_, space)) = self.claims.space_of(&name) else { return };
        let was_unverified = space.unverified.remove(&id);
        if let Some(loading) = &mut space.loading {
            loading.unverified.remove(&id);
        }
        if was_unverified {
            space.let_out(id);
            self.claims_changed(&name);
        }
    }
}

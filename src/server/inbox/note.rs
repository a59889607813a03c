//! What is written of a row beside its job: in the unit in which the job settles, its claim ends, or it is tried again.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::Inbox;
use crate::core::claims::attempts::AttemptError;
use crate::core::claims::queue::{Claim, Facts};
use crate::core::inbox::tell::Telling;
use crate::core::jobs::job_id::JobId;
use crate::keyspace::inbox as keys;
use crate::keyspace::jobs::QueueKeys;
use crate::redis_api::{self, Context};
use crate::server::claims::WorkSpace;
use crate::server::Server;

/// Rows that are to be told and are kept in memory; of more, the keys are read.
const MOST: usize = 10_000;

impl Inbox {
    /// Jobs settle, or leave their queue undone. Those that are of no row are passed over.
    pub fn settled(&mut self, ctx: Context, of: &QueueKeys, name: &Arc<str>, jobs: &[(JobId, Telling)]) {
        let of_row = |(id, telling): &(JobId, Telling)| Some((id.inbox()?, telling.clone()));
        let tellings: SmallVec<[(u64, Telling); 4]> = jobs.iter().filter_map(of_row).collect();
        if tellings.is_empty() {
            return;
        }
        let rows: SmallVec<[u64; 4]> = tellings.iter().map(|(row, _)| *row).collect();
        keys::leave(ctx, of, &rows);
        self.tell(ctx, of, name, &tellings);
    }

    /// A claim has ended, and its job goes on: what its worker may still commit is to count no more before anybody else has it.
    pub fn claim_ended(
        &mut self,
        ctx: Context,
        space: &mut WorkSpace,
        name: &Arc<str>,
        claim: Option<&Claim>,
        facts: Option<&Facts>,
    ) {
        let Some((claim, facts, row)) = claim.zip(facts).and_then(|(claim, of)| Some((claim, of, of.id.inbox()?)))
        else {
            return;
        };
        self.tell(ctx, &space.shared, name, &[(row, Telling::Fence(claim.token))]);
        space.withhold_untold(facts);
    }

    /// The jobs of a space have been read from the keys.
    pub fn loaded(&mut self, name: &Arc<str>, space: &WorkSpace) {
        if !space.unverified.is_empty() {
            self.verifying.loaded(name);
        }
        if !space.unlinked.is_empty() {
            self.touched.insert(name.clone());
        }
        if !space.unverified.is_empty() || !space.untold.is_empty() || !space.unlinked.is_empty() {
            redis_api::arm(Duration::ZERO);
        }
    }

    /// Has Postgres be told.
    pub(super) fn tell(&mut self, ctx: Context, of: &QueueKeys, name: &Arc<str>, tellings: &[(u64, Telling)]) {
        keys::tell(ctx, of, tellings);
        for (row, _) in tellings {
            if self.untold.len() < MOST {
                self.untold.push_back((*row, name.clone()));
            } else {
                self.unread.insert(name.clone());
            }
        }
        redis_api::arm(Duration::ZERO);
    }
}

impl Server {
    /// BEAR.RETRY has made a job of a row that had failed. It is handed out once the row is open again.
    pub(in crate::server) fn take_row_again(
        &mut self,
        ctx: Context,
        name: &str,
        row: u64,
        id: JobId,
        token: Option<u64>,
    ) {
        let catalog = self.catalog.clone();
        let Some((name, space)) = self.claims.space_of(name) else { return };
        keys::take(ctx, &space.shared, row, id, true);
        self.inbox.tell(ctx, &space.shared, &name, &[(row, Telling::Fence(token.unwrap_or(0)))]);
        let facts = catalog.section(space.section.as_bytes()).and_then(|(_, of)| space.entry_facts(ctx, of, id));
        // While its jobs are being read, the walk comes to it.
        if let Some(facts) = facts.filter(|_| space.is_loaded()) {
            space.withhold_untold(&facts);
        }
    }

    /// A job that waits is cancelled. True: first it is to be known whether its last claim's worker has completed it.
    pub(in crate::server) fn inbox_cancels(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        id: JobId,
        error: &AttemptError,
    ) -> bool {
        let Some((_, space)) = self.claims.space_of(name) else { return false };
        let row = id.inbox().filter(|_| space.untold.contains(&id));
        row.map(|row| keys::fail(ctx, &space.shared, row, id, error)).is_some()
    }

    /// There is something that Postgres is to be told.
    pub(in crate::server) fn inbox_found(&mut self, name: &Arc<str>) {
        self.inbox.unread.insert(name.clone());
        self.arm_soon();
    }

    /// Another hand has touched jobs of a space, or what is known of their rows.
    pub(in crate::server) fn inbox_touched(&mut self, name: &Arc<str>) {
        self.inbox.touched.insert(name.clone());
        self.inbox.unread.insert(name.clone());
        self.arm_soon();
    }
}

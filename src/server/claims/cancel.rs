//! BEAR.CANCEL: a job that nobody holds ends as failed; the worker of one that is claimed is told, by its next BEAR.EXTEND and
//! by an event. Until it has said something the job is claimed as before.

use std::sync::Arc;

use super::ending::{Ending, Settling};
use crate::core::claims::attempts::{cut, AttemptError};
use crate::core::claims::claim_record::ClaimRecord;
use crate::core::claims::queue::State;
use crate::core::jobs::job_id::JobId;
use crate::keyspace::claims as keys;
use crate::redis_api::{Answer, Context};
use crate::server::events::hold;
use crate::server::queues::{parse_id, wall_ms};
use crate::server::Server;

/// Of who gives no message.
const MESSAGE: &[u8] = b"cancelled by BEAR.CANCEL";

impl Server {
    /// BEAR.CANCEL; the message is at most 2 KB.
    pub fn cancel(&mut self, ctx: Context, space: &[u8], id: &[u8], message: Option<&[u8]>) -> Result<(), String> {
        let name = self.work_named(ctx, space)?;
        let id = parse_id(id)?;
        let message = cut(message.unwrap_or(MESSAGE), 2 << 10);
        if !self.is_claimed_job(ctx, &name, id) {
            return self.cancel_sql_job(ctx, space, id, message);
        }
        self.when_loaded(ctx, &name, true, move |server, ctx, name| {
            if !server.is_claimed_job(ctx, name, id) {
                return Err(format!("ERR job {id} has settled meanwhile"));
            }
            let state = match server.claims.spaces.get(name).map(|space| space.queue.state(id)) {
                Some(State::Claimed) => {
                    server.cancel_claim(ctx, name, id, &message);
                    "active"
                }
                _ => {
                    let error = AttemptError { message, at_ms: wall_ms(), ..AttemptError::default() };
                    if !server.inbox_cancels(ctx, name, id, &error) {
                        server.conclude(ctx, name, vec![Settling { id, ending: Ending::Failed { error } }]);
                    }
                    server.claims_changed(name);
                    "failed"
                }
            };
            Ok(Answer::Bytes(Arc::new(state.into())))
        })
    }

    /// The message is kept with the claim, so that it holds over a restart.
    fn cancel_claim(&mut self, ctx: Context, name: &Arc<str>, id: JobId, message: &str) {
        let Some(space) = self.claims.spaces.get_mut(name) else { return };
        let Some(claim) = space.queue.claim(id) else { return };
        let record = ClaimRecord { cancelled: Some(message.into()), ..self.claims.workers.record(claim) };
        let mut text = Vec::with_capacity(200 + message.len());
        record.write(&mut text);
        let _ = keys::set(ctx, &space.keys.claims, &[(id, &text)]);
        let hold = hold(claim, self.claims.workers.of(claim.worker).0);
        let job = space.queue.claimed_facts(id).map(|facts| facts.name.clone()).unwrap_or_default();
        space.queue.cancel(id);
        self.events.tell_cancelled(ctx, name, (id, &job), hold, message);
    }

    /// Why a claimed job is to end, in the words of who cancelled it; empty where it is not.
    pub(super) fn cancel_message(&self, ctx: Context, name: &Arc<str>, id: JobId) -> String {
        let Some(space) = self.claims.spaces.get(name) else { return String::new() };
        let message = keys::get(ctx, &space.keys.claims, id, |record| {
            ClaimRecord::read(record).and_then(|record| record.cancelled.map(|text| text.into_owned()))
        });
        message.flatten().unwrap_or_default()
    }

    /// Is it a job that workers claim, and has it not settled?
    pub(super) fn is_claimed_job(&self, ctx: Context, name: &Arc<str>, id: JobId) -> bool {
        let space = self.claims.spaces.get(name);
        space.is_some_and(|space| keys::entry(ctx, &space.keys.work, id, |_| ()).is_some())
    }
}

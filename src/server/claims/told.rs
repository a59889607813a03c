//! What is published of claimed jobs, see [`crate::server::events`].

use std::sync::Arc;

use super::ending::Ending;
use super::hand_out::{Ask, Taken};
use crate::core::claims::queue::Claim;
use crate::core::events::job::{By, Failure, Hold, JobEvent};
use crate::core::jobs::job_id::JobId;
use crate::redis_api::Context;
use crate::server::events::hold;
use crate::server::queues::wall_ms;
use crate::server::Server;

impl Ending {
    pub(super) fn event<'a>(&'a self, by: By<'a>) -> JobEvent<'a> {
        match self {
            Ending::Completed { result } => JobEvent::Completed { by, rows: None, result: result.as_deref() },
            Ending::Failed { error } => {
                JobEvent::Failed { by, failure: Failure { message: &error.message, sqlstate: None } }
            }
        }
    }
}

impl Server {
    /// Publishes that jobs were claimed, once that is written.
    pub(super) fn tell_claimed(&mut self, ctx: Context, taken: &[Taken], ask: Ask) {
        for job in taken {
            self.events.tell(ctx, &job.space, job.id, || {
                let worker = self.claims.workers.of(ask.worker).0;
                let hold = Hold { token: job.token, worker, attempt: job.attempt };
                Some((&*job.job, JobEvent::Claimed { hold, lease_ms: job.lease_ms }))
            });
        }
    }

    /// To be flushed once it is written.
    pub(super) fn note_retried(&mut self, name: &Arc<str>, id: JobId, claim: &Claim, message: &str, delay_ms: u64) {
        self.events.note(name, id, || {
            let by = By::Worker(hold(claim, self.claims.workers.of(claim.worker).0));
            let due_ms = (delay_ms > 0).then(|| wall_ms() + delay_ms);
            let event = JobEvent::Retried { by, failure: Failure { message, sqlstate: None }, due_ms };
            Some((&*self.claims.spaces.get(name)?.queue.claimed_facts(id)?.name, event))
        });
    }
}

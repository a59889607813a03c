//! BEAR.PROPOSE: what is asked goes to the thread that validates catalogs, the text comes back as it is sent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::reload::next_plan;
use super::Server;
use crate::core::feed::FeedState;
use crate::core::propose::facts::Feed;
use crate::postgres::{Asked, FeedKind, Known, Proposal, ProposalError};
use crate::redis_api::{Answer, BlockedClient, Context};
use crate::workers::Request;

/// Of all statements of one proposal, and of its turn behind a catalog that is being checked.
const TIME: Duration = Duration::from_secs(60);

/// Those that wait for their turn.
const MAX_WAITING: usize = 16;

/// Who waits for a proposal, by its ticket.
#[derive(Default)]
pub struct Proposing {
    waiting: BTreeMap<u64, BlockedClient>,
    last_ticket: u64,
}

impl Server {
    /// Has it worked out, while the client waits.
    pub fn propose(&mut self, ctx: Context, asked: Asked) -> Result<(), String> {
        if ctx.flags().cannot_block() {
            return Err("NOWAIT BEAR.PROPOSE asks Postgres, and in MULTI or a script nothing can wait".into());
        }
        self.begin_fetching()?;
        if self.proposing.waiting.len() >= MAX_WAITING {
            return Err(format!("OVERLOADED {MAX_WAITING} BEAR.PROPOSE wait for their turn; try again later"));
        }
        let Some(workers) = self.workers.current() else { return Ok(()) };
        self.proposing.last_ticket += 1;
        let ticket = self.proposing.last_ticket;
        workers.submit(Request::Propose(Proposal { ticket, asked, deadline: Instant::now() + TIME }));
        self.proposing.waiting.insert(ticket, ctx.block());
        Ok(())
    }

    /// What is proposed beside the catalog in use.
    pub fn known(&self) -> Known {
        Known {
            text: self.catalog.text.clone(),
            sections: self.catalog.as_written().clone(),
            plan_id: next_plan,
            feed: self.feed_in_force(),
        }
    }

    /// Who tells of what others change.
    pub fn feed_in_force(&self) -> Feed {
        let settings = self.config.feed_settings().filter(|_| self.feed().state() != FeedState::NotAllowed);
        match settings.map(|settings| settings.kind) {
            None => Feed::Nobody,
            Some(FeedKind::Wal) => Feed::Wal,
            Some(FeedKind::Outbox) => Feed::Outbox,
        }
    }

    /// A text has come, or why there is none.
    pub(super) fn proposed(&mut self, ticket: u64, text: Result<String, ProposalError>) {
        let Some(client) = self.proposing.waiting.remove(&ticket) else { return };
        let answer = match text {
            Ok(text) => Answer::Bytes(text.into_bytes().into()),
            Err(ProposalError::Refused(reason)) => Answer::Error(format!("ERR {reason}").into()),
            Err(ProposalError::Postgres(error)) => Answer::Error(format!("POSTGRES {error}").into()),
        };
        self.answers.push_back((client, answer));
        self.arm_soon();
    }

    /// Tells who waits that nothing will come.
    pub(super) fn end_proposing(&mut self, reason: &str) {
        for client in std::mem::take(&mut self.proposing.waiting).into_values() {
            self.answers.push_back((client, Answer::Error(format!("POSTGRES {reason}").into())));
        }
    }
}

//! Who has claimed something lately: the workers by name and address.
//!
//! A worker that names itself is one worker, wherever it connects from; one that does not is its connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Claims;
use crate::core::claims::attempts::AttemptError;
use crate::core::claims::claim_record::ClaimRecord;
use crate::core::claims::queue::Claim;
use crate::redis_api::Context;
use crate::server::queues::wall_ms;
use crate::server::Server;

/// Connections that are remembered: beyond them the oldest are forgotten, and looked up again.
const MAX_CLIENTS: usize = 10_000;

/// Workers that are remembered without a claim.
const MAX_WORKERS: usize = 10_000;

#[derive(Default)]
pub struct Workers {
    by_id: BTreeMap<u32, Worker>,
    by_name: BTreeMap<Arc<str>, u32>,
    /// By the client's number, as it called itself last.
    by_client: BTreeMap<u64, (Box<[u8]>, u32)>,
    next: u32,
}

struct Worker {
    name: Arc<str>,
    address: Arc<str>,
}

impl Workers {
    /// The name and the address of a worker.
    pub fn of(&self, id: u32) -> (&str, &str) {
        self.by_id.get(&id).map_or(("", ""), |worker| (&*worker.name, &*worker.address))
    }

    /// A claim as it is kept in the keys.
    pub fn record(&self, claim: &Claim) -> ClaimRecord<'_> {
        let (worker, address) = self.of(claim.worker);
        ClaimRecord {
            token: claim.token,
            worker: worker.into(),
            address: address.into(),
            started_ms: claim.started_ms,
            lease_ms: claim.lease_ms,
            attempt: claim.attempt,
            cancelled: None,
        }
    }

    /// An attempt that fails now.
    pub fn error(&self, claim: &Claim, message: Box<str>) -> AttemptError {
        let worker = Some(self.of(claim.worker).0.into());
        AttemptError { attempt: claim.attempt, message, stack: None, worker, at_ms: wall_ms() }
    }

    /// The worker of this name; its address is the one that it was seen at last.
    pub fn named(&mut self, name: &str, address: &str) -> u32 {
        if let Some(id) = self.by_name.get(name).copied() {
            if let Some(worker) = self.by_id.get_mut(&id).filter(|worker| *worker.address != *address) {
                worker.address = address.into();
            }
            return id;
        }
        if self.by_id.len() >= MAX_WORKERS {
            // Numbers grow: the first has been there longest. Claims of it say who it was in their records.
            if let Some((_, worker)) = self.by_id.pop_first() {
                self.by_name.remove(&worker.name);
            }
        }
        self.next = self.next.wrapping_add(1);
        let name: Arc<str> = name.into();
        self.by_name.insert(name.clone(), self.next);
        self.by_id.insert(self.next, Worker { name, address: address.into() });
        self.next
    }
}

impl Server {
    /// The worker that sends this command.
    pub(super) fn worker(&mut self, ctx: Context, name: Option<&[u8]>) -> u32 {
        let client = ctx.client_id();
        let called = name.unwrap_or_default();
        let Claims { workers, .. } = &mut self.claims;
        if let Some((known, id)) = workers.by_client.get(&client) {
            if **known == *called && workers.by_id.contains_key(id) {
                return *id;
            }
        }
        let address = ctx.client_address();
        let text = String::from_utf8_lossy(called);
        let id = workers.named(if called.is_empty() { &address } else { &text }, &address);
        if workers.by_client.len() >= MAX_CLIENTS {
            workers.by_client.pop_first();
        }
        workers.by_client.insert(client, (called.into(), id));
        id
    }
}

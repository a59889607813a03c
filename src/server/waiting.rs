//! Clients that wait for a fetch, each until its answer or its deadline, whichever comes first.
//!
//! Deadlines are ours and not Redis': where a module unblocks a client in the very moment in which Redis' own timeout
//! fires, the client gets no reply at all.

use std::collections::VecDeque;
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::redis_api::BlockedClient;

/// Number of a waiting client.
pub type WaiterId = u64;

#[derive(Default)]
pub struct Waiting {
    clients: FxHashMap<WaiterId, BlockedClient>,
    /// Nearly in order: `bear.query-timeout-ms` may have been changed between two of them.
    deadlines: VecDeque<(Instant, WaiterId)>,
    next: WaiterId,
}

impl Waiting {
    pub fn add(&mut self, client: BlockedClient, deadline: Instant) -> WaiterId {
        let id = self.next;
        self.next += 1;
        self.clients.insert(id, client);
        self.deadlines.push_back((deadline, id));
        id
    }

    /// The client, unless its time was up.
    pub fn take(&mut self, id: WaiterId) -> Option<BlockedClient> {
        let client = self.clients.remove(&id);
        if self.clients.is_empty() {
            self.deadlines.clear();
        }
        client
    }

    /// The next client whose time is up.
    pub fn take_late(&mut self, now: Instant) -> Option<BlockedClient> {
        while self.deadlines.front().is_some_and(|(deadline, id)| *deadline <= now || !self.clients.contains_key(id)) {
            let (_, id) = self.deadlines.pop_front()?;
            if let Some(client) = self.take(id) {
                return Some(client);
            }
        }
        None
    }

    /// When somebody's time is up, if anybody waits.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    pub fn len(&self) -> usize {
        self.clients.len()
    }
}

//! Clients that wait for something, each until its answer or its deadline, whichever comes first.
//!
//! Deadlines are ours and not Redis': where a module unblocks a client in the very moment in which Redis' own timeout
//! fires, the client gets no reply at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::core::cache::stored_form::{IDENTITY, ZSTD};
use crate::redis_api::{self, Answer, BlockedClient, ClientHandle};

/// Number of a waiting client.
pub type WaiterId = u64;

/// Number of a message that waits for a fetch.
pub type MessageId = u64;

/// Who waits for a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiter {
    Client(WaiterId),
    /// A call of many that a client has made: see [`super::many`].
    Slot(WaiterId, usize),
    /// Nobody who waits: a message is published. See [`super::noblock`].
    Message(MessageId),
}

/// What a client has asked for, where that is of account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    Result,
    /// A result as it is stored, with the encoding.
    Raw,
    /// A value, and how long he would compute it.
    Value {
        lease_ms: u64,
    },
}

impl Asker {
    /// The content of an entry as he is told it; its stored form, where that is another.
    pub fn told(self, answer: Answer, compressed: Option<Arc<Vec<u8>>>) -> Answer {
        match (self, answer) {
            (Asker::Raw, Answer::Bytes(plain)) => match compressed {
                Some(compressed) => Answer::Encoded(ZSTD, compressed),
                None => Answer::Encoded(IDENTITY, plain),
            },
            (Asker::Value { .. }, Answer::Bytes(bytes)) => Answer::Leased(Some(bytes), None),
            (_, answer) => answer,
        }
    }
}

#[derive(Default)]
pub struct Waiting {
    /// A tree, for a map would hold the thread whenever it grows.
    clients: BTreeMap<WaiterId, (BlockedClient, Asker, Instant)>,
    deadlines: BTreeSet<(Instant, WaiterId)>,
    by_handle: FxHashMap<ClientHandle, WaiterId>,
    next: WaiterId,
}

impl Waiting {
    pub fn add(&mut self, client: BlockedClient, deadline: Instant) -> WaiterId {
        self.add_asker(client, Asker::Result, deadline)
    }

    pub fn add_asker(&mut self, client: BlockedClient, asker: Asker, deadline: Instant) -> WaiterId {
        let id = self.next;
        self.next += 1;
        self.by_handle.insert(client.handle(), id);
        self.clients.insert(id, (client, asker, deadline));
        self.deadlines.insert((deadline, id));
        id
    }

    /// The client, unless its time was up.
    pub fn take(&mut self, id: WaiterId) -> Option<BlockedClient> {
        self.take_asker(id).map(|(client, _)| client)
    }

    /// The same with what he has asked for.
    pub fn take_asker(&mut self, id: WaiterId) -> Option<(BlockedClient, Asker)> {
        let (client, asker, deadline) = self.clients.remove(&id)?;
        self.deadlines.remove(&(deadline, id));
        self.by_handle.remove(&client.handle());
        Some((client, asker))
    }

    /// Gives a client more time.
    pub fn postpone(&mut self, id: WaiterId, deadline: Instant) {
        if let Some((_, _, until)) = self.clients.get_mut(&id) {
            self.deadlines.remove(&(*until, id));
            *until = deadline;
            self.deadlines.insert((deadline, id));
        }
    }

    /// What a client has asked for.
    pub fn asker(&self, id: WaiterId) -> Option<Asker> {
        self.clients.get(&id).map(|(_, asker, _)| *asker)
    }

    /// Does a client wait no more, though he still stands here?
    pub fn is_gone(&self, id: WaiterId) -> bool {
        self.clients.get(&id).is_some_and(|(client, _, _)| redis_api::is_gone(client.handle()))
    }

    /// Who has waited longest beyond his time.
    pub fn first_late(&self, now: Instant) -> Option<WaiterId> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|(_, id)| *id)
    }

    /// Who that client is, if he waits here.
    pub fn find(&self, client: ClientHandle) -> Option<WaiterId> {
        self.by_handle.get(&client).copied()
    }

    /// When somebody's time is up, if anybody waits.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub fn len(&self) -> usize {
        self.clients.len()
    }
}

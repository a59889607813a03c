//! BEAR.QUERY … NOBLOCK: who misses is answered nil, and told by a message when the fetch has ended; see [`crate::core::events::fill`].
//!
//! ```text
//! command: hit --> replied
//!          miss --> nil, and waits for the fetch as a client does --ended, or its time is up--> published
//! ```
//! A message goes to subscribers of this server, of this shard in a cluster: who asks listens where he asks. So it is told on
//! replicas, too, and while the server allows no writes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::call::{Freshness, Words};
use super::stored::Wanted;
use super::waiting::{MessageId, Waiter};
use crate::core::calls::names::{self, Deployment};
use crate::core::events::fill::{self, Asked, Came, FillEnd};
use crate::redis_api::{Answer, Context};
use crate::server::{errors, Server};

/// Messages that wait for each fetch that may be under way.
const PER_FILL: usize = 4;

struct Message {
    channel: Box<[u8]>,
    asked: Asked,
    deadline: Instant,
}

/// Messages whose fetches are under way.
#[derive(Default)]
pub struct Messages {
    waiting: BTreeMap<MessageId, Message>,
    deadlines: BTreeSet<(Instant, MessageId)>,
    next: MessageId,
    /// Ever published.
    sent: u64,
    /// Kept for its memory.
    text: Vec<u8>,
}

impl Messages {
    fn add(&mut self, channel: Box<[u8]>, asked: Asked, deadline: Instant) -> MessageId {
        let id = self.next;
        self.next += 1;
        self.waiting.insert(id, Message { channel, asked, deadline });
        self.deadlines.insert((deadline, id));
        id
    }

    fn take(&mut self, id: MessageId) -> Option<Message> {
        let message = self.waiting.remove(&id)?;
        self.deadlines.remove(&(message.deadline, id));
        Some(message)
    }

    fn first_late(&self, now: Instant) -> Option<MessageId> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|(_, id)| *id)
    }

    /// When the first is to be told that there was no answer.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Those that were ever published, and those that wait.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent, self.waiting.len() as u64)
    }
}

impl Server {
    /// Answers a hit, or nil; of a miss the end of its fetch is published under this name.
    pub fn query_and_tell(
        &mut self,
        ctx: Context,
        space_name: &[u8],
        name: &[u8],
        wanted: Wanted,
        words: &Words,
    ) -> Result<(), String> {
        let space = self.space(ctx, space_name)?;
        self.check_owned(ctx, space)?;
        let mut prefix = Vec::new();
        names::write_prefix(space_name, self.deployment, &mut prefix);
        let channel = fill::channel(name, &prefix, self.deployment == Deployment::Cluster)?;
        // At a hit, too: else it would be found out by the first who misses.
        if !ctx.may_use_channel(&channel) {
            return Err(format!(
                "NOPERM this user has no permissions to access the channel {} (NOBLOCK)",
                String::from_utf8_lossy(&channel)
            ));
        }
        let query = self.write_call_key(space_name, space, words)?;
        self.check_is_query(space, query)?;
        if self.reply_from_cache(ctx, (space_name, space), query, (Freshness::Any, wanted), words) {
            return Ok(());
        }
        let limit = self.config.max_fills as usize * PER_FILL;
        if self.messages.waiting.len() >= limit {
            return Err(format!(
                "OVERLOADED {limit} messages wait for fetches ({PER_FILL} times bear.max-fills); try again later"
            ));
        }
        let words_typed = words.iter().map(|word| (*word).into()).collect();
        let asked = Asked { space: space_name.into(), words: words_typed, key: self.key.as_slice().into() };
        self.fetch((space_name, space), Freshness::Any, words, |server, until| {
            Waiter::Message(server.messages.add(channel, asked, until))
        })?;
        ctx.reply().null();
        Ok(())
    }

    /// Publishes what came of the fetch that a message waits for. Returns what that costs, in bytes.
    pub(in crate::server) fn tell_by_message(
        &mut self,
        ctx: Context,
        id: MessageId,
        answer: &Answer,
        end: FillEnd,
    ) -> usize {
        let Some(message) = self.messages.take(id) else { return 0 };
        let came = match answer {
            Answer::Bytes(json) => Came::Result(json),
            Answer::Error(text) => Came::Error(text),
            // Fetches end in no other way.
            _ => return 0,
        };
        let mut text = std::mem::take(&mut self.messages.text);
        text.clear();
        fill::write_fill(&message.asked, end, came, &mut text);
        if self.deployment == Deployment::Standalone {
            ctx.publish(&message.channel, &text);
        }
        ctx.publish_to_shard(&message.channel, &text);
        self.messages.sent += 1;
        let cost = text.len();
        self.messages.text = text;
        cost
    }

    /// Tells of those that have waited too long; the fetch goes on for others. True: there are more.
    pub(in crate::server) fn tell_late(&mut self, ctx: Context, now: Instant, until: Instant) -> bool {
        while let Some(id) = self.messages.first_late(now) {
            let text = errors::timeout(self.config.query_timeout_ms);
            self.tell_by_message(ctx, id, &Answer::Error(text.into()), FillEnd::Failed);
            if Instant::now() >= until {
                return true;
            }
        }
        false
    }
}

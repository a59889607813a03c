//! Messages on their way: a line of them, for all spaces, so that they come in the order in which things happened.
//!
//! ```text
//! command, tick ──push──> line ──flush, in the same callback: two more than it has pushed──> published
//!                          └────work: in ticks, until their time is up────────────────────>
//! ```
//! The line is empty but after a large batch: whoever adds one message while there is a line sends two, so that it ends.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::outcomes::Outcomes;
use crate::core::calls::names::{write_prefix, Deployment};
use crate::redis_api::{Context, Replicate};

/// Messages that wait, by which nothing that brings more is begun.
const MANY: usize = 2_000;

/// A tick that has used up its time gives them so much all the same.
const LEAST: Duration = Duration::from_micros(if cfg!(debug_assertions) { 1_000 } else { 100 });

const CHANNEL: &[u8] = b"bear:events:";

enum Waiting {
    One { space: Box<str>, text: Vec<u8>, is_for_all: bool },
    Outcomes(Box<Outcomes>),
}

pub struct Sending {
    deployment: Deployment,
    waiting: VecDeque<Waiting>,
    /// Messages of those.
    count: usize,
    /// Ever published.
    sent: u64,
    /// Kept for their memory.
    channel: Vec<u8>,
    text: Vec<u8>,
}

impl Sending {
    pub fn new(deployment: Deployment) -> Sending {
        Sending { deployment, waiting: VecDeque::new(), count: 0, sent: 0, channel: CHANNEL.to_vec(), text: Vec::new() }
    }

    /// Publishes a message of what is written, at once where none waits.
    pub fn send(&mut self, ctx: Context, space: &str, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.waiting.is_empty() || !ctx.writes_allowed() {
            self.push(space, write);
            return self.flush(ctx, 1);
        }
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        write(&mut text);
        self.publish(ctx, space, &text, false);
        self.text = text;
    }

    pub fn push(&mut self, space: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.push_one(space, write, false);
    }

    /// In a cluster to subscribers of all channels, sharded or not.
    pub fn push_everywhere(&mut self, space: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.push_one(space, write, true);
    }

    fn push_one(&mut self, space: &str, write: impl FnOnce(&mut Vec<u8>), is_for_all: bool) {
        let mut text = Vec::with_capacity(256);
        write(&mut text);
        self.waiting.push_back(Waiting::One { space: space.into(), text, is_for_all });
        self.count += 1;
    }

    pub fn push_outcomes(&mut self, outcomes: Outcomes) {
        self.count += outcomes.len();
        self.waiting.push_back(Waiting::Outcomes(Box::new(outcomes)));
    }

    pub fn counts(&self) -> (u64, u64) {
        (self.sent, self.count as u64)
    }

    pub fn is_behind(&self) -> bool {
        self.count > MANY
    }

    pub fn clear(&mut self) {
        self.waiting.clear();
        self.count = 0;
    }

    /// After `noted` messages were pushed, or one.
    pub fn flush(&mut self, ctx: Context, noted: usize) {
        if self.waiting.is_empty() || !ctx.writes_allowed() {
            return;
        }
        for _ in 0..noted.max(1) + 1 {
            if !self.send_next(ctx) {
                return;
            }
        }
    }

    /// True: there are more.
    pub fn work(&mut self, ctx: Context, deadline: Instant) -> bool {
        // While FAILOVER, CLIENT PAUSE or SHUTDOWN lasts, a tick that comes in any case looks again.
        if self.waiting.is_empty() || !ctx.writes_allowed() {
            return false;
        }
        let deadline = deadline.max(Instant::now() + LEAST);
        while self.send_next(ctx) {
            if Instant::now() >= deadline {
                return !self.waiting.is_empty();
            }
        }
        false
    }

    /// False: there was none.
    fn send_next(&mut self, ctx: Context) -> bool {
        loop {
            match self.waiting.pop_front() {
                None => return false,
                Some(Waiting::One { space, text, is_for_all }) => {
                    self.count -= 1;
                    self.publish(ctx, &space, &text, is_for_all);
                    return true;
                }
                Some(Waiting::Outcomes(mut outcomes)) => {
                    let Some(text) = outcomes.next_message() else { continue };
                    self.count = self.count.saturating_sub(1);
                    self.publish(ctx, outcomes.space(), &text, false);
                    self.waiting.push_front(Waiting::Outcomes(outcomes));
                    return true;
                }
            }
        }
    }

    fn publish(&mut self, ctx: Context, space: &str, message: &[u8], is_for_all: bool) {
        self.sent += 1;
        self.channel.truncate(CHANNEL.len());
        // The slot of the space's keys: there its subscribers ask for it.
        write_prefix(space.as_bytes(), self.deployment, &mut self.channel);
        if self.deployment == Deployment::Cluster {
            ctx.publish_to_shard(&self.channel, message);
            if is_for_all {
                ctx.publish(&[CHANNEL, space.as_bytes()].concat(), message);
            }
            return;
        }
        // As commands, which replicas are told of; neither goes into the AOF.
        ctx.call(c"PUBLISH", Replicate::Yes, &[&self.channel, message]);
        ctx.call(c"SPUBLISH", Replicate::Yes, &[&self.channel, message]);
    }
}

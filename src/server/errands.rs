//! Commands that may take longer than Redis' thread may be held: carried on in ticks while their client waits.
//!
//! One that is done within its first slice is answered at once, without waiting. Where nothing can wait, in MULTI and
//! scripts, it has that first slice and no more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Server;
use crate::redis_api::{Answer, BlockedClient, ClientHandle, Context};

/// The first slice, within the command.
const FIRST: Duration = micros(300);

/// At least so long for those that wait, in a tick that has used up its time: they must end some day.
const LEAST: Duration = micros(100);

/// A build for tests is slower.
const fn micros(micros: u64) -> Duration {
    Duration::from_micros(if cfg!(debug_assertions) { 10 * micros } else { micros })
}

/// Something that is done in slices.
pub trait Errand {
    /// Goes on until the deadline, or a little beyond. None: there is more to do.
    fn step(&mut self, server: &mut Server, ctx: Context, deadline: Instant) -> Option<Answer>;

    /// What a client is told that cannot wait for the rest.
    fn cut_short(&mut self) -> Answer;

    /// Its client has hung up, or was let go: nobody gets the answer.
    fn client_gone(&mut self) {}

    /// Does it write? Then it rests while the server allows no writes, and ends with the mastership.
    fn writes(&self) -> bool;
}

#[derive(Default)]
pub struct Errands {
    /// They take turns.
    waiting: VecDeque<(BlockedClient, Box<dyn Errand>)>,
}

impl Errands {
    /// Tells the errand of a client that the client waits no more. False: it has none.
    pub fn client_gone(&mut self, handle: ClientHandle) -> bool {
        let of_client = self.waiting.iter_mut().find(|(client, _)| client.handle() == handle);
        of_client.map(|(_, errand)| errand.client_gone()).is_some()
    }
}

impl Server {
    /// Begins an errand: answers the client, or has it wait.
    pub(super) fn begin_errand(&mut self, ctx: Context, mut errand: impl Errand + 'static) {
        let answer = errand.step(self, ctx, Instant::now() + FIRST);
        match answer {
            Some(answer) => self.answer_here(ctx, answer),
            None if ctx.flags().cannot_block() => {
                let answer = errand.cut_short();
                answer.reply(ctx);
            }
            None => {
                self.errands.waiting.push_back((ctx.block(), Box::new(errand)));
                self.arm_soon();
            }
        }
    }

    /// Answers the client of a command; a large answer is written aside.
    pub(super) fn answer_here(&mut self, ctx: Context, answer: Answer) {
        if super::aside::is_large(&answer) && !ctx.flags().cannot_block() {
            self.send_answer(ctx.block(), answer);
        } else {
            answer.reply(ctx);
        }
    }

    /// Goes on with those that wait. True when there is more to do at once.
    pub(super) fn work_on_errands(&mut self, ctx: Context, deadline: Instant, paused: bool) -> bool {
        let deadline = deadline.max(Instant::now() + LEAST);
        let mut resting = 0;
        while resting < self.errands.waiting.len() {
            let Some((client, mut errand)) = self.errands.waiting.pop_front() else { return false };
            if errand.writes() && !self.is_master() {
                let text = "READONLY this server has become a replica; what was done until then is done";
                self.answers.push_back((client, Answer::Error(text.into())));
                continue;
            }
            if errand.writes() && paused {
                resting += 1;
                self.errands.waiting.push_back((client, errand));
                continue;
            }
            match errand.step(self, ctx, deadline) {
                Some(answer) => self.answers.push_back((client, answer)),
                None => self.errands.waiting.push_back((client, errand)),
            }
            if Instant::now() >= deadline {
                return !self.errands.waiting.is_empty();
            }
        }
        // Those that rest are looked at by the tick that comes in any case while writes are paused.
        if resting > 0 {
            crate::redis_api::arm(Duration::from_millis(10));
        }
        false
    }
}

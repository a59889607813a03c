//! What is done aside, by `bear-clerk`, so that it holds nobody: large replies are written, catalogs are read, large
//! payloads checked.

use super::queues::CheckedPayload;
use super::reload::Read;
use super::Server;
use crate::postgres::Validation;
use crate::redis_api::{Answer, BlockedClient, Context, Letter, Replier};

/// What comes back.
pub enum Aside {
    Written(Letter),
    Catalog(Box<Read>),
    /// A job's payload, as it is stored.
    Payload(u64, Result<CheckedPayload, String>),
    /// A catalog's, to be shown to Postgres.
    Statements(Validation),
}

/// A reply of more bytes is written by the clerk.
const LARGE: usize = 128 << 10;

pub(super) fn is_large(answer: &Answer) -> bool {
    answer.cost() > LARGE && !matches!(answer, Answer::Error(_))
}

impl Server {
    /// Answers a client that waits. Returns what that cost this thread, in bytes.
    pub(super) fn send_answer(&mut self, client: BlockedClient, answer: Answer) -> usize {
        let cost = answer.cost();
        if !is_large(&answer) {
            client.answer(answer);
            return cost;
        }
        let letter = Letter::to(client);
        self.workers.aside(move || {
            letter.write(&answer);
            // Perhaps the last who holds it: freeing takes long, too.
            drop(answer);
            Some(Aside::Written(letter))
        });
        // About what handing it over costs.
        LARGE / 16
    }

    /// Frees an answer where that takes no time.
    pub(super) fn let_go_of(&mut self, answer: Answer) {
        if is_large(&answer) {
            self.workers.aside(move || {
                drop(answer);
                None
            });
        }
    }

    /// Has a large reply made and written aside; in MULTI and scripts, here.
    pub fn reply_aside(&mut self, ctx: Context, write: impl FnOnce(Replier) + Send + 'static) {
        if ctx.flags().cannot_block() {
            return write(ctx.reply());
        }
        let letter = Letter::to(ctx.block());
        self.workers.aside(move || {
            letter.write_with(write);
            Some(Aside::Written(letter))
        });
    }

    /// Takes what the clerk has done.
    pub(super) fn take_aside(&mut self, done: Aside) {
        match done {
            Aside::Written(letter) => letter.send(),
            Aside::Catalog(read) => self.catalog_read(*read),
            Aside::Payload(ticket, result) => self.payload_checked(ticket, result),
            Aside::Statements(validation) => self.submit_validation(validation),
        }
    }
}

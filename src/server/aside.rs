//! What is done aside, by `bear-clerk`, so that it holds nobody: large replies are written, catalogs are read, large
//! payloads checked.

use std::collections::BTreeMap;

use super::done_aside::{Aside, FAILED};
use super::Server;
use crate::redis_api::{Answer, BlockedClient, Context, Letter, Pen, Replier};

/// Letters that are being written.
#[derive(Default)]
pub struct Letters {
    by_number: BTreeMap<u64, Letter>,
    last: u64,
}

impl Letters {
    /// Its number, and what to write it with.
    pub fn begin(&mut self, client: BlockedClient) -> (u64, Pen) {
        let (letter, pen) = Letter::to(client);
        self.last += 1;
        self.by_number.insert(self.last, letter);
        (self.last, pen)
    }
}

/// A reply of more bytes is written by the clerk.
const LARGE: usize = 128 << 10;

pub(super) fn is_large(answer: &Answer) -> bool {
    answer.cost_upto(LARGE) > LARGE && !matches!(answer, Answer::Error(_))
}

impl Server {
    /// Answers a client that waits. Returns what that cost this thread, in bytes.
    pub(super) fn send_answer(&mut self, client: BlockedClient, answer: Answer) -> usize {
        if !is_large(&answer) {
            let cost = answer.cost_upto(LARGE);
            client.answer(answer);
            return cost;
        }
        let (number, pen) = self.letters.begin(client);
        self.workers.aside(Some(Aside::Unwritten(number)), move || {
            pen.write(&answer);
            // Perhaps the last who holds it: freeing takes long, too.
            drop(answer);
            Some(Aside::Written(number))
        });
        // About what handing it over costs.
        LARGE / 16
    }

    /// Frees an answer where that takes no time.
    pub(super) fn let_go_of(&mut self, answer: Answer) {
        if is_large(&answer) {
            self.workers.free_aside(answer);
        }
    }

    /// Has a large reply made and written aside; in MULTI and scripts, here.
    pub fn reply_aside(&mut self, ctx: Context, write: impl FnOnce(Replier) + Send + 'static) {
        if ctx.flags().cannot_block() {
            return write(ctx.reply());
        }
        let (number, pen) = self.letters.begin(ctx.block());
        self.workers.aside(Some(Aside::Unwritten(number)), move || {
            pen.write_with(write);
            Some(Aside::Written(number))
        });
    }

    /// Takes what the clerk has done.
    pub(super) fn take_aside(&mut self, done: Aside) {
        match done {
            Aside::Written(number) => {
                self.unread.remove(&number);
                if let Some(letter) = self.letters.by_number.remove(&number) {
                    letter.send();
                }
            }
            Aside::Unreadable(number) => {
                let letter = self.letters.by_number.remove(&number);
                if let Some((letter, unread)) = letter.zip(self.unread.remove(&number)) {
                    self.was_unreadable(letter.take_back(), &unread);
                }
            }
            Aside::Unwritten(number) => {
                self.unread.remove(&number);
                if let Some(letter) = self.letters.by_number.remove(&number) {
                    letter.fail(&format!("ERR {FAILED}"));
                }
            }
            Aside::Catalog(read) => self.catalog_read(*read),
            Aside::Payload(ticket, result) => self.payload_checked(ticket, result),
            Aside::RowPayload(row, result) => self.row_payload_checked(row, result),
            Aside::Value(ticket, result) => self.value_checked(ticket, result),
            Aside::Statements(validation) => self.submit_validation(validation),
            Aside::NoStatements(ticket) => self.catalog_unchecked(ticket),
        }
    }
}

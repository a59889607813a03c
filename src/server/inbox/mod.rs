//! The inbox: rows of `bear.inbox`, which applications write in their own transactions, become jobs; what becomes of these is told to
//! Postgres.
//!
//! | file | what |
//! |---|---|
//! | `thread` | who asks Postgres: begun, begun anew, told what is ours |
//! | `outcomes` | what it tells is taken, in slices and in its order |
//! | `take` | a row becomes a job |
//! | `refuse` | or is recorded as failed |
//! | `full` | or waits until its space has room |
//! | `settle` | rows that are settled already: so are their jobs |
//! | `note` | what is written, beside a job that settles or goes on, of its row |
//! | `tell` | Postgres is told, and has been |
//! | `verify` | jobs that were read from the keys: are their rows open? |
//! | `hands` | what other hands do to jobs and to what is known of their rows |
//! | `figures` | INFO |
//!
//! ```text
//! Ids -> those unknown -> Fetch -> Rows -> take: job + `inbox`, one unit -> (claimed, settled) -> `tell`, one unit -> Tell -> Told
//!                                   └> full: later                     load -> verify -> Settled, Verified
//! ```
//! **Invariants.** Words of the thread are taken in its order, and none of before a loss: whenever the keys may be others, it is
//! another thread. A row becomes a job only where neither hash has it. What Postgres is told stands in the keys first, in the unit
//! that it is about, and goes once Postgres has committed it. A job of the inbox that was read from the keys is withheld until
//! Postgres has said that its row is open; one whose claim has ended, until Postgres knows that this claim counts no more.

mod figures;
mod full;
mod hands;
mod note;
mod outcomes;
mod refuse;
mod settle;
mod take;
mod tell;
mod thread;
mod verify;

pub(super) use thread::NOT_IN_A_CLUSTER;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::inbox::tell::Telling;
use crate::redis_api::Context;
use crate::server::Server;

/// Everything about the inbox but its keys.
#[derive(Default)]
pub struct Inbox {
    /// The data set by which rows are taken over: the number in the key, once it is known.
    owner: Option<i64>,
    link: thread::Link,
    at_hand: Option<outcomes::AtHand>,
    /// A large payload that is being checked aside.
    checking: take::Checking,
    /// Rows of which Postgres is to be told, and their spaces; what, stands in the keys.
    untold: VecDeque<(u64, Arc<str>)>,
    /// Spaces of whose rows some are in the keys alone; how far one of them has been read.
    unread: BTreeSet<Arc<str>>,
    reading: Option<(Arc<str>, u64)>,
    /// What the thread is telling.
    telling: BTreeMap<u64, (Arc<str>, Telling)>,
    verifying: verify::Verifying,
    /// Spaces where another hand has touched what rows have become; how far one of them has been looked at.
    touched: BTreeSet<Arc<str>>,
    looking: Option<hands::Looking>,
    /// Spaces whose rows are passed over for now.
    full: full::PassedOver,
    totals: figures::Totals,
}

impl Server {
    /// A slice of all that is to be done for the inbox. True: there is more to do at once.
    pub(in crate::server) fn work_on_inbox(&mut self, ctx: Context, until: Instant, paused: bool) -> bool {
        if !self.is_master() {
            return false;
        }
        if paused {
            if self.has_work_for_inbox() {
                crate::redis_api::arm(Duration::from_millis(10));
            }
            return false;
        }
        let looking = self.look_at_touched(ctx, until);
        let taking = self.take_inbox_outcomes(ctx, until);
        self.ask_for_passed_over();
        let telling = self.tell_postgres(ctx, until);
        let verifying = self.ask_what_is_open(ctx, until);
        looking || taking || telling || verifying
    }

    fn has_work_for_inbox(&self) -> bool {
        let inbox = &self.inbox;
        let has_words = || self.workers.inbox().is_some_and(|thread| !thread.is_empty());
        let is_left = !inbox.untold.is_empty() || !inbox.touched.is_empty() || inbox.verifying.has_more();
        is_left || inbox.at_hand.is_some() || has_words()
    }
}

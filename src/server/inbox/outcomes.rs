//! What the thread tells is taken, one row after the other and in its order, as far as a slice goes.

use std::sync::Arc;
use std::time::Instant;

use super::take::{Run, Taking};
use crate::core::inbox::row::InboxRow;
use crate::core::inbox::tell::{Telling, ToldAs};
use crate::keyspace::inbox as keys;
use crate::postgres::Settled;
use crate::redis_api::Context;
use crate::server::Server;
use crate::workers::{InboxOutcome, InboxRequest};

/// One outcome of which some rows have been taken.
pub enum AtHand {
    /// A page of ids: those that are unknown are fetched.
    Ids {
        ids: std::vec::IntoIter<(u64, Arc<str>)>,
        unknown: Vec<u64>,
    },
    Rows(std::iter::Peekable<std::vec::IntoIter<InboxRow>>),
    Settled(std::iter::Peekable<std::vec::IntoIter<(u64, Settled)>>),
    Verified(std::vec::IntoIter<u64>),
    Told(std::iter::Peekable<std::vec::IntoIter<(u64, Telling, ToldAs)>>),
}

/// What came of a row.
pub(super) enum Step {
    Done,
    /// It is looked at again in the next slice; true: at once.
    NotYet(bool),
}

impl Server {
    /// True: there is more to do at once.
    pub(super) fn take_inbox_outcomes(&mut self, ctx: Context, until: Instant) -> bool {
        loop {
            let at_hand = match self.inbox.at_hand.take() {
                Some(at_hand) => at_hand,
                None => match self.workers.inbox().and_then(|thread| thread.take()) {
                    Some(outcome) => match self.begin_outcome(ctx, outcome) {
                        Some(at_hand) => at_hand,
                        None => continue,
                    },
                    None => return false,
                },
            };
            if let Some(step) = self.take_from(ctx, at_hand, until) {
                return match step {
                    Step::NotYet(at_once) => at_once,
                    Step::Done => true,
                };
            }
        }
    }

    /// None: it is done with.
    fn begin_outcome(&mut self, ctx: Context, outcome: InboxOutcome) -> Option<AtHand> {
        match outcome {
            InboxOutcome::Up => self.inbox_is_up(ctx),
            InboxOutcome::Down { error } => self.inbox_is_down(error),
            InboxOutcome::Absent => self.inbox_is_absent(),
            InboxOutcome::Owned(standing) => self.inbox.link.stands(standing),
            InboxOutcome::Listed { space } => self.inbox.listed(space.as_deref()),
            InboxOutcome::Ids(ids) => return Some(AtHand::Ids { ids: ids.into_iter(), unknown: Vec::new() }),
            InboxOutcome::Rows(rows) => return Some(AtHand::Rows(rows.into_iter().peekable())),
            InboxOutcome::Settled(rows) => return Some(AtHand::Settled(rows.into_iter().peekable())),
            InboxOutcome::Verified(rows) => return Some(AtHand::Verified(rows.into_iter())),
            InboxOutcome::Told(rows) => return Some(AtHand::Told(rows.into_iter().peekable())),
        }
        None
    }

    /// None: all of it is taken. Or else it is kept for the next slice.
    fn take_from(&mut self, ctx: Context, mut at_hand: AtHand, until: Instant) -> Option<Step> {
        let mut run = None;
        loop {
            let step = match &mut at_hand {
                AtHand::Ids { ids, unknown } => match ids.next() {
                    Some((row, space)) => {
                        if self.is_to_be_fetched(ctx, row, &space, &mut run) {
                            unknown.push(row);
                        }
                        Step::Done
                    }
                    None => {
                        // Of none, too: the thread tells no more pages than have been answered.
                        self.ask_inbox(InboxRequest::Fetch(std::mem::take(unknown)));
                        return None;
                    }
                },
                AtHand::Rows(rows) => match rows.peek() {
                    Some(row) => match self.take_row(ctx, row, &mut run) {
                        Taking::Done => {
                            rows.next();
                            Step::Done
                        }
                        Taking::IsChecked => Step::NotYet(false),
                    },
                    None => return None,
                },
                AtHand::Settled(rows) => match rows.peek() {
                    Some((row, settled)) => {
                        let step = self.row_is_settled(ctx, *row, settled, until);
                        if matches!(step, Step::Done) {
                            rows.next();
                        }
                        step
                    }
                    None => return None,
                },
                AtHand::Verified(rows) => match rows.next() {
                    Some(row) => {
                        self.row_is_verified(ctx, row);
                        Step::Done
                    }
                    None => return None,
                },
                AtHand::Told(rows) => match rows.peek() {
                    Some((row, telling, as_what)) => {
                        let step = self.row_is_told(ctx, *row, telling, as_what, until);
                        if matches!(step, Step::Done) {
                            rows.next();
                        }
                        step
                    }
                    None => return None,
                },
            };
            if matches!(step, Step::NotYet(_)) || Instant::now() >= until {
                self.inbox.at_hand = Some(at_hand);
                return Some(step);
            }
        }
    }

    /// Is nothing known of an open row, and may it be taken?
    fn is_to_be_fetched(&mut self, ctx: Context, row: u64, space: &Arc<str>, run: &mut Option<Run>) -> bool {
        if !self.inbox.is_listed_again(space) {
            return false;
        }
        let of = &self.run_of(ctx, space, run).keys;
        keys::known(ctx, of, row) == keys::Known::Nothing || crate::mutations::is("inbox-taken-twice")
    }
}

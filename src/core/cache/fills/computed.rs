//! Fills whose fetchers are clients: values that the application computes.
//!
//! ```text
//! refresh: a client has the lease --finish--> answered, stored unless struck; a successor is the first waiter's
//!                                 --give_up--> (time is over, or he gave it up) the first waiter's, who asked since
//!                                 --replace--> (somebody has a newer value) all who wait are answered; nothing is left
//!                                 --expect--> (a newer value is being read) all wait for it: it is a fill of its own
//! ```
//! A lease is a fill like any other. Who gets one of those that wait, waits no more: [`Fills::take_waiter`].

use std::rc::Rc;

use super::{Fill, Fills, Seq, Slot};

/// A fill that ended without an outcome. Who waits for it goes on waiting.
#[derive(Debug)]
pub struct GivenUp<C> {
    /// A successor to begin, with its ticket, for those.
    pub send: Option<(u64, C)>,
    /// The call, as the last who joined gave it.
    pub call: C,
}

/// A value that nobody was asked for stands in the place of the fills of its entry.
#[derive(Debug, PartialEq, Eq)]
pub struct Replaced<W> {
    /// Of the value.
    pub ticket: u64,
    /// All who wait: they asked before the value was there.
    pub answer: Vec<W>,
    /// Fills that are no more.
    pub ended: Vec<u64>,
}

impl<C: Clone, W> Fills<C, W> {
    /// Ends a fill without an outcome; None for a ticket that is not under way.
    pub fn give_up(&mut self, ticket: u64) -> Option<GivenUp<C>> {
        let key = self.tickets.remove(&ticket)?;
        let slot = self.slots.get_mut(&key)?;
        let at = slot.running.iter().position(|fill| fill.ticket == ticket)?;
        let waiting: Vec<(Seq, W)> = slot.running.remove(at).waiters;
        let call = slot.call.clone();
        Some(GivenUp { send: self.pass_on(&key, waiting), call })
    }

    /// Takes the first who waits for a fill.
    pub fn take_waiter(&mut self, ticket: u64) -> Option<W> {
        let slot = self.slots.get_mut(self.tickets.get(&ticket)?)?;
        let fill = slot.running.iter_mut().find(|fill| fill.ticket == ticket)?;
        (!fill.waiters.is_empty()).then(|| fill.waiters.remove(0).1)
    }

    /// The ticket of the fill of an entry that may be stored.
    pub fn last_ticket(&self, key: &[u8]) -> Option<u64> {
        let last = self.slots.get(key)?.running.last()?;
        last.struck.is_none().then_some(last.ticket)
    }

    /// The key of the entry that a ticket's fill is of.
    pub fn key(&self, ticket: u64) -> Option<&[u8]> {
        self.tickets.get(&ticket).map(AsRef::as_ref)
    }

    /// Ends all fills of an entry, for there is a value that is newer.
    pub fn replace(&mut self, key: &[u8]) -> Replaced<W> {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let mut replaced = Replaced { ticket, answer: Vec::new(), ended: Vec::new() };
        if let Some((key, slot)) = self.slots.remove_entry(key) {
            for fill in slot.running {
                self.tickets.remove(&fill.ticket);
                replaced.ended.push(fill.ticket);
                replaced.answer.extend(fill.waiters.into_iter().map(|(_, waiter)| waiter));
            }
            replaced.answer.extend(slot.pending);
            self.forget(&key);
        }
        replaced
    }
}

impl<C: Clone, W> Fills<C, W> {
    /// Ends all fills of an entry, for a newer value is there and will be known in a moment: as a fill that whoever waits, waits
    /// for, and that is struck by what changes meanwhile. Its ticket, and the fills that are no more.
    pub fn expect(&mut self, key: &[u8], call: C) -> (u64, Vec<u64>) {
        let Replaced { ticket, answer, ended } = self.replace(key);
        let key: Rc<[u8]> = key.into();
        let sent = self.seq;
        let waiters = answer.into_iter().map(|waiter| (sent, waiter)).collect();
        self.tickets.insert(ticket, key.clone());
        self.slots.insert(
            key,
            Slot { call, running: vec![Fill { ticket, sent, struck: None, waiters }], pending: Vec::new() },
        );
        (ticket, ended)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Ended, Fills, Joined};
    use super::*;
    use crate::core::cache::fills::Changed;

    const KEY: &[u8] = b"page:shelf:7";

    fn no_rows(_: &(), _: Changed) -> bool {
        false
    }

    #[test]
    fn the_first_who_waits_computes_when_a_lease_ends() {
        let mut fills = Fills::default();
        assert_eq!(fills.refresh(KEY, ()), Some(1));
        for waiter in ["first", "second", "third"] {
            assert_eq!(fills.join(KEY, (), waiter), Joined::Waits);
        }
        assert_eq!(fills.key(1), Some(KEY));
        let given_up = fills.give_up(1).expect("it is under way");
        assert_eq!(given_up.send, Some((2, ())));
        assert!(fills.give_up(1).is_none() && fills.finish(1, Ended::Got(&[]), no_rows).is_none());
        assert_eq!(fills.take_waiter(2), Some("first"));
        assert_eq!(fills.join(KEY, (), "fourth"), Joined::Waits);
        let done = fills.finish(2, Ended::Got(&[]), no_rows).expect("it is under way");
        assert_eq!((done.answer, done.store), (vec!["second", "third", "fourth"], true));
        assert_eq!((fills.running(), fills.take_waiter(2), fills.key(2)), (0, None, None));
    }

    #[test]
    fn nothing_is_left_of_a_lease_for_which_nobody_waits() {
        let mut fills = Fills::<(), ()>::default();
        assert_eq!(fills.refresh(KEY, ()), Some(1));
        fills.change([&b"page:tag:x"[..]], None);
        let given_up = fills.give_up(1).expect("it is under way");
        assert_eq!((given_up.send, fills.running(), fills.log.len(), fills.slots.len()), (None, 0, 0, 0));
    }

    #[test]
    fn who_waits_for_a_struck_lease_that_ends_waits_for_the_one_that_runs() {
        let mut fills = Fills::default();
        fills.refresh(KEY, ());
        fills.join(KEY, (), "before");
        fills.strike(KEY);
        assert_eq!(fills.refresh(KEY, ()), Some(2));
        assert_eq!(fills.give_up(1).expect("it is under way").send, None);
        assert_eq!(fills.finish(2, Ended::Got(&[]), no_rows).expect("it is under way").answer, ["before"]);
    }

    #[test]
    fn who_has_no_lease_yet_gets_one_sent_after_every_strike() {
        let mut fills = Fills::default();
        fills.refresh(KEY, ());
        fills.strike(KEY);
        fills.refresh(KEY, ());
        fills.strike(KEY);
        assert_eq!(fills.join(KEY, (), "third"), Joined::Waits);
        let given_up = fills.give_up(2).expect("it is under way");
        assert_eq!(given_up.send, Some((3, ())));
        assert_eq!(fills.take_waiter(3), Some("third"));
        assert!(fills.finish(3, Ended::Got(&[]), no_rows).expect("it is under way").store);
        assert!(!fills.finish(1, Ended::Got(&[]), no_rows).expect("it is under way").store);
    }

    #[test]
    fn a_value_that_nobody_was_asked_for_answers_all_and_ends_their_leases() {
        let mut fills = Fills::default();
        fills.refresh(KEY, ());
        fills.join(KEY, (), 1);
        fills.strike(KEY);
        fills.refresh(KEY, ());
        fills.join(KEY, (), 2);
        fills.strike(KEY);
        fills.join(KEY, (), 3);
        let replaced = fills.replace(KEY);
        assert_eq!(replaced, Replaced { ticket: 3, answer: vec![1, 2, 3], ended: vec![1, 2] });
        assert!(fills.finish(1, Ended::Got(&[]), no_rows).is_none() && fills.give_up(2).is_none());
        assert_eq!(fills.refresh(KEY, ()), Some(4));
        assert_eq!(fills.replace(b"page:shelf:8"), Replaced { ticket: 5, answer: vec![], ended: vec![] });
    }

    #[test]
    fn a_value_that_is_expected_answers_all_and_is_struck_by_what_changes_until_it_is_there() {
        for is_struck in [false, true] {
            let mut fills = Fills::default();
            fills.refresh(KEY, ());
            fills.join(KEY, (), 1);
            fills.strike(KEY);
            let (ticket, ended) = fills.expect(KEY, ());
            assert_eq!((ticket, ended), (2, vec![1]));
            assert_eq!(fills.join(KEY, (), 2), Joined::Waits);
            if is_struck {
                fills.change([&b"page:tag:x"[..]], None);
            }
            let done = fills.finish(ticket, Ended::Got(&[b"page:tag:x"[..].into()]), no_rows).expect("it is under way");
            assert_eq!((done.answer, done.store, done.send), (vec![1, 2], !is_struck, None));
        }
    }

    #[test]
    fn of_two_values_that_are_expected_the_later_stands() {
        let mut fills = Fills::<(), ()>::default();
        let (first, _) = fills.expect(KEY, ());
        let (second, ended) = fills.expect(KEY, ());
        assert_eq!(ended, [first]);
        assert!(fills.finish(first, Ended::Got(&[]), no_rows).is_none());
        assert!(fills.finish(second, Ended::Got(&[]), no_rows).expect("it is under way").store);
    }
}

//! Leases: until when a client may compute a value, and the tokens that name them.
//!
//! A token is `<life>-<ticket>`: the ticket of the lease's fill, and a number that is drawn at each load, so that the token of
//! an earlier life, or of another server, is never one of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// The longest token: looking through more takes time.
const LONGEST: usize = "0123456789abcdef-18446744073709551615".len();

/// Those under way.
#[derive(Debug)]
pub struct Leases {
    life: u64,
    ends: BTreeMap<u64, Instant>,
    /// When, and whose.
    deadlines: BTreeSet<(Instant, u64)>,
}

impl Leases {
    /// `life` is a random number.
    pub fn new(life: u64) -> Leases {
        Leases { life, ends: BTreeMap::new(), deadlines: BTreeSet::new() }
    }

    /// The token of the lease that begins.
    pub fn begin(&mut self, ticket: u64, ends: Instant) -> String {
        self.end(ticket);
        self.ends.insert(ticket, ends);
        self.deadlines.insert((ends, ticket));
        format!("{:016x}-{ticket}", self.life)
    }

    /// The lease is no more; false where it was none.
    pub fn end(&mut self, ticket: u64) -> bool {
        let ended = self.ends.remove(&ticket);
        ended.is_some_and(|ends| self.deadlines.remove(&(ends, ticket)))
    }

    /// The next lease whose time is over; it has ended with this.
    pub fn take_over(&mut self, now: Instant) -> Option<u64> {
        let (_, ticket) = *self.deadlines.first().filter(|(ends, _)| *ends <= now)?;
        self.end(ticket).then_some(ticket)
    }

    /// The ticket that a token names; None where it cannot be one of this life.
    pub fn ticket(&self, token: &[u8]) -> Option<u64> {
        if token.len() > LONGEST {
            return None;
        }
        let (life, ticket) = std::str::from_utf8(token).ok()?.split_once('-')?;
        let ticket = ticket.parse().ok()?;
        (format!("{:016x}-{ticket}", self.life).as_bytes() == token && life.len() == 16).then_some(ticket)
    }

    /// When the lease of a ticket ends; None where there is none.
    pub fn ends(&self, ticket: u64) -> Option<Instant> {
        self.ends.get(&ticket).copied()
    }

    /// When the first of them ends.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(ends, _)| *ends)
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn tokens_are_of_their_life() {
        let mut leases = Leases::new(0xbea4);
        let token = leases.begin(17, Instant::now());
        assert_eq!(token, "000000000000bea4-17");
        assert_eq!(leases.ticket(token.as_bytes()), Some(17));
        assert_eq!(Leases::new(0xbea5).ticket(token.as_bytes()), None);
        for wrong in
            ["", "-", "17", "000000000000bea4-", "000000000000bea4-017", "000000000000bea4-+17", "bea4-17", "x\u{e4}-1"]
        {
            assert_eq!(leases.ticket(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(leases.ticket(b"\xff-1"), None);
        let last = leases.begin(u64::MAX, Instant::now());
        assert_eq!((last.len(), leases.ticket(last.as_bytes())), (LONGEST, Some(u64::MAX)));
    }

    #[test]
    fn leases_end_in_the_order_of_their_times() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let mut leases = Leases::new(1);
        for (ticket, ms) in [(1, 30), (2, 10), (3, 20), (4, 20)] {
            leases.begin(ticket, at(ms));
        }
        assert_eq!((leases.next_deadline(), leases.len()), (Some(at(10)), 4));
        assert_eq!(leases.take_over(at(9)), None);
        assert!(leases.end(3) && !leases.end(3));
        let over: Vec<u64> = std::iter::from_fn(|| leases.take_over(at(30))).collect();
        assert_eq!(over, [2, 4, 1]);
        assert_eq!((leases.next_deadline(), leases.len(), leases.ends(1)), (None, 0, None));
        leases.begin(5, at(10));
        leases.begin(5, at(40));
        assert_eq!((leases.take_over(at(10)), leases.ends(5)), (None, Some(at(40))), "anew");
    }
}

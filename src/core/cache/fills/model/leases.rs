//! Fetchers that are clients: they compute slowly (any order of steps is), die or give up, come when their lease is over, or
//! come without one.

use super::*;

impl World<'_> {
    /// Of BEAR.GET: he computes, or waits for who does.
    pub(super) fn lease_or_wait(&mut self) {
        match self.fills.refresh(KEY, self.dependency.clone()) {
            Some(ticket) => {
                let snapshot = Snapshot { time: self.now, version: self.version };
                self.running.push((ticket, snapshot, self.demand.want()));
            }
            None => {
                let joined = self.fills.join(KEY, self.dependency.clone(), self.asked.len() - 1);
                assert_eq!(joined, Joined::Waits);
            }
        }
    }

    /// A lease ends; the first who waits has the next one.
    pub(super) fn end(&mut self, at: usize) {
        let (ticket, ..) = self.running.remove(at);
        self.over.push(ticket);
        if let Some((ticket, _)) = self.fills.give_up(ticket).expect("it is under way").send {
            self.send(ticket);
        }
    }

    /// Whatever he has computed, nobody takes it.
    pub(super) fn come_late(&mut self, at: usize) {
        let ticket = self.over.remove(at);
        assert!(self.fills.finish(ticket, Ended::Got(&[]), concerns).is_none());
    }

    /// What was read just now takes the place of all.
    pub(super) fn put(&mut self) {
        let snapshot = Snapshot { time: self.now, version: self.version };
        let replaced = self.fills.replace(KEY);
        for ended in replaced.ended {
            let at = self.running.iter().position(|(ticket, ..)| *ticket == ended).expect("it was under way");
            self.running.remove(at);
            self.over.push(ended);
        }
        self.store(replaced.ticket, snapshot);
        for waiter in replaced.answer {
            self.check(snapshot, self.asked[waiter], "a waiter is answered");
        }
    }
}

#[test]
fn no_order_of_leases_and_invalidations_serves_what_was_computed_before() {
    let budget = Budget { queries: 3, changes: 1, rows: 1, ends: 1, ..Budget::default() };
    let orders = explore_all(
        Fetchers::Clients,
        &[
            budget,
            Budget { rows: 0, changed: 2, ends: 0, ..budget },
            Budget { queries: 2, rows: 1, puts: 1, ..budget },
            Budget { queries: 2, rows: 0, changed: 1, puts: 1, ..budget },
            Budget { queries: 2, rows: 0, large: 1, ends: 0, puts: 1, ..budget },
        ],
    );
    assert!(orders > 10_000, "{orders} orders");
}

#[test]
#[ignore = "takes minutes in a debug build; `make check-freshness` runs it"]
fn no_order_of_leases_with_invalidations_of_all_kinds_serves_what_was_computed_before() {
    let budget = Budget { queries: 3, changes: 1, rows: 1, changed: 1, ends: 1, ..Budget::default() };
    let orders = explore_all(
        Fetchers::Clients,
        &[
            budget,
            Budget { queries: 2, puts: 1, ..budget },
            Budget { rows: 0, changed: 0, looks: 2, ..budget },
            Budget { queries: 2, rows: 0, large: 2, changed: 0, puts: 1, ..budget },
        ],
    );
    assert!(orders > 100_000, "{orders} orders");
}

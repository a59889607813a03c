//! What was written, version by version, and whether an answer can be explained by it: the judge of every answer that is given while
//! others write. `races` judges by it, and so do the tests of `tests/live/faults/freshness`.
//!
//! ```text
//! version   1    2    3    4    5
//!                     |         |
//!                     floor     ceiling: the newest that was begun when the answer came
//!                     (known to be seen when the question was asked)
//! ```
//! An answer is right if it is as one of the versions from floor to ceiling. Who writes says `begin` before anybody can see the version,
//! and `seen` once everybody must.

use std::sync::atomic::{AtomicU32, Ordering};

/// Versions of one thing that changes: a row, or all that a database holds.
#[derive(Debug)]
pub struct Versions {
    begun: AtomicU32,
    seen: AtomicU32,
}

/// Versions that explain an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub floor: u32,
    pub ceiling: u32,
}

impl Versions {
    /// The first is there, and seen.
    pub fn new(first: u32) -> Versions {
        Versions { begun: AtomicU32::new(first), seen: AtomicU32::new(first) }
    }

    /// Another is about to be written; returns its number.
    pub fn begin(&self) -> u32 {
        self.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The version is known to be seen.
    pub fn seen(&self, version: u32) {
        self.seen.fetch_max(version, Ordering::SeqCst);
    }

    /// To be taken before a question is sent.
    pub fn floor(&self) -> u32 {
        self.seen.load(Ordering::SeqCst)
    }

    /// To be taken when its answer has come.
    pub fn since(&self, floor: u32) -> Span {
        Span { floor, ceiling: self.begun.load(Ordering::SeqCst) }
    }
}

/// Is an answer the one that a state has?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Same {
    Yes,
    No,
    /// Either may be.
    Undecided,
}

impl From<bool> for Same {
    fn from(is_same: bool) -> Same {
        match is_same {
            true => Same::Yes,
            false => Same::No,
        }
    }
}

/// What it was at each version that is remembered: a state holds from its version until the next state's.
#[derive(Debug)]
pub struct States<S> {
    states: Vec<(u32, S)>,
}

impl<S> States<S> {
    pub fn new(version: u32, state: S) -> States<S> {
        States { states: vec![(version, state)] }
    }

    /// `version` is above all before it.
    pub fn add(&mut self, version: u32, state: S) {
        debug_assert!(self.newest().0 < version);
        self.states.push((version, state));
    }

    /// With the version from which on it holds.
    pub fn newest(&self) -> (u32, &S) {
        let (version, state) = self.states.last().expect("there is one from the first on");
        (*version, state)
    }

    /// None: it is forgotten.
    pub fn at(&self, version: u32) -> Option<&S> {
        self.place(version).map(|place| &self.states[place].1)
    }

    fn place(&self, version: u32) -> Option<usize> {
        let first = self.states[0].0;
        // Where each version has a state of its own nothing is to be searched for.
        let dense = version.checked_sub(first)? as usize;
        match self.states.get(dense) {
            Some((at, _)) if *at == version => Some(dense),
            _ => self.states.partition_point(|(from, _)| *from <= version).checked_sub(1),
        }
    }

    /// Those that hold at some version of the span, each with the version from which on it holds. None where the floor's is forgotten.
    pub fn within(&self, span: Span) -> impl Iterator<Item = (u32, &S)> {
        let from = self.place(span.floor).map_or(&[][..], |place| &self.states[place..]);
        from.iter().take_while(move |(version, _)| *version <= span.ceiling).map(|(version, state)| (*version, state))
    }

    /// Whether one of them explains the answer, as `is_it` says of each; undecided where one may be forgotten.
    pub fn explain(&self, span: Span, mut is_it: impl FnMut(&S) -> Same) -> Same {
        let mut best = match self.at(span.floor) {
            Some(_) => Same::No,
            None => Same::Undecided,
        };
        for (_, state) in self.within(span) {
            match is_it(state) {
                Same::Yes => return Same::Yes,
                Same::Undecided => best = Same::Undecided,
                Same::No => {}
            }
        }
        best
    }

    /// All that is remembered of earlier versions than this, the newest first.
    pub fn before(&self, version: u32) -> impl Iterator<Item = (u32, &S)> {
        let end = self.states.partition_point(|(from, _)| *from < version);
        self.states[..end].iter().rev().map(|(version, state)| (*version, state))
    }

    /// What no span reaches that begins at this version or later.
    pub fn forget_before(&mut self, version: u32) {
        if let Some(place) = self.place(version) {
            self.states.drain(..place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(floor: u32, ceiling: u32) -> Span {
        Span { floor, ceiling }
    }

    #[test]
    fn what_was_seen_and_what_has_begun_bound_an_answer() {
        let versions = Versions::new(1);
        let floor = versions.floor();
        assert_eq!(versions.begin(), 2);
        assert_eq!(versions.since(floor), span(1, 2));
        versions.seen(2);
        assert_eq!(versions.begin(), 3);
        // The question was asked before.
        assert_eq!(versions.since(floor), span(1, 3));
        assert_eq!(versions.since(versions.floor()), span(2, 3));
        versions.seen(1);
        assert_eq!(versions.floor(), 2, "it does not go back");
    }

    #[test]
    fn an_answer_is_explained_by_a_state_that_holds_within_its_span() {
        let mut states = States::new(3, "a");
        states.add(5, "b");
        states.add(9, "a");
        let explains =
            |span: Span, answer: &str| states.explain(span, |state| Same::from(*state == answer)) == Same::Yes;
        for (floor, ceiling, right) in [
            (3, 4, "a"),
            (4, 5, "ab"),
            (5, 8, "b"),
            (6, 6, "b"),
            (8, 9, "ba"),
            (9, 20, "a"),
            (15, 20, "a"),
            (3, 20, "ab"),
        ] {
            for answer in ["a", "b"] {
                assert_eq!(
                    explains(span(floor, ceiling), answer),
                    right.contains(answer),
                    "{floor} {ceiling} {answer}"
                );
            }
        }
        assert_eq!(
            (states.at(2), states.at(3), states.at(8), states.at(30)),
            (None, Some(&"a"), Some(&"b"), Some(&"a"))
        );
        assert_eq!(states.before(9).collect::<Vec<_>>(), [(5, &"b"), (3, &"a")]);
        states.forget_before(7);
        assert_eq!((states.at(4), states.at(7)), (None, Some(&"b")));
        assert_eq!(states.explain(span(4, 9), |_| Same::No), Same::Undecided, "what explains it may be forgotten");
    }

    #[test]
    fn what_may_be_either_is_less_than_a_state_that_explains_it() {
        let mut states = States::new(1, Same::No);
        states.add(2, Same::Undecided);
        states.add(3, Same::Yes);
        assert_eq!(states.explain(span(1, 1), |state| *state), Same::No);
        assert_eq!(states.explain(span(1, 2), |state| *state), Same::Undecided);
        assert_eq!(states.explain(span(1, 3), |state| *state), Same::Yes);
    }
}

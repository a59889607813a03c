//! What Postgres is to be told of rows, and has not been told yet.
//!
//! Invariant: of a row the last is told; one that somebody's open transaction holds is asked about again, ever more rarely.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::core::inbox::tell::{Telling, ToldAs};

/// Rows that are told of at once, and bytes of what is told.
const AT_ONCE: usize = 500;
const BYTES_AT_ONCE: usize = 1 << 20;

/// How soon, and then how late at most, one that somebody holds is told of again.
const AGAIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(320));

pub(super) struct News {
    tellings: HashMap<u64, Telling>,
    /// In the order in which they came.
    due: VecDeque<u64>,
    /// Rows that somebody holds, and when they are asked about again.
    held: VecDeque<u64>,
    gap: Duration,
    at: Instant,
}

impl News {
    pub(super) fn new(now: Instant) -> News {
        News { tellings: HashMap::new(), due: VecDeque::new(), held: VecDeque::new(), gap: AGAIN.0, at: now }
    }

    /// Replaces what was to be told of the row.
    pub(super) fn add(&mut self, id: u64, telling: Telling) {
        if self.tellings.insert(id, telling).is_none() {
            self.due.push_back(id);
        }
    }

    pub(super) fn is_any_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// When rows that somebody holds are asked about again.
    pub(super) fn due_at(&self) -> Option<Instant> {
        (!self.held.is_empty()).then_some(self.at)
    }

    /// What is to be told next.
    pub(super) fn slice(&mut self, now: Instant) -> Vec<(u64, Telling)> {
        if now >= self.at {
            self.due.append(&mut self.held);
        }
        let (mut slice, mut bytes) = (Vec::new(), 0);
        while slice.len() < AT_ONCE && bytes < BYTES_AT_ONCE {
            let Some(id) = self.due.pop_front() else { break };
            if let Some(telling) = self.tellings.get(&id) {
                bytes += if let Telling::Failed(error) = telling { error.len() } else { 0 };
                slice.push((id, telling.clone()));
            }
        }
        slice
    }

    /// What was told, with what came of it; the rest of the slice is held.
    pub(super) fn told(
        &mut self,
        slice: &[(u64, Telling)],
        answers: Vec<(u64, ToldAs)>,
        now: Instant,
    ) -> Vec<(u64, Telling, ToldAs)> {
        let told: Vec<_> = answers
            .into_iter()
            .filter_map(|(id, answer)| self.tellings.remove(&id).map(|telling| (id, telling, answer)))
            .collect();
        self.held.extend(slice.iter().map(|(id, _)| *id).filter(|id| self.tellings.contains_key(id)));
        self.gap = match (self.held.is_empty(), told.is_empty()) {
            (true, _) => AGAIN.0,
            (false, false) => self.gap,
            (false, true) => (self.gap * 2).min(AGAIN.1),
        };
        self.at = now + self.gap;
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_told_later_and_the_last_of_it() {
        let now = Instant::now();
        let mut news = News::new(now);
        news.add(1, Telling::Fence(3));
        news.add(2, Telling::Done);
        news.add(1, Telling::Fence(4));
        let slice = news.slice(now);
        assert_eq!(slice, [(1, Telling::Fence(4)), (2, Telling::Done)]);
        assert_eq!(news.told(&slice, vec![(2, ToldAs::Told)], now), [(2, Telling::Done, ToldAs::Told)]);
        assert!(!news.is_any_due() && news.slice(now).is_empty());
        news.add(1, Telling::Done);
        let at = news.due_at().expect("it is held");
        assert_eq!(at - now, AGAIN.0);
        let slice = news.slice(at);
        assert_eq!(slice, [(1, Telling::Done)]);
        // In vain: twice as late, up to a bound.
        for factor in [2, 4, 8, 16, 32, 32] {
            assert!(news.told(&slice, vec![], at).is_empty());
            assert_eq!(news.due_at(), Some(at + AGAIN.0 * factor));
            assert_eq!(news.slice(at + AGAIN.0 * factor), slice);
        }
        assert_eq!(news.told(&slice, vec![(1, ToldAs::Gone)], at), [(1, Telling::Done, ToldAs::Gone)]);
        assert_eq!(news.due_at(), None);
    }

    #[test]
    fn a_slice_is_bounded() {
        let now = Instant::now();
        let mut news = News::new(now);
        (0..1_200).for_each(|id| news.add(id, Telling::Done));
        let sizes: Vec<usize> = (0..4)
            .map(|_| {
                let slice = news.slice(now);
                let answers = slice.iter().map(|(id, _)| (*id, ToldAs::Told)).collect();
                news.told(&slice, answers, now).len()
            })
            .collect();
        assert_eq!(sizes, [500, 500, 200, 0]);
        (0..3).for_each(|id| news.add(id, Telling::Failed("x".repeat(BYTES_AT_ONCE).into())));
        assert_eq!(news.slice(now).len(), 1);
    }
}

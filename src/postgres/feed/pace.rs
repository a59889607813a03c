//! When to let a busy stream gather: Postgres sends each changed row by itself, and whoever takes each as it comes is woken,
//! and wakes Postgres' side, once a row. Pure.
//!
//! Rule: a stream that has been silent is listened to at once. Only what has come without a silence for a while is taken
//! together, a nap later.

use std::time::Duration;

/// How long what comes may gather.
pub(super) const NAP: Duration = Duration::from_millis(2);

/// A silence is so long.
const SILENCE: Duration = Duration::from_micros(500);

/// So many messages without a silence are a busy stream: a transaction of a few rows is told at once.
const BUSY: usize = 32;

/// A nap that brought fewer was not worth it.
const FEW: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Messages since the last silence.
    run: usize,
}

impl Pace {
    /// Is a nap due before the stream is listened to again?
    pub(super) fn is_busy(&self) -> bool {
        self.run >= BUSY
    }

    /// So many messages came, the first of them after so long.
    pub(super) fn came(&mut self, messages: usize, waited: Duration) {
        let was_silent = match self.is_busy() {
            true => messages < FEW,
            false => waited >= SILENCE,
        };
        self.run = if was_silent { messages.min(FEW) } else { self.run.saturating_add(messages) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::from_micros(20);

    #[test]
    fn what_comes_after_a_silence_is_taken_at_once() {
        let mut pace = Pace::default();
        for _ in 0..1_000 {
            // BEGIN, a row, COMMIT, of about a thousand transactions a second.
            pace.came(1, SILENCE);
            pace.came(2, AT_ONCE);
            assert!(!pace.is_busy());
        }
        pace.came(1_000, SILENCE);
        assert!(!pace.is_busy(), "what was there already has gathered by itself");
    }

    #[test]
    fn a_stream_without_silences_gathers_until_it_has_nothing_more() {
        let mut pace = Pace::default();
        for _ in 0..BUSY {
            assert!(!pace.is_busy());
            pace.came(1, AT_ONCE);
        }
        for _ in 0..100 {
            assert!(pace.is_busy());
            pace.came(40, AT_ONCE);
        }
        pace.came(FEW - 1, AT_ONCE);
        assert!(!pace.is_busy());
    }
}

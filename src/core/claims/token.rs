//! Fencing tokens: integers that grow with every claim, for ever.
//!
//! A worker hands its token to what it writes to, which refuses one that is smaller than the greatest it has seen. So a token
//! must never come twice or go back: not over a restart, not where the tail of the AOF was lost, not on a replica that was
//! promoted. Tokens are microseconds of Unix time where that grows, and one more than the last where it does not.
//!
//! A key keeps one of them with the time of its claim; before a token is handed out that is more than a minute above it, that
//! one takes its place. Who begins anew begins above all that may have been handed out since: a minute above the kept one, or
//! as much above it as time has passed, whichever is more.
//! - However the clock steps: what is kept was not lost, and nothing since is more than a minute above it.
//! - However much was lost, if the clock has not stepped back: no process hands out more than a token in a microsecond.
//! - If both happened, a minute of tokens is what may have been lost.

/// How far tokens go above the one that is kept, in microseconds.
pub const AHEAD_US: u64 = 60_000_000;

/// JSON numbers hold integers up to here: those of the year 2255.
pub const MAX_TOKEN: u64 = 1 << 53;

/// Of one space.
#[derive(Debug, Default)]
pub struct Tokens {
    last: u64,
    /// Greater ones are kept before they are handed out.
    bound: u64,
}

impl Tokens {
    /// A token of another process, or of another epoch, is kept in the space's key, and when it was handed out.
    pub fn found(&mut self, token: u64, at_us: u64, wall_us: u64) {
        // Another hand may have written anything there.
        let is_odd = token > MAX_TOKEN / 2 || at_us > MAX_TOKEN / 2;
        let since_us = wall_us.saturating_sub(at_us).max(AHEAD_US);
        self.last = if is_odd { wall_us + AHEAD_US } else { wall_us.max(token + since_us) };
    }

    /// The token that is kept is of this process and epoch, in which no greater one than `greatest` was handed out by anybody.
    pub fn go_on(&mut self, token: u64, greatest: u64) {
        self.bound = token + AHEAD_US;
        self.last = greatest.clamp(token, self.bound);
    }

    /// Only greater ones follow: this process may have handed that one out of the space before its keys went.
    pub fn above(&mut self, greatest: u64) {
        self.last = self.last.max(greatest);
    }

    /// Only greater ones follow: data of the queue that are lost since knew of claims up to this one. True: it is to be kept.
    pub fn fenced(&mut self, greatest: u64) -> bool {
        // Another hand may have written anything there.
        let is_news = greatest > self.last && greatest <= MAX_TOKEN / 2;
        if is_news {
            self.last = greatest;
            self.bound = greatest + AHEAD_US;
        }
        is_news
    }

    /// The next one. True: it is to be kept, with the time, before anybody has it.
    pub fn next(&mut self, wall_us: u64) -> (u64, bool) {
        self.last = wall_us.max(self.last + 1);
        let is_kept = self.last > self.bound;
        if is_kept {
            self.bound = self.last + AHEAD_US;
        }
        (self.last, is_kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens_are_the_time_where_it_grows() {
        let mut tokens = Tokens::default();
        assert_eq!(
            [100, 100, 50, 200].map(|wall| tokens.next(wall)),
            [(100, true), (101, false), (102, false), (200, false)]
        );
        assert_eq!(tokens.next(100 + AHEAD_US), (100 + AHEAD_US, false));
        assert_eq!(tokens.next(101 + AHEAD_US), (101 + AHEAD_US, true));
    }

    #[test]
    fn a_token_from_anybody_does_not_end_the_tokens() {
        for (token, at) in [(u64::MAX, 0), (0, u64::MAX), (MAX_TOKEN, MAX_TOKEN), (MAX_TOKEN / 2, 0)] {
            let mut tokens = Tokens::default();
            tokens.found(token, at, 1_000);
            assert!(tokens.next(1_000).0 < MAX_TOKEN);
        }
    }

    #[test]
    fn a_space_that_was_forgotten_goes_on_where_the_process_is() {
        let mut tokens = Tokens::default();
        tokens.go_on(1_000, 1_500);
        assert_eq!(tokens.next(0), (1_501, false));
        let mut tokens = Tokens::default();
        tokens.go_on(1_000, 10 * AHEAD_US);
        assert_eq!(tokens.next(0), (1_001 + AHEAD_US, true), "no more than that was handed out of this space");
    }

    #[test]
    fn a_fence_that_stands_above_is_gone_beyond() {
        let mut tokens = Tokens::default();
        assert_eq!(tokens.next(1_000), (1_000, true));
        assert!(tokens.fenced(5_000) && !tokens.fenced(4_000) && !tokens.fenced(MAX_TOKEN));
        assert_eq!(tokens.next(2_000), (5_001, false), "it was kept with the fence");
    }

    /// What a key keeps: token and time.
    type Kept = Option<(u64, u64)>;

    fn begin(kept: Kept, wall: u64) -> Tokens {
        let mut tokens = Tokens::default();
        if let Some((token, at)) = kept {
            tokens.found(token, at, wall);
        }
        tokens
    }

    proptest! {
        /// Restarts, and the clock steps as it likes.
        #[test]
        fn tokens_grow_though_the_clock_steps(
            steps in prop::collection::vec((any::<bool>(), -7_200_000_000_i64..7_200_000_000), 1..60)
        ) {
            let (mut tokens, mut greatest, mut wall, mut kept) = (Tokens::default(), 0, 1_800_000_000_000_000_u64, None);
            for (restart, by) in steps {
                wall = wall.saturating_add_signed(by);
                if restart {
                    tokens = begin(kept, wall);
                    continue;
                }
                let (token, is_kept) = tokens.next(wall);
                prop_assert!(token > greatest);
                greatest = token;
                kept = if is_kept { Some((token, wall)) } else { kept };
            }
        }

        /// Process after process begins from what one of them found, for all that it wrote is lost, and the clock goes on; also
        /// where it had stepped back before.
        #[test]
        fn tokens_grow_though_tails_are_lost(
            ahead in 0_u64..7_200_000_000,
            steps in prop::collection::vec((any::<bool>(), 1_u64..3_600_000_000), 1..60)
        ) {
            let (mut wall, mut greatest) = (1_800_000_000_000_000_u64, 0);
            let kept = Some((wall + ahead, wall));
            let mut tokens = begin(kept, wall);
            for (restart, by) in steps {
                wall += by;
                if restart {
                    tokens = begin(kept, wall);
                    continue;
                }
                let (token, _) = tokens.next(wall);
                prop_assert!(token > greatest, "{token} after {greatest}");
                greatest = token;
            }
        }
    }
}

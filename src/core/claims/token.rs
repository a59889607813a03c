//! Fencing tokens: integers that grow with every claim, for ever.
//!
//! A worker hands its token to what it writes to, which refuses one that is smaller than the greatest it has seen. So a token
//! must never come twice or go back: not over a restart, not where the tail of the AOF was lost, not on a replica that was
//! promoted. Tokens are microseconds of Unix time where that grows, and one more than the last where it does not; and a bound
//! above all of them is kept, which is moved before it is reached. Who begins anew begins an hour above the bound that it
//! finds: a bound that was lost with a tail is at most an hour of tokens above that one.

/// Kept bounds are so far ahead, in microseconds: they are written once in that time.
pub const AHEAD_US: u64 = 3_600_000_000;

/// JSON numbers hold integers up to here.
pub const MAX_TOKEN: u64 = 1 << 53;

/// Of one process, for all of its spaces.
#[derive(Debug, Default)]
pub struct Tokens {
    last: u64,
}

impl Tokens {
    /// A bound of an earlier process, or of another server, stands in some space's key.
    pub fn found(&mut self, bound: u64, wall_us: u64) {
        // A key that somebody has written by hand may hold anything.
        let bound = if bound <= MAX_TOKEN - 2 * AHEAD_US { bound } else { wall_us };
        self.last = self.last.max(bound.max(wall_us) + AHEAD_US);
    }

    pub fn next(&mut self, wall_us: u64) -> u64 {
        self.last = wall_us.max(self.last + 1);
        self.last
    }

    /// The bound to be kept with a token that is above the one that is kept.
    pub fn bound_for(token: u64) -> u64 {
        token + AHEAD_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens_are_the_time_where_it_grows() {
        let mut tokens = Tokens::default();
        assert_eq!((tokens.next(100), tokens.next(100), tokens.next(50), tokens.next(200)), (100, 101, 102, 200));
    }

    #[test]
    fn a_bound_from_anybody_does_not_end_the_tokens() {
        let mut tokens = Tokens::default();
        tokens.found(u64::MAX, 1_000);
        assert!(tokens.next(1_000) < MAX_TOKEN);
    }

    #[test]
    fn a_lower_bound_of_another_space_takes_no_token_back() {
        let mut tokens = Tokens::default();
        tokens.found(10 * AHEAD_US, 0);
        let token = tokens.next(0);
        tokens.found(AHEAD_US, 0);
        assert!(tokens.next(0) > token);
    }

    proptest! {
        /// Whatever the clock does, over restarts that find the bound kept, and ones that lost the last bound with a tail of up to
        /// an hour of tokens.
        #[test]
        fn tokens_grow(steps in prop::collection::vec((0_u64..4, -7_200_000_000_i64..7_200_000_000), 1..60)) {
            let (mut tokens, mut greatest, mut wall) = (Tokens::default(), 0, 1_800_000_000_000_000_u64);
            let (mut kept, mut before) = (0_u64, 0_u64);
            for (what, by) in steps {
                wall = wall.saturating_add_signed(by);
                match what {
                    0 => {
                        tokens = Tokens::default();
                        tokens.found(kept, wall);
                    }
                    // The tail is lost, and with it the last bound; what was handed out above the one before is within
                    // the hour.
                    1 if greatest <= before + AHEAD_US => {
                        tokens = Tokens::default();
                        kept = before;
                        tokens.found(kept, wall);
                    }
                    _ => {
                        let token = tokens.next(wall);
                        prop_assert!(token > greatest);
                        greatest = token;
                        if token > kept {
                            (before, kept) = (kept, Tokens::bound_for(token));
                        }
                    }
                }
            }
        }
    }
}

use super::*;
use proptest::prelude::*;

const START: u64 = 1_800_000_000_000 * NS_PER_MS;

/// limited, remaining, retry after, reset after.
type Told = (bool, u64, Option<u64>, u64);

fn told(verdict: &Verdict) -> Told {
    (verdict.is_limited, verdict.remaining, verdict.retry_after_ms, verdict.reset_after_ms)
}

/// What a key would keep, asked again and again.
struct Kept {
    quota: Quota,
    moment_ns: Option<u64>,
}

impl Kept {
    fn new(burst: u64, count: u64, period_ms: u64) -> Kept {
        Kept { quota: Quota::new(burst, count, period_ms).unwrap(), moment_ns: None }
    }

    fn ask(&mut self, at_ms: i64, quantity: u64) -> Told {
        let now_ns = START.checked_add_signed(at_ms * NS_PER_MS as i64).unwrap();
        let verdict = self.quota.ask(self.moment_ns, now_ns, quantity);
        self.moment_ns = verdict.keep_ns.or(self.moment_ns);
        told(&verdict)
    }
}

/// The cases of redis-cell's own test, in its order: 5 at once, 1 a second.
#[test]
fn as_redis_cell_answers() {
    let mut kept = Kept::new(4, 1, 1_000);
    for (at_ms, quantity, expected) in [
        // More than the limit can never be.
        (0, 6, (true, 5, None, 0)),
        (0, 1, (false, 4, None, 1_000)),
        (0, 1, (false, 3, None, 2_000)),
        (0, 1, (false, 2, None, 3_000)),
        (0, 1, (false, 1, None, 4_000)),
        (0, 1, (false, 0, None, 5_000)),
        (0, 1, (true, 0, Some(1_000), 5_000)),
        (3_000, 1, (false, 2, None, 3_000)),
        (3_100, 1, (false, 1, None, 3_900)),
        (4_000, 1, (false, 1, None, 4_000)),
        (8_000, 1, (false, 4, None, 1_000)),
        (9_500, 1, (false, 4, None, 1_000)),
        // A look.
        (9_500, 0, (false, 4, None, 1_000)),
        (9_500, 2, (false, 2, None, 3_000)),
        (9_500, 5, (true, 2, Some(3_000), 3_000)),
    ] {
        assert_eq!(kept.ask(at_ms, quantity), expected, "{quantity} at {at_ms}");
    }
}

/// The example of redis-cell's README: 15, 30 in 60 seconds.
#[test]
fn the_limit_is_the_burst_and_one() {
    let quota = Quota::new(15, 30, 60_000).unwrap();
    let verdict = quota.ask(None, START, 1);
    assert_eq!((verdict.limit, told(&verdict)), (16, (false, 15, None, 2_000)));
}

#[test]
fn without_a_burst_one_comes_each_interval() {
    let mut kept = Kept::new(0, 10, 1_000);
    for (at_ms, expected) in [
        (0, (false, 0, None, 100)),
        (0, (true, 0, Some(100), 100)),
        (99, (true, 0, Some(1), 1)),
        (100, (false, 0, None, 100)),
        (1_000, (false, 0, None, 100)),
    ] {
        assert_eq!(kept.ask(at_ms, 1), expected, "at {at_ms}");
    }
}

/// Where redis-cell 0.4 rounds down and lets a little more through.
#[test]
fn an_interval_that_is_no_whole_number_is_rounded_up() {
    let quota = Quota::new(0, 3, 1_000).unwrap();
    assert_eq!(quota.interval_ns, 333_333_334);
    let mut kept = Kept::new(2, 3, 1_000);
    let first: Vec<bool> = (0..4).map(|_| kept.ask(0, 1).0).collect();
    assert_eq!(first, [false, false, false, true], "a burst is whole all the same");
}

#[test]
fn a_moment_beyond_the_tolerance_counts_as_the_tolerance() {
    // The clock was set back an hour.
    let mut kept = Kept::new(4, 1, 1_000);
    assert_eq!(kept.ask(3_600_000, 5), (false, 0, None, 5_000));
    assert_eq!(kept.ask(0, 0), (false, 0, None, 5_000));
    assert_eq!(kept.ask(0, 1), (true, 0, Some(1_000), 5_000));
    assert_eq!(kept.ask(999, 1), (true, 0, Some(1), 4_001));
    assert_eq!(kept.ask(1_000, 1), (false, 0, None, 5_000));
    // A smaller limit than before: redis-cell has one wait for 96 seconds.
    let mut kept = Kept::new(99, 1, 1_000);
    kept.ask(0, 100);
    kept.quota = Quota::new(4, 1, 1_000).unwrap();
    assert_eq!(kept.ask(0, 1), (true, 0, Some(1_000), 5_000));
    assert_eq!(kept.ask(3_000, 3), (false, 0, None, 5_000));
}

#[test]
fn a_moment_that_is_long_past_is_now() {
    let mut kept = Kept::new(4, 1, 1_000);
    kept.ask(0, 5);
    assert_eq!(kept.ask(86_400_000, 0), (false, 5, None, 0));
    assert_eq!(kept.ask(86_400_000, 6), (true, 5, None, 0));
    assert_eq!(kept.ask(86_400_000, 5), (false, 0, None, 5_000));
}

#[test]
fn numbers_at_their_bounds() {
    assert_eq!(Quota::new(0, MAX_COUNT, 1).unwrap().interval_ns, 1);
    assert!(Quota::new(99, 1, MAX_PERIOD_MS).is_ok(), "100 years");
    assert_eq!(Quota::new(100, 1, MAX_PERIOD_MS), Err(QuotaError::TooLong));
    assert_eq!(Quota::new(MAX_BURST, 1, MAX_PERIOD_MS), Err(QuotaError::TooLong));
    let quota = Quota::new(0, 1, MAX_PERIOD_MS).unwrap();
    let verdict = quota.ask(Some(u64::MAX), u64::MAX, MAX_QUANTITY);
    assert_eq!((verdict.is_limited, verdict.retry_after_ms, verdict.keep_ns), (true, None, None));
}

#[test]
fn moments_are_read_as_they_are_written() {
    for number in [0, 1, START, u64::MAX] {
        assert_eq!(read_moment(number.to_string().as_bytes()), Some(number));
    }
    for wrong in ["", "-1", "+1", " 1", "1 ", "1.5", "18446744073709551616", "x", "000000000000000000001"] {
        assert_eq!(read_moment(wrong.as_bytes()), None, "{wrong}");
    }
}

proptest! {
    /// In no span are more let through than the burst and what the rate gives, whoever asks for how much and when.
    #[test]
    fn no_span_lets_more_through(
        burst in 0_u64..20, count in 1_u64..50, period_ms in 1_u64..5_000,
        steps in prop::collection::vec((0_u64..400, 0_u64..6), 1..80)
    ) {
        let quota = Quota::new(burst, count, period_ms).unwrap();
        let (mut kept, mut now_ns, mut through) = (None, START, Vec::new());
        for (after_ms, quantity) in steps {
            now_ns += after_ms * NS_PER_MS + after_ms % 7;
            let verdict = quota.ask(kept, now_ns, quantity);
            prop_assert_eq!(verdict.is_limited, verdict.keep_ns.is_none() && quantity > 0);
            prop_assert!(verdict.remaining <= verdict.limit);
            if !verdict.is_limited {
                through.push((now_ns, quantity));
            }
            kept = verdict.keep_ns.or(kept);
            for from in 0..through.len() {
                let sum: u64 = through[from..].iter().map(|(_, quantity)| quantity).sum();
                let span_ns = now_ns - through[from].0;
                let most = u128::from(burst + 1) + u128::from(span_ns) * u128::from(count) / u128::from(period_ms * NS_PER_MS);
                prop_assert!(u128::from(sum) <= most, "{sum} in {span_ns} ns");
            }
        }
    }

    /// Who comes again when he was told is let through, and not a moment before; and what remains can be had at once.
    #[test]
    fn what_is_told_is_so(
        burst in 0_u64..20, count in 1_u64..50, period_ms in 1_u64..5_000, used in 0_u64..40, wait_ms in 0_u64..9_000,
        quantity in 1_u64..30
    ) {
        let quota = Quota::new(burst, count, period_ms).unwrap();
        let mut kept = None;
        for _ in 0..used {
            kept = quota.ask(kept, START, 1).keep_ns.or(kept);
        }
        let now_ns = START + wait_ms * NS_PER_MS;
        let verdict = quota.ask(kept, now_ns, quantity);
        let look = quota.ask(kept, now_ns, 0);
        prop_assert_eq!(verdict.is_limited, quantity > look.remaining);
        if verdict.is_limited {
            prop_assert_eq!(told(&Verdict { is_limited: false, retry_after_ms: None, ..verdict }), told(&look));
        }
        if let Some(retry_ms) = verdict.retry_after_ms {
            prop_assert!(!quota.ask(kept, now_ns + retry_ms * NS_PER_MS, quantity).is_limited);
            prop_assert!(quota.ask(kept, now_ns + (retry_ms - 1) * NS_PER_MS, quantity).is_limited);
        } else if verdict.is_limited {
            prop_assert!(quantity > quota.limit);
        }
        let whole = quota.ask(kept, now_ns + look.reset_after_ms * NS_PER_MS, 0);
        prop_assert_eq!((whole.remaining, whole.reset_after_ms), (quota.limit, 0));
    }

    #[test]
    fn no_numbers_overflow(
        burst in 0..=MAX_BURST, count in 1..=MAX_COUNT, period_ms in 1..=MAX_PERIOD_MS, quantity in 0..=MAX_QUANTITY,
        kept in prop::option::of(any::<u64>()), now_ns in any::<u64>()
    ) {
        if let Ok(quota) = Quota::new(burst, count, period_ms) {
            let verdict = quota.ask(kept, now_ns, quantity);
            prop_assert!(verdict.remaining <= quota.limit);
        }
    }
}

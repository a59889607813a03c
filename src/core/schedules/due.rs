//! What is to be done for a schedule now.
//!
//! ```text
//!        dealt with                     missed                        next
//! ----------------------------|----t----t----t----t---------|-------------t----
//!                             upto                 newest   now
//! ```
//! Of the ticks that are due, `all` are carried out, or the newest `one`, or `none` but one that is in time: a minute is given, so that
//! a restart loses no tick, and for as long as a tick has been tried and refused it is not missed.
//!
//! Invariants, however the clock steps: no tick is carried out twice, and none before its time.

use super::definition::{Definition, Missed};
use super::state::State;

/// A tick that is carried out within this time was not missed.
pub const IN_TIME_MS: u64 = 60_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing before this moment; None: never again.
    Nothing(Option<u64>),
    /// Ticks up to this moment are passed over.
    PassOver(u64),
    /// This tick is to be carried out; with it, all up to it are dealt with.
    Tick(u64),
}

impl Due {
    /// `tried`: a tick that could not be carried out when it was due.
    pub fn now(definition: &Definition, state: &State, tried_ms: Option<u64>, now_ms: u64) -> Due {
        if definition.limit.is_some_and(|limit| state.count >= limit) {
            return Due::Nothing(None);
        }
        let Some(first) = definition.next_after(state.upto_ms).filter(|first| *first <= now_ms) else {
            return Due::Nothing(definition.next_after(state.upto_ms));
        };
        let end = definition.until_ms.map_or(now_ms, |until| until.min(now_ms));
        let newest = definition.rule.newest(state.upto_ms, end).unwrap_or(first);
        match definition.missed {
            Missed::All => Due::Tick(first),
            Missed::One => Due::Tick(newest),
            Missed::None if now_ms - newest < IN_TIME_MS || tried_ms == Some(newest) => Due::Tick(newest),
            Missed::None => Due::PassOver(newest),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::core::schedules::definition::What;
    use crate::core::schedules::rule::Rule;
    use crate::core::schedules::state::Outcome;

    fn every(ms: u64, missed: Missed) -> Definition {
        let what = What::Query(vec!["all".into()]);
        Definition { rule: Rule::every(ms, None).unwrap(), until_ms: None, limit: None, missed, what }
    }

    const HOUR: u64 = 3_600_000;

    #[test]
    fn missed_ticks_are_dealt_with_as_the_schedule_says() {
        let at = |missed, now_ms: u64| {
            let definition = every(HOUR, missed);
            Due::now(&definition, &State::begun(&definition, 10 * HOUR), None, now_ms)
        };
        for missed in [Missed::None, Missed::One, Missed::All] {
            assert_eq!(at(missed, 10 * HOUR), Due::Nothing(Some(11 * HOUR)));
            assert_eq!(at(missed, 11 * HOUR - 1), Due::Nothing(Some(11 * HOUR)));
            assert_eq!(at(missed, 11 * HOUR), Due::Tick(11 * HOUR));
            assert_eq!(at(missed, 11 * HOUR + IN_TIME_MS - 1), Due::Tick(11 * HOUR), "a restart");
            // The clock has stepped back.
            assert_eq!(at(missed, 5 * HOUR), Due::Nothing(Some(11 * HOUR)));
        }
        let late = 14 * HOUR + IN_TIME_MS;
        assert_eq!(at(Missed::All, late), Due::Tick(11 * HOUR));
        assert_eq!(at(Missed::One, late), Due::Tick(14 * HOUR));
        assert_eq!(at(Missed::None, late), Due::PassOver(14 * HOUR));
        assert_eq!(at(Missed::None, 14 * HOUR + 1), Due::Tick(14 * HOUR), "the newest is in time");
    }

    #[test]
    fn a_tick_that_was_refused_is_not_missed() {
        let definition = every(HOUR, Missed::None);
        let state = State::begun(&definition, 10 * HOUR);
        let due = |tried, now_ms| Due::now(&definition, &state, tried, now_ms);
        assert_eq!(due(Some(11 * HOUR), 11 * HOUR + 50 * 60_000), Due::Tick(11 * HOUR));
        assert_eq!(due(Some(11 * HOUR), 12 * HOUR), Due::Tick(12 * HOUR), "until the next one");
    }

    #[test]
    fn bounds_end_a_schedule() {
        let mut definition = every(HOUR, Missed::All);
        definition.until_ms = Some(12 * HOUR);
        let mut state = State::begun(&definition, 10 * HOUR);
        let due = |definition: &Definition, state: &State| Due::now(definition, state, None, 20 * HOUR);
        assert_eq!(due(&definition, &state), Due::Tick(11 * HOUR));
        state.carried_out(11 * HOUR, None);
        definition.limit = Some(1);
        assert_eq!(due(&definition, &state), Due::Nothing(None));
        definition.limit = Some(2);
        assert_eq!(due(&definition, &state), Due::Tick(12 * HOUR));
        definition.limit = None;
        state.carried_out(12 * HOUR, None);
        assert_eq!(due(&definition, &state), Due::Nothing(None));
        definition.missed = Missed::One;
        assert_eq!(
            due(&definition, &State::begun(&definition, 10 * HOUR)),
            Due::Tick(12 * HOUR),
            "the newest up to UNTIL"
        );
    }

    /// What happens to a server.
    #[derive(Debug, Clone)]
    enum Event {
        Pass(u64),
        StepBack(u64),
        /// A tick is refused this time.
        Refuse,
        /// What was not written is lost.
        Crash,
        Redefine(Missed),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            6 => (0u64..5 * 60_000).prop_map(Event::Pass),
            1 => (0u64..48 * HOUR).prop_map(Event::Pass),
            1 => (0u64..3 * HOUR).prop_map(Event::StepBack),
            1 => Just(Event::Refuse),
            1 => Just(Event::Crash),
            1 => prop_oneof![Just(Missed::None), Just(Missed::One), Just(Missed::All)].prop_map(Event::Redefine),
        ]
    }

    fn rule() -> impl Strategy<Value = Rule> {
        let zones = prop_oneof![Just("UTC"), Just("Europe/Berlin"), Just("Australia/Lord_Howe")];
        let crons = prop_oneof![
            Just("*/7 * * * *"),
            Just("30 2 * * *"),
            Just("0 * * * *"),
            Just("*/20 1-3 * * *"),
            Just("15 9 * * mon-fri"),
        ];
        prop_oneof![
            (60_000u64..2 * HOUR).prop_map(|ms| Rule::every(ms, None).expect("a rule")),
            (crons, zones).prop_map(|(cron, zone)| Rule::cron(cron, Some(zone), None).expect("a rule")),
        ]
    }

    proptest! {
        /// Around the days when clocks in Berlin and on Lord Howe change.
        #[test]
        fn no_tick_comes_twice_or_early_and_all_means_all(
            rule in rule(),
            begin in prop_oneof![Just(1_774_656_000_000u64), Just(1_792_800_000_000), Just(1_775_220_000_000)],
            events in prop::collection::vec(event(), 1..60),
            missed in prop_oneof![Just(Missed::None), Just(Missed::One), Just(Missed::All)],
        ) {
            let what = What::Query(vec!["all".into()]);
            let mut definition = Definition { rule, until_ms: None, limit: None, missed, what };
            let (mut now, mut tried) = (begin, None);
            let mut state = State::begun(&definition, now);
            let mut done = BTreeSet::new();
            let mut always_all = missed == Missed::All;
            for event in events {
                let mut refuses = false;
                match event {
                    Event::Pass(ms) => now += ms,
                    Event::StepBack(ms) => now -= ms,
                    Event::Refuse => refuses = true,
                    Event::Crash => {
                        tried = None;
                        state = State::from_json(state.to_json().as_bytes()).expect("what was written");
                        state = State::of(&definition, Some(state), now);
                    }
                    Event::Redefine(missed) => {
                        definition.missed = missed;
                        always_all &= missed == Missed::All;
                    }
                }
                for _ in 0..10_000 {
                    match Due::now(&definition, &state, tried, now) {
                        Due::Nothing(next) => {
                            prop_assert!(next.is_some_and(|next| next > now));
                            break;
                        }
                        Due::PassOver(upto) => {
                            prop_assert!(definition.missed == Missed::None && upto <= now);
                            state.passed_over(upto);
                        }
                        Due::Tick(tick) if refuses => {
                            tried = Some(tick);
                            break;
                        }
                        Due::Tick(tick) => {
                            prop_assert!(tick <= now, "before its time");
                            prop_assert!(done.insert(tick), "twice");
                            state.carried_out(tick, Some(Outcome::Fetched));
                            tried = None;
                        }
                    }
                }
            }
            if always_all {
                let expected: BTreeSet<u64> = definition.ticks_after(begin, 20_000).into_iter().take_while(|tick| *tick <= state.upto_ms).collect();
                prop_assert_eq!(done, expected);
            }
        }
    }
}

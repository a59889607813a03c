use proptest::prelude::*;

use super::*;

const SPAN: Duration = Duration::from_secs(30);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn key(name: &str) -> Key {
    name.as_bytes().into()
}

/// One entry, asked for at 0.
fn one() -> Rewarm {
    let mut rewarm = Rewarm::default();
    rewarm.know(key("bear:a"), 5, SPAN, ms(0));
    rewarm
}

/// Takes what is due and begins its fetch.
fn fetch(rewarm: &mut Rewarm, now: Duration) -> bool {
    let Some((key, prefix_len)) = rewarm.take_due(now) else { return false };
    assert_eq!((&*key, prefix_len), (&b"bear:a"[..], 5));
    rewarm.begun(&key, 1, now);
    rewarm.ended(1);
    true
}

#[test]
fn what_was_asked_for_is_fetched_once_however_many_changes_come() {
    let mut rewarm = one();
    for _ in 0..3 {
        rewarm.dropped(b"bear:a", ms(10));
    }
    rewarm.dropped(b"bear:b", ms(10));
    assert_eq!(rewarm.next_due(), Some(ms(10)));
    assert!(fetch(&mut rewarm, ms(10)));
    assert!(!fetch(&mut rewarm, ms(10_000)));
}

#[test]
fn what_was_not_asked_for_lately_is_let_go() {
    let mut rewarm = one();
    rewarm.dropped(b"bear:a", SPAN + ms(1));
    assert!(rewarm.is_empty() && rewarm.next_due().is_none());
    // It may also be too late when its time has come.
    let mut rewarm = one();
    rewarm.dropped(b"bear:a", SPAN);
    assert_eq!(rewarm.take_due(SPAN + ms(1)), None);
    assert!(rewarm.is_empty());
    let mut rewarm = one();
    assert!(rewarm.ask(b"bear:a", ms(5)) && !rewarm.ask(b"bear:b", ms(5)));
    rewarm.dropped(b"bear:a", SPAN + ms(5));
    assert!(fetch(&mut rewarm, SPAN + ms(5)));
}

/// Steps at which it is due after each change, when changes come as soon as it was fetched.
fn delays(rewarm: &mut Rewarm, begin: Duration, changes: usize, is_used: bool) -> Vec<u64> {
    let mut now = begin;
    let mut delays = Vec::new();
    for _ in 0..changes {
        if is_used {
            rewarm.ask(b"bear:a", now);
        }
        rewarm.dropped(b"bear:a", now);
        let due = rewarm.next_due().expect("it waits");
        delays.push((due - now).as_millis() as u64);
        now = due;
        assert!(fetch(rewarm, now));
    }
    delays
}

#[test]
fn under_a_flood_that_nobody_has_use_of_the_pause_grows_and_falls_back_after_quiet() {
    let mut rewarm = one();
    let expected = [0, 50, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000];
    assert_eq!(delays(&mut rewarm, ms(0), 10, false), expected);
    rewarm.ask(b"bear:a", ms(30_000));
    assert_eq!(delays(&mut rewarm, ms(40_000), 2, false), [0, 50]);
}

#[test]
fn while_each_fetch_is_of_use_there_is_no_pause() {
    let mut rewarm = one();
    assert_eq!(delays(&mut rewarm, ms(0), 10, true), [0; 10]);
    assert_eq!(delays(&mut rewarm, ms(1), 4, false), [49, 100, 200, 400]);
    // Each that is of use halves it.
    assert_eq!(delays(&mut rewarm, ms(751), 5, true), [199, 100, 50, 0, 0]);
}

#[test]
fn only_what_a_change_has_taken_is_fetched() {
    let mut rewarm = one();
    rewarm.removal_begins(7);
    rewarm.taken(8, b"bear:a", || ms(1));
    assert_eq!(rewarm.next_due(), None);
    rewarm.taken(7, b"bear:a", || ms(1));
    assert_eq!(rewarm.next_due(), Some(ms(1)));
    rewarm.removal_ended(7);
    assert!(fetch(&mut rewarm, ms(1)));
    rewarm.taken(7, b"bear:a", || ms(2));
    assert_eq!(rewarm.next_due(), None);
}

#[test]
fn what_waits_is_bounded() {
    let mut rewarm = Rewarm::default();
    for n in 0..MAX_WAITING + 5 {
        let key = key(&format!("bear:{n}"));
        rewarm.know(key.clone(), 5, SPAN, ms(0));
        rewarm.dropped(&key, ms(0));
    }
    assert_eq!(rewarm.waiting.len(), MAX_WAITING);
}

#[test]
fn what_is_of_no_use_is_swept_in_slices() {
    let mut rewarm = Rewarm::default();
    for n in 0..100 {
        rewarm.know(key(&format!("bear:{n:02}")), 5, SPAN, ms(n * 1_000));
    }
    for _ in 0..100 {
        rewarm.sweep(ms(80_000), 7);
    }
    assert_eq!(rewarm.len(), 50, "asked for within 30 s");
    assert!(rewarm.asked.first_key_value().is_some_and(|(key, _)| **key == *b"bear:50"));
}

#[derive(Debug, Clone)]
enum Step {
    Ask,
    Drop,
    Tick,
}

proptest! {
    /// Whatever happens when: the pause lies between two fetches, none is sent that is not wanted, and there are at most
    /// about two for each time that somebody asked, and one for each quiet.
    #[test]
    fn fetches_are_few(steps in prop::collection::vec((prop_oneof![
        1 => Just(Step::Ask), 6 => Just(Step::Drop), 6 => Just(Step::Tick),
    ], 0u64..400), 1..400)) {
        let mut rewarm = one();
        let (mut now, mut last_asked, mut last_fetch) = (ms(0), ms(0), None::<Duration>);
        let (mut used, mut quiet, mut fetches, mut drops) = (1usize, 0usize, 0usize, 0usize);
        for (step, after) in steps {
            now += ms(after);
            match step {
                Step::Ask => {
                    if !rewarm.ask(b"bear:a", now) {
                        rewarm.know(key("bear:a"), 5, SPAN, now);
                    }
                    (last_asked, used) = (now, used + 1);
                }
                Step::Drop => {
                    rewarm.dropped(b"bear:a", now);
                    drops += 1;
                }
                Step::Tick => {
                    let step = rewarm.asked.get(&b"bear:a"[..]).map_or(0, |asked| asked.step);
                    if fetch(&mut rewarm, now) {
                        prop_assert!(now <= last_asked + SPAN);
                        if let Some(last) = last_fetch {
                            prop_assert!(now >= last + pause(step));
                            quiet += usize::from(now >= last + QUIET);
                        }
                        (last_fetch, fetches) = (Some(now), fetches + 1);
                    }
                }
            }
            prop_assert!(rewarm.waiting.len() <= 1);
        }
        prop_assert!(fetches <= drops);
        // Steps go up with each that was of no use, and at most as often down as somebody asked, or nine at once after quiet.
        prop_assert!(fetches <= 2 * used + 9 * (quiet + 1) + usize::from(STEPS), "{fetches} fetches, asked {used} times, {quiet} times quiet");
    }
}

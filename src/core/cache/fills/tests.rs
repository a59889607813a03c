//! Fills by themselves: who is answered, what is stored, what is struck.

use super::*;

const KEY: &[u8] = b"bear:all";
const ROW: &[u8] = b"bear:meta:5:caches";

fn no_rows(_: &(), _: Changed) -> bool {
    false
}

fn names(names: &[&[u8]]) -> Vec<Box<[u8]>> {
    names.iter().map(|name| (*name).into()).collect()
}

#[test]
fn all_who_miss_wait_for_one_fetch() {
    let mut fills = Fills::default();
    assert_eq!(fills.join(KEY, (), 0), Joined::Send(1));
    for waiter in 1..1000 {
        assert_eq!(fills.join(KEY, (), waiter), Joined::Waits);
    }
    let done = fills.finish(1, Ended::Got(&names(&[ROW])), no_rows).unwrap();
    assert_eq!(done.answer, (0..1000).collect::<Vec<_>>());
    assert!(done.store && done.send.is_none());
    assert_eq!(fills.running(), 0);
}

#[test]
fn who_comes_after_a_strike_gets_a_successor() {
    let mut fills = Fills::default();
    fills.join(KEY, (), "before");
    assert_eq!(fills.strike(KEY), 1);
    assert_eq!(fills.join(KEY, (), "after"), Joined::Send(2));
    assert_eq!(fills.join(KEY, (), "after too"), Joined::Waits);
    let first = fills.finish(1, Ended::Got(&[]), no_rows).unwrap();
    assert_eq!((first.answer, first.store), (vec!["before"], false));
    let second = fills.finish(2, Ended::Got(&[]), no_rows).unwrap();
    assert_eq!((second.answer, second.store), (vec!["after", "after too"], true));
}

#[test]
fn a_row_changed_meanwhile_strikes_only_results_that_contain_it() {
    for (metadata, struck) in [(names(&[ROW]), true), (names(&[b"bear:meta:6:caches"]), false)] {
        let mut fills = Fills::default();
        fills.join(KEY, (), "before");
        fills.change([ROW], None);
        assert_eq!(fills.join(KEY, (), "after"), Joined::Waits);
        let done = fills.finish(1, Ended::Got(&metadata), no_rows).unwrap();
        assert_eq!(done.store, !struck);
        assert_eq!(done.answer.len(), if struck { 1 } else { 2 });
        assert_eq!(done.send.is_some(), struck);
    }
}

#[test]
fn a_fetch_for_nobody_is_one_and_answers_who_comes_meanwhile() {
    let mut fills = Fills::default();
    assert_eq!(fills.refresh(KEY, ()), Some(1));
    assert_eq!(fills.refresh(KEY, ()), None);
    assert_eq!(fills.join(KEY, (), "meanwhile"), Joined::Waits);
    let done = fills.finish(1, Ended::Got(&[]), no_rows).unwrap();
    assert_eq!((done.answer, done.store, done.send.is_none()), (vec!["meanwhile"], true, true));

    // Struck, it is nobody's loss; at most two run, and who waits has the next one.
    assert_eq!(fills.refresh(KEY, ()), Some(2));
    fills.strike(KEY);
    assert_eq!(fills.refresh(KEY, ()), Some(3));
    fills.strike(KEY);
    assert_eq!(fills.refresh(KEY, ()), None);
    assert_eq!(fills.join(KEY, (), "after"), Joined::Waits);
    let done = fills.finish(2, Ended::Got(&[]), no_rows).unwrap();
    assert_eq!((done.answer.len(), done.store, done.send), (0, false, Some((4, ()))));
    assert!(!fills.finish(3, Ended::Got(&[]), no_rows).unwrap().store);
    let done = fills.finish(4, Ended::Got(&[]), no_rows).unwrap();
    assert_eq!((done.answer, done.store, fills.running()), (vec!["after"], true, 0));
    assert_eq!(fills.refresh(KEY, ()), Some(5), "nothing is left of it");
    assert!(fills.finish(5, Ended::Failed, no_rows).unwrap().answer.is_empty());
}

#[test]
fn a_failed_fetch_answers_all_who_wait_for_it() {
    let mut fills = Fills::default();
    fills.join(KEY, (), 1);
    fills.change([ROW], None);
    fills.join(KEY, (), 2);
    let done = fills.finish(1, Ended::Failed, no_rows).unwrap();
    assert_eq!((done.answer, done.store, done.send.is_none()), (vec![1, 2], false, true));
}

#[test]
fn a_call_struck_again_and_again_runs_two_fetches_at_most() {
    let mut fills = Fills::default();
    let mut sent = 0;
    for waiter in 0..100 {
        sent += usize::from(matches!(fills.join(KEY, (), waiter), Joined::Send(_)));
        fills.strike(KEY);
    }
    assert_eq!((sent, fills.running()), (MAX_RUNNING, MAX_RUNNING));
    let done = fills.finish(1, Ended::Got(&[]), no_rows).unwrap();
    assert_eq!(done.send, Some((3, ())));
    assert_eq!(fills.finish(3, Ended::Got(&[]), no_rows).unwrap().answer.len(), 98);
}

#[test]
fn who_joined_after_a_forgotten_change_is_not_served_its_result() {
    let mut fills = Fills::default();
    fills.join(KEY, (), "before");
    fills.change([ROW], None);
    fills.join(KEY, (), "after");
    for row in 0..=MAX_CHANGES {
        fills.change([format!("bear:meta:x{row}:caches").as_bytes()], None);
    }
    let done = fills.finish(1, Ended::Got(&names(&[ROW])), no_rows).unwrap();
    assert_eq!((done.answer, done.send.is_some()), (vec!["before"], true));
}

#[test]
fn more_changes_than_are_remembered_strike() {
    let mut fills = Fills::default();
    fills.join(KEY, (), 0);
    fills.change([ROW], None);
    for row in 0..=MAX_CHANGES {
        fills.change([format!("bear:meta:x{row}:caches").as_bytes()], None);
    }
    let done = fills.finish(1, Ended::Got(&names(&[ROW])), no_rows).unwrap();
    assert!(!done.store);
    assert!(fills.log.is_empty());
}

/// One step of a history.
#[derive(Clone, Copy, Debug)]
enum Step {
    Join,
    StrikeKey,
    Change,
    Finish(usize),
}

/// Every order of up to 4 joins, 3 strikes of either kind and all finishes, against the invariants.
#[test]
fn no_order_of_events_serves_or_stores_what_was_struck() {
    fn explore(history: &mut Vec<Step>, joins: usize, strikes: usize, seen: &mut u64) {
        let running = check(history, seen);
        for at in 0..running {
            history.push(Step::Finish(at));
            explore(history, joins, strikes, seen);
            history.pop();
        }
        if joins > 0 {
            history.push(Step::Join);
            explore(history, joins - 1, strikes, seen);
            history.pop();
        }
        if strikes > 0 {
            for strike in [Step::StrikeKey, Step::Change] {
                history.push(strike);
                explore(history, joins, strikes - 1, seen);
                history.pop();
            }
        }
    }

    /// Replays a history; returns how many fetches run at its end. Times are steps.
    fn check(history: &[Step], seen: &mut u64) -> usize {
        let mut fills = Fills::default();
        let mut running: Vec<(u64, usize)> = Vec::new();
        let mut strikes: Vec<usize> = Vec::new();
        let metadata = names(&[ROW]);
        let (mut waiting, mut joined_at) = (0, Vec::new());
        for (now, step) in history.iter().enumerate() {
            match step {
                Step::Join => {
                    joined_at.push(now);
                    waiting += 1;
                    if let Joined::Send(ticket) = fills.join(KEY, (), joined_at.len() - 1) {
                        running.push((ticket, now));
                    }
                }
                Step::StrikeKey => {
                    fills.strike(KEY);
                    strikes.push(now);
                }
                Step::Change => {
                    fills.change([ROW], None);
                    strikes.push(now);
                }
                Step::Finish(at) => {
                    let (ticket, sent) = running.remove(*at);
                    let done = fills.finish(ticket, Ended::Got(&metadata), no_rows).unwrap();
                    let struck = strikes.iter().any(|strike| *strike > sent);
                    assert!(!(done.store && struck), "stored though struck: {history:?}");
                    for waiter in &done.answer {
                        let stale = strikes.iter().any(|strike| *strike > sent && *strike < joined_at[*waiter]);
                        assert!(!stale, "waiter {waiter} was served a struck result: {history:?}");
                    }
                    waiting -= done.answer.len();
                    if let Some((ticket, ())) = done.send {
                        running.push((ticket, now));
                    }
                }
            }
            assert!(running.len() <= MAX_RUNNING);
            assert_eq!(fills.running(), running.len());
            assert!(waiting == 0 || !running.is_empty(), "somebody waits for nothing: {history:?}");
        }
        *seen += 1;
        running.len()
    }

    let mut seen = 0;
    explore(&mut Vec::new(), 4, 3, &mut seen);
    assert!(seen > 10_000, "{seen} histories");
}

#[test]
fn a_row_that_left_a_tenant_nobody_named_strikes_whoever_lists_it() {
    let left: &[u8] = b"sale:meta:5:caches";
    for (listed, stored) in [(&b"{1}:sale:meta:5:caches"[..], false), (b"{1}:sale:meta:6:caches", true)] {
        let mut fills = Fills::default();
        fills.join(KEY, (), "before");
        fills.change_of_any_tenant([left]);
        fills.join(KEY, (), "after");
        let done = fills.finish(1, Ended::Got(&names(&[listed])), no_rows).unwrap();
        assert_eq!((done.store, done.send.is_some()), (stored, !stored));
    }
}

//! Scenarios, one a test.

use super::*;

const NONE_PAUSED: &dyn Fn(u32) -> bool = &|_| false;

fn id(n: u64) -> JobId {
    JobId { ms: n, seq: 0 }
}

fn ids(ns: impl IntoIterator<Item = u64>) -> Vec<JobId> {
    ns.into_iter().map(id).collect()
}

/// Left out behind others, or to be tried at once.
fn holding(keys: &[u64]) -> LeftOut {
    LeftOut { keys: keys.iter().copied().collect(), barrier: false, holds: true, due_ms: None, kind: 0 }
}

fn until(due_ms: u64, keys: &[u64]) -> LeftOut {
    LeftOut { due_ms: Some(due_ms), ..holding(keys) }
}

fn undue(due_ms: u64, keys: &[u64]) -> LeftOut {
    LeftOut { holds: false, ..until(due_ms, keys) }
}

fn undue_barrier(due_ms: u64) -> LeftOut {
    LeftOut { barrier: true, ..undue(due_ms, &[]) }
}

/// A queue that has read jobs 1 to `newest`, and left these out.
fn queue(newest: u64, left: Vec<(u64, LeftOut)>) -> Queue {
    let mut queue = Queue::new();
    queue.added(id(newest));
    read(&mut queue, left);
    queue
}

/// Reads all, and leaves these out.
fn read(queue: &mut Queue, left: Vec<(u64, LeftOut)>) {
    let newest = queue.newest;
    queue.main_taken(newest);
    queue.main_done(newest, left.into_iter().map(|(n, left)| (id(n), left)).collect(), Held::No);
}

fn settle(queue: &mut Queue, ns: impl IntoIterator<Item = u64>) {
    let results: Vec<_> = ns.into_iter().map(|n| (id(n), SideResult::Settled)).collect();
    queue.side_done(&results);
}

#[test]
fn a_barrier_that_is_removed_while_the_lane_waits_for_it_holds_nobody() {
    let mut queue = Queue::new();
    queue.added(id(3));
    queue.main_taken(id(3));
    // Job 3 is the barrier: it waits until 1 is done, and 2 has not come.
    let left = vec![(id(1), holding(&[])), (id(2), undue(5, &[]))];
    queue.main_done(id(2), left, Held::UntilQuiet);
    assert_eq!(queue.side_take(6, 9, NONE_PAUSED), ids([1]), "none takes a place while it waits");
    settle(&mut queue, [1]);
    assert_eq!(queue.main_from(6), Some(id(2)));
    queue.main_skipped(id(3));
    assert_eq!(queue.next_due(), Some(5));
    assert_eq!(queue.side_take(6, 9, NONE_PAUSED), ids([2]));
    settle(&mut queue, [2]);
    assert!(queue.is_idle());
}

#[test]
fn the_main_lane_reads_on_after_what_it_has_read() {
    let mut queue = Queue::new();
    assert!(queue.is_idle());
    assert_eq!(queue.main_from(0), None);
    queue.added(id(1));
    queue.added(id(5));
    assert_eq!(queue.main_from(0), Some(JobId::ZERO));
    queue.main_taken(id(3));
    assert_eq!(queue.main_from(0), None);
    assert_eq!((queue.state(id(3)), queue.state(id(5))), (Some(JobState::Active), Some(JobState::Waiting)));
    assert_eq!((queue.remove(id(3)), queue.remove(id(5))), (Err(Active), Ok(false)));
    queue.main_put_back();
    assert_eq!((queue.main_from(0), queue.first_unsettled()), (Some(JobId::ZERO), JobId { ms: 0, seq: 1 }));
    queue.main_taken(id(3));
    queue.main_done(id(3), Vec::new(), Held::No);
    assert_eq!((queue.main_from(0), queue.state(id(3))), (Some(id(3)), None));
    assert_eq!(queue.first_unsettled(), id(3).next().unwrap());
    queue.main_skipped(id(5));
    assert!(queue.is_idle());
}

/// A batch whose COMMIT had no answer is sent again, shorter or longer than it was.
#[test]
fn reading_goes_on_after_the_mark_or_the_batch() {
    for (mark, from) in [(0, 2), (3, 3), (4, 4), (9, 4)] {
        let mut queue = queue(2, vec![]);
        queue.added(id(9));
        queue.main_taken(id(4));
        queue.main_done(id(mark), Vec::new(), Held::No);
        assert_eq!(queue.main_from(0), Some(id(from)), "mark {mark}");
    }
}

#[test]
fn successors_wait_behind_a_job_that_backs_off() {
    let mut queue = queue(4, vec![(1, until(50, &[7])), (2, holding(&[7])), (3, holding(&[8])), (4, holding(&[7, 8]))]);
    assert_eq!(queue.blocked(), (FxHashSet::from_iter([7, 8]), true));
    assert_eq!(queue.state(id(1)), Some(JobState::Delayed { due_ms: 50 }));
    assert_eq!(queue.counts(), Counts { left: 4, delayed: 1, active: 0 });
    assert_eq!(queue.next_due(), Some(50));
    assert_eq!(queue.side_take(10, 9, NONE_PAUSED), ids([3]));
    assert!(queue.side_take(50, 9, NONE_PAUSED).is_empty());
    settle(&mut queue, [3]);
    assert_eq!(queue.side_take(50, 9, NONE_PAUSED), ids([1, 2, 4]));
    queue.side_done(&[(id(1), SideResult::Left { due_ms: Some(90) }), (id(2), SideResult::Left { due_ms: None })]);
    assert!(!queue.has_side(60, NONE_PAUSED));
    assert_eq!(queue.first_unsettled(), id(1));
    assert_eq!(queue.remove(id(1)), Ok(true));
    assert_eq!(queue.side_take(60, 1, NONE_PAUSED), ids([2]));
    settle(&mut queue, [2]);
    assert_eq!(queue.side_take(60, 1, NONE_PAUSED), ids([4]));
    settle(&mut queue, [4]);
    assert!(queue.is_idle() && queue.blocked().0.is_empty());
}

#[test]
fn a_job_that_is_removed_in_the_middle_joins_nobody() {
    let mut queue = queue(3, vec![(1, holding(&[7])), (2, holding(&[7, 8])), (3, holding(&[8, 7]))]);
    assert_eq!(queue.side_take(0, 1, NONE_PAUSED), ids([1]));
    assert_eq!((queue.remove(id(1)), queue.remove(id(2))), (Err(Active), Ok(true)));
    assert!(queue.side_take(0, 1, NONE_PAUSED).is_empty());
    queue.side_put_back();
    assert_eq!(queue.side_take(0, 9, NONE_PAUSED), ids([1, 3]));
    queue.side_give_back(id(2));
    assert_eq!(queue.counts().active, 1);
    settle(&mut queue, [1, 3]);
    assert_eq!(queue.side_take(0, 9, NONE_PAUSED), ids([3]));
}

#[test]
fn a_delayed_job_holds_no_place_before_its_time() {
    let mut queue = queue(3, vec![(1, undue(50, &[7])), (3, holding(&[7]))]);
    assert_eq!(queue.side_take(40, 9, NONE_PAUSED), ids([3]));
    queue.side_put_back();
    // Behind 3 from now on, although its id is smaller: not in the same batch, which applies in the order of ids.
    assert_eq!(queue.side_take(50, 9, NONE_PAUSED), ids([3]));
    settle(&mut queue, [3]);
    assert_eq!(queue.side_take(50, 9, NONE_PAUSED), ids([1]));
}

#[test]
fn nobody_takes_a_place_while_the_main_lane_is_in_flight() {
    let mut queue = queue(1, vec![(1, undue(50, &[7]))]);
    queue.added(id(2));
    assert_eq!((queue.main_from(40), queue.blocked().1), (Some(id(1)), false));
    queue.main_taken(id(2));
    assert_eq!((queue.has_side(60, NONE_PAUSED), queue.next_due()), (false, None));
    queue.main_done(id(2), vec![(id(2), until(70, &[7]))], Held::No);
    assert!(!queue.has_side(60, NONE_PAUSED));
    assert_eq!(queue.side_take(70, 9, NONE_PAUSED), ids([2]));
    settle(&mut queue, [2]);
    assert_eq!(queue.side_take(70, 9, NONE_PAUSED), ids([1]));
}

#[test]
fn a_barrier_at_the_head_waits_for_quiet() {
    let mut queue = queue(2, vec![(1, holding(&[])), (2, undue(50, &[7]))]);
    queue.added(id(3));
    queue.main_taken(id(3));
    queue.main_done(id(2), Vec::new(), Held::UntilQuiet);
    assert_eq!(queue.main_from(0), None);
    assert_eq!(queue.side_take(60, 9, NONE_PAUSED), ids([1]));
    settle(&mut queue, [1]);
    // Job 2, which is due, takes its place behind the barrier.
    assert_eq!((queue.main_from(60), queue.blocked().1), (Some(id(2)), false));
    queue.main_taken(id(3));
    queue.main_done(id(2), Vec::new(), Held::Until(90));
    assert_eq!((queue.main_from(80), queue.next_due()), (None, Some(90)));
    assert_eq!(queue.side_take(80, 9, NONE_PAUSED), ids([2]));
    assert_eq!((queue.main_from(90), queue.blocked().1), (Some(id(2)), true));
}

#[test]
fn a_delayed_barrier_goes_alone_when_its_time_comes() {
    let left = vec![(1, undue_barrier(50)), (2, holding(&[7])), (3, undue(60, &[8]))];
    let mut queue = queue(3, left);
    queue.added(id(4));
    assert_eq!(queue.main_from(40), Some(id(3)));
    assert_eq!(queue.main_from(60), None);
    assert_eq!(queue.side_take(60, 9, NONE_PAUSED), ids([2]));
    settle(&mut queue, [2]);
    assert!(!queue.has_side(60, &|_| true));
    assert_eq!(queue.side_take(60, 9, NONE_PAUSED), ids([1]));
    assert_eq!((queue.main_from(60), queue.has_side(60, NONE_PAUSED)), (None, false));
    queue.side_done(&[(id(1), SideResult::Left { due_ms: Some(80) })]);
    assert_eq!((queue.main_from(70), queue.has_side(70, NONE_PAUSED), queue.next_due()), (None, false, Some(80)));
    assert_eq!(queue.side_take(80, 9, NONE_PAUSED), ids([1]));
    settle(&mut queue, [1]);
    assert_eq!(queue.main_from(80), Some(id(3)));
    assert_eq!(queue.side_take(80, 9, NONE_PAUSED), ids([3]));
}

/// After a restart: left out before, and due by now.
#[test]
fn a_barrier_that_was_left_out_before_goes_behind_its_batch() {
    let barrier = LeftOut { barrier: true, ..holding(&[]) };
    let mut queue = queue(3, vec![(1, holding(&[])), (2, barrier), (3, holding(&[]))]);
    assert_eq!(queue.side_take(0, 9, NONE_PAUSED), ids([1, 3]));
    settle(&mut queue, [1, 3]);
    assert_eq!(queue.side_take(0, 9, NONE_PAUSED), ids([2]));
}

#[test]
fn types_that_are_refused_wait_and_hold_their_place() {
    let of_kind = |kind, keys: &[u64]| LeftOut { kind, ..holding(keys) };
    let mut queue =
        queue(4, vec![(1, of_kind(1, &[7])), (2, of_kind(2, &[7])), (3, of_kind(2, &[8])), (4, of_kind(1, &[8]))]);
    assert_eq!(queue.side_take(0, 9, &|kind| kind == 1), ids([3]));
    queue.side_put_back();
    assert_eq!(queue.side_take(0, 9, &|kind| kind == 2), ids([1]));
    queue.side_put_back();
    assert!(!queue.has_side(0, &|_| true));
    assert_eq!(queue.side_take(0, 9, NONE_PAUSED), ids([1, 2, 3, 4]));
}

/// A million jobs of a type that is refused must not be looked at each time.
#[test]
fn many_that_wait_cost_nothing() {
    let n = 200_000;
    let left = (1..=n).map(|n| (n, LeftOut { kind: (n % 2) as u32, ..holding(&[n % 1000 / 2]) })).collect();
    let mut queue = queue(n, left);
    let mut taken = 0;
    for _ in 0..20_000 {
        taken += queue.side_take(0, 1, &|kind| kind == 0).len();
        let id = queue.left.active().first().copied();
        queue.side_done(&id.map(|id| (id, SideResult::Settled)).into_iter().collect::<Vec<_>>());
    }
    assert!(taken <= 20_000 && queue.counts().left == n as usize - taken);
}

#[test]
fn outcomes_of_what_is_in_flight_are_not_published_yet() {
    let mut queue = queue(5, vec![(2, holding(&[1])), (4, until(100, &[2]))]);
    let all = id(5).next().unwrap();
    assert_eq!(queue.published(), all);
    queue.added(id(7));
    queue.main_taken(id(7));
    assert_eq!(queue.published(), all);
    assert_eq!(queue.side_take(0, 10, NONE_PAUSED), ids([2]));
    assert_eq!(queue.published(), id(2));
    settle(&mut queue, [2]);
    // What waits for its time has not failed for good.
    assert_eq!(queue.published(), all);
    queue.main_done(id(7), Vec::new(), Held::No);
    assert_eq!(queue.published(), id(7).next().unwrap());
}

//! Every order of events over three jobs, as far as they end in states that were not there before.

use std::collections::{HashSet, VecDeque};

use super::*;

/// Time passes by so many milliseconds.
const TICK_MS: u64 = 5;
const LEASE_MS: u64 = 2 * TICK_MS;
/// Over after two ticks, since clocks are rounded down.
const WINDOW_MS: u64 = 2 * TICK_MS - 1;

/// Type, priority, order keys, group, ticks until it is due.
type Shape = (usize, u32, &'static [u64], Group, Option<u64>);

fn facts((at, shape): (usize, &Shape)) -> Facts {
    let (kind, priority, orders, group, ticks) = *shape;
    // Now is 100: ids are before, times to wait for after it, so that a delayed one stands behind the others.
    let due_ms = ticks.map(|ticks| UNIX_MS + 100 + ticks * TICK_MS);
    Facts { id: id(at as u64 + 1), name: name(kind), priority, orders: orders.into(), group, due_ms }
}

/// All that the future depends on; what happens to a claim that is cancelled, or in a space that is paused, is the caller's.
type Memo = (Vec<(u8, u64)>, BTreeSet<usize>, Vec<(u64, Group)>, Vec<(u64, u64)>);

impl World {
    fn memo(&self) -> Memo {
        let withheld = |job: &Job| 8 * u8::from(job.is_withheld);
        let jobs = self.jobs.iter().map(|job| match job.at {
            At::New => (0, 0),
            At::Waiting => (1 + withheld(job), 0),
            At::Delayed { due_ms, was_tried } => {
                (2 + u8::from(was_tried) + withheld(job), due_ms.saturating_sub(self.unix_ms()))
            }
            At::Claimed { deadline_ms, .. } => (4, deadline_ms.saturating_sub(self.now_ms)),
            At::Gone => (5, 0),
        });
        let (of_all, by) = (self.limits.all.rate, self.limits.by.as_ref().and_then(|(_, limit)| limit.rate));
        let counts = |group: &Group| of_all.is_some() || by.is_some() && group.is_some();
        let begun = self.begun.iter().map(|(at, group)| (self.now_ms - at, *group));
        let begun = begun.filter(|(ago, group)| *ago <= WINDOW_MS && counts(group)).collect();
        let looks = self.queue.limiter.looks.iter().map(|(at, group)| (at - self.now_ms, *group)).collect();
        (jobs.collect(), self.stopped.clone(), begun, looks)
    }

    fn next_steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::Add, Step::FallDue, Step::Expire(None), Step::Pass(TICK_MS), Step::Restart];
        steps.push(Step::Stop(0, self.stopped.is_empty()));
        // Of three, the one in the middle: there is one before it and one behind.
        steps.push(if self.jobs[1].is_withheld { Step::LetOut(1) } else { Step::Withhold(1) });
        // Who takes any of the types is who takes any, as long as there are two.
        steps.extend((0..3).map(|wanted| Step::Claim(wanted, LEASE_MS)));
        for (at, job) in self.jobs.iter().enumerate() {
            match job.at {
                At::Claimed { .. } => {
                    let ends = [Step::Settle(at), Step::GiveBack(at), Step::Retry(at, TICK_MS)];
                    steps.extend(ends.into_iter().chain([Step::Extend(at, LEASE_MS), Step::Cancel(at)]));
                }
                At::Delayed { .. } => steps.extend([Step::Promote(at), Step::Remove(at)]),
                At::Waiting => steps.push(Step::Remove(at)),
                At::New | At::Gone => {}
            }
        }
        steps
    }
}

/// How many steps were taken.
fn explore(limits: &Limits, shapes: &[Shape]) -> usize {
    let mut taken = 0;
    let mut known = HashSet::new();
    let mut open =
        VecDeque::from([(World::new(limits.clone(), shapes.iter().enumerate().map(facts).collect()), vec![])]);
    while let Some((world, path)) = open.pop_front() {
        for step in world.next_steps() {
            let mut next = world.clone();
            let told = Told(&path, step);
            if next.step(step) {
                next.check();
                taken += 1;
                if known.insert(next.memo()) {
                    open.push_back((next, path.iter().copied().chain([step]).collect()));
                }
            }
            std::mem::forget(told);
        }
    }
    taken
}

/// Tells how it came to a failure.
struct Told<'a>(&'a [Step], Step);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        eprintln!("after {:?}, {:?}", self.0, self.1);
    }
}

/// Explores all of them, and tells how much that was.
fn explore_all(limits: &Limits, shapes: impl IntoIterator<Item = [Shape; 3]>) {
    let taken: usize = shapes.into_iter().map(|shapes| explore(limits, &shapes)).sum();
    eprintln!("{taken} steps, {limits:?}");
    assert!(taken > 1_000);
}

fn limits(all: Limit, by: Limit) -> Limits {
    Limits { all, by: Some(("customer".into(), by)) }
}

/// Three jobs that share order keys in every way, of two types and priorities that change from one to the next.
fn with_orders() -> impl Iterator<Item = [Shape; 3]> {
    let keys: [&'static [u64]; 4] = [&[], &[1], &[2], &[1, 2]];
    let shapes = (0..64).map(move |n| (n, [0, 1, 2].map(|at| keys[(n >> (2 * at)) & 3])));
    // Key 2 alone is the same as key 1 alone, but for the second job.
    let shapes = shapes.filter(|(_, keys)| keys[0] != [2] && keys[2] != [2]);
    shapes.map(|(n, keys)| {
        [0, 1, 2].map(|at| {
            let (kind, priority) = (((n * 5) >> at) & 1, if ((n * 3) >> at) & 1 == 0 { 5 } else { 7 });
            (kind, priority, keys[at], None, None)
        })
    })
}

const PUT_OFF: [[Shape; 3]; 6] = [
    [(0, 5, &[1], None, Some(2)), (1, 5, &[1], None, None), (0, 5, &[1], None, None)],
    [(0, 5, &[1], None, Some(1)), (0, 7, &[1], None, Some(1)), (1, 5, &[1, 2], None, None)],
    [(0, 7, &[1], None, None), (0, 5, &[2], None, Some(1)), (1, 5, &[1, 2], None, Some(2))],
    [(0, 5, &[], None, Some(1)), (1, 5, &[], None, None), (0, 5, &[], None, Some(2))],
    [(0, 5, &[1, 2], None, Some(1)), (0, 5, &[2], None, None), (1, 5, &[1], None, None)],
    [(0, 5, &[1], Some(1), None), (0, 1, &[1], Some(1), Some(1)), (1, 10, &[], None, Some(1))],
];

const GROUPED: [[Shape; 3]; 4] = [
    [(0, 5, &[1], Some(1), None), (1, 5, &[1], Some(2), None), (0, 5, &[], Some(1), Some(1))],
    [(0, 5, &[], Some(1), None), (1, 5, &[], Some(1), None), (0, 7, &[], Some(2), None)],
    [(0, 5, &[], Some(1), None), (0, 7, &[], Some(1), None), (0, 5, &[], None, None)],
    [(1, 5, &[1], Some(1), None), (0, 5, &[1, 2], Some(1), None), (0, 5, &[2], Some(1), None)],
];

fn limits_of_all() -> [Limit; 5] {
    let rate = |count| Some((count, WINDOW_MS));
    [limit(Some(1), None), limit(Some(2), None), limit(None, rate(1)), limit(Some(1), rate(2)), limit(None, rate(2))]
}

fn both_limits() -> [Limits; 3] {
    [
        limits(limit(Some(1), None), limit(None, Some((1, WINDOW_MS)))),
        limits(limit(None, Some((2, WINDOW_MS))), limit(Some(1), None)),
        limits(limit(Some(2), Some((3, 2 * WINDOW_MS))), limit(Some(1), Some((1, WINDOW_MS)))),
    ]
}

#[test]
fn jobs_with_orders_in_every_order() {
    explore_all(&Limits::default(), with_orders().step_by(5));
}

#[test]
fn jobs_that_are_put_off_in_every_order() {
    explore_all(&Limits::default(), PUT_OFF.into_iter().take(3));
}

#[test]
fn jobs_with_a_limit_of_the_space_in_every_order() {
    for all in &limits_of_all()[..4] {
        explore_all(&Limits { all: *all, by: None }, GROUPED.into_iter().take(1));
    }
}

#[test]
fn jobs_with_a_limit_of_each_group_in_every_order() {
    for by in &limits_of_all()[..3] {
        explore_all(&limits(Limit::default(), *by), GROUPED.into_iter().take(2));
    }
}

#[test]
fn jobs_with_both_limits_in_every_order() {
    explore_all(&both_limits()[0], GROUPED.into_iter().take(2));
}

#[test]
#[ignore = "takes a minute in a debug build; `make crash` runs it"]
fn jobs_of_every_shape_in_every_order() {
    explore_all(&Limits::default(), with_orders().chain(PUT_OFF));
    for limit in limits_of_all() {
        explore_all(&Limits { all: limit, by: None }, GROUPED);
        explore_all(&limits(Limit::default(), limit), GROUPED);
    }
    for limits in both_limits() {
        explore_all(&limits, GROUPED);
    }
}

//! Long histories of more jobs, groups and rates, by chance.

use proptest::prelude::*;
use proptest::sample::{select, Index};

use super::*;

const JOBS: usize = 10;

/// Type, priority, order keys (a bit each), group, after how long it is due.
type Shape = (usize, u32, u64, Group, Option<u64>);

fn shape() -> impl Strategy<Value = Shape> {
    let priority = select(&[1_u32, 5, 5, 10][..]);
    let orders = prop_oneof![2 => Just(0), 3 => 0..8_u64];
    (0..3_usize, priority, orders, prop::option::of(1..4_u64), prop::option::weighted(0.3, 1..30_u64))
}

fn some_limit() -> impl Strategy<Value = Limit> {
    let rate = prop::option::of((1..4_u32, 1..25_u64));
    (prop::option::of(1..4_u32), rate).prop_map(|(concurrency, rate)| limit(concurrency, rate))
}

fn some_limits() -> impl Strategy<Value = Limits> {
    let by = prop::option::of(some_limit().prop_map(|by| ("customer".into(), by)));
    (prop_oneof![Just(Limit::default()), some_limit()], by).prop_map(|(all, by)| Limits { all, by })
}

fn step() -> impl Strategy<Value = (u8, Index, u64)> {
    // Adding, claiming, ending and time are what there is most of.
    let kind = select(
        &[0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 13, 13, 14, 15, 16, 17, 18][..],
    );
    (kind, any::<Index>(), 0..12_u64)
}

impl World {
    /// The step of this kind, with one of the jobs that it can happen to.
    fn chosen(&self, kind: u8, which: Index, n: u64) -> Option<Step> {
        let one = |is: fn(&At) -> bool| {
            let of: Vec<_> = (0..self.jobs.len()).filter(|at| is(&self.jobs[*at].at)).collect();
            (!of.is_empty()).then(|| *which.get(&of))
        };
        let held = || one(|at| matches!(at, At::Claimed { .. }));
        Some(match kind {
            0 => Step::Add,
            1 => Step::Claim(which.index(WANTED.len()), n + 1),
            2 => Step::Settle(held()?),
            3 => Step::GiveBack(held()?),
            4 => Step::Retry(held()?, n),
            5 => Step::Promote(one(|at| matches!(at, At::Delayed { .. }))?),
            6 => Step::FallDue,
            7 => Step::Expire((n > 4).then_some(n)),
            8 => Step::Extend(held()?, n + 1),
            9 => Step::Cancel(held()?),
            10 => Step::Remove(one(|at| matches!(at, At::Waiting | At::Delayed { .. }))?),
            11 => Step::Stop(which.index(NAMES.len()), n < 4),
            12 => Step::Pause(n < 3),
            13 => Step::Pass(n),
            14 => Step::Restart,
            15 => Step::Concurrency(n.checked_sub(6).map(|n| n as u32 + 1)),
            17 => Step::Withhold(one(|at| matches!(at, At::Waiting | At::Delayed { .. }))?),
            18 => Step::LetOut(which.index(self.jobs.len())),
            // What it is ordered and limited by is changed with its payload.
            _ => Step::Change(one(|at| matches!(at, At::Waiting | At::Delayed { .. }))?, n),
        })
    }

    /// Whatever is left is done: nothing is stuck.
    fn drain(&mut self) {
        for at in 0..NAMES.len() {
            self.step(Step::Stop(at, false));
        }
        self.step(Step::Pause(false));
        for at in 0..self.jobs.len() {
            self.step(Step::LetOut(at));
        }
        self.check();
        for _ in 0..10 * JOBS {
            while self.step(Step::Add) || self.step(Step::FallDue) || self.step(Step::Claim(0, 5)) {
                self.check();
            }
            let mut settled = false;
            for at in 0..self.jobs.len() {
                if self.step(Step::Settle(at)) {
                    self.check();
                    settled = true;
                }
            }
            if settled {
                continue;
            }
            let due_ms = self.queue.next_due_ms().map(|ms| ms - UNIX_MS);
            let Some(at) = [due_ms, self.queue.next_ms(self.now_ms)].into_iter().flatten().min() else { break };
            self.now_ms = self.now_ms.max(at);
            self.check();
        }
        assert!(self.jobs.iter().all(|job| job.at == At::Gone), "it never ends: {:?}", self.jobs);
        let queue = &self.queue;
        assert!(
            queue.limiter.groups.is_empty() && queue.limiter.looks.is_empty() && queue.limiter.look_at_ms.is_empty()
        );
        assert_eq!(queue.counts(), Counts::default());
        assert!(queue.ready.counts().count() == 0 && queue.claims.is_empty());
    }
}

fn run(limits: Limits, shapes: &[Shape], steps: Vec<(u8, Index, u64)>) {
    let orders = |bits: u64| (0..3).filter(|bit| bits & (1 << bit) != 0).collect();
    let facts = shapes.iter().enumerate().map(|(at, (kind, priority, bits, group, due))| {
        // Ids around the times that are waited for, two in each millisecond.
        let id = JobId { ms: UNIX_MS + 100 + at as u64 / 2 * 7, seq: at as u64 };
        let due_ms = due.map(|ms| UNIX_MS + 100 + at as u64 * 2 + ms);
        Facts { id, name: name(*kind), priority: *priority, orders: orders(*bits), group: *group, due_ms }
    });
    let mut world = World::new(limits, facts.collect());
    for (kind, which, n) in steps {
        if world.chosen(kind, which, n).is_some_and(|step| world.step(step)) {
            world.check();
        }
    }
    world.drain();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_as_the_rules_say(
        limits in some_limits(),
        shapes in prop::collection::vec(shape(), JOBS),
        steps in prop::collection::vec(step(), 0..150),
    ) {
        run(limits, &shapes, steps);
    }

    /// Hardly anything but claims that begin and end, in one group: several within a window, and several windows.
    #[test]
    fn any_history_of_one_busy_group_is_as_the_rules_say(
        count in 2..5_u32,
        per_ms in 1..25_u64,
        concurrency in prop::option::of(1..4_u32),
        steps in prop::collection::vec((select(&[0, 0, 1, 1, 1, 1, 3, 3, 3, 4, 6, 13, 13, 14][..]), any::<Index>(), 0..6_u64), 0..80),
    ) {
        let limits = Limits { all: Limit::default(), by: Some(("customer".into(), limit(concurrency, Some((count, per_ms))))) };
        run(limits, &[(0, 5, 0, Some(1), None); 5], steps);
    }
}

//! Any history of a queue, against a model that knows each job's state and place, and applies what it is handed.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Add {
        keys: u8,
        barrier: bool,
        delay_ms: Option<u64>,
        kind: u32,
    },
    TakeMain(usize),
    /// Two bits a job: see [`World::finish_main`].
    FinishMain(u32),
    PutMainBack,
    TakeSide(usize),
    FinishSide(u32),
    PutSideBack,
    GiveBack(usize),
    Pass(u64),
    Remove(usize),
    Hasten(usize),
    EndHold,
    Pause(u32),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Unread,
    Main,
    Undue,
    /// Waiting or backing off.
    Placed,
    Side,
    Settled,
}

#[derive(Debug)]
struct Job {
    /// A bit each.
    keys: u8,
    barrier: bool,
    due_ms: u64,
    kind: u32,
    at: At,
    place: Option<u64>,
    /// May not be applied before.
    not_before_ms: u64,
    was_undue: bool,
    applied: Option<usize>,
}

impl Job {
    fn shares(&self, other: &Job) -> bool {
        self.barrier || other.barrier || self.keys & other.keys != 0
    }
}

#[derive(Default)]
struct World {
    queue: Queue,
    now_ms: u64,
    paused: u32,
    jobs: BTreeMap<u64, Job>,
    places: u64,
    hastened: u64,
    applied: usize,
    /// What the main batch was told, and when it was taken.
    told: Option<(FxHashSet<u64>, bool, u64)>,
    waits_for_quiet: bool,
    /// Removed before they were read: the queue does not know.
    removed_unread: Vec<u64>,
}

fn id(n: u64) -> JobId {
    JobId { ms: n, seq: 0 }
}

fn bits(keys: u8) -> impl Iterator<Item = u64> {
    (0..8).filter(move |bit| keys & (1 << bit) != 0)
}

impl World {
    fn all(&self, at: At) -> Vec<u64> {
        self.jobs.iter().filter(|(_, job)| job.at == at).map(|(n, _)| *n).collect()
    }

    fn holders(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values().filter(|job| matches!(job.at, At::Placed | At::Side))
    }

    fn place(&mut self, n: u64) {
        let job = self.jobs.get_mut(&n).unwrap();
        (job.at, job.place) = (At::Placed, Some(self.places));
        self.places += 1;
    }

    /// Who is due takes a place, in the order of time; a barrier is the last.
    fn place_due(&mut self) {
        let mut due: Vec<_> = self.all(At::Undue).iter().map(|n| (self.jobs[n].due_ms, *n)).collect();
        due.sort_unstable();
        for (due_ms, n) in due {
            let barrier = self.holders().any(|job| job.barrier);
            if due_ms <= self.now_ms && self.told.is_none() && !barrier && !self.waits_for_quiet {
                self.place(n);
            }
        }
    }

    fn apply(&mut self, n: u64) {
        let job = &self.jobs[&n];
        assert!(job.applied.is_none() && matches!(job.at, At::Main | At::Side), "{n} applied in {:?}", job.at);
        assert!(job.not_before_ms <= self.now_ms, "{n} applied too early");
        for (other_n, other) in self.jobs.iter().filter(|(other_n, other)| **other_n != n && other.shares(job)) {
            let before = other.place.is_some_and(|place| job.place.is_none_or(|own| place < own));
            let holds = matches!(other.at, At::Placed | At::Side);
            assert!(!(holds && before), "{n} passed {other_n}");
            let is_left_out = self.told.as_ref().is_some_and(|(keys, any, taken_ms)| {
                other.barrier && *any || other.due_ms > *taken_ms || bits(other.keys).any(|key| keys.contains(&key))
            });
            assert!(!(job.at == At::Side && other.at == At::Main && !is_left_out), "{n} beside {other_n}");
        }
        let settled_at = self.applied;
        self.applied += 1;
        let job = self.jobs.get_mut(&n).unwrap();
        (job.at, job.applied) = (At::Settled, Some(settled_at));
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Add { keys, barrier, delay_ms, kind } => {
                let n = self.jobs.len() as u64 + 1;
                let due_ms = self.now_ms + delay_ms.unwrap_or(0);
                let (at, keys) = (At::Unread, if barrier { 0 } else { keys });
                let (place, was_undue, applied, not_before_ms) = (None, false, None, due_ms);
                let job = Job { keys, barrier, due_ms, kind, at, place, not_before_ms, was_undue, applied };
                self.jobs.insert(n, job);
                self.queue.added(id(n));
            }
            Step::TakeMain(max) => self.take_main(max),
            Step::FinishMain(luck) => self.finish_main(luck),
            Step::PutMainBack => {
                self.queue.main_put_back();
                self.told = None;
                for n in self.all(At::Main) {
                    self.jobs.get_mut(&n).unwrap().at = At::Unread;
                }
            }
            Step::TakeSide(max) => self.take_side(max),
            Step::FinishSide(luck) => self.finish_side(luck),
            Step::PutSideBack => {
                self.queue.side_put_back();
                for n in self.all(At::Side) {
                    self.jobs.get_mut(&n).unwrap().at = At::Placed;
                }
            }
            Step::GiveBack(at) => {
                let side = self.all(At::Side);
                for n in side.iter().skip(at) {
                    self.jobs.get_mut(n).unwrap().at = At::Placed;
                }
                if let Some(n) = side.get(at) {
                    self.queue.side_give_back(id(*n));
                }
            }
            Step::Pass(ms) => self.now_ms += ms,
            Step::Remove(at) => {
                let n = at as u64 % (self.jobs.len() as u64 + 1);
                let Some(job) = self.jobs.get_mut(&n).filter(|_| !self.removed_unread.contains(&n)) else {
                    return;
                };
                let expected = match job.at {
                    At::Main | At::Side => Err(Active),
                    At::Unread | At::Settled => Ok(false),
                    At::Undue | At::Placed => Ok(true),
                };
                assert_eq!(self.queue.remove(id(n)), expected, "{n}");
                if job.at == At::Unread {
                    self.removed_unread.push(n);
                }
                if expected.is_ok() {
                    job.at = At::Settled;
                }
            }
            Step::Hasten(at) => {
                let n = at as u64 % (self.jobs.len() as u64 + 1);
                self.queue.hasten(id(n), self.now_ms);
                let Some(job) = self.jobs.get_mut(&n) else { return };
                match job.at {
                    At::Undue => {
                        self.hastened += 1;
                        job.due_ms = job.due_ms.min(self.now_ms.min(self.hastened));
                        job.not_before_ms = job.not_before_ms.min(self.now_ms);
                    }
                    At::Placed => job.not_before_ms = job.not_before_ms.min(self.now_ms),
                    At::Unread | At::Main | At::Side | At::Settled => {}
                }
            }
            Step::EndHold => self.queue.end_hold(),
            Step::Pause(kinds) => self.paused = kinds,
        }
        self.check();
    }

    fn take_main(&mut self, max: usize) {
        let from = self.queue.main_from(self.now_ms);
        self.place_due();
        let Some(from) = from else {
            return;
        };
        assert!(self.told.is_none());
        let unread = self.all(At::Unread);
        assert!(!self.holders().any(|job| job.barrier), "read on past a barrier");
        assert!(self.jobs.range(..=from.ms).all(|(_, job)| job.at != At::Unread), "{from} passes unread jobs");
        let Some(through) = unread.iter().take(max).next_back() else {
            self.queue.main_skipped(id(self.jobs.len() as u64));
            self.waits_for_quiet = false;
            return;
        };
        let told = self.queue.blocked();
        let keys: FxHashSet<u64> = self.holders().flat_map(|job| bits(job.keys)).collect();
        assert_eq!(told, (keys, self.holders().next().is_some()));
        self.told = Some((told.0, told.1, self.now_ms));
        self.queue.main_taken(id(*through));
        for n in unread.iter().take(max) {
            self.jobs.get_mut(n).unwrap().at = At::Main;
        }
    }

    /// As an applier does it. Of each job's two bits, 3 is success, 2 too, 1 is a failure, and 0 is one that may be
    /// tried again at once.
    fn finish_main(&mut self, mut luck: u32) {
        let Some((mut blocked, mut any, taken_ms)) = self.told.clone() else {
            return;
        };
        let batch = self.all(At::Main);
        let (mut mark, mut left, mut held) = (JobId::ZERO, Vec::new(), Held::No);
        let mut places = Vec::new();
        for n in &batch {
            let lucky = luck & 2 != 0;
            let due_ms = (luck & 1 != 0).then_some(self.now_ms + 7);
            luck = luck.rotate_right(2);
            let job = self.jobs.get_mut(n).unwrap();
            let mut out = LeftOut {
                keys: bits(job.keys).collect(),
                barrier: job.barrier,
                holds: true,
                due_ms: None,
                kind: job.kind,
            };
            let paused = self.paused & (1 << job.kind) != 0;
            if job.due_ms > taken_ms {
                (out.holds, out.due_ms) = (false, Some(job.due_ms));
                (job.at, job.was_undue) = (At::Undue, true);
                left.push((id(*n), out));
            } else if job.barrier && (any || !lucky || paused) {
                held = if any { Held::UntilQuiet } else { Held::Until(self.now_ms + 5) };
                break;
            } else if !job.barrier && (bits(job.keys).any(|key| blocked.contains(&key)) || !lucky || paused) {
                out.due_ms = due_ms.filter(|_| !paused);
                job.not_before_ms = out.due_ms.unwrap_or(job.not_before_ms);
                blocked.extend(bits(job.keys));
                any = true;
                left.push((id(*n), out));
                places.push(*n);
            } else {
                self.apply(*n);
            }
            mark = id(*n);
        }
        self.told = None;
        for n in places {
            self.place(n);
        }
        for n in self.all(At::Main) {
            self.jobs.get_mut(&n).unwrap().at = At::Unread;
        }
        self.waits_for_quiet = held == Held::UntilQuiet;
        self.queue.main_done(mark, left, held);
    }

    fn take_side(&mut self, max: usize) {
        let was_in_flight = !self.all(At::Side).is_empty();
        let paused = self.paused;
        let is_paused = |kind: u32| paused & (1 << kind) != 0;
        let has = self.queue.has_side(self.now_ms, &is_paused);
        let taken = self.queue.side_take(self.now_ms, max, &is_paused);
        self.place_due();
        assert_eq!(has, !taken.is_empty());
        assert!(taken.len() <= max && (taken.is_empty() || !was_in_flight));
        assert!(taken.is_sorted());
        for JobId { ms: n, .. } in &taken {
            let job = self.jobs.get_mut(n).unwrap();
            assert!(job.at == At::Placed && !is_paused(job.kind), "{n} taken in {:?}", job.at);
            job.at = At::Side;
            let in_flight = taken.len() > 1 || self.told.is_some();
            assert!(!(self.jobs[n].barrier && (in_flight || self.holders().count() > 1)), "barrier {n} is not alone");
        }
    }

    fn finish_side(&mut self, mut luck: u32) {
        let mut results = Vec::new();
        let mut left = 0;
        for n in self.all(At::Side) {
            let (lucky, backs_off) = (luck & 2 != 0, luck & 1 != 0);
            luck = luck.rotate_right(2);
            let keys = self.jobs[&n].keys;
            if keys & left == 0 && lucky {
                self.apply(n);
                results.push((id(n), SideResult::Settled));
                continue;
            }
            left |= keys;
            let due_ms = backs_off.then_some(self.now_ms + 3);
            let job = self.jobs.get_mut(&n).unwrap();
            job.at = At::Placed;
            job.not_before_ms = due_ms.unwrap_or(job.not_before_ms);
            if backs_off || lucky {
                results.push((id(n), SideResult::Left { due_ms }));
            }
        }
        self.queue.side_done(&results);
    }

    fn check(&mut self) {
        for (n, job) in &self.jobs {
            let state = self.queue.state(id(*n));
            let as_expected = match job.at {
                At::Unread => state == Some(JobState::Waiting),
                At::Main | At::Side => state == Some(JobState::Active),
                At::Undue => state == Some(JobState::Delayed { due_ms: job.due_ms }),
                At::Placed => matches!(state, Some(JobState::Waiting | JobState::Delayed { .. })),
                At::Settled => state.is_none() || self.removed_unread.contains(n),
            };
            assert!(as_expected, "{n}: {state:?} instead of {:?}", job.at);
        }
        let unsettled = self.jobs.iter().find(|(_, job)| job.at != At::Settled).map(|(n, _)| *n);
        let first = self.queue.first_unsettled();
        let end = unsettled.map_or(self.jobs.len() as u64 + 1, |n| n);
        assert!(first <= id(end), "{first} is beyond {end}");
        let known = |n: &u64| id(*n) < first || self.removed_unread.contains(n);
        assert!((1..end).all(|n| known(&n)), "{first} could be {end}");
        let left = self.all(At::Undue).len() + self.holders().count();
        let counts = self.queue.counts();
        assert_eq!((counts.left, counts.active), (left, self.all(At::Side).len()));
    }

    /// Everything succeeds from now on: everything ends.
    fn drain(&mut self) {
        self.paused = 0;
        for _ in 0..20 * (self.jobs.len() + 1) {
            for step in [Step::FinishMain(u32::MAX), Step::FinishSide(u32::MAX), Step::TakeMain(3), Step::TakeSide(2)] {
                self.step(&step);
            }
            if self.told.is_none() && self.all(At::Side).is_empty() {
                let Some(due_ms) = self.queue.next_due() else {
                    break;
                };
                self.now_ms = self.now_ms.max(due_ms);
            }
        }
        assert!(self.queue.is_idle(), "it never ends: {:?}", self.jobs);
        let unsettled: Vec<_> = self.jobs.iter().filter(|(_, job)| job.at != At::Settled).collect();
        assert!(unsettled.is_empty(), "{unsettled:?}");
        let undelayed: Vec<_> = self.jobs.values().filter(|job| !job.was_undue).collect();
        for (at, later) in undelayed.iter().enumerate() {
            for earlier in undelayed[..at].iter().filter(|earlier| earlier.shares(later)) {
                let (Some(first), Some(second)) = (earlier.applied, later.applied) else {
                    continue;
                };
                assert!(first < second, "{earlier:?} after {later:?}");
            }
        }
    }
}

fn run(steps: &[Step]) {
    let mut world = World::default();
    for step in steps {
        world.step(step);
    }
    world.drain();
}

fn step() -> impl Strategy<Value = Step> {
    let delay = prop_oneof![3 => Just(None), 2 => (1..20u64).prop_map(Some)];
    let add = (0..8u8, prop::bool::weighted(0.1), delay, 0..2u32);
    prop_oneof![
        6 => add.prop_map(|(keys, barrier, delay_ms, kind)| Step::Add { keys, barrier, delay_ms, kind }),
        4 => (1..6usize).prop_map(Step::TakeMain),
        4 => any::<u32>().prop_map(Step::FinishMain),
        1 => Just(Step::PutMainBack),
        4 => (1..5usize).prop_map(Step::TakeSide),
        4 => any::<u32>().prop_map(Step::FinishSide),
        1 => Just(Step::PutSideBack),
        1 => (0..3usize).prop_map(Step::GiveBack),
        3 => (1..10u64).prop_map(Step::Pass),
        1 => (0..64usize).prop_map(Step::Remove),
        1 => (0..64usize).prop_map(Step::Hasten),
        1 => Just(Step::EndHold),
        1 => (0..4u32).prop_map(Step::Pause),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_order_and_ends(steps in prop::collection::vec(step(), 0..80)) {
        run(&steps);
    }
}

/// Every history of five steps over four jobs of which some are delayed, barriers, or share keys.
#[test]
fn every_short_history_keeps_order_and_ends() {
    let job = |keys, barrier, delay_ms| Step::Add { keys, barrier, delay_ms, kind: 0 };
    let shapes = [
        [job(1, false, None), job(1, false, Some(5)), job(1, false, None), job(2, false, None)],
        [job(1, false, None), job(0, true, Some(5)), job(3, false, None), job(2, false, Some(6))],
        [job(1, false, Some(5)), job(1, false, None), job(0, true, None), job(1, false, None)],
    ];
    let moves = [
        Step::TakeMain(2),
        Step::FinishMain(u32::MAX),
        Step::FinishMain(0b0101_0100),
        Step::TakeSide(3),
        Step::FinishSide(0b1110),
        Step::FinishSide(0b0101),
        Step::Pass(6),
    ];
    for shape in &shapes {
        for mut number in 0..moves.len().pow(5) {
            let mut steps = shape.to_vec();
            for _ in 0..5 {
                steps.push(moves[number % moves.len()].clone());
                number /= moves.len();
            }
            run(&steps);
        }
    }
}

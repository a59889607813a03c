//! Single steps, and spaces whose batches overlap: none sleeps for ever.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::queue::{Held, LeftOut, Queue, SideResult};

fn error() -> JobError {
    JobError { code: Some("42P01".into()), message: "no such table".into() }
}

#[test]
fn a_type_is_tried_again_after_longer_and_longer() {
    let mut refusals = Refusals::default();
    let (mut now_ms, mut batch) = (0, 0);
    for delay_ms in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        batch += 1;
        assert_eq!(refusals.refuse(7, batch, batch, now_ms, error()), batch == 1);
        assert_eq!(refusals.next_due(), Some(now_ms + delay_ms));
        assert!(refusals.is_paused(7, now_ms + delay_ms - 1) && !refusals.is_paused(8, now_ms));
        now_ms += delay_ms;
        assert!(!refusals.is_paused(7, now_ms));
        refusals.pass_time(now_ms);
        assert_eq!(refusals.next_due(), None);
    }
    assert!(refusals.accept(7) && !refusals.accept(7));
}

/// They were sent when nobody knew.
#[test]
fn batches_that_were_under_way_make_nobody_wait_longer() {
    let mut refusals = Refusals::default();
    for batch in 1..=8 {
        refusals.refuse(7, batch, 8, 10 * batch, error());
        assert_eq!(refusals.until_ms(7), Some(510));
    }
    refusals.refuse(7, 9, 9, 600, error());
    assert_eq!(refusals.until_ms(7), Some(1_600));
}

#[test]
fn who_sleeps_is_woken_once_by_time_or_acceptance() {
    let name: Arc<str> = "bear".into();
    for accepted in [false, true] {
        let mut refusals = Refusals::default();
        assert!(!refusals.sleep(&name, 0), "nothing is paused");
        refusals.refuse(7, 1, 1, 0, error());
        assert!(refusals.sleep(&name, 0) && !refusals.has_woken());
        if accepted {
            assert!(refusals.accept(7));
        } else {
            refusals.pass_time(499);
            assert_eq!(refusals.next_woken(), None);
            refusals.pass_time(500);
        }
        assert!(refusals.has_woken());
        assert_eq!(refusals.next_woken(), Some(name.clone()));
        assert!(!refusals.has_woken() && refusals.next_woken().is_none());
    }
}

/// Spaces with left-out jobs of types that are refused now and then, as the server schedules them.
struct World {
    queues: BTreeMap<Arc<str>, Queue>,
    asleep: BTreeMap<Arc<str>, bool>,
    refusals: Refusals,
    turns: VecDeque<Arc<str>>,
    /// Batches in flight: the number, the space, its jobs with their types.
    flying: Vec<(u64, Arc<str>, Vec<JobId>)>,
    kinds: BTreeMap<(Arc<str>, JobId), u32>,
    batches: u64,
    now_ms: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Send,
    /// A batch comes back; a bit for each type that is refused.
    Return(usize, u32),
    Pass(u64),
}

impl World {
    fn new(jobs: &[(u8, u32)]) -> World {
        let mut world = World {
            queues: BTreeMap::new(),
            asleep: BTreeMap::new(),
            refusals: Refusals::default(),
            turns: VecDeque::new(),
            flying: Vec::new(),
            kinds: BTreeMap::new(),
            batches: 0,
            now_ms: 0,
        };
        for space in 0..3u8 {
            let name: Arc<str> = space.to_string().into();
            let of_space = jobs.iter().enumerate().filter(|(_, (of, _))| *of == space);
            let left: Vec<(JobId, LeftOut)> = of_space
                .map(|(n, (_, kind))| {
                    let id = JobId { ms: n as u64 + 1, seq: 0 };
                    world.kinds.insert((name.clone(), id), *kind);
                    let keys = [n as u64].into_iter().collect();
                    (id, LeftOut { keys, barrier: false, holds: true, due_ms: None, kind: *kind })
                })
                .collect();
            let mut queue = Queue::new();
            let end = JobId { ms: 1_000, seq: 0 };
            queue.main_taken(end);
            queue.main_done(end, left, Held::No);
            world.queues.insert(name.clone(), queue);
            world.wake(&name);
        }
        world
    }

    /// As `Queues::wake` does it.
    fn wake(&mut self, name: &Arc<str>) {
        let queue = self.queues.get_mut(name).unwrap();
        let (refusals, now_ms) = (&mut self.refusals, self.now_ms);
        if queue.has_side(now_ms, &|kind| refusals.is_paused(kind, now_ms)) {
            if !self.turns.contains(name) {
                self.turns.push_back(name.clone());
            }
        } else if queue.counts().left > 0 && !self.asleep.get(name).is_some_and(|asleep| *asleep) {
            let sleeps = refusals.sleep(name, now_ms);
            self.asleep.insert(name.clone(), sleeps);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Send => {
                let Some(name) = self.turns.pop_front() else { return };
                let (refusals, now_ms) = (&self.refusals, self.now_ms);
                let queue = self.queues.get_mut(&name).unwrap();
                let taken = queue.side_take(now_ms, 2, &|kind| refusals.is_paused(kind, now_ms));
                if taken.is_empty() {
                    return self.wake(&name);
                }
                self.batches += 1;
                self.flying.push((self.batches, name, taken));
            }
            Step::Return(at, refused) => self.come_back(*at, *refused),
            Step::Pass(ms) => self.now_ms += ms,
        }
        self.refusals.pass_time(self.now_ms);
        // Not all at once.
        if let Some(name) = self.refusals.next_woken() {
            self.asleep.insert(name.clone(), false);
            self.wake(&name);
        }
    }

    fn come_back(&mut self, at: usize, refused: u32) {
        if self.flying.is_empty() {
            return;
        }
        let (batch, name, jobs) = self.flying.remove(at % self.flying.len());
        let mut results = Vec::new();
        for id in jobs {
            let kind = self.kinds[&(name.clone(), id)];
            if refused & (1 << kind) != 0 {
                self.refusals.refuse(kind, batch, self.batches, self.now_ms, error());
                results.push((id, SideResult::Left { due_ms: None }));
            } else {
                self.refusals.accept(kind);
                results.push((id, SideResult::Settled));
            }
        }
        self.queues.get_mut(&name).unwrap().side_done(&results);
        self.wake(&name);
    }

    /// Nothing is refused any more, and only what the scheduler knows of happens.
    fn drain(&mut self) {
        for _ in 0..1_000 {
            for step in [Step::Send, Step::Return(0, 0)] {
                self.step(&step);
            }
            if self.turns.is_empty() && self.flying.is_empty() && !self.refusals.has_woken() {
                let Some(due_ms) = self.refusals.next_due() else { break };
                self.now_ms = self.now_ms.max(due_ms);
            }
        }
        for (name, queue) in &self.queues {
            assert!(queue.is_idle(), "{name} sleeps: {:?}", queue.counts());
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Send),
        4 => (0..4usize, 0..4u32).prop_map(|(at, refused)| Step::Return(at, refused)),
        2 => (1..700u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_space_sleeps_for_ever(
        jobs in prop::collection::vec((0..3u8, 0..2u32), 0..12),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut world = World::new(&jobs);
        for step in &steps {
            world.step(step);
        }
        world.drain();
    }
}

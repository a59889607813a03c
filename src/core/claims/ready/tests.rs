//! Against a sorted list.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::core::jobs::job_id::JobId;

const NAMES: [&str; 3] = ["A", "B", "C"];

fn name(at: usize) -> Arc<str> {
    NAMES[at].into()
}

fn head(priority: Priority, ms: u64) -> Head {
    Head::new(priority, Place::new(JobId { ms, seq: 0 }, None))
}

type Job = (Priority, u64, usize, Group);

#[derive(Debug, Clone)]
enum Step {
    Insert(Job),
    Remove(Index),
    RemoveUnknown(Job),
    Close(u64, bool),
    Stop(usize, bool),
    Ask,
}

fn job() -> impl Strategy<Value = Job> {
    (
        prop_oneof![4 => 1..=10_u32, 1 => (MAX_PRIORITY - 3)..=MAX_PRIORITY],
        0..1_000_u64,
        0..NAMES.len(),
        prop::option::of(0..3_u64),
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => job().prop_map(Step::Insert),
        5 => any::<Index>().prop_map(Step::Remove),
        1 => job().prop_map(Step::RemoveUnknown),
        3 => (0..3_u64, any::<bool>()).prop_map(|(group, closed)| Step::Close(group, closed)),
        2 => (0..NAMES.len(), any::<bool>()).prop_map(|(name, stopped)| Step::Stop(name, stopped)),
        2 => Just(Step::Ask),
    ]
}

/// All jobs, the first one first.
#[derive(Default)]
struct List {
    jobs: Vec<Job>,
    closed: BTreeSet<u64>,
    stopped: BTreeSet<usize>,
}

impl List {
    fn sort(&mut self) {
        self.jobs.sort_by_key(|(priority, ms, ..)| (std::cmp::Reverse(*priority), *ms));
    }

    fn free(&self) -> impl Iterator<Item = &Job> {
        let closed = |group: &Group| group.is_some_and(|group| self.closed.contains(&group));
        self.jobs.iter().filter(move |(_, _, name, group)| !closed(group) && !self.stopped.contains(name))
    }

    fn open(&self) -> BTreeSet<usize> {
        self.free().map(|job| job.2).collect()
    }
}

fn check(ready: &Ready, list: &List) {
    let first = |names: &[usize]| {
        let first = list.free().find(|job| names.contains(&job.2));
        first.map(|(priority, ms, at, group)| (head(*priority, *ms), name(*at), *group))
    };
    let told = |of: Option<(Head, &Arc<str>, Group)>| of.map(|(head, name, group)| (head, name.clone(), group));
    assert_eq!(told(ready.first(Wanted::Any)), first(&[0, 1, 2]));
    for names in [&[0][..], &[1], &[2], &[2, 0], &[1, 2, 1], &[]] {
        let wanted: Vec<_> = names.iter().map(|at| name(*at)).collect();
        assert_eq!(told(ready.first(Wanted::Types(&wanted))), first(names));
    }
    let mut open = Vec::new();
    for (.., at, _) in list.free() {
        if !open.contains(&name(*at)) {
            open.push(name(*at));
        }
    }
    assert!(ready.heads.iter().map(|(_, name)| name).eq(&open));
    assert_eq!(ready.len(), list.jobs.len() as u64);
    let counted = (0..NAMES.len()).map(|at| (name(at), list.jobs.iter().filter(|job| job.2 == at).count() as u64));
    assert!(ready.counts().map(|(name, count)| (name.clone(), count)).eq(counted.filter(|(_, count)| *count > 0)));
    assert!(ready.stopped.iter().eq(&list.stopped.iter().map(|at| name(*at)).collect::<Vec<_>>()));
    assert!((0..3).all(|group| ready.is_closed(group) == list.closed.contains(&group)));
    // What is kept of types and groups is of those that there are jobs of.
    let buckets: BTreeSet<_> = list.jobs.iter().map(|(.., at, group)| (name(*at), *group)).collect();
    assert_eq!(ready.types.values().map(|of| of.buckets.len()).sum::<usize>(), buckets.len());
    let groups: BTreeSet<_> = buckets.iter().filter_map(|(name, group)| Some(((*group)?, name))).collect();
    assert!(ready.types_of.iter().flat_map(|(group, names)| names.iter().map(|name| (*group, name))).eq(groups));
    assert!(ready.types_of.values().all(|names| !names.is_empty()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_first_is_that_of_a_sorted_list(steps in prop::collection::vec(step(), 0..120)) {
        let (mut ready, mut list, mut open) = (Ready::default(), List::default(), BTreeSet::new());
        for step in steps {
            match step {
                Step::Insert(job) => {
                    let (priority, ms, at, group) = job;
                    // A place is one job's.
                    if list.jobs.iter().any(|other| other.1 == ms && *other != job) {
                        continue;
                    }
                    let is_new = !list.jobs.contains(&job);
                    prop_assert_eq!(ready.insert(&name(at), group, head(priority, ms)), is_new);
                    if is_new {
                        list.jobs.push(job);
                    }
                }
                Step::Remove(which) if !list.jobs.is_empty() => {
                    let (priority, ms, at, group) = list.jobs.remove(which.index(list.jobs.len()));
                    prop_assert!(ready.remove(&name(at), group, head(priority, ms)));
                }
                Step::Remove(_) => {}
                Step::RemoveUnknown(job) => {
                    let (priority, ms, at, group) = job;
                    if !list.jobs.contains(&job) {
                        prop_assert!(!ready.remove(&name(at), group, head(priority, ms)));
                    }
                }
                Step::Close(group, closed) => {
                    ready.set_closed(group, closed);
                    if closed { list.closed.insert(group) } else { list.closed.remove(&group) };
                }
                Step::Stop(at, stopped) => {
                    ready.set_stopped(&name(at), stopped);
                    if stopped { list.stopped.insert(at) } else { list.stopped.remove(&at) };
                }
                Step::Ask => {
                    let now = list.open();
                    let opened = ready.take_opened();
                    let is_told = |at: &usize| opened.contains(&name(*at));
                    prop_assert!(now.difference(&open).all(is_told), "{opened:?} of {now:?}");
                    prop_assert!(opened.iter().all(|of| now.iter().any(|at| name(*at) == *of)));
                    prop_assert!(ready.take_opened().is_empty());
                    open = now;
                }
            }
            // One that was not to be had in between is told again.
            open = open.intersection(&list.open()).copied().collect();
            list.sort();
            check(&ready, &list);
        }
        for (priority, ms, at, group) in std::mem::take(&mut list.jobs) {
            ready.remove(&name(at), group, head(priority, ms));
        }
        prop_assert!(ready.types.is_empty() && ready.types_of.is_empty() && ready.heads.is_empty());
    }
}

#[test]
fn types_that_nobody_asks_for_are_noted_once() {
    let mut ready = Ready::default();
    for _ in 0..1_000 {
        ready.insert(&name(0), None, head(5, 1));
        ready.remove(&name(0), None, head(5, 1));
    }
    assert!(ready.opened.len() <= 1);
    assert!(ready.take_opened().is_empty(), "there is no job of it");
    ready.insert(&name(0), None, head(5, 1));
    assert_eq!(ready.take_opened(), [name(0)]);
}

/// The others are those beyond the sets: here of the third priority and the fourth.
#[test]
fn the_oldest_may_be_of_a_priority_that_has_no_set() {
    let mut ready = Ready::default();
    for (priority, ms) in [(9, 50), (8, 40), (7, 10), (6, 30)] {
        assert!(ready.insert(&name(0), None, head(priority, ms)));
    }
    assert_eq!(ready.oldest_ms(100), Some(10));
    assert_eq!(ready.oldest_ms(2), Some(40), "no more are looked at");
    assert!(ready.remove(&name(0), None, head(7, 10)));
    assert_eq!(ready.oldest_ms(100), Some(30));
}

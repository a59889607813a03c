//! Every order in which fills, invalidations and changes of a row can come, over fills, index and dependents as they are
//! and a keyspace of one entry: nobody is served what was read before an invalidation that concerns it, and the number
//! that a removal tells is that of the entries which it put out of service.
//!
//! ```text
//! query ──> fetch sent ──> result (read when it was sent, or when it came) ──> stored, or not
//! change: the row gets its next size in Postgres
//! invalidation: ROW; CHANGED at once; CHANGED that looks at the row first, if anybody wants to know, and drops later
//! large: the same ROW, in force at once ──> taken out of the index ──> removed from Redis, unless stored again
//! ```
//! With a query that says that it reads the size, changes of the row's other columns, which leave the size as it was, are among
//! them: what they concern is not dropped, and nothing else is kept for them.
//!
//! The same with fetchers that are clients, which have leases: [`leases`].
//!
//! Orders are told apart by the choice that each step takes among those that are possible then; all are tried.

mod leases;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::{Changed, Ended, Fills, Joined};
use crate::core::cache::index::count::Group;
use crate::core::cache::index::{Concern, Facts, Index, Key, Remains, Taken};
use crate::core::calls::pattern::CallPattern;
use crate::core::calls::predicate::Predicate;
use crate::core::catalog::columns_read::{ColumnsRead, Unchanged};
use crate::core::catalog::demand::{Demand, Want};
use crate::core::changes::change::Changes;
use crate::core::changes::changed_sets::ChangedSets;
use crate::core::changes::dependency::Dependency;
use crate::core::changes::image::Image;
use crate::core::values::value::Value;

const KEY: &[u8] = b"bear:size:100:200";
const ROW: &[u8] = b"bear:meta:1:caches";
const RANGE: std::ops::RangeInclusive<i64> = 100..=200;

/// What may still happen.
#[derive(Debug, Clone, Copy, Default)]
struct Budget {
    queries: usize,
    changes: usize,
    rows: usize,
    changed: usize,
    looks: usize,
    large: usize,
    /// Leases that end without a value.
    ends: usize,
    /// Values that come without a lease.
    puts: usize,
}

/// Who fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fetchers {
    Postgres,
    Clients,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Query,
    Change,
    Row,
    Large,
    /// The oldest large removal takes its entries.
    Take,
    /// The key of the oldest that has been taken is removed.
    Unlink,
    Changed,
    Look,
    Drop(usize),
    /// Which fetch ends, and whether it read the row only then.
    Finish(usize, bool),
    /// Which lease ends without a value.
    End(usize),
    /// A value comes whose lease has ended.
    Late(usize),
    /// A value comes that nobody was asked for.
    Put,
}

/// The choices of one order: which was taken of how many.
#[derive(Default)]
struct Choices {
    taken: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    fn choose(&mut self, of: usize) -> usize {
        if self.at == self.taken.len() {
            self.taken.push((0, of));
        }
        let (choice, _) = self.taken[self.at];
        self.at += 1;
        choice
    }

    /// The next order; false when there is none.
    fn next(&mut self) -> bool {
        self.at = 0;
        while let Some((choice, of)) = self.taken.pop() {
            if choice + 1 < of {
                self.taken.push((choice + 1, of));
                return true;
            }
        }
        false
    }
}

/// What was read, and when.
#[derive(Debug, Clone, Copy)]
struct Snapshot {
    time: usize,
    version: usize,
}

/// An invalidation that has happened.
enum Invalidation {
    Row {
        time: usize,
    },
    /// Of the versions up to this one.
    Changed {
        time: usize,
        floor: usize,
    },
}

struct World<'a> {
    sizes: &'a [i64],
    now: usize,
    /// In Postgres, from 0.
    version: usize,
    fills: Fills<Rc<Dependency>, usize>,
    running: Vec<(u64, Snapshot, Want)>,
    fetchers: Fetchers,
    /// Leases that have ended.
    over: Vec<u64>,
    /// When each client asked.
    asked: Vec<usize>,
    /// Versions, and whether anybody wanted to know of them.
    looks: Vec<(usize, bool)>,
    demand: Arc<Demand>,
    happened: Vec<Invalidation>,
    index: Index,
    /// What Redis has.
    entry: Option<Snapshot>,
    /// Large removals that have taken nothing yet, and what they told.
    large: VecDeque<(u64, Option<u64>)>,
    /// By which of them an entry was told that something else took.
    overwritten: Vec<u64>,
    /// What they have taken, and is not removed.
    doomed: VecDeque<Taken>,
    dependency: Rc<Dependency>,
    /// What its results read; None: all.
    reads: Option<Arc<ColumnsRead>>,
    /// What there is to be said of each version, and of all before it.
    told: &'a [Arc<Changes>],
}

impl<'a> World<'a> {
    fn new(sizes: &'a [i64], dependency: &Rc<Dependency>, told: &'a [Arc<Changes>]) -> World<'a> {
        let mut index = Index::default();
        World {
            demand: index.dependents.demand("bear"),
            sizes,
            told,
            now: 0,
            version: 0,
            fills: Fills::default(),
            running: Vec::new(),
            fetchers: Fetchers::Postgres,
            over: Vec::new(),
            asked: Vec::new(),
            looks: Vec::new(),
            happened: Vec::new(),
            index,
            entry: None,
            large: VecDeque::new(),
            overwritten: Vec::new(),
            doomed: VecDeque::new(),
            reads: dependency.reads.as_ref().map(|_| size_alone()),
            dependency: dependency.clone(),
        }
    }

    fn has(&self, version: usize) -> bool {
        RANGE.contains(&self.sizes[version])
    }

    fn steps(&self, left: Budget) -> Vec<Step> {
        let mut steps = Vec::new();
        // Where nothing is stored or under way an invalidation has no effect: orders with it are orders without it.
        let is_idle = self.running.is_empty() && self.entry.is_none();
        for (is_possible, step) in [
            (left.queries > 0, Step::Query),
            (left.changes > 0, Step::Change),
            (left.rows > 0 && !is_idle, Step::Row),
            (left.changed > 0 && !is_idle, Step::Changed),
            (left.looks > 0, Step::Look),
            (left.large > 0 && !is_idle, Step::Large),
            (!self.large.is_empty(), Step::Take),
            (!self.doomed.is_empty(), Step::Unlink),
            (left.puts > 0, Step::Put),
        ] {
            steps.extend(is_possible.then_some(step));
        }
        steps.extend((0..self.running.len()).filter(|_| left.ends > 0).map(Step::End));
        steps.extend((0..self.over.len()).map(Step::Late));
        steps.extend((0..self.looks.len()).map(Step::Drop));
        for (at, (_, sent, _)) in self.running.iter().enumerate() {
            steps.push(Step::Finish(at, false));
            if sent.version != self.version {
                steps.push(Step::Finish(at, true));
            }
        }
        steps
    }

    fn take(&mut self, step: Step, left: &mut Budget) {
        self.now += 1;
        match step {
            Step::Query => {
                left.queries -= 1;
                self.query();
            }
            Step::Change => {
                left.changes -= 1;
                self.version += 1;
            }
            Step::Row => {
                left.rows -= 1;
                self.invalidate(Arc::default());
                self.happened.push(Invalidation::Row { time: self.now });
            }
            Step::Large => {
                left.large -= 1;
                self.begin_large();
                self.happened.push(Invalidation::Row { time: self.now });
            }
            Step::Take => self.take_large(),
            Step::Unlink => {
                let taken = self.doomed.pop_front().expect("a step for one");
                if self.index.stored(&taken.key).is_none() {
                    self.entry = None;
                }
                self.sweep(taken.remains);
            }
            Step::Changed => {
                left.changed -= 1;
                self.drop_changed(self.version);
            }
            Step::Look => {
                left.looks -= 1;
                self.looks.push((self.version, self.demand.is_any()));
            }
            Step::Drop(at) => {
                let (version, is_wanted) = self.looks.remove(at);
                let told = self.told[version].clone();
                let nothing = || Arc::new(Changes::of_rows(b"bear", Some(Vec::new()), told.unchanged.clone()));
                self.drop_told(version, if is_wanted { told } else { nothing() });
            }
            Step::Finish(at, is_late) => self.finish(at, is_late),
            Step::End(at) => {
                left.ends -= 1;
                self.end(at);
            }
            Step::Late(at) => self.come_late(at),
            Step::Put => {
                left.puts -= 1;
                self.put();
            }
        }
    }

    fn query(&mut self) {
        self.asked.push(self.now);
        if let Some(entry) = self.served() {
            return self.check(entry, self.now, "a query is served");
        }
        if self.fetchers == Fetchers::Clients {
            return self.lease_or_wait();
        }
        if let Joined::Send(ticket) = self.fills.join(KEY, self.dependency.clone(), self.asked.len() - 1) {
            let snapshot = Snapshot { time: self.now, version: self.version };
            self.running.push((ticket, snapshot, self.demand.want()));
        }
    }

    fn drop_changed(&mut self, floor: usize) {
        self.drop_told(floor, self.told[floor].clone());
    }

    fn drop_told(&mut self, floor: usize, told: Arc<Changes>) {
        self.invalidate(told);
        self.happened.push(Invalidation::Changed { time: self.now, floor });
    }

    /// As a hit is answered: from Redis where nothing is being removed, else from what is live of it.
    fn served(&self) -> Option<Snapshot> {
        let is_strict = self.index.removing() || !self.doomed.is_empty();
        let live = self.index.live(KEY).is_some();
        assert!(!live || self.entry.is_some(), "a live entry is stored");
        self.entry.filter(|_| !is_strict || live)
    }

    /// What `Keyspace` does where much is to be removed.
    fn begin_large(&mut self) {
        self.fills.change([ROW], None);
        let meta = self.index.metas.find(ROW);
        let concern = Concern::Metas(meta.into_iter().collect());
        let count = self.index.count(meta.map(Group::Set), &concern, &[]);
        assert_eq!(count.is_none(), self.index.removing(), "told at once, unless another is being counted");
        let id = self.index.begin_removal(concern);
        self.large.push_back((id, count));
    }

    fn take_large(&mut self) {
        let (id, told) = self.large.pop_front().expect("a step for one");
        let (candidates, _) = self.index.concerned(id, None, 10);
        let overwritten = self.overwritten.iter().filter(|taker| **taker == id).count();
        let taken = self.index.take(id, candidates);
        self.index.end_removal(id);
        assert!(taken.iter().all(|taken| taken.by == id), "the oldest takes first");
        assert!(told.is_none_or(|told| told as usize == taken.len() + overwritten), "{told:?} were told");
        self.doomed.extend(taken);
    }

    fn sweep(&mut self, remains: Remains) {
        remains.dependent.into_iter().for_each(|dependent| while !self.index.dependents.withdraw(dependent) {});
        remains.metas.iter().for_each(|meta| drop(self.index.metas.release(*meta)));
    }

    /// What `Keyspace` does where little is to be removed.
    fn invalidate(&mut self, changes: Arc<Changes>) {
        let sets = [(ROW.into(), changes.unchanged.clone())].into();
        let sets = Arc::new(ChangedSets { section: b"bear"[..].into(), sets });
        self.fills.change_rows(&sets, &changes);
        let had = self.index.live(KEY).is_some();
        let is_passed_over = self.dependency.passes_over(&changes.unchanged);
        let mut interested = Vec::new();
        assert!(self.index.dependents.find_spaces(&changes, 10, &mut interested));
        assert_eq!(self.index.dependents.find_rows(&changes.rows, 10, &mut interested), changes.rows.len());
        let metas: Vec<_> = self.index.concerned_sets(&sets).into_iter().map(|(meta, _)| meta).collect();
        let named = metas.iter().map(|meta| (*meta, changes.unchanged.clone())).collect();
        let concern = Concern::Rows { section: sets.section.clone(), metas: named, changes };
        let removal = self.index.begin_removal(concern);
        let is_member = self.index.stored(KEY).is_some_and(|entry| metas.iter().any(|meta| entry.metas.contains(meta)));
        let mut candidates: Vec<Key> = is_member.then(|| KEY.into()).into_iter().collect();
        candidates.extend(interested.iter().filter_map(|id| self.index.dependents.key(*id)).map(|key| (**key).into()));
        let taken = self.index.take(removal, candidates);
        self.index.end_removal(removal);
        for taken in taken {
            if taken.by != removal {
                self.overwritten.push(taken.by);
            }
            self.sweep(taken.remains);
            self.entry = None;
        }
        assert!(!is_passed_over || self.index.live(KEY).is_some() == had, "what nobody reads drops nothing");
    }

    fn remove(&mut self, key: &[u8]) {
        self.note_overwritten();
        if let Some(entry) = self.index.remove(key) {
            self.sweep(entry.into_remains());
            self.entry = None;
        }
    }

    /// The entry is about to go, which a large removal has told as its own.
    fn note_overwritten(&mut self) {
        self.overwritten.extend(self.index.taken_by(KEY));
    }

    fn finish(&mut self, at: usize, is_late: bool) {
        let (ticket, mut snapshot, want) = self.running.remove(at);
        if is_late {
            snapshot = Snapshot { time: self.now, version: self.version };
        }
        let names = self.names(snapshot);
        let done = self.fills.finish(ticket, Ended::Got(&names), concerns).expect("it is under way");
        if let Some((ticket, _)) = done.send {
            self.send(ticket);
        }
        if self.index.stored(KEY).is_some_and(|entry| entry.facts.ticket < ticket) {
            self.remove(KEY);
        }
        if done.store {
            self.store(ticket, snapshot);
        }
        drop(want);
        for waiter in done.answer {
            self.check(snapshot, self.asked[waiter], "a waiter is answered");
        }
    }

    /// Somebody reads what the fill of this ticket will store.
    fn send(&mut self, ticket: u64) {
        if self.fetchers == Fetchers::Clients {
            self.fills.take_waiter(ticket).expect("somebody waits for it");
        }
        self.running.push((ticket, Snapshot { time: self.now, version: self.version }, self.demand.want()));
    }

    /// The metadata of what was read.
    fn names(&self, snapshot: Snapshot) -> Vec<Box<[u8]>> {
        self.has(snapshot.version).then(|| ROW.into()).into_iter().collect()
    }

    fn store(&mut self, ticket: u64, snapshot: Snapshot) {
        let metas = self.names(snapshot).iter().map(|name| self.index.metas.refer(name)).collect();
        let dependent = self.index.dependents.add(KEY.into(), [(*self.dependency).clone()].into());
        let facts = Facts { ticket, ..Facts::default() };
        self.note_overwritten();
        let replaced = self.index.insert(KEY.into(), 5, metas, facts, Some(dependent), self.reads.as_ref());
        replaced.into_iter().for_each(|entry| self.sweep(entry.into_remains()));
        self.entry = Some(snapshot);
    }

    /// May what was read be served to who asked then?
    fn check(&self, read: Snapshot, asked: usize, what: &str) {
        for invalidation in &self.happened {
            let (time, is_stale) = match *invalidation {
                Invalidation::Row { time } => (time, self.has(read.version)),
                // Who shows the size alone is right with it as long as it is the size.
                Invalidation::Changed { time, floor } if self.has(read.version) && self.reads.is_some() => {
                    let is_other = |version: usize| self.sizes[version] != self.sizes[read.version];
                    (time, read.version < floor && (floor..=self.version).all(is_other))
                }
                Invalidation::Changed { time, floor } if self.has(read.version) => (time, read.version < floor),
                Invalidation::Changed { time, floor } => {
                    (time, (floor.max(read.version)..=self.version).all(|version| self.has(version)))
                }
            };
            assert!(
                !(read.time < time && time < asked && is_stale),
                "{what} {read:?}, invalidated at {time}, asked at {asked}"
            );
        }
    }

    /// What is stored would be served to who asked now.
    fn check_entry(&self) {
        if let Some(entry) = self.served() {
            self.check(entry, self.now + 1, "stored is");
        }
    }
}

/// Of the call, whose results list the row.
fn concerns(dependency: &Rc<Dependency>, changed: Changed) -> bool {
    match changed {
        Changed::Rows(changes) => changes.concern(dependency),
        Changed::Listed(_, unchanged) => !dependency.passes_over(unchanged),
    }
}

fn size_alone() -> Arc<ColumnsRead> {
    Arc::new(ColumnsRead::of_sections([("bear".into(), vec!["size".into()])]))
}

fn dependency() -> Dependency {
    let call = CallPattern::parse("size {start:int} {end:int}").expect("a call");
    let predicate = Predicate::parse("size between {start} and {end}", call.args()).expect("a predicate");
    let values = [RANGE.start(), RANGE.end()].map(|value| Value::Scalar(value.to_string().into()));
    Dependency {
        space: b"bear"[..].into(),
        predicate: Arc::new(predicate),
        call: Arc::new(call),
        args: values.to_vec().into(),
        reads: None,
    }
}

/// That the row has this size now, and whether it has had it in all versions until now.
fn told(sizes: &[i64]) -> Arc<Changes> {
    let [.., size] = sizes else { panic!("no version") };
    let image = Image::from_json(format!(r#"{{"id":1,"size":{size}}}"#).as_bytes()).expect("an image");
    let is_same = sizes.iter().all(|before| before == size);
    let unchanged = Unchanged::columns(is_same.then(|| "size".into()));
    Arc::new(Changes::of_rows(b"bear", Some(vec![(image, unchanged.clone())]), unchanged))
}

/// Tries all orders; how many there are.
fn explore(sizes: &[i64; 3], fetchers: Fetchers, budget: Budget, dependency: Dependency) -> u64 {
    let dependency = Rc::new(dependency);
    let told = [0, 1, 2].map(|version| told(&sizes[..=version]));
    let mut choices = Choices::default();
    let mut orders = 0;
    loop {
        let mut world = World { fetchers, ..World::new(sizes, &dependency, &told) };
        let mut left = budget;
        let mut history = Vec::new();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| loop {
            let steps = world.steps(left);
            if steps.is_empty() {
                break;
            }
            let step = steps[choices.choose(steps.len())];
            history.push(step);
            world.take(step, &mut left);
            world.check_entry();
        }));
        if outcome.is_err() {
            panic!("sizes {sizes:?}: {history:?}");
        }
        assert_eq!(world.fills.running(), 0, "nothing is left: {history:?}");
        orders += 1;
        if !choices.next() {
            return orders;
        }
    }
}

/// In, out and in again; out, in and out again; in all the time.
const SIZES: [[i64; 3]; 3] = [[150, 350, 120], [350, 150, 10], [150, 160, 170]];

fn explore_all(fetchers: Fetchers, budgets: &[Budget]) -> u64 {
    let all =
        budgets.iter().flat_map(|budget| SIZES.iter().map(|sizes| explore(sizes, fetchers, *budget, dependency())));
    all.sum()
}

#[test]
fn no_order_of_fills_invalidations_and_changes_serves_what_was_read_before() {
    let budget = Budget { queries: 3, changes: 2, rows: 0, changed: 3, ..Budget::default() };
    let looks = Budget { queries: 2, changes: 2, rows: 0, changed: 0, looks: 2, ..Budget::default() };
    let orders = explore_all(Fetchers::Postgres, &[budget, Budget { rows: 3, changed: 0, ..budget }, looks]);
    assert!(orders > 20_000, "{orders} orders");
}

/// The same of a query that reads the size, with changes of the row that leave it as it was, or not.
#[test]
fn no_order_with_changes_of_what_nobody_reads_serves_what_was_read_before() {
    const SIZES: [[i64; 3]; 5] = [[150, 150, 150], [150, 150, 350], [350, 350, 150], [150, 160, 160], [350, 150, 150]];

    let budget = Budget { queries: 2, changes: 2, rows: 0, changed: 3, ..Budget::default() };
    let looks = Budget { queries: 2, changed: 0, looks: 2, ..budget };
    let reads = || Dependency { reads: Some(["size".into()].into()), ..dependency() };
    let all = [budget, looks].into_iter().flat_map(|budget| SIZES.map(|sizes| (sizes, budget)));
    let orders: u64 = all.map(|(sizes, budget)| explore(&sizes, Fetchers::Postgres, budget, reads())).sum();
    assert!(orders > 10_000, "{orders} orders");
}

/// The same with removals that are in force before they are carried out.
#[test]
fn no_order_of_large_removals_serves_what_was_read_before_or_tells_another_number() {
    let budget = Budget { queries: 3, changes: 1, rows: 0, changed: 0, large: 2, ..Budget::default() };
    let orders = explore_all(Fetchers::Postgres, &[budget, Budget { queries: 2, changed: 1, ..budget }]);
    assert!(orders > 20_000, "{orders} orders");
}

/// The same with invalidations of several kinds in one order, and such as look at the row before they drop.
#[test]
#[ignore = "takes minutes in a debug build; `make check-freshness` runs it"]
fn no_order_with_invalidations_of_all_kinds_serves_what_was_read_before() {
    let budget = Budget { queries: 3, changes: 2, rows: 1, changed: 1, looks: 1, ..Budget::default() };
    let orders = explore_all(
        Fetchers::Postgres,
        &[
            budget,
            Budget { rows: 2, looks: 0, ..budget },
            Budget { changed: 2, looks: 0, ..budget },
            Budget { rows: 0, changed: 0, looks: 2, ..budget },
            Budget { rows: 1, changed: 0, looks: 0, large: 2, ..budget },
        ],
    );
    assert!(orders > 1_000_000, "{orders} orders");
}

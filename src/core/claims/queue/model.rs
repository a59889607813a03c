//! Any history of a queue, against a second one that is a plain list of jobs: each of its answers is read off the whole list,
//! as the rules say it, and after each step the queue must give the same ones.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::core::catalog::claim::Rate;

mod any_history;
mod every_order;
mod million;

/// Unix time when the monotonic clock began, so that the two cannot stand in for each other.
const UNIX_MS: u64 = 5_000_000;

const NAMES: [&str; 3] = ["A", "B", "C"];

/// What claimers want: any, one of each, two, nothing that there is.
const WANTED: [&[usize]; 5] = [&[0, 1, 2], &[0], &[1], &[2], &[1, 0]];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    /// Not enqueued yet.
    New,
    Waiting,
    Delayed {
        due_ms: u64,
        was_tried: bool,
    },
    Claimed {
        token: u64,
        worker: u32,
        lease_ms: u64,
        deadline_ms: u64,
        cancelled: bool,
    },
    /// Settled, removed.
    Gone,
}

#[derive(Debug, Clone)]
struct Job {
    facts: Facts,
    at: At,
    /// It waits, or is delayed, and must not be handed out.
    is_withheld: bool,
}

impl Job {
    /// By the id; one that waited for a time by that, behind all that were enqueued until then.
    fn place(&self) -> (u64, bool, JobId) {
        let id = self.facts.id;
        self.facts.due_ms.filter(|due| *due > id.ms).map_or((id.ms, false, id), |due| (due, true, id))
    }

    fn is_claimed(&self) -> bool {
        matches!(self.at, At::Claimed { .. })
    }

    /// Does it hold its place among those of its order?
    fn stands(&self) -> bool {
        self.is_claimed() || matches!(self.at, At::Waiting | At::Delayed { was_tried: true, .. })
    }

    fn shares_order(&self, other: &Job) -> bool {
        self.facts.id != other.facts.id && self.facts.orders.iter().any(|key| other.facts.orders.contains(key))
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The next job of those that are new.
    Add,
    /// Which of [`WANTED`], and for how long.
    Claim(usize, u64),
    Settle(usize),
    GiveBack(usize),
    /// The attempt failed; the next one is after so long.
    Retry(usize, u64),
    Promote(usize),
    /// The first job that is due.
    FallDue,
    /// The first claim whose lease has ended; a backoff, if any.
    Expire(Option<u64>),
    Extend(usize, u64),
    Cancel(usize),
    Remove(usize),
    /// A job that waits or is delayed is handed out no more, or is again.
    Withhold(usize),
    LetOut(usize),
    /// Another payload, with other values.
    Change(usize, u64),
    Stop(usize, bool),
    Pause(bool),
    Pass(u64),
    /// The keys are read again.
    Restart,
    /// Claims at a time, of the whole space.
    Concurrency(Option<u32>),
}

#[derive(Debug, Clone)]
struct World {
    queue: Queue,
    limits: Limits,
    jobs: Vec<Job>,
    /// When claims began, and of which group.
    begun: Vec<(u64, Group)>,
    now_ms: u64,
    paused: bool,
    stopped: BTreeSet<usize>,
    /// Types that could be handed out after the last step.
    open: BTreeSet<Arc<str>>,
    token: u64,
}

fn id(n: u64) -> JobId {
    JobId { ms: UNIX_MS + n, seq: 0 }
}

fn name(at: usize) -> Arc<str> {
    NAMES[at].into()
}

fn limit(concurrency: Option<u32>, rate: Option<(u32, u64)>) -> Limit {
    Limit { concurrency, rate: rate.map(|(count, per_ms)| Rate { count, per_ms }) }
}

/// A time that a job did not have to wait for says nothing of its place, and need not be known.
fn what_counts(facts: &Facts) -> Facts {
    Facts { due_ms: facts.due_ms.filter(|due| *due > facts.id.ms), ..facts.clone() }
}

impl World {
    fn new(limits: Limits, jobs: Vec<Facts>) -> World {
        let jobs = jobs.into_iter().map(|facts| Job { facts, at: At::New, is_withheld: false }).collect();
        let (queue, begun, stopped, open) = (Queue::new(limits.clone()), Vec::new(), BTreeSet::new(), BTreeSet::new());
        World { queue, limits, jobs, begun, now_ms: 100, paused: false, stopped, open, token: 0 }
    }

    fn unix_ms(&self) -> u64 {
        UNIX_MS + self.now_ms
    }

    /// Would the limit be overrun by one more?
    fn is_full(&self, limit: &Limit, now_ms: u64, of: impl Fn(Group) -> bool) -> bool {
        let claimed = self.jobs.iter().filter(|job| job.is_claimed() && of(job.facts.group)).count();
        let begun = |per_ms: u64| {
            // The clock is rounded down: a millisecond more than the window is surely a whole one.
            self.begun.iter().filter(|(at, group)| of(*group) && now_ms - at <= per_ms).count()
        };
        limit.concurrency.is_some_and(|most| claimed >= most as usize)
            || limit.rate.is_some_and(|rate| begun(rate.per_ms) >= rate.count as usize)
    }

    fn is_group_full(&self, group: Group, now_ms: u64) -> bool {
        let by = self.limits.by.as_ref().filter(|_| group.is_some());
        by.is_some_and(|(_, limit)| self.is_full(limit, now_ms, |of| of == group))
    }

    fn is_first_in_its_orders(&self, job: &Job) -> bool {
        let passed = |other: &Job| other.is_claimed() || other.stands() && other.place() < job.place();
        !self.jobs.iter().any(|other| other.shares_order(job) && passed(other))
    }

    /// Those that could be handed out but for limits of the whole space, the first one first.
    fn free(&self, now_ms: u64) -> Vec<&Job> {
        let is_stopped = |job: &Job| self.stopped.iter().any(|at| NAMES[*at] == &*job.facts.name);
        let is_free = |job: &&Job| {
            job.at == At::Waiting
                && !job.is_withheld
                && !is_stopped(job)
                && self.is_first_in_its_orders(job)
                && !self.is_group_full(job.facts.group, now_ms)
        };
        let mut free: Vec<_> = self.jobs.iter().filter(is_free).collect();
        free.sort_by_key(|job| (std::cmp::Reverse(job.facts.priority), job.place()));
        free
    }

    /// Those that can be handed out.
    fn to_be_had(&self, now_ms: u64) -> Vec<&Job> {
        let none = self.paused || self.is_full(&self.limits.all, now_ms, |_| true);
        if none {
            Vec::new()
        } else {
            self.free(now_ms)
        }
    }

    fn first<'a>(free: &[&'a Job], wanted: usize) -> Option<&'a Job> {
        free.iter().find(|job| WANTED[wanted].iter().any(|at| NAMES[*at] == &*job.facts.name)).copied()
    }

    /// False: nothing like it can happen now.
    fn step(&mut self, step: Step) -> bool {
        let now_ms = self.now_ms;
        match step {
            Step::Add => {
                let Some(at) = self.jobs.iter().position(|job| job.at == At::New) else { return false };
                let (facts, unix_ms) = (self.jobs[at].facts.clone(), self.unix_ms());
                match facts.due_ms.filter(|due_ms| *due_ms > unix_ms) {
                    Some(due_ms) => {
                        self.jobs[at].at = At::Delayed { due_ms, was_tried: false };
                        self.queue.add_delayed(facts, due_ms, false);
                    }
                    None => {
                        self.jobs[at].at = At::Waiting;
                        self.queue.add(facts);
                    }
                }
            }
            Step::Claim(wanted, lease_ms) => {
                let names: Vec<_> = WANTED[wanted].iter().map(|at| name(*at)).collect();
                let filter = if wanted == 0 { Wanted::Any } else { Wanted::Types(&names) };
                let Some(pick) = self.queue.pick(filter, now_ms) else { return false };
                self.token += 1;
                let of = pick.facts().id;
                let at = self.jobs.iter().position(|job| job.facts.id == of).expect("it was picked");
                let (token, worker, deadline_ms) = (self.token, wanted.min(1) as u32, now_ms + lease_ms);
                self.jobs[at].at = At::Claimed { token, worker, lease_ms, deadline_ms, cancelled: false };
                self.begun.push((now_ms, self.jobs[at].facts.group));
                let claim = self.claim(at).expect("it is claimed");
                self.queue.hold(pick, claim, now_ms);
            }
            Step::Settle(at) => return self.let_go(at, At::Gone),
            Step::GiveBack(at) => return self.let_go(at, At::Waiting),
            Step::Retry(at, ms) => {
                return self.let_go(at, At::Delayed { due_ms: self.unix_ms() + ms, was_tried: true })
            }
            Step::Expire(backoff) => {
                let Some(of) = self.queue.next_expired(now_ms) else { return false };
                let at = self.jobs.iter().position(|job| job.facts.id == of).expect("it has expired");
                let due_ms = backoff.map(|ms| self.unix_ms() + ms);
                return self.let_go(at, due_ms.map_or(At::Waiting, |due_ms| At::Delayed { due_ms, was_tried: true }));
            }
            Step::Promote(at) => {
                let is_delayed = matches!(self.jobs[at].at, At::Delayed { .. });
                assert_eq!(self.queue.fall_due(self.jobs[at].facts.id), is_delayed);
                if is_delayed {
                    self.jobs[at].at = At::Waiting;
                }
                return is_delayed;
            }
            Step::FallDue => {
                let Some(of) = self.queue.next_due(self.unix_ms()) else { return false };
                let at = self.jobs.iter().position(|job| job.facts.id == of).expect("it is due");
                return self.step(Step::Promote(at));
            }
            Step::Extend(at, ms) => {
                let is_held = self.jobs[at].is_claimed();
                assert_eq!(self.queue.extend(self.jobs[at].facts.id, ms, now_ms), is_held);
                if let At::Claimed { lease_ms, deadline_ms, .. } = &mut self.jobs[at].at {
                    (*lease_ms, *deadline_ms) = (ms, now_ms + ms);
                }
                return is_held;
            }
            Step::Cancel(at) => {
                let is_held = self.jobs[at].is_claimed();
                assert_eq!(self.queue.cancel(self.jobs[at].facts.id), is_held);
                let At::Claimed { cancelled, .. } = &mut self.jobs[at].at else { return false };
                *cancelled = true;
            }
            Step::Remove(at) => {
                let job = &mut self.jobs[at];
                if !matches!(job.at, At::Waiting | At::Delayed { .. }) {
                    return false;
                }
                (job.at, job.is_withheld) = (At::Gone, false);
                self.queue.remove(&job.facts);
            }
            Step::Withhold(at) => {
                let job = &mut self.jobs[at];
                if job.is_withheld || !matches!(job.at, At::Waiting | At::Delayed { .. }) {
                    return false;
                }
                job.is_withheld = true;
                self.queue.withhold(&job.facts);
            }
            Step::LetOut(at) => {
                let job = &mut self.jobs[at];
                assert_eq!(self.queue.let_out(job.facts.id), job.is_withheld);
                return std::mem::take(&mut job.is_withheld);
            }
            Step::Change(at, value) => {
                let Job { facts, at, is_withheld } = &mut self.jobs[at];
                self.queue.remove(facts);
                facts.orders = (0..2).filter(|bit| value & (1 << bit) != 0).collect();
                facts.group = Some(value / 4);
                match *at {
                    At::Delayed { due_ms, was_tried } => self.queue.add_delayed(facts.clone(), due_ms, was_tried),
                    _ => self.queue.add(facts.clone()),
                }
                if *is_withheld {
                    self.queue.withhold(facts);
                }
            }
            Step::Stop(at, stopped) => {
                let changed = if stopped { self.stopped.insert(at) } else { self.stopped.remove(&at) };
                self.queue.set_stopped(&name(at), stopped);
                return changed;
            }
            Step::Pause(paused) => {
                self.paused = paused;
                self.queue.paused = paused;
            }
            Step::Pass(ms) => self.now_ms += ms,
            Step::Restart => self.restart(),
            Step::Concurrency(concurrency) => {
                self.limits.all.concurrency = concurrency;
                self.queue.set_limit(self.limits.all);
            }
        }
        true
    }

    fn claim(&self, at: usize) -> Option<Claim> {
        let At::Claimed { token, worker, lease_ms, deadline_ms, cancelled } = self.jobs[at].at else { return None };
        Some(Claim { token, attempt: token as u32, worker, started_ms: token, lease_ms, deadline_ms, cancelled })
    }

    fn let_go(&mut self, at: usize, to: At) -> bool {
        let (of, claim) = (self.jobs[at].facts.id, self.claim(at));
        let let_go = match to {
            At::Waiting => self.queue.give_back(of, self.now_ms),
            At::Delayed { due_ms, .. } => self.queue.delay(of, due_ms, self.now_ms),
            _ => self.queue.settle(of, self.now_ms),
        };
        assert_eq!(let_go, claim, "{of:?} is let go");
        if claim.is_some() {
            self.jobs[at].at = to;
        }
        claim.is_some()
    }

    /// As keys are read: claims, then those that wait for a time, then the stream in its order. Leases begin again.
    fn restart(&mut self) {
        let now_ms = self.now_ms;
        self.queue = Queue::new(self.limits.clone());
        self.queue.paused = self.paused;
        self.stopped.iter().for_each(|at| self.queue.set_stopped(&name(*at), true));
        self.begun.iter().for_each(|(at, group)| self.queue.begin(*group, *at));
        for at in 0..self.jobs.len() {
            if let At::Claimed { lease_ms, deadline_ms, .. } = &mut self.jobs[at].at {
                *deadline_ms = now_ms + *lease_ms;
            }
            if let Some(claim) = self.claim(at) {
                self.queue.add_claimed(self.jobs[at].facts.clone(), claim, now_ms);
            }
        }
        for Job { facts, at, .. } in &self.jobs {
            if let At::Delayed { due_ms, was_tried } = at {
                self.queue.add_delayed(facts.clone(), *due_ms, *was_tried);
            }
        }
        for Job { facts, .. } in self.jobs.iter().filter(|job| job.at == At::Waiting) {
            self.queue.add(facts.clone());
        }
        for Job { facts, .. } in self.jobs.iter().filter(|job| job.is_withheld) {
            self.queue.withhold(facts);
        }
        self.open.clear();
    }

    fn check(&mut self) {
        self.check_states();
        self.check_picks();
        self.check_times();
        self.check_nothing_is_left_over();
    }

    fn check_states(&self) {
        let of = |is: fn(&At) -> bool| self.jobs.iter().filter(|job| is(&job.at)).count() as u64;
        let counts = Counts {
            waiting: of(|at| *at == At::Waiting),
            delayed: of(|at| matches!(at, At::Delayed { .. })),
            claimed: of(|at| matches!(at, At::Claimed { .. })),
        };
        assert_eq!(self.queue.counts(), counts);
        for (at, job) in self.jobs.iter().enumerate() {
            let state = match job.at {
                At::Claimed { .. } => State::Claimed,
                At::Delayed { due_ms, .. } => State::Delayed { due_ms },
                At::New | At::Waiting | At::Gone => State::Waiting,
            };
            assert_eq!(self.queue.state(job.facts.id), state);
            assert_eq!(self.queue.is_withheld(job.facts.id), job.is_withheld);
            assert_eq!(self.queue.claim(job.facts.id), self.claim(at).as_ref());
            let held = self.queue.claimed_facts(job.facts.id).map(what_counts);
            assert_eq!(held, job.is_claimed().then(|| what_counts(&job.facts)));
            // The rules themselves: nobody else holds one of its order.
            let other = self.jobs.iter().find(|other| other.is_claimed() && other.shares_order(job));
            assert!(!job.is_claimed() || other.is_none(), "{job:?} beside {other:?}");
        }
        let withheld = self.jobs.iter().filter(|job| job.is_withheld).count();
        assert_eq!(self.queue.withheld_len(), withheld as u64);
        let waiting = self.jobs.iter().filter(|job| job.at == At::Waiting).map(|job| job.facts.id);
        let mut few = self.queue.few_waiting(self.jobs.len(), None).expect("they are few");
        few.sort_unstable();
        assert!(few.into_iter().eq(waiting.collect::<BTreeSet<_>>()));
        let held: Vec<_> = self.queue.claims.keys().collect();
        assert_eq!(held.len() as u64, counts.claimed);
        let delayed = self.jobs.iter().filter(|job| matches!(job.at, At::Delayed { .. })).map(|job| job.facts.id);
        let listed = std::iter::successors(self.queue.delayed_after(JobId::ZERO), |id| self.queue.delayed_after(*id));
        assert!(listed.eq(delayed.collect::<BTreeSet<_>>()));
    }

    fn check_picks(&mut self) {
        let now_ms = self.now_ms;
        let to_be_had: Vec<_> = self.to_be_had(now_ms).into_iter().cloned().collect();
        let to_be_had: Vec<_> = to_be_had.iter().collect();
        for (wanted, of) in WANTED.iter().enumerate() {
            let names: Vec<_> = of.iter().map(|at| name(*at)).collect();
            let filter = if wanted == 0 { Wanted::Any } else { Wanted::Types(&names) };
            let expected = World::first(&to_be_had, wanted).map(|job| what_counts(&job.facts));
            assert_eq!(self.queue.has(filter, now_ms), expected.is_some());
            let picked = self.queue.pick(filter, now_ms);
            assert_eq!(picked.map(|pick| what_counts(pick.facts())), expected, "wanted {of:?}");
        }
        let open: BTreeSet<_> = self.free(now_ms).iter().map(|job| job.facts.name.clone()).collect();
        let opened = self.queue.take_opened();
        assert!(open.difference(&self.open).all(|name| opened.contains(name)), "{opened:?} of {open:?}");
        assert!(opened.iter().all(|name| open.contains(name)) && opened.windows(2).all(|pair| pair[0] != pair[1]));
        self.open = open;
    }

    fn check_times(&mut self) {
        let (now_ms, unix_ms) = (self.now_ms, self.unix_ms());
        let deadlines = self.jobs.iter().filter_map(|job| match job.at {
            At::Claimed { deadline_ms, .. } => Some((deadline_ms, job.facts.id)),
            _ => None,
        });
        let lease = deadlines.min();
        assert_eq!(self.queue.next_expired(now_ms), lease.filter(|(at, _)| *at <= now_ms).map(|(_, id)| id));
        let dues = self.jobs.iter().filter_map(|job| match job.at {
            At::Delayed { due_ms, .. } => Some((due_ms, job.facts.id)),
            _ => None,
        });
        let due = dues.min();
        assert_eq!(self.queue.next_due_ms(), due.map(|(at, _)| at));
        assert_eq!(self.queue.next_due(unix_ms), due.filter(|(at, _)| *at <= unix_ms).map(|(_, id)| id));

        // Only the end of a window lets go of anything.
        let windows: BTreeSet<_> = [Some(&self.limits.all), self.limits.by.as_ref().map(|(_, limit)| limit)]
            .into_iter()
            .flatten()
            .filter_map(|limit| limit.rate)
            .flat_map(|rate| self.begun.iter().map(move |(at, _)| at + rate.per_ms + 1))
            .filter(|at| *at > now_ms)
            .collect();
        let firsts = |at: u64| {
            let free = self.to_be_had(at);
            [0, 1, 2, 3].map(|wanted| World::first(&free, wanted).map(|job| job.facts.id))
        };
        let change = windows.iter().find(|at| firsts(**at) != firsts(now_ms)).copied();
        let next = self.queue.next_ms(now_ms);
        let lease = lease.map(|(at, _)| at);
        let latest = [change, lease].into_iter().flatten().min();
        assert!(latest.is_none_or(|at| next.is_some_and(|next| next <= at)), "{next:?} is after {latest:?}");
        // Nor is there a look for nothing.
        assert!(next.is_none_or(|next| Some(next) == lease || windows.contains(&next)), "{next:?}: nothing ends");
    }

    fn check_nothing_is_left_over(&self) {
        let standing = || self.jobs.iter().filter(|job| job.stands() && !job.facts.orders.is_empty());
        let mut lanes = BTreeMap::<u64, (usize, bool)>::new();
        for job in standing() {
            for key in &job.facts.orders {
                let lane = lanes.entry(*key).or_default();
                *lane = (lane.0 + 1, lane.1 | job.is_claimed());
            }
        }
        let queue = &self.queue;
        let kept = queue.lanes.lanes.iter().map(|(key, lane)| (*key, (lane.places.len(), lane.claimed.is_some())));
        assert!(kept.eq(lanes));
        assert_eq!(queue.lanes.len(), standing().count());
        let behind = standing().filter(|job| job.at == At::Waiting && !job.is_withheld);
        let behind = behind.filter(|job| !self.is_first_in_its_orders(job)).count();
        assert_eq!(queue.tally.behind(), behind as u64);
        assert_eq!((queue.dues.len(), queue.deadlines.len()), (queue.delayed.len(), queue.claims.len()));

        let mut groups = BTreeSet::new();
        let mut looked_at = BTreeSet::new();
        if let Some((_, limit)) = &self.limits.by {
            groups.extend(self.jobs.iter().filter(|job| job.is_claimed()).filter_map(|job| job.facts.group));
            let is_recent = |at: u64| limit.rate.is_some_and(|rate| self.now_ms - at <= rate.per_ms);
            looked_at.extend(self.begun.iter().filter(|(at, _)| is_recent(*at)).filter_map(|(_, group)| *group));
            groups.extend(&looked_at);
        }
        assert!(queue.limiter.groups.keys().eq(&groups), "{:?} instead of {groups:?}", queue.limiter.groups);
        assert!(queue.limiter.look_at_ms.keys().eq(&looked_at), "{:?} instead of {looked_at:?}", queue.limiter.looks);
        assert!(queue.limiter.looks.iter().all(|(at, group)| queue.limiter.look_at_ms.get(group) == Some(at)));
        assert_eq!(queue.limiter.looks.len(), queue.limiter.look_at_ms.len());
        for group in self.jobs.iter().filter_map(|job| job.facts.group) {
            assert_eq!(queue.ready.is_closed(group), self.is_group_full(Some(group), self.now_ms));
        }
    }
}

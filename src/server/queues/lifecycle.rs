//! What load, promotion, demotion, flushes and other clients mean for queues.
//!
//! Whenever all keys may no longer be those that this process wrote, all that is known of queues is dropped, a new epoch
//! begins, and the queues that stand are looked for. Where another client has replaced one queue, that one is read anew
//! and the others are left alone. A batch that an applier has goes on: the ledger keeps its effects from being repeated,
//! and its outcome changes no queue that was read after it was sent.

use std::sync::Arc;
use std::time::Instant;

use super::checks::is_queued;
use super::space::Ledger;
use super::waiting::{Asker, Late};
use super::Queues;
use crate::core::calls::keys::QueuePart;
use crate::core::jobs::job_id::JobId;
use crate::core::slots::unsettled::Touched;
use crate::keyspace::jobs::{self, QueueKeys};
use crate::keyspace::{claims, slots, watch};
use crate::redis_api::{self, Answer, BlockedClient, Context, Gone, KeyEvent, KeyType};
use crate::server::tick::LATE;
use crate::server::Server;

/// Why clients that wait for a job are told that nobody knows any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgotten {
    Flushed,
    Demoted,
    Replaced,
    /// To another node of the cluster.
    Moved,
}

impl Forgotten {
    fn answer(self, id: JobId) -> Answer {
        let text = match self {
            Forgotten::Flushed => format!("ERR the queue was flushed; job {id} may have been applied before"),
            Forgotten::Demoted => {
                format!("READONLY this server is a replica now; job {id} may still be applied, ask its master")
            }
            // Not MOVED, which would have the client enqueue it again.
            Forgotten::Moved => format!(
                "ERR the queue has moved to another node of the cluster, and job {id} with it; ask BEAR.JOB for it"
            ),
            Forgotten::Replaced => format!("ERR the queue was replaced; ask BEAR.JOB for job {id}"),
        };
        Answer::Error(text.into())
    }
}

impl Server {
    /// The keys are others, or somebody else's: begins anew.
    pub(in crate::server) fn forget_queues(&mut self, why: Forgotten) {
        slots::forget();
        let waiters = std::mem::take(&mut self.queues.waiters);
        if !waiters.is_empty() {
            self.queues.forgotten.push_back((waiters, why));
        }
        self.queues.begin_anew();
        self.forget_claims();
        self.forget_schedules();
        self.begin_inbox_anew();
        self.forget_locks();
        if self.is_master() {
            self.begin_discovery();
        }
        self.arm_soon();
    }

    /// Looks at what other clients did to queues' keys until the deadline, at one queue at least. True: there is more.
    fn look_at_foreign_writes(&mut self, ctx: Context, deadline: Instant) -> bool {
        while let Some((prefix, notes)) = watch::take_queue_notes() {
            if let Some(name) = self.space_of_prefix(&prefix) {
                self.look_at_queue(ctx, &name, &prefix, &notes);
            }
            if Instant::now() >= deadline {
                return watch::has_queue_notes();
            }
        }
        false
    }

    /// The same for one queue, before a command relies on what is in memory of it.
    pub(in crate::server) fn look_at_foreign_writes_to(&mut self, ctx: Context, name: &str, prefix: &[u8]) {
        if let Some(notes) = watch::take_notes_of_queue(prefix) {
            self.look_at_queue(ctx, &name.into(), prefix, &notes);
        }
    }

    fn look_at_queue(&mut self, ctx: Context, name: &Arc<str>, prefix: &[u8], notes: &[(QueuePart, KeyEvent)]) {
        if slots::touched_elsewhere(prefix, Touched::Jobs) {
            return;
        }
        let of_inbox = |part: &QueuePart| matches!(part, QueuePart::Inbox | QueuePart::InboxTell);
        if notes.iter().any(|(part, _)| of_inbox(part) || matches!(part, QueuePart::Jobs | QueuePart::Work)) {
            self.inbox_touched(name);
        }
        let concerns_work =
            |part: &QueuePart| part.is_work() || of_inbox(part) || matches!(part, QueuePart::Paused | QueuePart::Id);
        if notes.iter().any(|(part, _)| concerns_work(part)) {
            self.work_touched(ctx, name, prefix);
        }
        if notes.iter().any(|(part, _)| part.is_of_schedules()) {
            self.found_schedules(name);
        }
        // What is of claimed jobs, or of schedules, alone says nothing of SQL jobs.
        if notes.iter().all(|(part, _)| part.is_work() || part.is_of_schedules()) {
            return;
        }
        self.queues.forget_ahead();
        let Some(space) = self.queues.spaces.get_mut(name) else {
            if notes.iter().any(|(part, _)| matches!(part, QueuePart::Jobs | QueuePart::Id)) {
                // Nothing is known of it: it is read from its keys. Its ids may begin anew.
                self.queues.epoch = self.queues.random_id();
                self.queues.space(ctx, name, prefix);
                self.queues.forget_idle(name);
            }
            return;
        };
        space.touched += u64::from(notes.iter().any(|(part, _)| matches!(part, QueuePart::Jobs | QueuePart::Id)));
        let written = notes.contains(&(QueuePart::Jobs, KeyEvent::Written));
        if written && jobs::oldest(ctx, &space.keys.jobs).is_some_and(|id| id < space.queue.first_unsettled()) {
            self.queue_replaced(ctx, name, prefix);
            // Jobs do not say whose they are: of another queue's, this one's ledger knows nothing.
            let text =
                "LEDGER the stream was replaced by another hand; BEAR.RESUME counts all of its jobs as not applied";
            self.queues.space(ctx, name, prefix).ledger = Ledger::Trouble(text.to_owned());
            return;
        }
        let is_gone = written && KeyType::of(ctx, &space.keys.jobs).is_none();
        let is_deleted = |(part, event): &(QueuePart, KeyEvent)| match part {
            QueuePart::Id => true,
            part => *part == QueuePart::Jobs && *event != KeyEvent::Written,
        };
        if is_gone || notes.iter().any(is_deleted) {
            return self.queue_replaced(ctx, name, prefix);
        }
        space.paused = jobs::read_integer(ctx, c"EXISTS", &[&space.keys.paused]) == Some(1);
        if written {
            space.recount(ctx);
            if let Some(newest) = jobs::newest(ctx, &space.keys.jobs).filter(|newest| *newest > space.newest) {
                space.newest = newest;
                space.eligible = newest;
                space.queue.added(newest);
            }
        }
        space.wrong_type = space.keys.wrong_type(ctx);
        match &space.wrong_type {
            Some(text) => log::warn!("queue '{name}' rests: {text}"),
            None => self.queues.settling.extend(space.parked.drain(..)),
        }
        self.queues.wake(name);
    }

    /// One queue is another by now: it is read anew.
    fn queue_replaced(&mut self, ctx: Context, name: &Arc<str>, prefix: &[u8]) {
        log::warn!("the queue of '{name}' was deleted or replaced by another hand: it is read anew");
        // Jobs that workers claim are in a stream of their own.
        let work = QueueKeys::new(prefix).work();
        let waiters = self.queues.waiters.take_where(name, |id| claims::entry(ctx, &work, id, |_| ()).is_none());
        self.tell_forgotten(waiters, Forgotten::Replaced);
        self.drop_building();
        self.queues.forget_space(name);
        self.queues.epoch = self.queues.random_id();
        self.queues.space(ctx, name, prefix);
        self.arm_soon();
    }

    /// Another hand has taken away the stream of the jobs that workers claim.
    pub(in crate::server) fn work_replaced(&mut self, ctx: Context, name: &Arc<str>) {
        let keys = QueueKeys::new(&self.prefix_of(name));
        let waiters = self.queues.waiters.take_where(name, |id| !is_queued(ctx, &keys, id));
        self.tell_forgotten(waiters, Forgotten::Replaced);
        self.arm_soon();
    }

    /// Its slot is this node's again, and nobody has touched its keys.
    pub(in crate::server) fn queue_goes_on(&mut self, name: &Arc<str>) {
        let Some(space) = self.queues.spaces.get_mut(name) else { return };
        if space.wrong_type.is_none() {
            self.queues.settling.extend(space.parked.drain(..));
        }
        self.queues.wake(name);
    }

    /// It has come from another node: it is read from its keys. What a batch of before has done, the ledger says.
    pub(in crate::server) fn queue_came(&mut self, ctx: Context, name: &Arc<str>, prefix: &[u8]) {
        self.forget_queue(name);
        let keys = QueueKeys::new(prefix);
        let waiters = self.queues.waiters.take_where(name, |id| !is_queued(ctx, &keys, id));
        self.tell_forgotten(waiters, Forgotten::Moved);
        if !keys.are_absent(ctx) {
            self.queues.space(ctx, name, prefix);
            self.queues.forget_idle(name);
        }
    }

    /// It is another node's.
    pub(in crate::server) fn queue_has_gone(&mut self, _: Context, name: &Arc<str>) {
        self.forget_queue(name);
        let waiters = self.queues.waiters.take_where(name, |_| true);
        self.tell_forgotten(waiters, Forgotten::Moved);
    }

    fn forget_queue(&mut self, name: &Arc<str>) {
        self.drop_building();
        self.queues.forget_space(name);
        self.queues.epoch = self.queues.random_id();
    }

    /// Tells some of those who wait for a job of which nobody knows any more. True when there are others.
    pub(in crate::server) fn answer_forgotten(&mut self) -> bool {
        for _ in 0..LATE {
            let Some((waiters, why)) = self.queues.forgotten.front_mut() else { return false };
            match waiters.take_any() {
                Some((client, id)) => {
                    let answer = why.answer(id);
                    self.answers.push_back((client, answer));
                }
                None => drop(self.queues.forgotten.pop_front()),
            }
        }
        !self.queues.forgotten.is_empty()
    }

    fn tell_forgotten(&mut self, waiters: Vec<(BlockedClient, JobId)>, why: Forgotten) {
        self.answers.extend(waiters.into_iter().map(|(client, id)| (client, why.answer(id))));
    }

    /// A slice of all that is to be done for queues. True: there is more to do at once.
    pub(in crate::server) fn work_on_queues(&mut self, ctx: Context, deadline: Instant) -> bool {
        self.take_applied_outcomes();
        if !self.is_master() {
            self.queues.settling.clear();
            return false;
        }
        if self.look_at_foreign_writes(ctx, deadline) {
            return true;
        }
        if !ctx.writes_allowed() {
            // FAILOVER, CLIENT PAUSE or SHUTDOWN: outcomes are kept, and nothing new is begun.
            self.drop_building();
            // It ends without telling anybody.
            redis_api::arm(std::time::Duration::from_millis(10));
            return false;
        }
        let ripening = self.queues.ripen();
        let publishing = self.publish_outcomes(ctx, deadline);
        let waking = self.queues.wake_due(deadline) | self.queues.wake_accepted(deadline);
        let discovering = self.discover(ctx, deadline);
        let dispatching = self.dispatch(ctx, deadline);
        let forgetting = self.forget_idle_queues(ctx, deadline);
        if let Some(due) = self.queues.next_due_ms() {
            // A due time that cannot be used now is looked at again soon, and not at once.
            let wait_ms = due.saturating_sub(self.queues.now_ms()).max(1);
            redis_api::arm(std::time::Duration::from_millis(wait_ms));
        }
        ripening || publishing || waking || discovering || dispatching || forgetting
    }

    fn take_applied_outcomes(&mut self) {
        let outcomes: Vec<_> = self.workers.all_appliers().flat_map(|appliers| appliers.results().try_iter()).collect();
        for outcome in outcomes {
            self.take_applied(outcome);
        }
        self.workers.forget_ended();
    }

    /// Clients that have waited for a job long enough are told so, or what is known of it, until a time.
    pub(in crate::server) fn answer_late_for_jobs(&mut self, ctx: Context, now: Instant, until: Instant) {
        for _ in 0..LATE {
            let Some(Late { client, space, id, block_ms, asker }) = self.queues.waiters.take_late(now) else { return };
            let answer = match asker {
                Asker::Onlooker => self.job_now(ctx, &space, id),
                Asker::Enqueuer => {
                    let of = format!("TIMEOUT job {id} is still queued after {block_ms} ms");
                    Answer::Error(format!("{of}, and stays so; ask BEAR.JOB for it").into())
                }
            };
            self.answers.push_back((client, answer));
            if Instant::now() >= until {
                return;
            }
        }
    }
}

impl Queues {
    fn begin_anew(&mut self) {
        self.epoch = self.random_id();
        self.spaces.clear();
        self.names.clear();
        self.fresh.clear();
        self.aging.clear();
        self.main_turn.clear();
        self.side_turn.clear();
        self.due.clear();
        self.idle.clear();
        self.building = None;
        self.forget_ahead();
        self.discovery = None;
        // What appliers have still counts as in flight: they are busy.
    }

    /// A client that waits for a job no more, if it did.
    pub fn take_gone(&mut self, gone: &Gone) -> Option<BlockedClient> {
        let forgotten = self.forgotten.iter_mut().map(|(waiters, _)| waiters);
        let waited = std::iter::once(&mut self.waiters).chain(forgotten).find_map(|of| of.take_gone(gone.handle));
        waited.or_else(|| self.large.take_gone(gone))
    }

    /// Clients that wait for a job.
    pub(super) fn waiting_len(&self) -> usize {
        self.waiters.len() + self.forgotten.iter().map(|(waiters, _)| waiters.len()).sum::<usize>()
    }

    /// When a waiting client's time is up.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.waiters.next_deadline()
    }

    /// Spaces in which somebody waits for a job.
    pub(in crate::server) fn awaited(&self) -> impl Iterator<Item = &Arc<str>> {
        self.waiters.spaces()
    }

    /// Drops a space that has nothing to do.
    pub(super) fn forget_idle(&mut self, name: &str) {
        if self.spaces.get(name).is_some_and(|space| space.is_idle()) {
            self.forget_space(name);
        }
    }
}

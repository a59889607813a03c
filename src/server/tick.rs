//! Work outside commands, in slices: Redis serves others between two of them.

use std::time::{Duration, Instant};

use super::cache::fetching::Told;
use super::cache::waiting::Asker;
use super::{errors, Server};
use crate::keyspace::{tombstones, Left};
use crate::redis_api::{self, Answer, Context};

/// How long one tick's own work may take. Timers run after commands and before their replies are sent: who asks for
/// something while one tick runs may have to wait for the next, too, and both with what Redis does are to be under 1 ms.
const BUDGET: Duration = Duration::from_micros(300);

/// Of that, for taking results of fetches, and at least for storing and removing: results that came faster than they are
/// stored would pile up here, and each removal looks through them.
const SHARE: Duration = Duration::from_micros(150);

/// Clients unblocked in one tick: each costs Redis a reply and a write to its socket.
pub(super) const ANSWERS: usize = 64;

/// Parts of replies that cost as much as a client.
const PARTS: usize = 8;

/// Clients told in one tick that their time is up.
pub(super) const LATE: usize = 256;

/// Bytes of their replies; larger ones are written aside.
const ANSWER_BYTES: usize = 128 << 10;

/// Share of the time for sweeping: a tick, then this pause.
const PAUSE: Duration = Duration::from_millis(1);

/// While the server allows no writes (FAILOVER, CLIENT PAUSE, SHUTDOWN), we ask again after this.
const PAUSED: Duration = Duration::from_millis(10);

/// The timer's callback.
pub fn tick(ctx: Context) {
    super::with(|server| server.tick(ctx));
}

impl Server {
    /// Has a tick come as soon as Redis has served who is waiting now.
    pub(super) fn arm_soon(&self) {
        redis_api::arm(Duration::ZERO);
    }

    fn tick(&mut self, ctx: Context) {
        let start = Instant::now();
        let deadline = start + BUDGET;
        if !ctx.select_db(self.config.db as i32) {
            // Checked at load: never work on another database.
            return;
        }
        self.settle();
        if self.serve_at_once(ctx, deadline) {
            self.send_answers(ctx);
            return;
        }
        let worked = redis_api::worked();
        let more_tombstones = tombstones::look(ctx);
        if self.is_master() {
            self.look_at_slots(ctx);
            self.keyspace.tell_while_slots_move(ctx);
            self.look_at_epochs(ctx);
            self.keyspace.take_possession(ctx);
            self.look_at_strangers(ctx, start);
        }
        let paused = !ctx.writes_allowed();
        let more_aside = self.take_done_aside(start + SHARE);
        let more_outcomes = self.take_outcomes(ctx, start + SHARE);
        let more_changes = self.take_feed_outcomes(ctx, deadline);
        let more_read = !paused && self.finish_changes(ctx, start, deadline);
        self.check_catalog_late(start);
        let more_gone = self.let_gone_go(start + SHARE);
        self.end_leases(start);
        self.answer_late(start);
        let more_late = self.tell_late(ctx, start, start + SHARE);
        self.answer_late_for_jobs(ctx, start, start + SHARE);
        self.answer_late_claimers(start);
        self.answer_late_for_locks(start);
        let more_forgotten = self.answer_forgotten();
        let more_rows = self.work_on_inbox(ctx, deadline.min(Instant::now() + SHARE), paused);
        let more_jobs = self.work_on_queues(ctx, deadline);
        let more_locks = self.work_on_locks(ctx, deadline);
        let more_claims = self.work_on_claims(ctx, deadline);
        let more_schedules = self.work_on_schedules(ctx, deadline);
        let more_to_verify = self.work_on_verifying(ctx, start);
        self.put_what_is_checked(ctx, paused);
        let more_enqueued = self.enqueue_checked(ctx, deadline, paused);
        let more_calls = self.work_on_many(ctx, deadline);
        let more_cold = self.work_on_rewarming(ctx, start, deadline);
        let more_errands = self.work_on_errands(ctx, deadline, paused);
        let more_metrics = self.work_on_metrics(ctx);
        let more_renamed = self.look_at_renamed(ctx, deadline);
        let more_events = self.send_events(ctx, deadline);
        self.send_answers(ctx);
        let left = match self.keyspace.left() {
            Left::Nothing => Left::Nothing,
            // A replica has nothing to write, and while paused the server would abort: the outcome is kept.
            left if paused || !self.is_master() => left,
            _ => self.work(ctx, deadline.max(Instant::now() + SHARE)),
        };
        self.tell_of_entries(ctx);
        let more = more_tombstones
            || more_aside
            || more_outcomes
            || more_changes
            || more_read
            || more_rows
            || more_jobs
            || more_claims
            || more_schedules
            || more_locks
            || more_to_verify
            || more_enqueued
            || more_calls
            || more_cold
            || more_late
            || more_errands
            || more_metrics
            || more_renamed
            || more_events
            || more_gone
            || more_forgotten
            || !self.answers.is_empty()
            || !self.telling.is_empty();
        if more || (left == Left::Urgent && !paused) {
            // Redis runs a timer that is armed in a timer a millisecond later at the earliest; a wake-up comes at once.
            redis_api::wake();
        } else if left != Left::Nothing || self.changing.has_work() {
            redis_api::arm(if paused { PAUSED } else { PAUSE });
        }
        let deadlines = [
            self.waiting.next_deadline(),
            self.values.leases.next_deadline(),
            self.messages.next_deadline(),
            self.next_to_rewarm(),
            self.queues.next_deadline(),
            self.next_claimers_deadline(),
            self.next_lock_deadline(),
            self.changing.next_deadline(),
            self.verifying.next_deadline(),
            self.keyspace.next_deadline(),
        ];
        if let Some(deadline) = deadlines.into_iter().flatten().min() {
            redis_api::arm(deadline.saturating_duration_since(Instant::now()));
        }
        self.longest_tick_us = self.longest_tick_us.max(start.elapsed().as_micros() as u64);
        let worked = redis_api::worked().saturating_sub(worked);
        self.longest_tick_cpu_us = self.longest_tick_cpu_us.max(worked.as_micros() as u64);
    }

    /// True when some are left.
    fn take_outcomes(&mut self, ctx: Context, deadline: Instant) -> bool {
        loop {
            let Some(outcome) = self.workers.current().and_then(|workers| workers.results().try_recv().ok()) else {
                return false;
            };
            self.take_outcome(ctx, outcome);
            if Instant::now() >= deadline {
                return true;
            }
        }
    }

    /// Clients that have hung up, or that CLIENT UNBLOCK has let go, wait for nothing any more. What they waited for goes on:
    /// the fetch for others and for the cache, the job, the reload, the removal of what CHANGED named. True when some are
    /// left.
    fn let_gone_go(&mut self, until: Instant) -> bool {
        for _ in 0..LATE {
            let Some(gone) = redis_api::take_gone() else { return false };
            let misses = &mut self.waiting;
            let waiter = misses.find(gone.handle);
            let miss = waiter.and_then(|waiter| misses.take(waiter));
            waiter.into_iter().for_each(|waiter| self.many.forget(waiter));
            match miss.or_else(|| self.queues.take_gone(&gone)) {
                // It frees what Redis keeps of the client.
                Some(client) => self.answers.push_back((client, Answer::Ok)),
                None => match self.claimer_gone(gone.handle).or_else(|| self.lock_waiter_gone(gone.handle)) {
                    Some(client) => self.answers.push_back((client, Answer::Ok)),
                    None if self.errands.client_gone(gone.handle) => {}
                    None => {
                        self.gone_before_answer(gone.handle);
                        self.verifying.give_up(gone.handle);
                    }
                },
            }
            // One who waits for a hundred types stands in as many lines.
            if Instant::now() >= until {
                break;
            }
        }
        redis_api::has_gone()
    }

    /// Who has waited too long is told so; the fetch goes on for the others, up to its own deadline.
    fn answer_late(&mut self, now: Instant) {
        for _ in 0..LATE {
            let Some(waiter) = self.waiting.first_late(now) else { return };
            let answer = match self.waiting.asker(waiter) {
                Some(Asker::Value { .. }) => Answer::Leased(None, None),
                _ => Answer::Error(errors::timeout(self.config.query_timeout_ms).into()),
            };
            let answer = self.many.late(waiter, &answer).unwrap_or(answer);
            self.answers.extend(self.waiting.take(waiter).map(|client| (client, answer)));
        }
    }

    fn send_answers(&mut self, ctx: Context) {
        let (mut bytes, mut left) = (0, ANSWERS * PARTS);
        while left > 0 {
            match self.next_told() {
                None => return,
                Some(Told::Part) => left -= 1,
                Some(Told::Message(message, answer, end)) => {
                    left = left.saturating_sub(PARTS);
                    bytes += self.tell_by_message(ctx, message, &answer, end);
                }
                Some(Told::Client(client, answer)) => {
                    left = left.saturating_sub(PARTS);
                    if redis_api::is_gone(client.handle()) {
                        self.not_read(&answer);
                    }
                    bytes += self.send_answer(client, answer);
                }
            }
            if bytes >= ANSWER_BYTES {
                return;
            }
        }
    }

    /// Takes what was done aside. True when some is left.
    fn take_done_aside(&mut self, deadline: Instant) -> bool {
        while let Some(done) = self.workers.done_aside() {
            self.take_aside(done);
            if Instant::now() >= deadline {
                return true;
            }
        }
        false
    }

    /// Publishes, removes and sweeps.
    fn work(&mut self, ctx: Context, deadline: Instant) -> Left {
        let mut finished = Vec::new();
        let left = self.keyspace.step(ctx, deadline, &mut finished);
        self.removals_ended(finished);
        left
    }

    /// Answers who waited for large removals.
    pub(super) fn removals_ended(&mut self, finished: Vec<(u64, u64)>) {
        for (ticket, count) in finished {
            if let Some((client, section)) = self.removing.remove(&ticket) {
                // The catalog may have been replaced meanwhile, and have no such section any more.
                if let Some((index, _)) = self.catalog.section(section.as_bytes()) {
                    self.stats.section(index).invalidated += count;
                }
                self.answers.push_back((client, Answer::Integer(count as i64)));
                self.arm_soon();
            }
        }
    }
}

//! A space's claimed jobs are read from its keys, in slices: a million jobs take a second or two. Until its jobs, its claims
//! and its starts are known nothing is handed out, for nobody could say who is first, or whether a limit is reached; commands
//! that need them wait. Records of settled jobs are read after that.
//!
//! Leases run by the clock of this process, so that each claim that is found has its whole lease again; unless it was known
//! before to this process, which only reads the keys again.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::loading::{Has, Loading, Stage};
use super::space::WorkSpace;
use super::workers::Workers;
use super::Claims;
use crate::core::catalog::Section;
use crate::core::claims::attempts::Attempts;
use crate::core::claims::claim_record::ClaimRecord;
use crate::core::claims::keep::Kept;
use crate::core::claims::queue::{Claim, Queue};
use crate::core::claims::record::{Started, Total, Totals, WorkRecord};
use crate::core::claims::set_limits::SetLimits;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record as job_record;
use crate::failpoints;
use crate::keyspace::claims::{self as keys, WorkKeys};
use crate::keyspace::jobs::{self, LAST};
use crate::mutations;
use crate::redis_api::{self, Answer, Context, Direction, Fields, KeyType, StringKey};
use crate::server::errands::Errand;
use crate::server::queues::{wall_ms, wall_us};
use crate::server::Server;

/// The first slice, at the first touch.
const FIRST: Duration = Duration::from_micros(if cfg!(debug_assertions) { 3_000 } else { 300 });

impl Server {
    /// The claimed jobs of a space, read from the keys at the first touch. Where none ever were, nothing is made in memory.
    pub(in crate::server) fn touch_work(&mut self, ctx: Context, name: &str, prefix: &[u8]) -> Option<Arc<str>> {
        if let Some((name, _)) = self.claims.spaces.get_key_value(name) {
            return Some(name.clone());
        }
        (!WorkKeys::new(prefix).are_absent(ctx)).then(|| self.open_work(ctx, name, prefix))
    }

    /// The same, made in memory in any case.
    pub(super) fn open_work(&mut self, ctx: Context, name: &str, prefix: &[u8]) -> Arc<str> {
        if let Some((name, _)) = self.claims.spaces.get_key_value(name) {
            return name.clone();
        }
        self.read_work(ctx, name, prefix, None)
    }

    /// Reads it again: its keys, or its definitions, have changed.
    pub(super) fn reread_work(&mut self, ctx: Context, name: &Arc<str>) {
        if let Some(space) = self.claims.drop_space(name) {
            self.read_work(ctx, name, &space.prefix.clone(), Some(*space));
        }
    }

    fn read_work(&mut self, ctx: Context, name: &str, prefix: &[u8], before: Option<WorkSpace>) -> Arc<str> {
        let name: Arc<str> = name.into();
        let section_name: Arc<str> = name.rsplit("}:").next().unwrap_or(&name).into();
        let catalog = self.catalog.clone();
        let section = catalog.section(section_name.as_bytes()).map(|(_, section)| section);
        let epoch = self.queues.epoch();
        let limits = section.map(|section| section.limits.clone()).unwrap_or_default();
        let mut space = WorkSpace::new(prefix, section_name);
        space.wrong_type = space.keys.wrong_type(ctx).or_else(|| space.shared.wrong_type(ctx));
        space.set_limits = SetLimits::read(as_slices(&pairs(ctx, &space.keys.limits)));
        let mut limits = space.set_limits.over(&limits);
        if let Some(most) = limits.all.concurrency.as_mut().filter(|_| mutations::is("one-claim-more")) {
            *most += 1;
        }
        space.queue = Queue::new(limits);
        space.queue.paused = KeyType::of(ctx, &space.shared.paused).is_some();
        space.totals = Totals::read(as_slices(&pairs(ctx, &space.keys.totals)));
        space.totals_written = space.totals;
        space.takes_turns = section.is_some_and(|section| section.tenant.is_some());
        self.find_token(ctx, &mut space, epoch);
        space.jobs = jobs::len(ctx, &space.keys.work);
        space.newest = jobs::newest(ctx, &space.keys.work).unwrap_or(JobId::ZERO);
        let queue = before.map(|before| {
            (space.seen, space.lost) = (before.seen, before.lost);
            // What is not written yet.
            (space.totals, space.totals_changed) = (before.totals, true);
            before.queue
        });
        space.loading = Some(Loading {
            stage: Stage::Jobs,
            from: JobId::ZERO,
            before: queue,
            has: Has {
                claims: keys::field_count(ctx, &space.keys.claims) > 0,
                delayed: keys::delayed_count(ctx, &space.keys.delayed) > 0,
                attempts: keys::field_count(ctx, &space.keys.attempts) > 0,
                data: keys::field_count(ctx, &space.keys.data) > 0,
                progress: keys::field_count(ctx, &space.keys.progress) > 0,
            },
        });
        if space.wrong_type.is_some() {
            // Nothing is read of what may be somebody's.
            space.loading = None;
        }
        self.claims.spaces.insert(name.clone(), Box::new(space));
        let first = if failpoints::short_slices() { Duration::ZERO } else { FIRST };
        if !self.load_work(ctx, &name, Instant::now() + first) {
            self.claims.loading.push_back(name.clone());
            redis_api::arm(Duration::ZERO);
        }
        name
    }

    /// The token that is kept: of this process, or of one before it.
    fn find_token(&self, ctx: Context, space: &mut WorkSpace, epoch: i64) {
        let Some(text) = StringKey::open(ctx, &space.keys.token) else {
            // None was handed out, or all was flushed.
            return space.tokens.above(self.claims.greatest_token);
        };
        let mut numbers = std::str::from_utf8(text.bytes()).unwrap_or_default().split(' ').map(str::parse::<u64>);
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        let (token, of_epoch, at_us) = (next(), next(), next());
        if i64::try_from(of_epoch) == Ok(epoch) {
            space.tokens.go_on(token, self.claims.greatest_token);
        } else if !mutations::is("tokens-by-clock") {
            space.tokens.found(token, at_us, wall_us());
        }
    }

    /// Reads on until the deadline. True: all is read.
    pub(super) fn load_work(&mut self, ctx: Context, name: &Arc<str>, deadline: Instant) -> bool {
        let catalog = self.catalog.clone();
        let now_ms = self.claims.now_ms();
        loop {
            let Claims { spaces, workers, .. } = &mut self.claims;
            let Some(space) = spaces.get_mut(name) else { return true };
            let Some(mut loading) = space.loading.take() else { return true };
            let section = catalog.section(space.section.as_bytes()).map(|(_, section)| section);
            let (is_through, next) = match loading.stage {
                Stage::Jobs => {
                    let is_through = space.read_jobs(ctx, &mut loading, section, workers, now_ms, deadline);
                    (is_through, Some(Stage::Started))
                }
                Stage::Started => (space.read_started(ctx, &mut loading, now_ms, deadline), Some(Stage::Completed)),
                Stage::Completed => (space.read_records(ctx, &mut loading, deadline), Some(Stage::Failed)),
                Stage::Failed => (space.read_records(ctx, &mut loading, deadline), None),
            };
            let had_jobs = loading.knows_jobs();
            match (is_through, next) {
                (false, _) => space.loading = Some(loading),
                (true, Some(stage)) => {
                    loading.before = None;
                    space.loading = Some(Loading { stage, from: JobId::ZERO, ..loading });
                }
                (true, None) => space.loading = None,
            }
            let is_done = space.loading.is_none();
            if !had_jobs && space.is_loaded() {
                // Whoever waits can be served.
                self.claims_changed(name);
            }
            if is_done {
                self.claims.note_idleness(name, now_ms);
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
        }
    }

    /// Goes on with spaces that are being read. True: there is more.
    pub(super) fn load_spaces(&mut self, ctx: Context, deadline: Instant) -> bool {
        while let Some(name) = self.claims.loading.front().cloned() {
            if self.load_work(ctx, &name, deadline) {
                self.claims.loading.pop_front();
                let now_ms = self.claims.now_ms();
                self.claims.note_idleness(&name, now_ms);
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        !self.claims.loading.is_empty()
    }

    /// Runs something that needs a space's jobs, and answers: at once where they are known.
    pub(super) fn when_loaded(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        writes: bool,
        run: impl FnOnce(&mut Server, Context, &Arc<str>) -> Result<Answer, String> + 'static,
    ) -> Result<(), String> {
        if self.claims.spaces.get(name).is_none_or(|space| space.is_loaded()) {
            let answer = run(self, ctx, name)?;
            self.answer_here(ctx, answer);
            return Ok(());
        }
        self.begin_errand(ctx, WhenLoaded { name: name.clone(), writes, run: Some(run) });
        Ok(())
    }
}

/// A command that waits until a space is read.
struct WhenLoaded<R> {
    name: Arc<str>,
    writes: bool,
    run: Option<R>,
}

impl<R: FnOnce(&mut Server, Context, &Arc<str>) -> Result<Answer, String>> Errand for WhenLoaded<R> {
    fn step(&mut self, server: &mut Server, ctx: Context, deadline: Instant) -> Option<Answer> {
        if server.claims.spaces.get(&self.name).is_some_and(|space| !space.is_loaded()) {
            server.load_work(ctx, &self.name.clone(), deadline);
        }
        if server.claims.spaces.get(&self.name).is_some_and(|space| !space.is_loaded()) {
            return None;
        }
        let run = self.run.take()?;
        Some(run(server, ctx, &self.name).unwrap_or_else(|text| Answer::Error(text.into())))
    }

    fn cut_short(&mut self) -> Answer {
        Answer::Error("NOWAIT the queue is still being read; try again in a moment".into())
    }

    fn writes(&self) -> bool {
        self.writes
    }
}

impl WorkSpace {
    /// True: all are read.
    fn read_jobs(
        &mut self,
        ctx: Context,
        loading: &mut Loading,
        section: Option<&Section>,
        workers: &mut Workers,
        now_ms: u64,
        deadline: Instant,
    ) -> bool {
        let mut is_through = true;
        let (key, from) = (self.keys.work.clone(), loading.from);
        jobs::walk(ctx, &key, Direction::Forward, (from, LAST), &mut |id, fields| {
            self.read_job(ctx, loading, section, workers, now_ms, id, fields);
            loading.from = id.next().unwrap_or(LAST);
            is_through = Instant::now() < deadline;
            if is_through {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        is_through
    }

    #[expect(clippy::too_many_arguments, reason = "all of it is at hand where the stream is walked")]
    fn read_job(
        &mut self,
        ctx: Context,
        loading: &Loading,
        section: Option<&Section>,
        workers: &mut Workers,
        now_ms: u64,
        id: JobId,
        fields: &Fields,
    ) {
        let (Ok(record), Some(section)) = (WorkRecord::read(fields), section) else { return };
        self.bytes += job_record::cost(record.name, record.data, record.options.unique);
        let has = &loading.has;
        let updated = has.data.then(|| keys::get(ctx, &self.keys.data, id, |bytes| Box::<[u8]>::from(bytes))).flatten();
        if let Some(updated) = &updated {
            self.updated.insert(id);
            self.bytes += updated.len() as u64;
        }
        if has.progress && keys::get(ctx, &self.keys.progress, id, |_| ()).is_some() {
            self.in_progress.insert(id);
        }
        if let Some(unique) = record.options.unique {
            self.uniques.insert(id, unique.into());
        }
        let facts = self.facts(section, id, &record, updated.as_deref().unwrap_or(record.data));
        if section.claimed_job(record.name).is_none() {
            self.queue.set_stopped(&facts.name, true);
        }
        let tried = has.attempts.then(|| keys::get(ctx, &self.keys.attempts, id, Attempts::read)).flatten().flatten();
        let was_tried = tried.is_some();
        if let Some(tried) = tried {
            self.tried.insert(id, tried.attempts);
        }
        let claim = has
            .claims
            .then(|| keys::get(ctx, &self.keys.claims, id, |text| read_claim(text, workers)))
            .flatten()
            .flatten();
        let may_have_log = claim.is_some() || was_tried || self.totals.get(Total::Released) > 0;
        if may_have_log && super::logs::is_log(ctx, &self.keys.log(id)) {
            self.logged.insert(id, 0);
        }
        if let Some(claim) = claim {
            let known =
                loading.before.as_ref().and_then(|before| before.claim(id)).filter(|of| of.token == claim.token);
            let deadline_ms = known.map_or(now_ms + claim.lease_ms, |known| known.deadline_ms);
            return self.queue.add_claimed(facts, Claim { deadline_ms, ..claim }, now_ms);
        }
        match has.delayed.then(|| keys::due_ms(ctx, &self.keys.delayed, id)).flatten() {
            Some(due_ms) => self.queue.add_delayed(facts, due_ms, was_tried),
            None => self.queue.add(facts),
        }
    }

    /// Claims that were begun lately, for rates. Their age is by the clock on the wall, which nothing else tells of a time
    /// before this process.
    fn read_started(&mut self, ctx: Context, loading: &mut Loading, now_ms: u64, deadline: Instant) -> bool {
        let Some(window_ms) = self.queue.window_ms().filter(|_| !mutations::is("starts-forgotten")) else {
            return true;
        };
        let mut is_through = true;
        let key = self.keys.started.clone();
        let since = JobId { ms: wall_ms().saturating_sub(window_ms), seq: 0 };
        jobs::walk(ctx, &key, Direction::Forward, (loading.from.max(since), LAST), &mut |id, fields| {
            if let Ok(started) = Started::read(fields) {
                let age_ms = wall_ms().saturating_sub(id.ms);
                self.queue.begin(started.group, now_ms.saturating_sub(age_ms));
            }
            loading.from = id.next().unwrap_or(LAST);
            is_through = Instant::now() < deadline;
            if is_through {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        is_through
    }

    /// Which records there are.
    fn read_records(&mut self, ctx: Context, loading: &mut Loading, deadline: Instant) -> bool {
        let mut is_through = true;
        let is_failed = loading.stage == Stage::Failed;
        let key = if is_failed { self.keys.failed.clone() } else { self.keys.completed.clone() };
        jobs::walk(ctx, &key, Direction::Forward, (loading.from, LAST), &mut |entry, fields| {
            let kept = if is_failed { &mut self.kept_failed } else { &mut self.kept };
            note_records(kept, &mut self.logged, entry, fields, is_failed);
            loading.from = entry.next().unwrap_or(LAST);
            is_through = Instant::now() < deadline;
            if is_through {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        is_through
    }
}

fn note_records(
    kept: &mut Kept,
    logged: &mut std::collections::BTreeMap<JobId, u64>,
    entry: JobId,
    fields: &Fields,
    is_failed: bool,
) {
    let Some(kind) = crate::core::jobs::record::get(fields, b"t") else { return };
    let kind: Arc<str> = String::from_utf8_lossy(kind).into();
    let mut ids = Vec::new();
    let mut bytes = 0;
    let mut note = |id: &[u8], record: &[u8]| {
        let Some(id) = JobId::parse(id) else { return };
        ids.push(id);
        bytes += record.len() as u64;
        if record.windows(6).any(|part| part == b"\"log\":") {
            logged.insert(id, 0);
        }
    };
    if is_failed {
        let get = |name: &[u8]| crate::core::jobs::record::get(fields, name);
        if let (Some(id), Some(record)) = (get(b"id"), get(b"record")) {
            note(id, record);
        }
    } else {
        fields.iter().for_each(|(id, record)| note(id, record));
    }
    kept.found(entry, &kind, &ids, bytes);
}

fn read_claim(text: &[u8], workers: &mut Workers) -> Option<Claim> {
    let record = ClaimRecord::read(text)?;
    Some(Claim {
        token: record.token,
        attempt: record.attempt,
        worker: workers.named(&record.worker, &record.address),
        started_ms: record.started_ms,
        lease_ms: record.lease_ms,
        deadline_ms: 0,
        cancelled: record.cancelled.is_some(),
    })
}

/// A field and its value.
pub(super) type Pair = (Box<[u8]>, Box<[u8]>);

/// Fields and values of a small hash.
pub(super) fn pairs(ctx: Context, key: &[u8]) -> Vec<Pair> {
    let mut texts = jobs::read_texts(ctx, c"HGETALL", &[key]).into_iter();
    let mut pairs = Vec::new();
    while let (Some(field), Some(value)) = (texts.next(), texts.next()) {
        pairs.push((field, value));
    }
    pairs
}

pub(super) fn as_slices(pairs: &[Pair]) -> impl Iterator<Item = (&[u8], &[u8])> {
    pairs.iter().map(|(field, value)| (&**field, &**value))
}

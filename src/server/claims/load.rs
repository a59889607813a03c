//! A space's claimed jobs are read from its keys, in slices: a million jobs take a second or two. Until its jobs, its claims
//! and its starts are known nothing is handed out, for nobody could say who is first, or whether a limit is reached; commands
//! that need them wait. Records of settled jobs are read after that.
//!
//! Leases run by the clock of this process, so that each claim that is found has its whole lease again; unless it was known
//! before to this process, which only reads the keys again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::loading::{Has, Loading, Stage};
use super::read_keys::Reader;
use super::space::WorkSpace;
use super::Claims;
use crate::core::claims::queue::Queue;
use crate::core::claims::record::Totals;
use crate::core::claims::set_limits::SetLimits;
use crate::core::jobs::job_id::JobId;
use crate::failpoints;
use crate::keyspace::claims::{self as keys, WorkKeys};
use crate::keyspace::{inbox, jobs, slots};
use crate::mutations;
use crate::redis_api::{self, Answer, Context, KeyType, StringKey};
use crate::server::errands::Errand;
use crate::server::queues::wall_us;
use crate::server::{errors, Server};

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
        space.set_limits = SetLimits::read(keys::as_slices(&keys::all_fields(ctx, &space.keys.limits)));
        let mut limits = space.set_limits.over(&limits);
        if let Some(most) = limits.all.concurrency.as_mut().filter(|_| mutations::is("one-claim-more")) {
            *most += 1;
        }
        space.queue = Queue::new(limits);
        space.queue.paused = KeyType::of(ctx, &space.shared.paused).is_some();
        space.totals = Totals::read(keys::as_slices(&keys::all_fields(ctx, &space.keys.totals)));
        space.totals_written = space.totals;
        space.takes_turns = section.is_some_and(|section| section.tenant.is_some());
        space.ages = section.is_some_and(super::age::has_age);
        self.find_token(ctx, &mut space, epoch);
        space.jobs = jobs::len(ctx, &space.keys.work);
        space.newest = jobs::newest(ctx, &space.keys.work).unwrap_or(JobId::ZERO);
        let mut unverified = BTreeSet::new();
        let queue = before.map(|before| {
            unverified = before.unverified;
            (space.seen, space.lost) = (before.seen, before.lost);
            // What is not written yet.
            (space.totals, space.totals_changed) = (before.totals, true);
            before.queue
        });
        space.loading = Some(Loading {
            stage: Stage::Jobs,
            from: JobId::ZERO,
            before: queue,
            unverified,
            has: Has {
                claims: keys::field_count(ctx, &space.keys.claims) > 0,
                delayed: keys::delayed_count(ctx, &space.keys.delayed) > 0,
                attempts: keys::field_count(ctx, &space.keys.attempts) > 0,
                data: keys::field_count(ctx, &space.keys.data) > 0,
                progress: keys::field_count(ctx, &space.keys.progress) > 0,
                tells: inbox::untold_len(ctx, &space.shared) > 0,
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
            let mut reader = Reader { ctx, space, loading: &mut loading, section, workers, now_ms, deadline };
            let is_through = reader.read();
            let had_jobs = loading.knows_jobs();
            match (is_through, loading.stage.next()) {
                (false, _) => space.loading = Some(loading),
                (true, Some(stage)) => {
                    loading.before = None;
                    space.loading = Some(Loading { stage, from: JobId::ZERO, ..loading });
                }
                (true, None) => space.loading = None,
            }
            let is_done = space.loading.is_none();
            if !had_jobs && space.is_loaded() {
                self.inbox.loaded(name, space);
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

    /// Reads on until the jobs of a space are known, or the deadline has come. True: they are.
    pub(in crate::server) fn knows_jobs(&mut self, ctx: Context, name: &Arc<str>, deadline: Instant) -> bool {
        let is_loaded = |server: &Server| server.claims.spaces.get(name).is_none_or(|space| space.is_loaded());
        if !is_loaded(self) {
            self.load_work(ctx, name, deadline);
        }
        is_loaded(self)
    }

    /// Goes on with spaces that are being read. True: there is more.
    pub(super) fn load_spaces(&mut self, ctx: Context, deadline: Instant) -> bool {
        while let Some(name) = self.claims.loading.front().cloned() {
            if !self.claims.spaces.get(&name).is_none_or(|space| slots::is_here(&space.prefix)) {
                self.claims.loading.pop_front();
                continue;
            }
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
        if !slots::is_here(&server.prefix_of(&self.name)) {
            return Some(Answer::Error(errors::slot_moves().into()));
        }
        if !server.knows_jobs(ctx, &self.name, deadline) {
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

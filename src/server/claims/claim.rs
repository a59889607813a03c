//! BEAR.CLAIM: the first jobs that may be begun are handed to a worker.
//!
//! A reply is bounded by bytes, and by time where the client cannot wait: a worker that wants more claims again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::hand_out::{Ask, Taken, Unwritten};
use super::serve::{answer, Wish, MAX_BYTES};
use crate::core::catalog::space::SpaceRef;
use crate::core::catalog::Section;
use crate::core::values::value::shorten;
use crate::redis_api::{self, Answer, Context};
use crate::server::errands::Errand;
use crate::server::tick::ANSWERS;
use crate::server::{Server, Words};

/// What a worker asks for.
pub struct ClaimRequest<'a> {
    /// Job types; none: any.
    pub jobs: Words<'a>,
    pub count: usize,
    pub lease_ms: Option<u64>,
    /// Wait for a job, at most so long; 0: for ever.
    pub block_ms: Option<u64>,
    /// 1 to 128 bytes of UTF-8.
    pub worker: Option<&'a [u8]>,
}

/// For ever, as far as a waiting client is concerned.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Jobs that are handed out in a command at once.
const AT_ONCE: usize = 64;

/// For those who came before, in a command.
const SERVING: Duration = Duration::from_micros(200);

/// Whom jobs are claimed from.
#[derive(Clone)]
enum From {
    Space(Arc<str>),
    /// Any space of a section with tenants.
    Section(Arc<str>),
}

impl From {
    fn name(&self) -> &Arc<str> {
        match self {
            From::Space(name) | From::Section(name) => name,
        }
    }
}

impl Server {
    /// BEAR.CLAIM.
    pub fn claim(&mut self, ctx: Context, space: &[u8], request: &ClaimRequest) -> Result<(), String> {
        let from = self.claimed_from(ctx, space)?;
        let catalog = self.catalog.clone();
        if !request.jobs.is_empty() {
            let section = section_of(&from);
            if let Some((_, section)) = catalog.section(section.as_bytes()) {
                check_types(section, &request.jobs)?;
            }
        }
        let types = shared(&request.jobs);
        let ask = Ask { lease_ms: request.lease_ms, worker: self.worker(ctx, request.worker) };
        let is_loaded = self.is_loaded(&from);
        if matches!(from, From::Section(_)) && self.is_in_cluster() {
            return self.claim_in_tick(ctx, from.name(), types, request, ask);
        }
        // Who waits has come first, and is served in a tick: this one must not come between.
        let soon = Instant::now() + SERVING;
        match &from {
            // In a cluster a command touches keys of its own slot alone.
            From::Space(name) => self.serve_claimers_of(ctx, name, soon),
            From::Section(_) if self.claims.dirty.is_empty() => {}
            From::Section(_) => {
                self.serve_claimers(ctx, soon);
            }
        }
        if is_loaded {
            // The common case, without a detour: what is there fits into one reply.
            let (taken, more) = self.take_some(ctx, &from, &types, request.count.min(AT_ONCE), ask);
            if !(more && request.count > AT_ONCE) && (!taken.is_empty() || request.block_ms.is_none()) {
                ctx.reply().array(taken.len());
                taken.iter().for_each(|job| job.reply(ctx));
                return Ok(());
            }
            if !taken.is_empty() {
                let bytes = taken.iter().map(|job| job.data.len()).sum();
                self.begin_errand(
                    ctx,
                    Claiming { from, types, count: request.count, ask, taken, bytes, is_gone: false },
                );
                return Ok(());
            }
        }
        match request.block_ms {
            Some(block_ms) if !ctx.flags().cannot_block() => {
                let limit = if block_ms == 0 { FOR_EVER } else { Duration::from_millis(block_ms) };
                let wish = Wish { from: from.name().clone(), types, count: request.count, ask };
                self.wait_to_claim(ctx.block(), wish, Instant::now() + limit);
                if block_ms > 0 {
                    redis_api::arm(limit);
                }
            }
            _ if is_loaded => ctx.reply().array(0),
            _ => {
                let taken = Vec::new();
                self.begin_errand(
                    ctx,
                    Claiming { from, types, count: request.count, ask, taken, bytes: 0, is_gone: false },
                );
            }
        }
        Ok(())
    }

    /// From tenants whose slots are others than the command's: they are looked at outside of it.
    fn claim_in_tick(
        &mut self,
        ctx: Context,
        section: &Arc<str>,
        types: Box<[Arc<str>]>,
        request: &ClaimRequest,
        ask: Ask,
    ) -> Result<(), String> {
        if ctx.flags().cannot_block() {
            return Err("ERR in a cluster MULTI and scripts claim from a tenant's own space, such as {7}:mail".into());
        }
        let limit = match request.block_ms {
            Some(0) | None => FOR_EVER,
            Some(block_ms) => Duration::from_millis(block_ms),
        };
        let wish = Wish { from: section.clone(), types, count: request.count, ask };
        let ticket = self.wait_to_claim(ctx.block(), wish, Instant::now() + limit);
        self.claims.waiting.newcomers.push_back((ticket, request.block_ms.is_some()));
        self.claims.is_waking = true;
        redis_api::arm(Duration::ZERO);
        Ok(())
    }

    /// Those of newcomers that there is something for get it, and who does not wait is told that there is nothing.
    pub(super) fn serve_newcomers(&mut self, ctx: Context, deadline: Instant) {
        while !redis_api::has_gone() && self.answers.len() < ANSWERS && Instant::now() < deadline {
            let Some((ticket, waits)) = self.claims.waiting.newcomers.pop_front() else { return };
            let Some(Wish { from, types, count, ask }) = self.wish(ticket) else { continue };
            let (taken, _) = self.take_some(ctx, &From::Section(from), &types, count.min(AT_ONCE), ask);
            if taken.is_empty() && waits {
                continue;
            }
            if let Some((client, _)) = self.take_claimer(ticket) {
                self.answers.push_back((client, answer(taken)));
            }
        }
    }

    /// A space, or a section with tenants by its own name.
    fn claimed_from(&mut self, ctx: Context, name: &[u8]) -> Result<From, String> {
        self.check_db(ctx)?;
        self.settle();
        let catalog = self.catalog.clone();
        if let Some((index, section)) = catalog.section(name).filter(|(_, section)| section.tenant.is_some()) {
            check_claimed(section)?;
            let space = SpaceRef { section: index, tenant: None };
            self.check_owned(ctx, space)?;
            return Ok(From::Section(section.name.as_ref().into()));
        }
        let space = self.space_here(ctx, name)?;
        check_claimed(&catalog.sections[space.section])?;
        self.check_owned(ctx, space)?;
        let text = String::from_utf8_lossy(name);
        let known = self.claims.spaces.get_key_value(&*text).map(|(known, _)| known.clone());
        let prefix = self.prefix_of(&text);
        self.look_at_foreign_writes_to(ctx, &text, &prefix);
        let name = known.filter(|known| self.claims.spaces.contains_key(known));
        let name = match name.or_else(|| self.touch_work(ctx, &text, &prefix)) {
            Some(name) => name,
            None => (*text).into(),
        };
        if let Some(text) = self.claims.spaces.get(&name).and_then(|space| space.wrong_type.clone()) {
            return Err(text);
        }
        Ok(From::Space(name))
    }

    fn is_loaded(&self, from: &From) -> bool {
        match from {
            From::Space(name) => self.claims.spaces.get(name).is_none_or(|space| space.is_loaded()),
            // Of those that are being read another one may be claimed a little later.
            From::Section(_) => true,
        }
    }

    /// Up to so many jobs. Also says whether there may be more.
    fn take_some(
        &mut self,
        ctx: Context,
        from: &From,
        types: &[Arc<str>],
        count: usize,
        ask: Ask,
    ) -> (Vec<Taken>, bool) {
        let mut taken: Vec<Taken> = Vec::new();
        let mut bytes = 0;
        let mut more = true;
        let mut unwritten = Unwritten::default();
        while more && taken.len() < count && bytes < MAX_BYTES {
            let job = match from {
                From::Space(name) => self.hand_out_unwritten(ctx, name, types, ask, &mut unwritten),
                From::Section(section) => self.hand_out_by_turns(ctx, section, types, ask),
            };
            more = job.is_some();
            bytes += job.as_ref().map_or(0, |job| job.data.len());
            taken.extend(job);
        }
        if let (From::Space(name), false) = (from, taken.is_empty()) {
            self.write_claims(ctx, name, &unwritten);
            self.tell_claimed(ctx, &taken, ask);
            self.claims_changed(name);
        }
        (taken, more && bytes < MAX_BYTES)
    }
}

fn section_of(from: &From) -> &str {
    let name = from.name();
    name.rsplit("}:").next().unwrap_or(name)
}

/// Names that are shared, of the words of a command.
fn shared(words: &[&[u8]]) -> Box<[Arc<str>]> {
    words.iter().map(|word| String::from_utf8_lossy(word).into()).collect()
}

fn check_claimed(section: &Section) -> Result<(), String> {
    if section.has_claimed_jobs() {
        return Ok(());
    }
    Err(format!("ERR section '{}' has no jobs that workers claim: none has claim, and it is not open", section.name))
}

/// Each must be a job that is claimed.
fn check_types(section: &Section, names: &[&[u8]]) -> Result<(), String> {
    let Some(unknown) = names.iter().find(|name| section.claimed_job(name).is_none()) else { return Ok(()) };
    let claimed: Vec<&str> = section.jobs.iter().filter(|job| job.claim().is_some()).map(|job| &*job.name).collect();
    let claimed = if claimed.is_empty() { "none".to_owned() } else { claimed.join(", ") };
    Err(match section.jobs.iter().any(|job| job.name.as_bytes() == *unknown) {
        true => {
            format!("ERR job '{}' is applied to Postgres by bear itself; workers claim {claimed}", shorten(unknown))
        }
        false if section.open.is_some() => format!(
            "ERR after JOB there are names of 1 to 128 letters, digits and _ - . :, beginning with a letter or a digit, got '{}'",
            shorten(unknown)
        ),
        false => format!("ERR section '{}' has no job '{}'; workers claim {claimed}", section.name, shorten(unknown)),
    })
}

/// More jobs than one slice hands out.
struct Claiming {
    from: From,
    types: Box<[Arc<str>]>,
    count: usize,
    ask: Ask,
    taken: Vec<Taken>,
    bytes: usize,
    /// Nobody waits for the jobs any more.
    is_gone: bool,
}

impl Claiming {
    /// Gives back what was claimed for a client that has gone. True: all of it.
    fn give_back(&mut self, server: &mut Server, ctx: Context, deadline: Instant) -> bool {
        while let Some(Taken { id, token, space, .. }) = self.taken.pop() {
            let claim = server.claims.spaces.get(&space).and_then(|space| space.queue.claim(id));
            if claim.is_some_and(|claim| claim.token == token) {
                server.release_claimed(ctx, &space, id);
                server.claims_changed(&space);
            }
            if Instant::now() >= deadline {
                return self.taken.is_empty();
            }
        }
        true
    }
}

impl Errand for Claiming {
    fn step(&mut self, server: &mut Server, ctx: Context, deadline: Instant) -> Option<Answer> {
        if self.is_gone {
            return self.give_back(server, ctx, deadline).then_some(Answer::Ok);
        }
        if let From::Space(name) = &self.from {
            if !server.knows_jobs(ctx, name, deadline) {
                return None;
            }
        }
        loop {
            let left = (self.count - self.taken.len()).min(8);
            let (taken, more) = server.take_some(ctx, &self.from, &self.types, left, self.ask);
            self.bytes += taken.iter().map(|job| job.data.len()).sum::<usize>();
            self.taken.extend(taken);
            if !more || self.taken.len() >= self.count || self.bytes >= MAX_BYTES {
                return Some(self.cut_short());
            }
            if Instant::now() >= deadline {
                return None;
            }
        }
    }

    fn cut_short(&mut self) -> Answer {
        answer(std::mem::take(&mut self.taken))
    }

    fn client_gone(&mut self) {
        self.is_gone = true;
    }

    fn writes(&self) -> bool {
        true
    }
}

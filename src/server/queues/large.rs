//! BEAR.ENQUEUE of a large payload: checked aside while the client waits, for a megabyte of nested JSON takes some
//! milliseconds, and then added as any other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::enqueue::{EnqueueOptions, JobKind};
use super::unique::fingerprint;
use crate::core::catalog::Section;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::payload;
use crate::core::values::priority::Priority;
use crate::failpoints;
use crate::redis_api::{self, Answer, BlockedClient, ClientHandle, Context, Gone};
use crate::server::done_aside::{Aside, CheckedPayload, FAILED};
use crate::server::{errors, Server};

/// While the server allows no writes, we look again after this.
const PAUSED: std::time::Duration = std::time::Duration::from_millis(10);

/// Enqueued, once its payload is checked.
pub struct Pending {
    client: BlockedClient,
    space: Box<[u8]>,
    job: Box<[u8]>,
    /// Of the catalog that it is checked against.
    sections: Arc<[Section]>,
    unique: Option<Box<[u8]>>,
    delay_ms: Option<u64>,
    at_ms: Option<u64>,
    attempts: Option<u32>,
    backoff_ms: Option<u64>,
    priority: Option<Priority>,
    traceparent: Option<Box<[u8]>>,
    block_ms: Option<u64>,
    /// The payload is this job's from then on.
    update: Option<JobId>,
    /// Nobody waits for the answer any more.
    is_gone: bool,
}

#[derive(Default)]
pub struct LargePayloads {
    pending: FxHashMap<u64, Pending>,
    by_client: FxHashMap<ClientHandle, u64>,
    /// Checked, in the order of the checks.
    checked: VecDeque<(u64, Result<CheckedPayload, String>)>,
    tickets: u64,
}

impl LargePayloads {
    fn add(&mut self, pending: Pending) -> u64 {
        self.tickets += 1;
        self.by_client.insert(pending.client.handle(), self.tickets);
        self.pending.insert(self.tickets, pending);
        self.tickets
    }

    fn take(&mut self, ticket: u64) -> Option<Pending> {
        let pending = self.pending.remove(&ticket)?;
        self.by_client.remove(&pending.client.handle());
        Some(pending)
    }

    /// A client has gone whose payload is being checked. One that CLIENT UNBLOCK has told nil instead of an id is to find no
    /// job later; it is returned. Who has hung up has sent a job that others' are sent as, and who waits with BLOCK has
    /// only ended the wait.
    pub fn take_gone(&mut self, gone: &Gone) -> Option<BlockedClient> {
        let ticket = *self.by_client.get(&gone.handle)?;
        let pending = self.pending.get_mut(&ticket)?;
        if gone.is_connected && pending.block_ms.is_none() {
            return self.take(ticket).map(|pending| pending.client);
        }
        pending.is_gone = true;
        None
    }
}

impl Server {
    /// Has the payload checked aside; the client waits.
    pub(super) fn check_aside(
        &mut self,
        ctx: Context,
        space: &[u8],
        of: (usize, &[u8]),
        data: &[u8],
        options: &EnqueueOptions,
    ) {
        self.check_payload_aside(ctx, space, of, data, options, None);
    }

    /// The same of BEAR.UPDATE.
    pub(in crate::server) fn check_update_aside(
        &mut self,
        ctx: Context,
        space: &[u8],
        of: (usize, &[u8]),
        data: &[u8],
        id: JobId,
    ) {
        self.check_payload_aside(ctx, space, of, data, &EnqueueOptions::default(), Some(id));
    }

    fn check_payload_aside(
        &mut self,
        ctx: Context,
        space: &[u8],
        (section, job): (usize, &[u8]),
        data: &[u8],
        options: &EnqueueOptions,
        update: Option<JobId>,
    ) {
        let sections = self.catalog.sections.clone();
        let ticket = self.queues.large.add(Pending {
            client: ctx.block(),
            space: space.into(),
            job: job.into(),
            sections: sections.clone(),
            unique: options.unique.map(Into::into),
            delay_ms: options.delay_ms,
            at_ms: options.at_ms,
            attempts: options.attempts,
            backoff_ms: options.backoff_ms,
            priority: options.priority,
            traceparent: options.traceparent.map(Into::into),
            block_ms: options.block_ms,
            update,
            is_gone: false,
        });
        let (data, job, is_unique) = (data.to_vec(), job.to_vec(), options.unique.is_some());
        let what = if update.is_some() { "updated" } else { "enqueued" };
        let failed = Err(format!("ERR the job is not {what}: {FAILED}"));
        self.workers.aside(Some(Aside::Payload(ticket, failed)), move || {
            failpoints::hit("check-payload");
            let of = JobKind::of(&sections[section], &job).and_then(JobKind::job);
            let mut checked = Vec::with_capacity(data.len());
            let written = payload::write(of, &data, &mut checked).map_err(errors::usage);
            let checked = written.map(|()| {
                let fingerprint = is_unique.then(|| fingerprint(of, &job, &checked));
                CheckedPayload { data: checked, fingerprint }
            });
            Some(Aside::Payload(ticket, checked))
        });
    }

    pub(in crate::server) fn payload_checked(&mut self, ticket: u64, result: Result<CheckedPayload, String>) {
        self.queues.large.checked.push_back((ticket, result));
    }

    /// Enqueues what has been checked. True when more is to be done at once.
    pub(in crate::server) fn enqueue_checked(&mut self, ctx: Context, deadline: Instant, paused: bool) -> bool {
        if paused {
            if !self.queues.large.checked.is_empty() {
                redis_api::arm(PAUSED);
            }
            return false;
        }
        while let Some((ticket, result)) = self.queues.large.checked.pop_front() {
            if let Some(pending) = self.queues.large.take(ticket) {
                match result.and_then(|checked| self.add_checked(ctx, &pending, checked)) {
                    Ok(id) => self.tell_enqueued(ctx, pending, id),
                    Err(text) => self.answers.push_back((pending.client, Answer::Error(text.into()))),
                }
            }
            if Instant::now() >= deadline {
                return !self.queues.large.checked.is_empty();
            }
        }
        false
    }

    fn add_checked(&mut self, ctx: Context, pending: &Pending, checked: CheckedPayload) -> Result<JobId, String> {
        if !self.is_master() {
            return Err("READONLY this server has become a replica; nothing is changed".into());
        }
        let space = self.space(ctx, &pending.space)?;
        let section = space.section;
        self.check_safe()?;
        self.check_owned(ctx, space)?;
        let catalog = self.catalog.clone();
        let of_section = &catalog.sections[section];
        let gone = || format!("ERR the section has no job '{}' any more", String::from_utf8_lossy(&pending.job));
        let of = JobKind::of(of_section, &pending.job).ok_or_else(gone)?;
        let CheckedPayload { mut data, mut fingerprint } = checked;
        if !Arc::ptr_eq(&pending.sections, &self.catalog.sections) {
            // Another catalog, meanwhile. What was checked is checked again as it is written.
            let mut again = Vec::with_capacity(data.len());
            payload::write(of.job(), &data, &mut again).map_err(errors::usage)?;
            (data, fingerprint) = (again, None);
        }
        let options = EnqueueOptions {
            unique: pending.unique.as_deref(),
            delay_ms: pending.delay_ms,
            at_ms: pending.at_ms,
            attempts: pending.attempts,
            backoff_ms: pending.backoff_ms,
            priority: pending.priority,
            traceparent: pending.traceparent.as_deref(),
            block_ms: None,
            row: None,
            fence: None,
        };
        match (of, pending.update) {
            (JobKind::Claimed(of), Some(id)) => self.update_checked(ctx, &pending.space, id, of, &data).map(|()| id),
            (JobKind::Claimed(of), None) => {
                let name = self.begin_to_enqueue(ctx, &pending.space, section)?;
                self.add_claimed_job(ctx, name, of_section, (&pending.job, of), (&data, fingerprint), &options)
            }
            // By another catalog, meanwhile, it is applied to Postgres.
            (JobKind::Sql(job), Some(_)) => {
                Err(format!("ERR the section has no job '{}' that workers claim any more", job.name))
            }
            (JobKind::Sql(job), None) => {
                self.add_job(ctx, &pending.space, section, job, (&data, fingerprint), &options)
            }
        }
    }

    fn tell_enqueued(&mut self, ctx: Context, pending: Pending, id: JobId) {
        if pending.update.is_some() {
            return self.answers.push_back((pending.client, Answer::Ok));
        }
        match pending.block_ms {
            Some(block_ms) if !pending.is_gone => {
                let space: Arc<str> = String::from_utf8_lossy(&pending.space).into();
                self.wait_on(ctx, pending.client, space, id, block_ms);
            }
            _ => {
                let id = Arc::new(id.to_string().into_bytes());
                self.answers.push_back((pending.client, Answer::Bytes(id)));
            }
        }
    }
}

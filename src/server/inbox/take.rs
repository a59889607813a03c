//! A row becomes a job, as if a client had sent it. What BEAR.ENQUEUE would refuse for good is recorded as failed; what it would refuse
//! for now waits.

use std::sync::Arc;

use super::refuse::Refused;
use crate::core::catalog::Section;
use crate::core::inbox::row::InboxRow;
use crate::core::inbox::tell::Telling;
use crate::core::jobs::inbox_id::MAX_INBOX_ID;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::payload;
use crate::keyspace::inbox as keys;
use crate::keyspace::jobs::QueueKeys;
use crate::mutations;
use crate::redis_api::Context;
use crate::server::done_aside::{Aside, CheckedPayload, FAILED};
use crate::server::queues::{fingerprint, wall_ms, EnqueueOptions, JobKind, LARGE};
use crate::server::{errors, Server};

pub(super) enum Taking {
    /// It is a job, or has failed, or waits with its space.
    Done,
    /// Its payload is being checked aside; the others wait for it, for they come after it.
    IsChecked,
}

/// The large payload of a row that is being checked.
#[derive(Default)]
pub enum Checking {
    #[default]
    None,
    Begun {
        row: u64,
        sections: Arc<[Section]>,
    },
    Ended {
        row: u64,
        sections: Arc<[Section]>,
        result: Result<CheckedPayload, String>,
    },
}

/// Why a row does not become a job now.
enum Trouble {
    /// It never will.
    Refused(String),
    /// Later, perhaps; true: it only lacks room.
    Waits { lacks_room: bool },
    /// While its payload is checked.
    IsChecked,
}

impl From<String> for Trouble {
    fn from(text: String) -> Trouble {
        match text.split(' ').next() {
            Some("FULL") => Trouble::Waits { lacks_room: true },
            Some("ERR" | "TOOLARGE" | "DUPLICATE") => Trouble::Refused(text),
            _ => Trouble::Waits { lacks_room: false },
        }
    }
}

/// Rows of one space that follow one another in a slice: what no other hand can change within it is looked at once.
pub(super) struct Run {
    space: Box<str>,
    pub(super) keys: QueueKeys,
    wrong_type: Option<String>,
}

impl Server {
    /// The run that a row belongs to; `run`: of the row before in this slice.
    pub(super) fn run_of<'r>(&mut self, ctx: Context, space: &str, run: &'r mut Option<Run>) -> &'r Run {
        if let Some(same) = run.take().filter(|run| *run.space == *space) {
            return run.insert(same);
        }
        let prefix = self.prefix_of(space);
        self.look_at_foreign_writes_to(ctx, space, &prefix);
        let keys = QueueKeys::new(&prefix);
        let wrong_type = keys.wrong_type(ctx);
        run.insert(Run { space: space.into(), keys, wrong_type })
    }

    pub(super) fn take_row(&mut self, ctx: Context, row: &InboxRow, run: &mut Option<Run>) -> Taking {
        if self.inbox.is_passed_over(&row.space) {
            return Taking::Done;
        }
        let run = self.run_of(ctx, &row.space, run);
        match self.try_to_take(ctx, row, run) {
            Ok(()) => {}
            Err(Trouble::IsChecked) => return Taking::IsChecked,
            Err(Trouble::Waits { lacks_room }) => self.inbox.pass_over(&row.space, lacks_room),
            Err(Trouble::Refused(text)) => self.refuse_row(ctx, Refused { row, text: &text }),
        }
        self.inbox.checking = Checking::None;
        Taking::Done
    }

    fn try_to_take(&mut self, ctx: Context, row: &InboxRow, run: &Run) -> Result<(), Trouble> {
        let of = &run.keys;
        let space_ref = match self.space(ctx, row.space.as_bytes()) {
            Ok(space) => space,
            // Of a section that has left the catalog since: whoever has it takes the row.
            Err(_) if !self.has_section_of(&row.space) => return Ok(()),
            Err(text) => return Err(Trouble::Refused(text)),
        };
        self.check_owned(ctx, space_ref)?;
        self.check_safe()?;
        let is_oom = ctx.memory_ratio() >= 1.0;
        if keys::known(ctx, of, row.id) != keys::Known::Nothing && !mutations::is("inbox-taken-twice") {
            return Ok(());
        }
        if let Some(text) = &run.wrong_type {
            return Err(text.clone().into());
        }
        let catalog = self.catalog.clone();
        let section = &catalog.sections[space_ref.section];
        let kind = self.check_row(row, section)?;
        if is_oom {
            return Err(Trouble::Waits { lacks_room: false });
        }
        let checked = self.checked_payload_of(row, &catalog.sections, space_ref.section, kind)?;
        let options = EnqueueOptions {
            unique: row.unique.as_deref().map(str::as_bytes),
            at_ms: row.due_ms,
            attempts: row.attempts,
            backoff_ms: row.backoff_ms,
            priority: row.priority,
            row: Some(row.id),
            fence: row.fence,
            ..EnqueueOptions::default()
        };
        let data = (checked.data.as_slice(), checked.fingerprint);
        let id = match kind {
            JobKind::Sql(job) => self.add_job(ctx, row.space.as_bytes(), space_ref.section, job, data, &options)?,
            JobKind::Claimed(job) => {
                let name = self.begin_to_enqueue(ctx, row.space.as_bytes(), space_ref.section)?;
                self.add_claimed_job(ctx, name, section, (row.job.as_bytes(), job), data, &options)?
            }
        };
        self.row_is_taken(ctx, row, of, id);
        Ok(())
    }

    fn has_section_of(&self, space: &str) -> bool {
        let section = crate::core::inbox::row::section_of(space);
        section.is_some_and(|section| self.catalog.section(section.as_bytes()).is_some())
    }

    /// What BEAR.ENQUEUE would refuse of its words.
    fn check_row<'a>(&self, row: &InboxRow, section: &'a Section) -> Result<JobKind<'a>, Trouble> {
        let refused = |text: String| Err(Trouble::Refused(text));
        if row.id > MAX_INBOX_ID {
            return refused(format!("ERR ids of the inbox go up to {MAX_INBOX_ID}"));
        }
        let kind = JobKind::of(section, row.job.as_bytes());
        let Some(kind) = kind else {
            return refused(crate::server::queues::no_job(section, row.job.as_bytes()));
        };
        if let (JobKind::Sql(job), Some(_)) = (kind, row.priority) {
            return refused(crate::server::queues::no_priority(job));
        }
        let options = EnqueueOptions { at_ms: row.due_ms, ..EnqueueOptions::default() };
        crate::server::queues::due_ms(&options, wall_ms()).map_err(Trouble::Refused)?;
        let limit = self.config.max_job_bytes as usize;
        if row.data.len() > limit {
            return refused(crate::server::queues::too_large(limit, row.data.len()));
        }
        Ok(kind)
    }

    /// The payload as it is stored; a large one is checked aside.
    fn checked_payload_of(
        &mut self,
        row: &InboxRow,
        sections: &Arc<[Section]>,
        section: usize,
        kind: JobKind,
    ) -> Result<CheckedPayload, Trouble> {
        if row.data.len() <= LARGE {
            let mut data = Vec::with_capacity(row.data.len());
            payload::write(kind.job(), &row.data, &mut data).map_err(errors::usage)?;
            return Ok(CheckedPayload { data, fingerprint: None });
        }
        match std::mem::take(&mut self.inbox.checking) {
            Checking::Ended { row: of, sections: by, result } if of == row.id && Arc::ptr_eq(&by, sections) => {
                return Ok(result?);
            }
            begun @ Checking::Begun { row: of, .. } if of == row.id => {
                self.inbox.checking = begun;
                return Err(Trouble::IsChecked);
            }
            _ => {}
        }
        self.inbox.checking = Checking::Begun { row: row.id, sections: sections.clone() };
        let (id, sections, data, job) = (row.id, sections.clone(), row.data.to_vec(), row.job.as_bytes().to_vec());
        let is_unique = row.unique.is_some();
        let failed = Err(format!("ERR {FAILED}"));
        self.workers.aside(Some(Aside::RowPayload(id, failed)), move || {
            let of = JobKind::of(&sections[section], &job).and_then(JobKind::job);
            let mut checked = Vec::with_capacity(data.len());
            let written = payload::write(of, &data, &mut checked).map_err(errors::usage);
            let checked = written.map(|()| {
                let fingerprint = is_unique.then(|| fingerprint(of, &job, &checked));
                CheckedPayload { data: checked, fingerprint }
            });
            Some(Aside::RowPayload(id, checked))
        });
        Err(Trouble::IsChecked)
    }

    pub(in crate::server) fn row_payload_checked(&mut self, row: u64, result: Result<CheckedPayload, String>) {
        match std::mem::take(&mut self.inbox.checking) {
            Checking::Begun { row: of, sections } if of == row => {
                self.inbox.checking = Checking::Ended { row, sections, result };
            }
            other => self.inbox.checking = other,
        }
    }

    fn row_is_taken(&mut self, ctx: Context, row: &InboxRow, of: &QueueKeys, id: JobId) {
        let is_anothers = id.inbox() != Some(row.id);
        if is_anothers || mutations::is("inbox-told-early") {
            // The same job holds its UNIQUE key.
            self.inbox.tell(ctx, of, &(*row.space).into(), &[(row.id, Telling::Done)]);
        }
        if !is_anothers && row.unique.is_some() && keys::taken(ctx, of, row.id).is_none() {
            // By its UNIQUE key it stands already, and another hand has taken it out of the hash.
            keys::take(ctx, of, row.id, id, false);
        }
        self.inbox.totals.taken += 1;
        self.inbox.totals.lag_ms = wall_ms().saturating_sub(row.enqueued_ms);
    }
}

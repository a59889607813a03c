//! Postgres is told of rows, a few hundred at a time; what has been told goes from the keys, if it is still what they say.

use std::sync::Arc;
use std::time::Instant;

use super::outcomes::Step;
use super::settle::completed;
use crate::core::inbox::tell::{Telling, ToldAs};
use crate::keyspace::inbox as keys;
use crate::keyspace::jobs::QueueKeys;
use crate::redis_api::Context;
use crate::server::claims::Ending;
use crate::server::Server;
use crate::workers::InboxRequest;

/// Rows that are told at once, and that are on their way.
const AT_ONCE: usize = 500;
const ON_THEIR_WAY: usize = 5_000;

impl Server {
    /// True: there is more to do at once.
    pub(super) fn tell_postgres(&mut self, ctx: Context, until: Instant) -> bool {
        if !self.inbox.link.is_up() {
            return false;
        }
        let mut tellings = Vec::new();
        while tellings.len() < AT_ONCE && self.inbox.telling.len() < ON_THEIR_WAY {
            let Some((row, name)) = self.inbox.untold.pop_front() else {
                if !self.read_untold(ctx) {
                    break;
                }
                if Instant::now() >= until {
                    break;
                }
                continue;
            };
            let of = QueueKeys::new(&self.prefix_of(&name));
            let Some(telling) = keys::telling(ctx, &of, row) else { continue };
            if self.inbox.telling.get(&row).is_none_or(|(_, on_its_way)| *on_its_way != telling) {
                self.inbox.telling.insert(row, (name, telling.clone()));
                tellings.push((row, telling));
            }
            if Instant::now() >= until {
                break;
            }
        }
        if !tellings.is_empty() {
            self.ask_inbox(InboxRequest::Tell(tellings));
        }
        let has_more = !self.inbox.untold.is_empty() || !self.inbox.unread.is_empty() || self.inbox.reading.is_some();
        has_more && self.inbox.telling.len() < ON_THEIR_WAY
    }

    /// Reads some of what is in the keys alone. False: there is nothing.
    fn read_untold(&mut self, ctx: Context) -> bool {
        let (name, cursor) = match self.inbox.reading.take() {
            Some(reading) => reading,
            None => match self.inbox.unread.pop_first() {
                Some(name) => (name, 0),
                None => return false,
            },
        };
        let of = QueueKeys::new(&self.prefix_of(&name));
        let untold = &mut self.inbox.untold;
        let next = keys::scan(ctx, &of.inbox_tell, cursor, &mut |row, _| untold.push_back((row, name.clone())));
        if next != 0 {
            self.inbox.reading = Some((name, next));
        }
        true
    }

    /// Postgres has been told.
    pub(super) fn row_is_told(
        &mut self,
        ctx: Context,
        row: u64,
        telling: &Telling,
        as_what: &ToldAs,
        until: Instant,
    ) -> Step {
        let Some((name, on_its_way)) = self.inbox.telling.get(&row).cloned() else { return Step::Done };
        if on_its_way != *telling {
            // Another word of it is on its way.
            return Step::Done;
        }
        let prefix = self.prefix_of(&name);
        self.look_at_foreign_writes_to(ctx, &name, &prefix);
        let of = QueueKeys::new(&prefix);
        let step = match keys::telling(ctx, &of, row) {
            Some(current) if current == *telling => self.told(ctx, &name, &of, row, telling, as_what, until),
            _ => Step::Done,
        };
        if matches!(step, Step::Done) {
            self.inbox.telling.remove(&row);
            self.inbox.totals.told += 1;
        }
        step
    }

    #[expect(clippy::too_many_arguments, reason = "of one row, and called once")]
    fn told(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        of: &QueueKeys,
        row: u64,
        telling: &Telling,
        as_what: &ToldAs,
        until: Instant,
    ) -> Step {
        let is_fence = matches!(telling, Telling::Fence(_));
        match as_what {
            ToldAs::Completed { result, .. } if is_fence => {
                self.outcome_was_there(ctx, name, of, row, result.as_deref(), until)
            }
            ToldAs::Gone if is_fence => self.outcome_was_there(ctx, name, of, row, None, until),
            ToldAs::Completed { .. } if !matches!(telling, Telling::Done) => {
                // Redis' word was the later one; the row has nothing more to say.
                self.inbox.tell(ctx, of, name, &[(row, Telling::Done)]);
                Step::Done
            }
            ToldAs::Told if is_fence && keys::failing(ctx, of, row).is_some() => {
                self.job_has_failed(ctx, name, of, row, until)
            }
            ToldAs::Told | ToldAs::Gone | ToldAs::Completed { .. } => {
                keys::told(ctx, of, &[row]);
                if is_fence {
                    self.row_goes_on(ctx, name, of, row);
                }
                Step::Done
            }
        }
    }

    /// It was its last claim, and nobody has completed it.
    fn job_has_failed(&mut self, ctx: Context, name: &Arc<str>, of: &QueueKeys, row: u64, until: Instant) -> Step {
        let (taken, error) = (keys::taken(ctx, of, row), keys::failing(ctx, of, row));
        let (Some((id, _)), Some(error)) = (taken, error) else { return Step::Done };
        let step = self.settle_job_of(ctx, name, id, Ending::Failed { error }, until);
        if matches!(step, Step::Done) && matches!(keys::telling(ctx, of, row), Some(Telling::Fence(_))) {
            // There was no such job any more.
            keys::told(ctx, of, &[row]);
        }
        step
    }

    /// The claim that ended counts no more: somebody else may have the job.
    fn row_goes_on(&mut self, ctx: Context, name: &Arc<str>, of: &QueueKeys, row: u64) {
        let Some((id, again)) = keys::taken(ctx, of, row) else { return };
        if again {
            keys::take(ctx, of, row, id, false);
        }
        if let Some((_, space)) = self.claims.space_of(name) {
            space.untold.remove(&id);
            space.let_out(id);
        }
        self.claims_changed(name);
    }

    /// The job had been completed when its claim ended.
    fn outcome_was_there(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        of: &QueueKeys,
        row: u64,
        result: Option<&str>,
        until: Instant,
    ) -> Step {
        let step = match keys::taken(ctx, of, row) {
            // It had failed, and its row went with time.
            Some((id, true)) if result.is_none() => self.let_go_of_row(ctx, name, id, until),
            Some((id, _)) => self.settle_job_of(ctx, name, id, completed(result), until),
            None => Step::Done,
        };
        if matches!(step, Step::Done) && matches!(keys::telling(ctx, of, row), Some(Telling::Fence(_))) {
            // There was no such job any more.
            self.inbox.tell(ctx, of, name, &[(row, Telling::Done)]);
        }
        step
    }
}

//! Events: what happens to jobs and entries is published, of the spaces of which somebody has asked for it.
//!
//! | file | what |
//! |---|---|
//! | `choice` | of which sections |
//! | `send` | messages on their way: in order, some of them a tick where there are many |
//! | `outcomes` | what came of a batch of SQL jobs |
//! | `entries` | entries that were stored, or are served no more |
//!
//! ```text
//! where it happens: events.tell(…), one branch while they are off ──> in the same callback, or behind what waits ──> PUBLISH, SPUBLISH
//! ```
//! **Invariants.** What happened first is published first. What is published is written: a hook stands behind the write, in its
//! callback. Nothing is published by a replica, and nothing while the server allows no writes. Who loses a message has the keys: no
//! message is ever kept beyond this process.
//!
//! A new event is a variant in `core/events` and a hook where it happens.

mod choice;
mod entries;
mod outcomes;
mod send;

pub use choice::EventsChoice;
pub use entries::{rows_of, rows_of_prefix, space_of};

use rustc_hash::FxHashSet;

use crate::core::calls::names::{section_of_prefix, Deployment};
use crate::core::catalog::Catalog;
use crate::core::claims::queue::Claim;
use crate::core::events::job::{Hold, JobEvent, OfJob};
use crate::core::jobs::job_id::JobId;
use crate::redis_api::Context;
use crate::server::queues::wall_ms;
use crate::server::Server;

pub struct Events {
    /// Is anything told of any section?
    is_on: bool,
    sections: FxHashSet<Box<[u8]>>,
    sending: send::Sending,
}

impl Events {
    pub fn new(deployment: Deployment) -> Events {
        Events { is_on: false, sections: FxHashSet::default(), sending: send::Sending::new(deployment) }
    }

    /// Takes what the catalog and the setting say. True: something is told of some section.
    fn arrange(&mut self, catalog: &Catalog, choice: EventsChoice) -> bool {
        let told = catalog.sections.iter().filter(|section| choice.tells_of(section.events));
        self.sections = told.map(|section| section.name.as_bytes().into()).collect();
        self.is_on = !self.sections.is_empty();
        self.is_on
    }

    /// Does anybody want to know of a space?
    pub fn tells_of(&self, space: &str) -> bool {
        self.is_on && self.sections.contains(section_of_prefix(space.as_bytes()))
    }

    /// Publishes what has happened to a job; `event` gives its type and the event, and is not asked in vain.
    pub fn tell<'a>(
        &mut self,
        ctx: Context,
        space: &str,
        id: JobId,
        event: impl FnOnce() -> Option<(&'a str, JobEvent<'a>)>,
    ) {
        if !self.tells_of(space) {
            return;
        }
        if let Some((job, event)) = event() {
            self.sending.send(ctx, space, |out| event.write(OfJob { space, id, job }, wall_ms(), out));
        }
    }

    /// The same of what is not all written yet: [`Events::flush`] publishes it, in the same callback.
    pub fn note<'a>(&mut self, space: &str, id: JobId, event: impl FnOnce() -> Option<(&'a str, JobEvent<'a>)>) {
        if !self.tells_of(space) {
            return;
        }
        if let Some((job, event)) = event() {
            self.sending.push(space, |out| event.write(OfJob { space, id, job }, wall_ms(), out));
        }
    }

    /// A claimed job was cancelled: its worker is told in any case.
    pub fn tell_cancelled(&mut self, ctx: Context, space: &str, (id, job): (JobId, &str), hold: Hold, message: &str) {
        let event = JobEvent::Cancelled { hold, message };
        self.sending.push_everywhere(space, |out| event.write(OfJob { space, id, job }, wall_ms(), out));
        self.sending.flush(ctx, 0);
    }

    /// Publishes what waits: all of it where it is few beside `noted` messages of this callback.
    pub fn flush(&mut self, ctx: Context, noted: usize) {
        if self.is_on {
            self.sending.flush(ctx, noted);
        }
    }

    /// Messages that were published since the module was loaded, and that wait to be.
    pub fn counts(&self) -> (u64, u64) {
        self.sending.counts()
    }

    /// So much waits that nothing that brings more should be begun.
    pub fn is_behind(&self) -> bool {
        self.sending.is_behind()
    }
}

/// A worker's hold, as messages tell it.
pub fn hold<'a>(claim: &Claim, worker: &'a str) -> Hold<'a> {
    Hold { token: claim.token, worker, attempt: claim.attempt }
}

impl Server {
    /// The catalog, or the setting, is another.
    pub(super) fn arrange_events(&mut self) {
        let is_on = self.events.arrange(&self.catalog, self.config.events);
        self.keyspace.told.set_on(is_on);
    }

    /// What waits is of a dataset that is this server's no more.
    pub(super) fn forget_events(&mut self) {
        self.events.sending.clear();
        self.keyspace.told.clear();
    }

    /// Publishes what waits, until the deadline. True: there is more.
    pub(super) fn send_events(&mut self, ctx: Context, deadline: std::time::Instant) -> bool {
        self.events.sending.work(ctx, deadline)
    }
}

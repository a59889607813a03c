//! BEAR.INVALIDATE … CHANGED: reads what the rows look like now, then drops what contained them and what they belong in.
//!
//! ```text
//! command --no predicate is about such rows--> dropped, replied
//!    |
//!    +--> row statement --answer in time--> what contained them, and what they belong in: dropped, replied
//!                |
//!                +--none in time, or an error--> what contained them, and all that a predicate may concern
//! ```

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::changes::row_sets;
use crate::core::cache::fetch::FetchError;
use crate::core::catalog::Catalog;
use crate::core::changes::change::Changes;
use crate::core::changes::image::Image;
use crate::core::events::entry::Cause;
use crate::keyspace::{Outcome, Pace};
use crate::postgres::PresentRequest;
use crate::redis_api::{Answer, BlockedClient, Context};
use crate::server::events::rows_of_prefix;
use crate::server::Server;
use crate::workers::Request;

/// Rows whose present values are being read, for a client that waits.
pub struct Change {
    client: BlockedClient,
    catalog: Rc<Catalog>,
    section: usize,
    prefix: Box<[u8]>,
    ids: Vec<Box<str>>,
    deadline: Instant,
}

/// All of them.
#[derive(Default)]
pub struct Changing {
    by_ticket: FxHashMap<u64, Change>,
    /// Answered, while the server allows no writes.
    read: VecDeque<(Change, Option<Vec<Image>>)>,
    next: u64,
}

impl Changing {
    pub fn len(&self) -> usize {
        self.by_ticket.len() + self.read.len()
    }

    /// Is something left to do as soon as it may be done?
    pub fn has_work(&self) -> bool {
        !self.read.is_empty()
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.by_ticket.values().map(|change| change.deadline).min()
    }
}

impl Server {
    /// Reads the rows and makes the client wait; false where there is nothing to ask, or nobody.
    pub(in crate::server) fn read_rows(
        &mut self,
        ctx: Context,
        section: usize,
        tenant: Option<&str>,
        prefix: &[u8],
        ids: &[Box<str>],
    ) -> bool {
        if !self.catalog.sections[section].has_predicates {
            return false;
        }
        let Some(workers) = self.workers.current() else { return false };
        let deadline = Instant::now() + self.config.query_timeout();
        let ticket = self.changing.next;
        self.changing.next += 1;
        workers.submit(Request::Present(PresentRequest {
            ticket,
            sections: self.catalog.sections.clone(),
            section,
            tenant: tenant.map(Into::into),
            ids: ids.to_vec(),
            deadline,
        }));
        let change = Change {
            client: ctx.block(),
            catalog: self.catalog.clone(),
            section,
            prefix: prefix.into(),
            ids: ids.to_vec(),
            deadline,
        };
        self.changing.by_ticket.insert(ticket, change);
        crate::redis_api::arm(self.config.query_timeout());
        true
    }

    /// Takes what the rows look like.
    pub(in crate::server) fn rows_present(&mut self, ticket: u64, result: Result<Vec<Image>, FetchError>) {
        // None: it came too late.
        let Some(change) = self.changing.by_ticket.remove(&ticket) else { return };
        let images = result.map_err(|error| {
            let section = &change.catalog.sections[change.section].name;
            log::info!("the present values of rows of '{section}' were not read, more is dropped: {error}");
        });
        self.changing.read.push_back((change, images.ok()));
    }

    /// Drops what the rows concern that have been read; who has waited too long for an answer of Postgres is served
    /// without one. True: some are left at the deadline.
    pub(in crate::server) fn finish_changes(&mut self, ctx: Context, now: Instant, deadline: Instant) -> bool {
        let late = |(ticket, change): (&u64, &Change)| (change.deadline <= now).then_some(*ticket);
        let late: Vec<u64> = self.changing.by_ticket.iter().filter_map(late).collect();
        for ticket in late {
            if let Some(change) = self.changing.by_ticket.remove(&ticket) {
                self.changing.read.push_back((change, None));
            }
        }
        while let Some((change, images)) = self.changing.read.pop_front() {
            self.finish_change(ctx, change, images);
            if Instant::now() >= deadline {
                break;
            }
        }
        self.changing.has_work()
    }

    fn finish_change(&mut self, ctx: Context, change: Change, images: Option<Vec<Image>>) {
        if !self.is_master() {
            let text = "READONLY this server has become a replica; invalidate on the master";
            self.answers.push_back((change.client, Answer::Error(text.into())));
            return;
        }
        let section = &change.catalog.sections[change.section];
        let sets = row_sets(&change.prefix, &change.ids);
        let changes = Changes::of_space(&change.prefix, images);
        self.entries_go(|| Cause::Row(rows_of_prefix(&change.prefix, Some(&change.ids))));
        match self.remove_rows(ctx, &change.prefix, sets, changes, Pace::InSlices) {
            Outcome::Removed(count) => {
                if let Some((index, _)) = self.catalog.section(section.name.as_bytes()) {
                    self.stats.section(index).invalidated += count;
                }
                self.answers.push_back((change.client, Answer::Integer(count as i64)));
            }
            Outcome::Pending(ticket) => {
                self.removing.insert(ticket, (change.client, section.name.as_ref().into()));
            }
        }
        self.tell_of_entries(ctx);
    }
}

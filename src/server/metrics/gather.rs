//! A snapshot is made: first what the server has, then a section after the other, then the queues of each space. Between two of
//! them it may stop until the next tick, so that thousands of sections and tenants hold nobody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::calls::names;
use crate::core::feed::FeedState;
use crate::core::metrics::health::Health;
use crate::core::metrics::list;
use crate::core::metrics::snapshot::{OfSection, Snapshot};
use crate::redis_api::{self, Context};
use crate::server::config::{FeedChoice, InboxChoice};
use crate::server::queues::wall_ms;
use crate::server::Server;
use crate::workers::MetricsRequest;

/// So long in each tick, also where others have used its time up.
const SHARE: Duration = Duration::from_micros(100);

/// Firsts of types, groups and priorities that are looked at for the oldest claimed job of a space.
const FIRSTS: usize = 256;

/// A snapshot that is being made, and for whom.
pub struct Gathering {
    request: MetricsRequest,
    snapshot: Snapshot,
    stage: Stage,
}

enum Stage {
    /// The sections from this one on.
    Sections(usize),
    /// The spaces of SQL jobs after this one.
    Queues(Option<Arc<str>>),
    /// The same of claimed jobs.
    Work(Option<Arc<str>>),
    Done,
}

impl Server {
    /// Goes on with a snapshot that somebody waits for. True when there is more to do.
    pub(in crate::server) fn work_on_metrics(&mut self, ctx: Context) -> bool {
        if self.gathering.is_none() && !self.workers.listener().is_some_and(|listener| listener.has_requests()) {
            return false;
        }
        let worked = redis_api::worked();
        self.gather_slice(ctx);
        let worked = redis_api::worked().saturating_sub(worked);
        let longest = &mut self.endpoint.longest_slice_us;
        *longest = worked.as_micros().max((*longest).into()) as u64;
        true
    }

    fn gather_slice(&mut self, ctx: Context) {
        let until = Instant::now() + SHARE;
        let mut gathering = match self.gathering.take() {
            Some(gathering) => gathering,
            None => match self.workers.listener().and_then(|listener| listener.take_request()) {
                Some(request) => self.begin_gathering(request),
                None => return,
            },
        };
        if !gathering.request.is_wanted() {
            return;
        }
        gathering.request.goes_on();
        while Instant::now() < until {
            gathering.stage = match gathering.stage {
                Stage::Sections(index) => self.gather_section(&mut gathering.snapshot, index),
                Stage::Queues(after) => self.gather_queue(ctx, &mut gathering.snapshot, after),
                Stage::Work(after) => self.gather_work(&mut gathering.snapshot, after),
                Stage::Done => {
                    gathering.request.answer(gathering.snapshot);
                    return;
                }
            };
        }
        self.gathering = Some(gathering);
    }

    fn begin_gathering(&self, request: MetricsRequest) -> Gathering {
        let mut snapshot = Snapshot { health: self.health(), ..Snapshot::default() };
        let parts = [
            Server::state_figures,
            Server::postgres_figures,
            Server::feed_figures,
            Server::queue_figures,
            Server::inbox_figures,
            Server::lock_figures,
            Server::endpoint_figures,
        ];
        parts.iter().for_each(|part| snapshot.figures.extend(part(self)));
        snapshot.figures.number("sections", self.stats.sections().count() as u64);
        snapshot.histograms.push((list::APPLY, self.queues.totals.batch));
        Gathering { request, snapshot, stage: Stage::Sections(0) }
    }

    fn gather_section(&self, snapshot: &mut Snapshot, index: usize) -> Stage {
        let Some((name, stats)) = self.stats.at(index) else { return Stage::Queues(None) };
        let mut of = OfSection::default();
        of.figures.numbers(stats.counts());
        of.histogram(list::FETCH, &stats.fetch_us.buckets);
        if let Some(jobs) = self.queues.counts.of(name) {
            of.figures.numbers(jobs.figures());
            of.histogram(list::JOB_WAIT, &jobs.wait);
        }
        if let Some(work) = self.claims.counts.of(name) {
            of.figures.numbers(work.figures());
            of.histogram(list::WORK_WAIT, &work.wait);
            of.histogram(list::CLAIM, &work.claim);
        }
        snapshot.sections.insert(name.into(), of);
        Stage::Sections(index + 1)
    }

    fn gather_queue(&self, ctx: Context, snapshot: &mut Snapshot, after: Option<Arc<str>>) -> Stage {
        let Some((name, space)) = self.queues.next_space(after.as_ref()) else { return Stage::Work(None) };
        if let Some(of) = snapshot.sections.get_mut(names::section_of(name)) {
            of.figures.add_all(space.figures());
            let now_ms = wall_ms();
            if let Some(since) = space.waiting_since_ms(ctx, now_ms) {
                let age_ms = now_ms.saturating_sub(since);
                of.figures.at_least(list::OLDEST, age_ms);
                if space.may_drain() && self.config.drain {
                    snapshot.health.add_oldest(name, age_ms);
                }
            }
            if space.is_without_ledger() {
                snapshot.health.add_without_ledger(name);
            }
        }
        Stage::Queues(Some(name.clone()))
    }

    fn gather_work(&self, snapshot: &mut Snapshot, after: Option<Arc<str>>) -> Stage {
        let Some((name, space)) = self.claims.next_space(after.as_ref()) else { return Stage::Done };
        if let Some(of) = snapshot.sections.get_mut(names::section_of(name)) {
            of.figures.add_all(space.figures());
            if space.queue.paused && !self.queues.is_in_memory(name) {
                // Otherwise it has been counted with the SQL jobs, which the pause is of as well.
                of.figures.add("queues_paused", 1);
            }
            if let Some(since) = space.queue.ready().oldest_ms(FIRSTS) {
                let age_ms = wall_ms().saturating_sub(since);
                of.figures.at_least(list::OLDEST, age_ms);
                if !space.queue.paused {
                    snapshot.health.add_oldest(name, age_ms);
                }
            }
        }
        Stage::Work(Some(name.clone()))
    }

    /// But for queues, which are looked at one after the other.
    fn health(&self) -> Health {
        let down = |error: Option<&str>| error.map_or("down".to_owned(), |error| format!("down: {error}"));
        let fetching = self.workers.current().filter(|_| self.postgres.up == Some(false));
        let fetch_error =
            fetching.and_then(|workers| workers.figures()?.last_error).map(|(error, _)| error.to_string());
        let postgres = match (fetching, self.queues.connection()) {
            (Some(_), _) => Some(down(fetch_error.as_deref())),
            (None, ("down", error)) => Some(down(error)),
            (None, _) => None,
        };
        let error = self.feed.last_error.as_deref().unwrap_or("no reason is known");
        let feed = match self.feed.state() {
            _ if !self.is_master() => None,
            FeedState::Lost => Some(format!("lost: {error}")),
            FeedState::NotAllowed if self.config.feed != FeedChoice::Auto => Some(format!("not allowed: {error}")),
            _ if self.feed.behind => Some("behind: what depends on it is not served".to_owned()),
            FeedState::Off | FeedState::Starting | FeedState::Following | FeedState::NotAllowed => None,
        };
        let inbox = self.inbox_error().filter(|_| self.config.inbox == InboxChoice::Yes).map(|error| down(Some(error)));
        Health { postgres, feed, inbox, most_age_ms: self.config.health_queue_age_ms as u64, ..Health::default() }
    }
}

//! Changes that others made in Postgres, as the change feed tells them; and what is served while it is behind.
//!
//! The states, and what depends on the feed in which, are [`FeedLife`]'s.
//!
//! Connected makes the sections that the feed covers cold: what changed before it nobody has told. From then on each
//! message is one unit. The entries of covered sections are served as long as the feed has told everything that was
//! committed `bear.feed-grace-ms` ago; not at all where it has never been that far.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::changes::{ChangedIds, ChangedRows, Whose};
use crate::core::catalog::columns_read::Unchanged;
use crate::core::catalog::Catalog;
use crate::core::changes::image::Image;
use crate::core::events::entry::Cause;
use crate::core::feed::{
    Coverage, Depends, FeedEvent, FeedLife, FeedOutcome, FeedState, Rows, SectionChange, TableCoverage, Tenant, Wanted,
};
use crate::redis_api::Context;
use crate::server::config::{FeedBehind, FeedChoice};
use crate::server::events::rows_of;
use crate::server::Server;
use crate::workers::Told;

/// More sections than these go cold in one removal: each entry is compared with every one that is in force.
const MANY_SECTIONS: usize = 16;

/// Tables that the log names at once: each line is a write to a file.
const LOGGED: usize = 50;

/// What is known of the feed.
#[derive(Debug, Default)]
pub struct FeedView {
    life: FeedLife,
    pub coverage: Arc<[TableCoverage]>,
    /// By section: does an entry of it depend on the feed?
    covered: Vec<bool>,
    /// All that was committed before this has been told.
    told: Option<Instant>,
    /// Is that too long ago?
    pub behind: bool,
    pub position: u64,
    pub lag_bytes: u64,
    /// From the commit to the drop, of the last message, in microseconds by Postgres' and our clock.
    pub lag_us: u64,
    pub connects: u64,
    pub transactions: u64,
    pub rows: u64,
    /// Queries that were fetched though cached, for the feed was behind.
    pub withheld: u64,
    pub last_error: Option<String>,
}

impl FeedView {
    pub fn state(&self) -> FeedState {
        self.life.state
    }

    /// How often it followed and was lost.
    pub fn losses(&self) -> u64 {
        self.life.losses
    }

    /// How long ago everything had been told.
    pub fn told_ago(&self) -> Option<Duration> {
        self.told.map(|told| told.elapsed())
    }

    /// As Postgres writes it.
    pub fn position_text(&self) -> String {
        format!("{:X}/{:X}", self.position >> 32, self.position & 0xFFFF_FFFF)
    }

    fn covers_any(&self) -> bool {
        self.covered.contains(&true)
    }

    fn covers(&self, section: usize) -> bool {
        self.covered.get(section).copied().unwrap_or(false)
    }
}

impl Server {
    pub fn feed(&self) -> &FeedView {
        &self.feed
    }

    /// `bear.feed`.
    pub fn feed_kind(&self) -> &'static str {
        self.config.feed.name()
    }

    fn sections_altered(&mut self, sections: &[usize]) {
        // Before anybody fetches again.
        if let Some(workers) = self.workers.current() {
            workers.prepare_anew();
        }
        self.forget_sections(|catalog| {
            let altered: Vec<bool> = (0..catalog.sections.len()).map(|index| sections.contains(&index)).collect();
            dependents(catalog, &altered)
        });
    }

    /// Takes what the feed tells.
    pub(in crate::server) fn take_feed(&mut self, ctx: Context, told: Told) {
        match told.outcome {
            FeedOutcome::Connected { coverage } => self.feed_connected(coverage),
            FeedOutcome::Altered { coverage, sections } => {
                self.take_coverage(coverage);
                self.sections_altered(&sections);
                if !sections.is_empty() {
                    self.derive_again();
                }
            }
            FeedOutcome::AlteredBefore { sections } => self.sections_altered(&sections),
            FeedOutcome::Changed { changes, position, transactions, committed_us } => {
                let now_us = crate::server::queues::wall_ms().saturating_mul(1000) as i64;
                self.feed.position = position;
                self.feed.transactions += u64::from(transactions);
                self.feed.lag_us = now_us.saturating_sub(committed_us).max(0) as u64;
                for (change, images) in changes.into_iter().zip(told.images) {
                    self.rows_told(ctx, change, images);
                }
            }
            FeedOutcome::CaughtUp { asked, position, lag_bytes } => {
                self.feed.position = position;
                self.feed.lag_bytes = lag_bytes;
                self.feed.told = Some(asked);
                self.look_at_lag();
            }
            FeedOutcome::Down { error, allowed } => self.feed_down(error, allowed),
        }
    }

    fn feed_connected(&mut self, coverage: Vec<TableCoverage>) {
        self.take_coverage(coverage);
        let covered = self.feed.covered.clone();
        self.forget_sections(|_| covered);
        self.feed.connects += 1;
        self.feed_takes(FeedEvent::Connected);
        // What was altered while nobody told of it may mean that other relations are read.
        match self.feed.last_error.take() {
            Some(_) => self.derive_again(),
            None => self.look_at_catalog_again(),
        }
    }

    /// Which sections depend on the feed from now on.
    fn take_coverage(&mut self, coverage: Vec<TableCoverage>) {
        let mut covered = vec![false; self.catalog.sections.len()];
        let before: FxHashMap<&str, &TableCoverage> =
            self.feed.coverage.iter().map(|table| (&*table.table, table)).collect();
        let mut told = 0;
        for table in &coverage {
            if let Coverage::NotCovered { why, remedy } = &table.state {
                if before.get(&*table.table) != Some(&table) {
                    told += 1;
                    if told <= LOGGED {
                        log::warn!("the change feed does not follow table {}: {why}; {remedy}", table.table);
                    }
                }
                continue;
            }
            for section in &table.sections {
                if let Some(covered) = covered.get_mut(*section) {
                    *covered = true;
                }
            }
        }
        if told > LOGGED {
            log::warn!("nor does it follow {} other tables, which BEAR.FEED lists", told - LOGGED);
        }
        let catalog = self.catalog.clone();
        self.feed.covered = dependents(&catalog, &covered);
        self.feed.coverage = coverage.into();
    }

    /// Makes the sections cold that `which` says, by their index.
    fn forget_sections(&mut self, which: impl FnOnce(&Catalog) -> Vec<bool>) {
        let catalog = self.catalog.clone();
        let forgotten = which(&catalog);
        self.fills.strike_where(|_, _| true);
        if forgotten.len() > MANY_SECTIONS && forgotten.iter().all(|forgotten| *forgotten) {
            self.keyspace.make_cold(b"");
            self.arm_soon();
            return;
        }
        for (index, section) in
            catalog.sections.iter().enumerate().filter(|(index, _)| forgotten.get(*index) == Some(&true))
        {
            match section.tenant {
                Some(_) => self.keyspace.make_tenants_cold(&section.name),
                None => {
                    let prefix = section.prefix(None, self.deployment);
                    self.keyspace.make_space_cold(&prefix);
                }
            }
            log::debug!("section {index} is cold: what was changed before, nobody told");
        }
        self.arm_soon();
    }

    /// Takes what has happened to it.
    fn feed_takes(&mut self, event: FeedEvent) {
        let wanted = match self.config.feed {
            FeedChoice::Auto => Wanted::IfAllowed,
            _ => Wanted::Always,
        };
        match self.feed.life.take(wanted, event) {
            Depends::Everything => self.feed.covered = vec![true; self.catalog.sections.len()],
            Depends::Nothing => self.feed.covered = vec![false; self.catalog.sections.len()],
            Depends::AsBefore | Depends::Covered => {}
        }
    }

    fn rows_told(&mut self, ctx: Context, change: SectionChange, images: Option<Vec<(Image, Unchanged)>>) {
        let SectionChange { section, tenant, rows } = change;
        let tenant = match &tenant {
            Tenant::Known(tenant) => Whose::Tenant(Some(tenant)),
            Tenant::None | Tenant::Unknown => Whose::Tenant(None),
            Tenant::Former => Whose::WhoHasThem,
        };
        let (ids, unchanged, images) = match rows {
            Rows::All => (ChangedIds::All, Vec::new(), None),
            Rows::Some(rows) => {
                self.feed.rows += rows.len() as u64;
                let (ids, unchanged) = rows.into_iter().map(|row| (row.id, row.unchanged)).unzip();
                (ChangedIds::These(ids), unchanged, images)
            }
        };
        let catalog = self.catalog.clone();
        self.entries_go(|| {
            let tenant = if let Whose::Tenant(tenant) = tenant { tenant } else { None };
            let ids = if let ChangedIds::These(ids) = &ids { Some(ids.as_slice()) } else { None };
            Cause::Feed(rows_of(&catalog.sections[section].space_name(tenant), ids))
        });
        self.rows_changed(ctx, ChangedRows { section, tenant, ids, unchanged, images });
        self.tell_of_entries(ctx);
    }

    fn feed_down(&mut self, error: String, allowed: bool) {
        let was = self.feed.state();
        let is_new = self.feed.last_error.as_ref() != Some(&error);
        self.feed_takes(FeedEvent::Down { allowed });
        match self.feed.state() {
            // As if there were none. It tries again, for an administrator may allow it.
            FeedState::NotAllowed => {
                if was != FeedState::NotAllowed {
                    log::info!("changes that others make in Postgres are not followed: {error}");
                    // What a job does not tell of nobody does.
                    if self.checked.counts_on_feed {
                        self.look_at_catalog_again();
                    }
                }
                self.feed.coverage = Arc::default();
            }
            _ if !allowed && self.feed.life.has_followed() => {
                if is_new {
                    log::warn!(
                        "the change feed is lost, and Postgres does not allow it any more: {error}; what it covered is \
                         fetched anew until it is back, or until bear.feed is off"
                    );
                }
            }
            _ => {
                if is_new || was != FeedState::Lost {
                    log::warn!("the change feed is down: {error}");
                }
            }
        }
        self.feed.last_error = Some(error);
    }

    /// True when some are left.
    pub(in crate::server) fn take_feed_outcomes(&mut self, ctx: Context, deadline: Instant) -> bool {
        loop {
            let Some(told) = self.workers.feed().and_then(|feed| feed.results().take()) else {
                self.look_at_lag();
                return false;
            };
            self.take_feed(ctx, told);
            if Instant::now() >= deadline {
                return true;
            }
        }
    }

    /// Begins to follow, where that is wanted and nobody does.
    pub(in crate::server) fn begin_feed(&mut self) {
        if self.workers.feed().is_some() || !self.is_master() {
            return;
        }
        if !self.checked.was_asked {
            // What is derived of the catalog has tables, too: whoever followed now would have to begin anew. What is stored
            // meanwhile depends on the feed all the same.
            if self.config.feed_settings().is_some() && self.feed.state() != FeedState::Starting {
                self.feed_starts();
            }
            return;
        }
        match self.workers.begin_feed(&self.config, &self.catalog.sections) {
            Ok(true) => self.feed_starts(),
            Ok(false) => {}
            Err(error) => log::warn!("{error}"),
        }
    }

    fn feed_starts(&mut self) {
        self.feed_takes(FeedEvent::Begun);
        self.feed.told.get_or_insert_with(Instant::now);
        self.look_at_lag();
    }

    /// Follows with other settings, or another catalog.
    pub(in crate::server) fn begin_feed_again(&mut self) {
        self.workers.end_feed();
        if self.config.feed_settings().is_none() {
            self.end_feed();
        }
        self.begin_feed();
    }

    /// Follows no more: nothing depends on it.
    pub(in crate::server) fn end_feed(&mut self) {
        self.workers.end_feed();
        let is_in_time = self.feed.state() == FeedState::Following && !self.is_feed_late();
        if self.feed.life.has_followed() && !is_in_time {
            // It was not served for good reason, and is not to be served now for want of one.
            let depending = std::mem::take(&mut self.feed.covered);
            self.forget_sections(|_| depending);
        }
        self.feed_takes(FeedEvent::Ended);
        let FeedView { life, connects, transactions, rows, withheld, .. } = self.feed;
        self.feed = FeedView { life, connects, transactions, rows, withheld, ..FeedView::default() };
    }

    /// The catalog has been replaced: tables, rows and predicates may be others.
    pub(in crate::server) fn feed_takes_catalog(&mut self, old: &Catalog) {
        let sources =
            |catalog: &Catalog| catalog.sections.iter().map(|section| section.source.clone()).collect::<Vec<_>>();
        if sources(old) == sources(&self.catalog) || self.workers.feed().is_none() {
            return;
        }
        let place_of = |section: usize| {
            let name = &old.sections.get(section)?.name;
            self.catalog.sections.iter().position(|section| section.name == *name)
        };
        // Until the feed has looked at the tables of the new one.
        self.feed.coverage = self.feed.coverage.iter().filter_map(|table| table.moved(place_of)).collect();
        // With the connections that it has, for others would wait for transactions in progress.
        match self.workers.feed_follows_instead(&self.catalog.sections) {
            true => self.feed_starts(),
            false => self.begin_feed_again(),
        }
    }

    /// May entries of the section not be served now? Counts it.
    pub(in crate::server) fn withholds(&mut self, section: usize) -> bool {
        let withholds = self.would_withhold(section);
        self.feed.withheld += u64::from(withholds);
        withholds
    }

    pub(in crate::server) fn would_withhold(&self, section: usize) -> bool {
        self.feed.covers(section) && self.is_feed_late()
    }

    /// Is what it has told too old? By the clock and no flag, for whoever holds Redis' thread delays all who would set one.
    fn is_feed_late(&self) -> bool {
        let grace = Duration::from_millis(self.config.feed_grace_ms as u64);
        self.config.feed_behind == FeedBehind::Refetch && self.feed.told_ago().is_some_and(|ago| ago > grace)
    }

    /// Shows whether the feed is too far behind. Asked by the cron loop, too: a timer that were always armed would keep
    /// the module from being unloaded.
    pub(in crate::server) fn look_at_lag(&mut self) {
        let was_behind = self.feed.behind;
        self.feed.behind = self.feed.covers_any() && self.is_feed_late();
        if self.feed.behind != was_behind {
            match self.feed.behind {
                true => log::warn!(
                    "the change feed is behind by over {} ms: what depends on it is fetched",
                    self.config.feed_grace_ms
                ),
                false => log::info!("the change feed has caught up"),
            }
        }
    }
}

/// Of which sections do entries depend on one that is covered? On their own, and on all that a query names: by `on`, or by a
/// column `_<section>`, which lists rows (a name that only looks like one costs no more than fetches). For values BEAR.PUT may
/// name rows of any.
fn dependents(catalog: &Catalog, covered: &[bool]) -> Vec<bool> {
    let is_any = covered.contains(&true);
    let depends = |index: usize| {
        let names = |named: &usize| covered[*named];
        covered[index] || (is_any && catalog.sections[index].has_values) || catalog.named_by(index).iter().any(names)
    };
    (0..covered.len()).map(depends).collect()
}

//! The worker threads as the server holds them: begun when there is a URL, ended by an unload, begun again by the next
//! command that needs them if that unload was refused.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::Config;
use crate::core::catalog::Section;
use crate::core::promise::Promises;
use crate::redis_api;
use crate::workers::{Appliers, Feed, Workers};

/// How long an unload waits for threads that are idle to end: they need no more than to be scheduled.
const GRACE: Duration = Duration::from_millis(300);

#[derive(Default)]
pub struct Crew {
    at_work: Option<Workers>,
    applying: Option<Appliers>,
    feeding: Option<Feed>,
    /// What those who apply promise the feed.
    promises: Arc<Promises>,
    /// Asked to end, not all ended yet.
    ending: Vec<Workers>,
    ending_appliers: Vec<Appliers>,
    ending_feeds: Vec<Feed>,
}

impl Crew {
    /// Begins, if there is a URL and nobody is at work. The error says why threads cannot be started.
    pub fn begin(&mut self, config: &Config) -> Result<(), String> {
        let cannot = |error: io::Error| format!("cannot start threads: {error}");
        let Some(settings) = config.postgres_settings() else { return Ok(()) };
        if self.at_work.is_none() {
            let workers = Workers::start(settings.clone(), config.fetch_threads as usize, Arc::new(redis_api::wake));
            self.at_work = Some(workers.map_err(cannot)?);
        }
        if self.applying.is_none() {
            let appliers = Appliers::start(
                settings,
                config.apply_threads as usize,
                self.promises.clone(),
                Arc::new(redis_api::wake),
            );
            self.applying = Some(appliers.map_err(cannot)?);
        }
        Ok(())
    }

    /// Begins to follow Postgres' changes, if it is wanted and nobody does.
    pub fn begin_feed(&mut self, config: &Config, sections: &Arc<[Section]>) -> Result<bool, String> {
        let Some(settings) = config.feed_settings().filter(|_| self.feeding.is_none()) else { return Ok(false) };
        let feed = Feed::start(settings, sections.clone(), self.promises.clone(), Arc::new(redis_api::wake));
        self.feeding = Some(feed.map_err(|error| format!("cannot start the change feed's thread: {error}"))?);
        Ok(true)
    }

    /// Follows another catalog with the connections that the feed has; false where it cannot.
    pub fn feed_follows_instead(&mut self, sections: &Arc<[Section]>) -> bool {
        self.feeding.as_mut().is_some_and(|feed| feed.follow_instead(sections.clone()))
    }

    pub fn feed(&self) -> Option<&Feed> {
        self.feeding.as_ref()
    }

    /// Asks the feed to end; what it has told and nobody has taken is dropped.
    pub fn end_feed(&mut self) {
        if let Some(feed) = self.feeding.take() {
            feed.stop();
            self.ending_feeds.push(feed);
        }
    }

    pub fn current(&self) -> Option<&Workers> {
        self.at_work.as_ref()
    }

    pub fn appliers(&self) -> Option<&Appliers> {
        self.applying.as_ref()
    }

    /// Asks all to end, without waiting.
    pub fn end(&mut self) {
        if let Some(workers) = self.at_work.take() {
            workers.stop();
            self.ending.push(workers);
        }
        self.end_applying();
        self.end_feed();
    }

    /// Asks those that apply to end: what they have in hand is rolled back, or committed within about a second.
    pub fn end_applying(&mut self) {
        if let Some(appliers) = self.applying.take() {
            appliers.stop();
            self.ending_appliers.push(appliers);
        }
    }

    /// Everybody whose outcomes may still come.
    pub fn all_appliers(&self) -> impl Iterator<Item = &Appliers> {
        self.ending_appliers.iter().chain(&self.applying)
    }

    /// Has everybody ended? Waits a little for threads that have nothing to do.
    pub fn has_ended(&mut self) -> bool {
        let deadline = Instant::now() + GRACE;
        loop {
            self.forget_ended();
            let all = self.ending.is_empty() && self.ending_appliers.is_empty() && self.ending_feeds.is_empty();
            if all || Instant::now() >= deadline {
                return all && self.at_work.is_none() && self.applying.is_none() && self.feeding.is_none();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Frees something large on another thread.
    pub fn dispose(&self, rubbish: Box<dyn Send>) {
        match &self.at_work {
            Some(workers) => workers.dispose(rubbish),
            None => drop(rubbish),
        }
    }

    /// Lets go of threads that have ended and whose outcomes have been taken.
    pub fn forget_ended(&mut self) {
        self.ending.retain(|workers| !workers.is_stopped());
        self.ending_feeds.retain(|feed| !feed.is_stopped());
        self.ending_appliers.retain(|appliers| !appliers.is_stopped() || !appliers.results().is_empty());
    }
}

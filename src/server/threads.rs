//! The worker threads as the server holds them: begun when there is a URL, ended by an unload, begun again by the next
//! command that needs them if that unload was refused.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::Config;
use super::done_aside::Aside;
use crate::core::catalog::Section;
use crate::core::feed::promise::Promises;
use crate::mutations;
use crate::redis_api;
use crate::workers::{self, Appliers, Clerk, Feed, Inbox, InboxBell, MetricsCounts, MetricsListener, Workers};

/// How long an unload waits for threads that are idle to end: they need no more than to be scheduled.
const GRACE: Duration = Duration::from_millis(300);

#[derive(Default)]
pub struct Threads {
    at_work: Option<Workers>,
    applying: Option<Appliers>,
    feeding: Option<Feed>,
    taking_over: Option<Inbox>,
    /// Rung where rows have come to the inbox.
    bell: Arc<InboxBell>,
    /// What those who apply promise the feed.
    promises: Arc<Promises>,
    /// Begun by the first that has something for it.
    clerk: Option<Clerk<Aside>>,
    /// Where no thread could be started.
    done_here: Vec<Aside>,
    /// Asked to end, not all ended yet.
    ending: Vec<Workers>,
    ending_appliers: Vec<Appliers>,
    ending_feeds: Vec<Feed>,
    ending_inboxes: Vec<Inbox>,
    ending_clerks: Vec<Clerk<Aside>>,
    listening: Option<MetricsListener>,
    ending_listeners: Vec<MetricsListener>,
    /// What listeners have done, one after the other.
    listener_counts: Arc<MetricsCounts>,
}

impl Threads {
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
        let feed = feed.map_err(|error| format!("cannot start the change feed's thread: {error}"))?;
        feed.ring(self.bell.clone());
        self.feeding = Some(feed);
        Ok(true)
    }

    /// Follows another catalog with the connections that the feed has; false where it cannot.
    pub fn feed_follows_instead(&mut self, sections: &Arc<[Section]>) -> bool {
        let Some(untaken) = self.feeding.as_mut().and_then(|feed| feed.follow_instead(sections.clone())) else {
            return false;
        };
        if !untaken.is_empty() {
            self.free_aside(untaken);
        }
        true
    }

    pub fn feed(&self) -> Option<&Feed> {
        self.feeding.as_ref()
    }

    /// Asks the feed to end; what it has told and nobody has taken is dropped.
    pub fn end_feed(&mut self) {
        if let Some(mut feed) = self.feeding.take() {
            feed.stop();
            let untaken = feed.take_results();
            self.ending_feeds.push(feed);
            if !untaken.is_empty() {
                self.free_aside(untaken);
            }
        }
    }

    /// Begins to take rows of the inbox over, if it is wanted and nobody does.
    pub fn begin_inbox(&mut self, config: &Config) -> Result<bool, String> {
        let Some(settings) = config.inbox_settings().filter(|_| self.taking_over.is_none()) else { return Ok(false) };
        let inbox = Inbox::start(settings, self.bell.clone(), Arc::new(redis_api::wake));
        self.taking_over = Some(inbox.map_err(|error| format!("cannot start the inbox's thread: {error}"))?);
        Ok(true)
    }

    pub fn inbox(&self) -> Option<&Inbox> {
        self.taking_over.as_ref()
    }

    /// Asks the thread of the inbox to end; what it has told and nobody has taken counts no more.
    pub fn end_inbox(&mut self) {
        if let Some(inbox) = self.taking_over.take() {
            inbox.stop();
            self.ending_inboxes.push(inbox);
        }
    }

    /// Listens for whoever wants metrics; nobody does yet.
    pub fn listen(&mut self, address: SocketAddr) -> io::Result<()> {
        let listener = MetricsListener::start(address, self.listener_counts.clone(), Arc::new(redis_api::wake))?;
        self.listening = Some(listener);
        Ok(())
    }

    pub fn listener(&self) -> Option<&MetricsListener> {
        self.listening.as_ref()
    }

    /// Answers with figures; connections and requests that were refused.
    pub fn listener_counts(&self) -> (u64, u64) {
        self.listener_counts.get()
    }

    /// Frees the address.
    pub fn end_listening(&mut self) {
        if let Some(mut listener) = self.listening.take() {
            listener.stop();
            self.ending_listeners.push(listener);
        }
    }

    pub fn current(&self) -> Option<&Workers> {
        self.at_work.as_ref()
    }

    pub fn appliers(&self) -> Option<&Appliers> {
        self.applying.as_ref()
    }

    /// Has something done by the clerk; what comes of it is among [`Threads::done_aside`], and where it panics, `failed` is.
    pub fn aside(&mut self, failed: Option<Aside>, errand: impl FnOnce() -> Option<Aside> + Send + 'static) {
        let errand = move || {
            mutations::panic_if("panic-aside");
            let done = errand();
            mutations::panic_if("panic-when-done-aside");
            done
        };
        if self.clerk.is_none() {
            match Clerk::start(Arc::new(redis_api::wake)) {
                Ok(clerk) => self.clerk = Some(clerk),
                // Here, then: a server that can start no thread has other troubles than a pause.
                Err(error) => {
                    log::warn!("cannot start threads: {error}");
                    self.done_here.extend(workers::attempt(errand, failed));
                    redis_api::wake();
                    return;
                }
            }
        }
        if let Some(clerk) = &self.clerk {
            clerk.give(failed, errand);
        }
    }

    /// What has been done by the clerk, one at a time.
    pub fn done_aside(&mut self) -> Option<Aside> {
        let all = self.ending_clerks.iter().chain(&self.clerk);
        all.filter_map(|clerk| clerk.outcomes().try_recv().ok()).next().or_else(|| self.done_here.pop())
    }

    /// Asks all to end, without waiting.
    pub fn end(&mut self) {
        if let Some(mut clerk) = self.clerk.take() {
            clerk.stop();
            self.ending_clerks.push(clerk);
        }
        if let Some(workers) = self.at_work.take() {
            workers.stop();
            self.ending.push(workers);
        }
        self.end_applying();
        self.end_inbox();
        self.end_feed();
        self.end_listening();
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

    /// Who has not ended, by name. Waits a little for threads that have nothing to do.
    pub fn still_there(&mut self) -> Vec<&'static str> {
        let deadline = Instant::now() + GRACE;
        loop {
            self.forget_ended();
            let there = [
                ("fetch", self.at_work.is_some() || !self.ending.is_empty()),
                ("apply", self.applying.is_some() || !self.ending_appliers.is_empty()),
                ("feed", self.feeding.is_some() || !self.ending_feeds.is_empty()),
                ("inbox", self.taking_over.is_some() || !self.ending_inboxes.is_empty()),
                ("metrics", self.listening.is_some() || !self.ending_listeners.is_empty()),
                ("clerk", self.clerk.is_some() || !self.ending_clerks.is_empty()),
            ];
            let names: Vec<&str> = there.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect();
            if names.is_empty() || Instant::now() >= deadline {
                return names;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Frees something on another thread that takes longer than what others wait for there.
    pub fn dispose(&mut self, rubbish: Box<dyn Send>) {
        match &self.at_work {
            Some(workers) => workers.dispose(rubbish),
            None => self.free_aside(rubbish),
        }
    }

    /// Frees something on the clerk's thread.
    pub fn free_aside(&mut self, rubbish: impl Send + 'static) {
        self.aside(None, move || {
            drop(rubbish);
            None
        });
    }

    /// Lets go of threads that have ended and whose outcomes have been taken.
    pub fn forget_ended(&mut self) {
        self.ending.retain(|workers| !workers.is_stopped());
        self.ending_feeds.retain(|feed| !feed.is_stopped());
        self.ending_inboxes.retain(|inbox| !inbox.is_stopped());
        self.ending_listeners.retain(|listener| !listener.is_stopped());
        self.ending_clerks.retain(|clerk| !clerk.is_stopped() || !clerk.outcomes().is_empty());
        self.ending_appliers.retain(|appliers| !appliers.is_stopped() || !appliers.results().is_empty());
    }
}

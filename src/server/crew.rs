//! The worker threads as the server holds them: begun when there is a URL, ended by an unload, begun again by the next
//! miss if that unload was refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::Config;
use crate::redis_api;
use crate::workers::{Appliers, Workers};

/// How long an unload waits for threads that are idle to end: they need no more than to be scheduled.
const GRACE: Duration = Duration::from_millis(300);

#[derive(Default)]
pub struct Crew {
    at_work: Option<Workers>,
    applying: Option<Appliers>,
    /// Asked to end, not all ended yet.
    ending: Vec<Workers>,
    ending_appliers: Vec<Appliers>,
}

impl Crew {
    /// Begins, if there is a URL and nobody is at work. The error says why threads cannot be started.
    pub fn begin(&mut self, config: &Config) -> Result<(), String> {
        if self.at_work.is_none() {
            if let Some(settings) = config.postgres_settings() {
                let workers = Workers::start(settings, config.fetch_threads as usize, Arc::new(redis_api::wake));
                self.at_work = Some(workers.map_err(|error| format!("cannot start threads: {error}"))?);
            }
        }
        Ok(())
    }

    pub fn current(&self) -> Option<&Workers> {
        self.at_work.as_ref()
    }

    /// Asks all to end, without waiting.
    pub fn end(&mut self) {
        if let Some(workers) = self.at_work.take() {
            workers.stop();
            self.ending.push(workers);
        }
    }

    /// Has everybody ended? Waits a little for threads that have nothing to do.
    pub fn has_ended(&mut self) -> bool {
        let deadline = Instant::now() + GRACE;
        loop {
            self.ending.retain(|workers| !workers.is_stopped());
            if self.ending.is_empty() || Instant::now() >= deadline {
                return self.ending.is_empty() && self.at_work.is_none();
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
}

//! Job types that Postgres refuses (class 42): their jobs are left out, and one of them is tried now and then.

use std::sync::Arc;

use super::Queues;
use crate::core::batch::{Batch, JobError};
use crate::server::Server;

/// A refused job type is tried again after this, twice as long each time, in milliseconds.
const REFUSED_MS: u64 = 500;
const MAX_REFUSED_MS: u64 = 30_000;

/// A job type that Postgres refuses (class 42), and when it is tried again.
pub struct Refused {
    pub until_ms: u64,
    delay_ms: u64,
    error: JobError,
}

impl Server {
    /// Takes note of what Postgres says of job types.
    pub(super) fn note_types(
        &mut self,
        batch: &Batch,
        refused: &[((usize, usize), JobError)],
        accepted: &[(usize, usize)],
    ) {
        let name_of = |(section, job): (usize, usize)| {
            let section = &batch.sections[section];
            (section.name.clone(), section.jobs[job].name.clone())
        };
        let now_ms = self.queues.now_ms();
        for (of, error) in refused {
            let (section, job) = name_of(*of);
            let kind = self.queues.kind_of(&section, job.as_bytes());
            let delay_ms =
                self.queues.refused.get(&kind).map_or(REFUSED_MS, |old| (old.delay_ms * 2).min(MAX_REFUSED_MS));
            if delay_ms == REFUSED_MS {
                log::warn!("jobs {job} of '{section}' are paused, Postgres refuses their statement: {}", error.message);
            }
            let refused = Refused { until_ms: now_ms + delay_ms, delay_ms, error: error.clone() };
            self.queues.refused.insert(kind, refused);
            let next = self.queues.refused_due_ms.map_or(now_ms + delay_ms, |due| due.min(now_ms + delay_ms));
            self.queues.refused_due_ms = Some(next);
        }
        for of in accepted {
            let (section, job) = name_of(*of);
            let kind = self.queues.kind_of(&section, job.as_bytes());
            if self.queues.refused.remove(&kind).is_some() {
                log::info!("jobs {job} of '{section}' are applied again");
                self.queues.rouse_left_out();
            }
        }
    }
}

impl Queues {
    /// Job types of a section that Postgres refuses, with its reason.
    pub(super) fn refused_types(&self, section: &str) -> Vec<String> {
        let of = |((of, job), kind): (&(Box<str>, Box<[u8]>), &u32)| {
            let refused = self.refused.get(kind).filter(|_| **of == *section)?;
            Some(format!("{}: {}", String::from_utf8_lossy(job), refused.error.message))
        };
        self.kinds.iter().filter_map(of).collect()
    }

    /// Has the spaces looked at that left anything out: a job type may be tried (again).
    pub(super) fn rouse_left_out(&mut self) {
        let now_ms = self.now_ms();
        self.refused_due_ms = self.refused.values().map(|refused| refused.until_ms).filter(|due| *due > now_ms).min();
        let names: Vec<Arc<str>> = self
            .spaces
            .iter()
            .filter(|(_, space)| space.queue.counts().left > 0 || !space.in_main_turn)
            .map(|(name, _)| name.clone())
            .collect();
        names.iter().for_each(|name| self.rouse(name));
    }
}

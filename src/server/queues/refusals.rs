//! What Postgres says of job types, and the spaces that wait for those that it refuses ([`crate::core::jobs::refusals`]).

use std::time::Instant;

use super::Queues;
use crate::core::jobs::batch::{Batch, JobError};
use crate::server::Server;

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
        let queues = &mut self.queues;
        let (now_ms, newest) = (queues.now_ms(), queues.tickets);
        for (of, error) in refused {
            let (section, job) = name_of(*of);
            let kind = queues.kind_of(&section, job.as_bytes());
            if queues.refusals.refuse(kind, batch.ticket, newest, now_ms, error.clone()) {
                log::warn!("jobs {job} of '{section}' are paused, Postgres refuses their statement: {}", error.message);
            }
        }
        for of in accepted {
            let (section, job) = name_of(*of);
            let kind = queues.kind_of(&section, job.as_bytes());
            if queues.refusals.accept(kind) {
                log::info!("jobs {job} of '{section}' are applied again");
            }
        }
    }

    /// The catalog is another: what was refused may be taken now, and queues that nobody knew may belong to a section.
    pub(in crate::server) fn forget_refusals(&mut self) {
        self.queues.refusals.clear();
        let all = self.queues.spaces.keys().cloned().collect();
        self.queues.refusals.wake_also(all);
        self.begin_discovery();
    }
}

impl Queues {
    /// Job types of a section that Postgres refuses, with its reason.
    pub(super) fn refused_types(&self, section: &str) -> Vec<String> {
        let of = |((of, job), kind): (&(Box<str>, Box<[u8]>), &u32)| {
            let error = self.refusals.error(*kind).filter(|_| **of == *section)?;
            Some(format!("{}: {}", String::from_utf8_lossy(job), error.message))
        };
        self.kinds.iter().filter_map(of).collect()
    }

    /// Has spaces looked at that waited for a job type, until the deadline: there may be ten thousand. True: some are
    /// left.
    pub(super) fn wake_accepted(&mut self, deadline: Instant) -> bool {
        while let Some(name) = self.refusals.next_woken() {
            if let Some(space) = self.spaces.get_mut(&name) {
                space.asleep = false;
            }
            self.wake(&name);
            if Instant::now() >= deadline {
                return self.refusals.has_woken();
            }
        }
        false
    }
}

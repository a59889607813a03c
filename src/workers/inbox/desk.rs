//! What outlives a connection of the inbox: what is to be owned. Waits while there is none.

use std::time::{Duration, Instant};

use crossbeam_channel::{after, select, Receiver};

use super::messages::InboxRequest;
use super::Shared;
use crate::core::catalog::Section;
use crate::postgres::{CatalogJob, Holding};

/// One whose owner is gone looks so often whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// What is to be owned.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) holding: Option<Holding>,
}

impl Desk {
    /// Waits without a connection: what is to be owned is noted, all else forgotten.
    pub(super) fn wait(&mut self, shared: &Shared, asked: &Receiver<InboxRequest>, number: u64, time: Duration) {
        let until = Instant::now() + time;
        while !shared.is_stopping() && shared.current().0 == number {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            select! {
                recv(asked) -> request => match request {
                    Ok(request) => drop(self.note(request)),
                    // The owner is gone.
                    Err(_) => return std::thread::sleep(left.min(LOOK)),
                },
                recv(shared.bell.heard()) -> _ => {}
                recv(after(left)) -> _ => {}
            }
        }
        asked.try_iter().for_each(|request| drop(self.note(request)));
    }

    /// What is left to be done of it.
    pub(super) fn note(&mut self, request: InboxRequest) -> Option<InboxRequest> {
        match request {
            InboxRequest::Own { owner, name, sections } => {
                let new = Holding::new(owner, name, jobs_of(&sections));
                self.holding = Some(match self.holding.take() {
                    Some(before) => new.replaces(before),
                    None => new,
                });
                None
            }
            other => Some(other),
        }
    }
}

fn jobs_of(sections: &[Section]) -> Vec<CatalogJob> {
    let of = |section: &Section| {
        let form = section.space_name(section.tenant.map(|_| "*"));
        let declared = section.jobs.iter().map(|job| (job.name.clone(), job.claim().is_some()));
        let open = section.open.as_ref().map(|_| ("*".into(), true));
        let named = |(job, is_claimed)| CatalogJob {
            section: section.name.clone(),
            job,
            kind: format!("{} {form}", if is_claimed { "claimed" } else { "sql" }).into(),
        };
        declared.chain(open).map(named).collect::<Vec<_>>()
    };
    sections.iter().flat_map(of).collect()
}

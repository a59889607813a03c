//! Which claimed jobs are in a state, where memory knows: a few among a million are found without looking at the others.

use super::report::state;
use super::space::WorkSpace;
use crate::core::claims::queue::{Facts, State};
use crate::core::jobs::job_id::JobId;
use crate::keyspace::claims::WorkKeys;
use crate::redis_api::{Context, Direction};
use crate::server::queues::ListedState;
use crate::server::Server;

/// Jobs that are looked at, at once.
const SOME: usize = 256;

/// So many waiting ones are sorted; of more, the stream is looked through.
const FEW: usize = 256;

/// Some ids in the order of a list, and the range of those that are left.
type Indexed = (Vec<JobId>, Option<(JobId, JobId)>);

impl Server {
    fn indexed_space(&self, name: &str) -> Option<&WorkSpace> {
        let space = self.claims.spaces.get(name)?;
        (self.is_master() && space.is_loaded() && space.wrong_type.is_none()).then_some(space)
    }

    /// The state of a job that stands in the stream.
    pub(in crate::server) fn work_state(&self, ctx: Context, name: &str, keys: &WorkKeys, id: JobId) -> ListedState {
        let Some(space) = self.indexed_space(name) else { return state(ctx, keys, id) };
        match space.queue.state(id) {
            State::Waiting => ListedState::Waiting,
            State::Delayed { .. } => ListedState::Delayed,
            State::Claimed => ListedState::Active,
        }
    }

    /// The next jobs in a state, and of a type; None where memory does not know them.
    pub(in crate::server) fn indexed_work(
        &self,
        name: &str,
        state: ListedState,
        job: Option<&[u8]>,
        left: (JobId, JobId),
        direction: Direction,
    ) -> Option<Indexed> {
        let queue = &self.indexed_space(name)?.queue;
        if left.0 > left.1 {
            return Some((Vec::new(), None));
        }
        match state {
            ListedState::Active => Some(some_of(queue.claims_between(left), job, left, direction)),
            ListedState::Delayed => Some(some_of(queue.delayed_between(left), job, left, direction)),
            ListedState::Waiting => {
                let mut ids = queue.few_waiting(FEW, job)?;
                ids.retain(|id| (left.0..=left.1).contains(id));
                ids.sort_unstable();
                if matches!(direction, Direction::Backward) {
                    ids.reverse();
                }
                Some((ids, None))
            }
            ListedState::Completed | ListedState::Failed => None,
        }
    }
}

fn some_of<'a>(
    jobs: impl DoubleEndedIterator<Item = &'a Facts>,
    job: Option<&[u8]>,
    left: (JobId, JobId),
    direction: Direction,
) -> Indexed {
    let mut last = None;
    let mut looked_at = 0;
    let note = |facts: &&Facts| {
        last = Some(facts.id);
        looked_at += 1;
    };
    let is_wanted = |facts: &&Facts| job.is_none_or(|job| job == facts.name.as_bytes());
    let id = |facts: &Facts| facts.id;
    let ids: Vec<JobId> = match direction {
        Direction::Forward => jobs.take(SOME).inspect(note).filter(is_wanted).map(id).collect(),
        Direction::Backward => jobs.rev().take(SOME).inspect(note).filter(is_wanted).map(id).collect(),
    };
    let next = last.filter(|_| looked_at == SOME).and_then(|last| match direction {
        Direction::Forward => last.next().map(|from| (from, left.1)),
        Direction::Backward => last.previous().map(|to| (left.0, to)),
    });
    (ids, next)
}

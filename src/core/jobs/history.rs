//! Which records of completed jobs are kept: at least the last hundred jobs and at least those of a minute, but no more
//! bytes than allowed.
//!
//! Knows what this process wrote; what stood there before is one lump, older than all of it.

use std::collections::VecDeque;

use super::job_id::JobId;

/// Kept however old they are.
pub const MIN_JOBS: u64 = 100;
/// Kept however many they are, in milliseconds.
pub const MIN_AGE_MS: u64 = 60_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// Of the stream's entry.
    id: JobId,
    /// Its first and its last job.
    range: (JobId, JobId),
    jobs: u64,
    bytes: u64,
    written_ms: u64,
}

#[derive(Debug, Default)]
pub struct History {
    entries: VecDeque<Entry>,
    jobs: u64,
    bytes: u64,
    /// Bytes of what stood there before, and when it was found.
    earlier: Option<(u64, u64)>,
}

impl History {
    /// Records of an earlier process stand in the stream.
    pub fn found(&mut self, bytes: u64, now_ms: u64) {
        self.earlier = Some((bytes, now_ms));
    }

    /// An entry was written.
    pub fn written(&mut self, id: JobId, range: (JobId, JobId), jobs: u64, bytes: u64, now_ms: u64) {
        self.entries.push_back(Entry { id, range, jobs, bytes, written_ms: now_ms });
        self.jobs += jobs;
        self.bytes += bytes;
    }

    /// Entries that may hold a job's record, newest first; the lump that was found is none of them.
    pub fn find(&self, job: JobId) -> impl Iterator<Item = JobId> + '_ {
        let may_hold = move |entry: &&Entry| entry.range.0 <= job && job <= entry.range.1;
        self.entries.iter().rev().filter(may_hold).map(|entry| entry.id)
    }

    /// Is there anything of an earlier process?
    pub fn has_earlier(&self) -> bool {
        self.earlier.is_some()
    }

    /// Entries up to this one are there no more.
    pub fn forget_through(&mut self, last: JobId) {
        while let Some(oldest) = self.entries.front().copied().filter(|oldest| oldest.id <= last) {
            self.entries.pop_front();
            self.jobs -= oldest.jobs;
            self.bytes -= oldest.bytes;
        }
    }

    /// Drops what is kept no longer: entries before the answer are to go.
    pub fn trim(&mut self, max_bytes: u64, now_ms: u64) -> Option<JobId> {
        let before = self.entries.len();
        let had_earlier = self.earlier.is_some();
        if let Some((bytes, found_ms)) = self.earlier {
            let old = self.jobs >= MIN_JOBS && now_ms.saturating_sub(found_ms) >= MIN_AGE_MS;
            if old || self.bytes + bytes > max_bytes {
                self.earlier = None;
            }
        }
        while self.earlier.is_none() && self.entries.len() > 1 {
            let Some(oldest) = self.entries.front().copied() else { break };
            let old = self.jobs - oldest.jobs >= MIN_JOBS && now_ms.saturating_sub(oldest.written_ms) >= MIN_AGE_MS;
            if !old && self.bytes <= max_bytes {
                break;
            }
            self.entries.pop_front();
            self.jobs -= oldest.jobs;
            self.bytes -= oldest.bytes;
        }
        let dropped = self.entries.len() < before || (had_earlier && self.earlier.is_none());
        self.entries.front().filter(|_| dropped).map(|oldest| oldest.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> JobId {
        JobId { ms, seq: 0 }
    }

    #[test]
    fn a_hundred_jobs_and_a_minute_are_kept() {
        let mut history = History::default();
        for i in 0..3 {
            history.written(id(i), (id(i), id(i)), 60, 1_000, i);
        }
        assert_eq!(history.trim(1_000_000, 50_000), None, "a minute is not over");
        assert_eq!(history.trim(1_000_000, 60_001), Some(id(1)), "the first goes; the other two are 120 jobs");
        assert_eq!(history.trim(1_000_000, 600_000), None, "one of them would be 60 jobs");
    }

    #[test]
    fn bytes_are_the_limit() {
        let mut history = History::default();
        history.written(id(1), (id(1), id(1)), 60, 600, 0);
        history.written(id(2), (id(2), id(2)), 60, 600, 0);
        assert_eq!(history.trim(1_000, 0), Some(id(2)));
        history.written(id(3), (id(3), id(3)), 1, 5_000, 0);
        assert_eq!(history.trim(1_000, 0), Some(id(3)), "the newest stays, however large");
    }

    #[test]
    fn what_was_cleaned_counts_no_more() {
        let mut history = History::default();
        for entry in 1..4 {
            history.written(id(entry), (id(entry), id(entry)), 60, 600, 0);
        }
        history.forget_through(id(2));
        assert_eq!((history.find(id(2)).count(), history.find(id(3)).count()), (0, 1));
        assert_eq!(history.trim(1_000, 0), None, "600 bytes are left");
        history.forget_through(id(9));
        assert_eq!((history.jobs, history.bytes), (0, 0));
    }

    #[test]
    fn what_was_found_goes_first() {
        let mut history = History::default();
        history.found(800, 0);
        history.written(id(5), (id(5), id(5)), 1, 100, 10);
        assert_eq!(history.trim(1_000, 20), None);
        history.written(id(6), (id(6), id(6)), 1, 200, 30);
        assert_eq!(history.trim(1_000, 40), Some(id(5)), "all before what this process wrote");
    }

    #[test]
    fn a_job_is_found_where_it_may_be() {
        let mut history = History::default();
        for (entry, first, last) in [(10, 1, 4), (20, 5, 9), (30, 2, 2), (40, 11, 30)] {
            history.written(id(entry), (id(first), id(last)), 1, 100, entry);
        }
        let find = |job: u64| history.find(id(job)).collect::<Vec<_>>();
        assert_eq!(find(2), [id(30), id(10)]);
        assert_eq!((find(5), find(10), find(30)), (vec![id(20)], vec![], vec![id(40)]));
        history.trim(150, 50);
        assert_eq!(history.find(id(5)).count(), 0, "its record is gone");
    }
}

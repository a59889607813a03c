//! Which records of settled jobs are kept, by job type: so many, or for so long, within a budget of bytes for each.
//!
//! The records of all types are interleaved in one stream, so that what goes is named entry by entry. What an earlier
//! process left is told in slices ([`Kept::found`]), in any order: of a part, nothing goes that would stay if all were known.
//!
//! Each step is O(log n). Nothing grows by copying all that is there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::core::catalog::claim::Keep;
use crate::core::jobs::history::{MIN_AGE_MS, MIN_JOBS};
use crate::core::jobs::job_id::JobId;

/// What of one type is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// These stay, however old they are.
    jobs: u64,
    /// Those younger stay, however many they are, in milliseconds.
    age_ms: u64,
    /// No more than this, but for the newest entry.
    max_bytes: u64,
}

impl Rule {
    pub fn completed(keep: Keep, max_bytes: u64) -> Rule {
        match keep {
            Keep::Default => Rule { jobs: MIN_JOBS, age_ms: MIN_AGE_MS, max_bytes },
            keep => Rule::of(keep, max_bytes),
        }
    }

    /// `max_jobs` is how many failed jobs are kept where the catalog says nothing.
    pub fn failed(keep: Keep, max_jobs: u64, max_bytes: u64) -> Rule {
        match keep {
            Keep::Default => Rule::of(Keep::Jobs(max_jobs), max_bytes),
            keep => Rule::of(keep, max_bytes),
        }
    }

    fn of(keep: Keep, max_bytes: u64) -> Rule {
        match keep {
            Keep::AgeMs(age_ms) => Rule { jobs: 0, age_ms, max_bytes },
            Keep::Jobs(jobs) => Rule { jobs, age_ms: 0, max_bytes },
            Keep::Default => Rule { jobs: MIN_JOBS, age_ms: 0, max_bytes },
        }
    }

    /// Is nothing kept at all, so that nothing need be written?
    pub fn keeps_nothing(&self) -> bool {
        self.jobs == 0 && self.age_ms == 0
    }
}

#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    jobs: SmallVec<[JobId; 1]>,
    bytes: u64,
    written_ms: u64,
}

/// An entry that is to go, and whose records it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    pub entry: JobId,
    pub jobs: SmallVec<[JobId; 1]>,
}

/// Of one job type.
#[derive(Debug, Default)]
struct OfType {
    entries: BTreeSet<JobId>,
    jobs: u64,
    bytes: u64,
}

/// The records in one stream.
#[derive(Debug, Default)]
pub struct Kept {
    entries: BTreeMap<JobId, Entry>,
    /// The newest entry that has a job's record.
    jobs: BTreeMap<JobId, JobId>,
    types: BTreeMap<Arc<str>, OfType>,
    /// Of all types.
    bytes: u64,
    /// The type that was swept last.
    swept: Option<Arc<str>>,
}

impl Kept {
    /// An entry was written.
    pub fn written(&mut self, entry: JobId, name: &Arc<str>, jobs: &[JobId], bytes: u64, now_ms: u64) {
        self.remove(entry);
        let of_type = match self.types.get_mut(name) {
            Some(of_type) => of_type,
            None => self.types.entry(name.clone()).or_default(),
        };
        of_type.entries.insert(entry);
        of_type.jobs += jobs.len() as u64;
        of_type.bytes += bytes;
        self.bytes += bytes;
        for job in jobs {
            // What was found may be older than what has been written since.
            let newest = self.jobs.entry(*job).or_insert(entry);
            *newest = entry.max(*newest);
        }
        let entry_of = Entry { name: name.clone(), jobs: jobs.into(), bytes, written_ms: now_ms };
        self.entries.insert(entry, entry_of);
    }

    /// An entry of an earlier process stands in the stream: its age is that of its id.
    pub fn found(&mut self, entry: JobId, name: &Arc<str>, jobs: &[JobId], bytes: u64) {
        if !self.entries.contains_key(&entry) {
            self.written(entry, name, jobs, bytes, entry.ms);
        }
    }

    /// The entry that has a job's record.
    pub fn find(&self, job: JobId) -> Option<JobId> {
        self.jobs.get(&job).copied()
    }

    /// The oldest entry.
    pub fn oldest(&self) -> Option<JobId> {
        self.entries.first_key_value().map(|(entry, _)| *entry)
    }

    /// An entry is there no more. Returns its jobs.
    pub fn remove(&mut self, entry: JobId) -> SmallVec<[JobId; 1]> {
        let Some(removed) = self.entries.remove(&entry) else { return SmallVec::new() };
        for job in &removed.jobs {
            if self.jobs.get(job) == Some(&entry) {
                self.jobs.remove(job);
            }
        }
        if let Some(of_type) = self.types.get_mut(&removed.name) {
            of_type.entries.remove(&entry);
            of_type.jobs -= removed.jobs.len() as u64;
            of_type.bytes -= removed.bytes;
            self.bytes -= removed.bytes;
            if of_type.entries.is_empty() {
                self.types.remove(&removed.name);
            }
        }
        removed.jobs
    }

    /// Drops up to `most` entries of a type that are kept no longer; those named in `gone` are to go. True: there are more.
    pub fn trim(&mut self, name: &str, rule: Rule, now_ms: u64, most: usize, gone: &mut Vec<Gone>) -> bool {
        for dropped in 0.. {
            let Some(oldest) = self.to_go(name, rule, now_ms) else { return false };
            if dropped >= most {
                return true;
            }
            gone.push(Gone { entry: oldest, jobs: self.remove(oldest) });
        }
        false
    }

    /// Drops up to `most` of the oldest entries, of whatever type, while all together are larger than this.
    pub fn shrink(&mut self, max_bytes: u64, most: usize, gone: &mut Vec<Gone>) {
        for _ in 0..most {
            let Some(oldest) = self.oldest().filter(|_| self.bytes > max_bytes) else { return };
            gone.push(Gone { entry: oldest, jobs: self.remove(oldest) });
        }
    }

    /// The oldest entry of a type, if it is kept no longer.
    fn to_go(&self, name: &str, rule: Rule, now_ms: u64) -> Option<JobId> {
        let of_type = self.types.get(name)?;
        let oldest = of_type.entries.first()?;
        let entry = self.entries.get(oldest)?;
        let spare = of_type.jobs - entry.jobs.len() as u64 >= rule.jobs;
        let old = now_ms.saturating_sub(entry.written_ms) >= rule.age_ms;
        let large = of_type.bytes > rule.max_bytes && of_type.entries.len() > 1;
        ((spare && old) || large).then_some(*oldest)
    }

    /// The same for the next few types in turn: what grows old without anything new being written. `types` and `most` bound
    /// the work.
    pub fn sweep(&mut self, rule: impl Fn(&str) -> Rule, now_ms: u64, types: usize, most: usize, gone: &mut Vec<Gone>) {
        for _ in 0..types {
            let after = self.swept.take().map_or(Bound::Unbounded, Bound::Excluded);
            let Some(name) = self.types.range::<Arc<str>, _>((after, Bound::Unbounded)).next().map(|(name, _)| name)
            else {
                return;
            };
            let name = name.clone();
            let left = most.saturating_sub(gone.len());
            let more = self.trim(&name, rule(&name), now_ms, left, gone);
            if more {
                // Goes on with it.
                self.swept = self
                    .types
                    .range::<str, _>((Bound::Unbounded, Bound::Excluded(&*name)))
                    .next_back()
                    .map(|(before, _)| before.clone());
                return;
            }
            self.swept = Some(name);
        }
    }

    /// Jobs that are kept.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Types with the number of their jobs and the bytes of these.
    pub fn types(&self) -> impl Iterator<Item = (&Arc<str>, u64, u64)> {
        self.types.iter().map(|(name, of_type)| (name, of_type.jobs, of_type.bytes))
    }

    /// Jobs of one type.
    pub fn jobs_of(&self, name: &str) -> u64 {
        self.types.get(name).map_or(0, |of_type| of_type.jobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(ms: u64) -> JobId {
        JobId { ms, seq: 0 }
    }

    fn trim(kept: &mut Kept, name: &str, rule: Rule, now_ms: u64) -> Vec<u64> {
        let mut gone = Vec::new();
        assert!(!kept.trim(name, rule, now_ms, usize::MAX, &mut gone));
        gone.into_iter().map(|gone| gone.entry.ms).collect()
    }

    /// Entries of 60 jobs each.
    fn of_sixty(entries: std::ops::Range<u64>) -> Kept {
        let mut kept = Kept::default();
        for entry in entries {
            let jobs: Vec<JobId> = (0..60).map(|job| id(1_000_000 + entry * 100 + job)).collect();
            kept.written(id(entry), &"A".into(), &jobs, 1_000, entry);
        }
        kept
    }

    #[test]
    fn a_hundred_completed_jobs_and_a_minute_are_kept() {
        let mut kept = of_sixty(0..3);
        let rule = Rule::completed(Keep::Default, 1_000_000);
        assert_eq!(trim(&mut kept, "A", rule, 50_000), [0_u64; 0], "a minute is not over");
        assert_eq!(trim(&mut kept, "A", rule, 60_001), [0], "the other two are 120 jobs");
        assert_eq!(trim(&mut kept, "A", rule, 600_000), [0_u64; 0], "one of them would be 60 jobs");
    }

    #[test]
    fn a_catalog_says_how_many_or_how_long() {
        let rule = |keep| Rule::completed(keep, 1_000_000);
        assert_eq!(trim(&mut of_sixty(0..3), "A", rule(Keep::Jobs(60)), 0), [0, 1]);
        assert_eq!(trim(&mut of_sixty(0..3), "A", rule(Keep::Jobs(61)), 0), [0]);
        assert_eq!(trim(&mut of_sixty(0..3), "A", rule(Keep::Jobs(0)), 0), [0, 1, 2]);
        assert_eq!(trim(&mut of_sixty(0..3), "A", rule(Keep::AgeMs(10)), 11), [0, 1]);
        assert_eq!(trim(&mut of_sixty(0..3), "A", rule(Keep::AgeMs(10)), 100), [0, 1, 2]);
        assert_eq!(trim(&mut of_sixty(0..3), "A", Rule::failed(Keep::Default, 70, u64::MAX), 100), [0]);
        assert!(rule(Keep::Jobs(0)).keeps_nothing() && !rule(Keep::Jobs(1)).keeps_nothing());
    }

    #[test]
    fn bytes_are_the_limit_of_each_type() {
        let mut kept = of_sixty(0..3);
        kept.written(id(9), &"B".into(), &[id(7)], 5_000, 9);
        assert_eq!(trim(&mut kept, "A", Rule::completed(Keep::AgeMs(1 << 40), 2_500), 0), [0]);
        assert_eq!(trim(&mut kept, "A", Rule::completed(Keep::AgeMs(1 << 40), 0), 0), [1], "the newest stays");
        assert_eq!(trim(&mut kept, "B", Rule::completed(Keep::Default, 1), 0), [0_u64; 0], "however large");
    }

    #[test]
    fn types_without_number_are_kept_within_one_budget() {
        let mut kept = Kept::default();
        (0..100).for_each(|at| kept.written(id(at), &format!("T{at}").as_str().into(), &[id(1_000 + at)], 10, at));
        let mut gone = Vec::new();
        kept.shrink(905, 6, &mut gone);
        assert_eq!((gone.len(), kept.bytes), (6, 940));
        kept.shrink(905, 6, &mut gone);
        assert_eq!((gone.len(), kept.bytes, kept.oldest()), (10, 900, Some(id(10))));
        kept.shrink(0, 1_000, &mut gone);
        assert_eq!((gone.len(), kept.bytes, kept.is_empty()), (100, 0, true));
    }

    #[test]
    fn a_job_is_found_in_its_newest_entry() {
        let mut kept = Kept::default();
        kept.written(id(20), &"A".into(), &[id(1), id(2)], 1, 20);
        kept.found(id(10), &"A".into(), &[id(2), id(3)], 1);
        kept.found(id(20), &"A".into(), &[id(9)], 1);
        let find = |kept: &Kept, job| kept.find(id(job)).map(|entry| entry.ms);
        assert_eq!([1, 2, 3, 9].map(|job| find(&kept, job)), [Some(20), Some(20), Some(10), None]);
        assert_eq!(kept.remove(id(10)).len(), 2);
        assert_eq!([1, 2, 3].map(|job| find(&kept, job)), [Some(20), Some(20), None]);
        assert_eq!((kept.len(), kept.jobs_of("A")), (2, 2));
    }

    #[test]
    fn a_sweep_goes_round_the_types() {
        let mut kept = Kept::default();
        for (at, name) in ["A", "B", "C"].into_iter().cycle().take(30).enumerate() {
            kept.written(id(at as u64), &name.into(), &[id(100 + at as u64)], 1, at as u64);
        }
        let mut gone = Vec::new();
        for _ in 0..10 {
            let mut some = Vec::new();
            kept.sweep(|_| Rule::completed(Keep::AgeMs(5), 1_000), 1_000, 2, 4, &mut some);
            assert!(some.len() <= 4);
            gone.extend(some);
        }
        assert_eq!((gone.len(), kept.is_empty(), kept.types().count()), (30, true, 0));
    }

    proptest! {
        /// Against a list that is searched from end to end.
        #[test]
        fn keeps_as_a_plain_list_does(
            writes in prop::collection::vec((0_usize..3, 1_u64..4, 0_u64..50, 0_u64..30), 0..60),
            jobs in 0_u64..12, age_ms in 0_u64..200, max_bytes in 0_u64..400,
        ) {
            let names: [Arc<str>; 3] = ["A".into(), "B".into(), "C".into()];
            let rule = Rule { jobs, age_ms, max_bytes };
            let (mut kept, mut list) = (Kept::default(), Vec::new());
            let (mut now_ms, mut next_job) = (0, 1_000);
            for (at, (name, count, bytes, later)) in writes.into_iter().enumerate() {
                now_ms += later;
                let entry = id(at as u64 + 1);
                let of_entry: Vec<JobId> = (next_job..next_job + count).map(id).collect();
                next_job += count;
                kept.written(entry, &names[name], &of_entry, bytes, now_ms);
                list.push((entry, name, of_entry, bytes, now_ms));
                let mut gone = Vec::new();
                kept.trim(&names[name], rule, now_ms, usize::MAX, &mut gone);
                let mut expected = Vec::new();
                loop {
                    let of_type: Vec<_> = list.iter().filter(|entry| entry.1 == name).collect();
                    let Some(oldest) = of_type.first() else { break };
                    let others: u64 = of_type.iter().skip(1).map(|entry| entry.2.len() as u64).sum();
                    let all_bytes: u64 = of_type.iter().map(|entry| entry.3).sum();
                    let goes = (others >= jobs && now_ms - oldest.4 >= age_ms) || (all_bytes > max_bytes && of_type.len() > 1);
                    if !goes {
                        break;
                    }
                    let id = oldest.0;
                    expected.push(id);
                    list.retain(|entry| entry.0 != id);
                }
                let gone: Vec<JobId> = gone.iter().map(|gone| gone.entry).collect();
                prop_assert_eq!(gone, expected);
                let known: u64 = list.iter().map(|entry| entry.2.len() as u64).sum();
                prop_assert_eq!(kept.len() as u64, known);
            }
            for (entry, _, of_entry, _, _) in &list {
                for job in of_entry {
                    prop_assert_eq!(kept.find(*job), Some(*entry));
                }
            }
            for (entry, ..) in list {
                kept.remove(entry);
            }
            prop_assert!(kept.is_empty() && kept.types().count() == 0 && kept.entries.is_empty());
        }
    }
}

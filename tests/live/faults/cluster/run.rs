//! What all clients of a run share: what was written, what is known of it, and the first thing that went wrong.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::Instant;

use super::model::{row, Call, Floors, ROWS};
use crate::prove::history::Versions;
use crate::support::Database;

pub struct Run {
    pub versions: Vec<Versions>,
    pub reads: AtomicU64,
    pub writes: AtomicU64,
    /// Answers of a node that others took for gone: they say nothing, but that it did answer.
    pub left_out: AtomicU64,
    /// Keys of jobs that a replica has said it has, or that were said to have completed.
    safe: Mutex<Vec<String>>,
    failed: AtomicBool,
    failure: Mutex<Option<String>>,
    events: Mutex<Vec<String>>,
    begun: Instant,
}

/// Events that a failure shows.
const EVENTS: usize = 60;

impl Run {
    pub fn new() -> Run {
        Run {
            versions: (0..ROWS).map(|_| Versions::new(1)).collect(),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            safe: Mutex::default(),
            failed: AtomicBool::new(false),
            failure: Mutex::default(),
            events: Mutex::default(),
            begun: Instant::now(),
        }
    }

    pub fn floors(&self) -> Floors {
        std::array::from_fn(|row| self.versions[row].floor())
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    pub fn failure(&self) -> Option<String> {
        self.failure.lock().expect("no panic while it is held").clone()
    }

    pub fn event(&self, text: &str) {
        let mut events = self.events.lock().expect("no panic while it is held");
        events.push(format!("{:>10.3} {text}", self.begun.elapsed().as_secs_f64()));
        if events.len() > 2 * EVENTS {
            events.drain(..EVENTS);
        }
    }

    /// The first failure is kept, with what was done before.
    pub fn fail(&self, what: &str) {
        let events = self.events.lock().expect("no panic while it is held");
        let last = events[events.len().saturating_sub(EVENTS)..].join("\n  ");
        let at = self.begun.elapsed().as_secs_f64();
        let mut failure = self.failure.lock().expect("no panic while it is held");
        failure.get_or_insert_with(|| format!("at {at:.3}: {what}\nwhat was done before:\n  {last}"));
        self.failed.store(true, Ordering::SeqCst);
    }

    /// A job must have been applied in the end.
    pub fn is_safe(&self, key: &str) {
        self.safe.lock().expect("no panic while it is held").push(key.to_owned());
    }

    pub fn safe_jobs(&self) -> usize {
        self.safe.lock().expect("no panic while it is held").len()
    }

    pub fn check_answer(&self, call: &Call, floors: &Floors, json: &[u8]) {
        if let Some(fault) = call.fault(&self.versions, floors, json) {
            let text = String::from_utf8_lossy(json);
            self.fail(&format!("BEAR.QUERY {} {}: {fault}\nanswer: {text}", call.space, call.words));
        }
    }

    /// What of the effects cannot be explained: a job that was applied twice or never, a version that came after a later one.
    pub fn fault_of_effects(&self, database: &Database) -> Option<String> {
        let mut applied: BTreeMap<String, usize> = BTreeMap::new();
        let mut newest: BTreeMap<(String, i64), i64> = BTreeMap::new();
        let sql = "SELECT section, id, ver, key FROM effect ORDER BY seq";
        for one in database.client().query(sql, &[]).expect("the effects") {
            let (section, id, version): (String, i64, i64) = (one.get(0), one.get(1), one.get(2));
            let last = newest.entry((section.clone(), id)).or_default();
            if version < *last {
                return Some(format!("{section} {id} had version {version} after {last}"));
            }
            *last = version;
            if let Some(key) = one.get::<_, Option<String>>(3) {
                let count = applied.entry(key.clone()).or_default();
                *count += 1;
                if *count > 1 {
                    return Some(format!("job {key} was applied twice"));
                }
            }
        }
        for at in 0..ROWS {
            let (place, begun) = (row(at), self.versions[at].since(0).ceiling);
            let last = newest.get(&(place.section.to_owned(), place.id)).copied().unwrap_or(1);
            if last != i64::from(begun) {
                return Some(format!("{} {} ends with version {last} of {begun}", place.section, place.id));
            }
        }
        let safe = self.safe.lock().expect("no panic while it is held");
        safe.iter().find(|key| !applied.contains_key(*key)).map(|key| format!("job {key} is lost"))
    }
}

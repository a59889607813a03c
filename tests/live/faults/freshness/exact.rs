//! Exactness, where nothing else interferes: one writer, no faults, and after each write a look at which entries went.

use super::model::{row, Shape, MEANT, ROWS};
use super::run::{Asked, Run};
use super::site::Site;
use super::writer::{Way, Writer};
use crate::support::{Random, Reply, Wire};

/// What was found.
#[derive(Debug, Default, Clone)]
pub struct Exactness {
    /// Entries that were cached before a write.
    pub cached: u64,
    /// Of these, gone and rightly so.
    pub due: u64,
    /// Gone although the row belongs in them neither before nor after.
    pub excess: u64,
    /// Some of those.
    pub examples: Vec<String>,
}

impl Exactness {
    pub fn add(&mut self, other: Exactness) {
        self.cached += other.cached;
        self.due += other.due;
        self.excess += other.excess;
        self.examples.extend(other.examples);
        self.examples.truncate(8);
    }
}

/// Writes so often in each way, and compares what is cached before and after. An entry that should have gone and is still
/// there fails the run.
pub fn measure(run: &Run, site: &Site, random: &mut Random, times: usize) -> Exactness {
    let mut found = Exactness::default();
    let mut wire = site.master.wire();
    let mut writer =
        Writer::new(run, &site.database, Random::new(random.next()), format!("q{:x}", random.next() >> 40));
    for _ in 0..times {
        for way in [Way::Job, Way::Changed, Way::Image, Way::ImageAndRow, Way::Row] {
            let lasting: Vec<&Asked> = run.calls.iter().filter(|asked| !asked.call.is_brief).collect();
            fill(&mut wire, &lasting, site);
            let before = cached(&mut wire, &lasting);
            // Of DDL nobody tells row by row.
            let at = random.below(ROWS - MEANT);
            let Some((old, new)) = writer.write(&[at], way).pop() else { return found };
            let after = cached(&mut wire, &lasting);
            for (asked, (before, after)) in lasting.iter().zip(before.into_iter().zip(after)) {
                let is_concerned = asked.call.is_concerned(row(at), old, new);
                found.cached += u64::from(before);
                found.due += u64::from(before && !after && is_concerned);
                let is_excess = before && !after && !is_concerned && !is_told_by_id(asked, at, way);
                if is_excess {
                    found.excess += 1;
                    let words = format!("{} {}", asked.call.space.name(), asked.call.words);
                    found.examples.push(format!("{words} after {way:?} of {:?}, {old:?} to {new:?}", row(at)));
                }
                // ROW is about what contains the row, and nothing contains one that is not there.
                let must_go = is_concerned && (way != Way::Row || asked.call.has(row(at), old));
                if after && must_go {
                    run.fail(&format!("{} is cached still after {way:?} of {:?}", asked.call.words, row(at)));
                }
            }
        }
    }
    found
}

/// The one row of an id is known by that id, there or not; and an image without an id may be that of any of them.
fn is_told_by_id(asked: &Asked, at: usize, way: Way) -> bool {
    let (section, id) = row(at);
    let is_about = way == Way::ImageAndRow || asked.call.id == Some(id);
    asked.call.shape == Shape::One && asked.call.space == section && is_about
}

/// Has all calls cached.
fn fill(wire: &mut Wire, calls: &[&Asked], site: &Site) {
    for asked in calls {
        wire.send_bytes(&asked.bytes[0]);
    }
    for asked in calls {
        let reply = wire.receive();
        assert!(matches!(reply, Reply::Bulk(_)), "{}: {reply:?}", asked.call.words);
    }
    site.master.wait_stored();
}

/// Which of the calls are answered from the cache.
fn cached(wire: &mut Wire, calls: &[&Asked]) -> Vec<bool> {
    for asked in calls {
        wire.send_bytes(&asked.bytes[2]);
    }
    calls.iter().map(|_| !wire.receive().is_nil()).collect()
}

//! Exactness, where nothing else interferes: one writer, no faults, and after each write a look at which entries went.

use super::model::{row, Shape, ROWS};
use super::run::{Asked, Run};
use super::site::Site;
use super::writer::{Way, Writer};
use crate::support::{Random, Reply, Wire};

/// What was found.
#[derive(Debug, Default, Clone, Copy)]
pub struct Exactness {
    /// Entries that were cached before a write.
    pub cached: u64,
    /// Of these, gone and rightly so.
    pub due: u64,
    /// Gone although the row belongs in them neither before nor after.
    pub excess: u64,
}

impl Exactness {
    pub fn add(&mut self, other: Exactness) {
        self.cached += other.cached;
        self.due += other.due;
        self.excess += other.excess;
    }
}

/// Writes so often in each way, and compares what is cached before and after. An entry that should have gone and is still
/// there fails the run.
pub fn measure(run: &Run, site: &Site, random: &mut Random, times: usize) -> Exactness {
    let mut found = Exactness::default();
    let mut wire = site.master.wire();
    let mut writer =
        Writer::new(run, &site.database, Random::new(random.next()), format!("q{:x}", random.next() >> 40));
    for time in 0..times {
        for way in [Way::Job, Way::Changed, Way::Image, Way::ImageAndRow, Way::Row] {
            let lasting: Vec<&Asked> = run.calls.iter().filter(|asked| !asked.call.is_brief).collect();
            fill(&mut wire, &lasting, site);
            let before = cached(&mut wire, &lasting);
            let at = random.below(ROWS);
            let Some((old, new)) = writer.write(&[at], way).pop() else { return found };
            let after = cached(&mut wire, &lasting);
            for (asked, (before, after)) in lasting.iter().zip(before.into_iter().zip(after)) {
                let is_concerned = asked.call.is_concerned(row(at), old, new);
                found.cached += u64::from(before);
                found.due += u64::from(before && !after && is_concerned);
                // The one row of an id is known by its id, whatever it looks like.
                let is_excess = before && !after && !is_concerned && !is_of_row(asked, at);
                if is_excess {
                    found.excess += 1;
                    run.event(&format!("in excess ({way:?}, write {time}): {:?}, {:?}", asked.call.words, row(at)));
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

fn is_of_row(asked: &Asked, at: usize) -> bool {
    let (section, id) = row(at);
    asked.call.shape == Shape::One && asked.call.space == section && asked.call.id == Some(id)
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

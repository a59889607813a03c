//! Readers and writers at work, while something is done to the servers.

use std::sync::atomic::AtomicBool;
use std::thread;

use super::reader::Reader;
use super::run::Run;
use super::writer::Writer;
use crate::support::{Database, Random, StopAtEnd};

/// Questions at a time, of each reader.
const DEPTHS: [usize; 6] = [1, 4, 16, 32, 64, 64];

const WRITERS: usize = 3;

/// Runs `meanwhile` under load; all that was begun is ended when this returns.
pub fn under_load(
    run: &Run,
    database: &Database,
    random: &mut Random,
    pause_ms: usize,
    meanwhile: impl FnOnce(&mut Random),
) {
    let (no_readers, no_writers) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        // Readers see the last writes, too.
        let stop_readers = StopAtEnd(&no_readers);
        for depth in DEPTHS {
            let reader = Reader { run, stop: &no_readers, random: Random::new(random.next()), depth };
            scope.spawn(move || reader.read());
        }
        let stop_writers = StopAtEnd(&no_writers);
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let name = format!("w{:x}.{number}", random.next() >> 40);
                let writer = Writer::new(run, database, Random::new(random.next()), name);
                let stop = &no_writers;
                scope.spawn(move || writer.write_until(stop, (number, WRITERS), pause_ms))
            })
            .collect();
        meanwhile(random);
        drop(stop_writers);
        for writer in writers {
            writer.join().expect("a writer does not fail");
        }
        drop(stop_readers);
    });
}

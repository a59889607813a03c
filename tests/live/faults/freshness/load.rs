//! Readers and writers at work, while something is done to the servers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::computer::Computer;
use super::model::{ITEMS, MEANT, ROWS};
use super::reader::Reader;
use super::run::Run;
use super::writer::Writer;
use crate::support::{Database, Random, StopAtEnd};

/// Questions at a time, of each reader.
const DEPTHS: [usize; 6] = [1, 4, 16, 32, 64, 64];

/// Clients that compute values.
const COMPUTERS: usize = 4;

/// Writers of rows; one more writes what DDL changes, and waits longer for it to be seen.
const WRITERS: usize = 3;

/// The longest that it waits between two writes: DDL holds up those who read.
const PAUSE_OF_DDL_MS: usize = 100;

/// Changes what no answer shows, as often as somebody looks at an item: nobody is told, and no answer is another for it.
fn see_items(database: &Database, stop: &AtomicBool, random: &mut Random) {
    let mut client = None;
    while !stop.load(Ordering::Relaxed) {
        client = client.or_else(|| database.try_client());
        let id = 1 + random.below(ITEMS) as i64;
        let seen = client.as_mut().map(|client: &mut postgres::Client| {
            client.execute("UPDATE item SET seen = seen + 1 WHERE id = $1", &[&id]).is_ok()
        });
        if seen != Some(true) {
            client = None;
        }
        thread::sleep(Duration::from_millis(1 + random.below(10) as u64));
    }
}

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
        let (stop, mut chance) = (&no_writers, Random::new(random.next()));
        scope.spawn(move || see_items(database, stop, &mut chance));
        for _ in 0..COMPUTERS {
            let computer = Computer { run, database, stop: &no_readers, random: Random::new(random.next()) };
            scope.spawn(move || computer.compute());
        }
        let writers: Vec<_> = (0..=WRITERS)
            .map(|number| {
                let is_by_ddl = number == WRITERS;
                let own: Vec<usize> = match is_by_ddl {
                    true => (ROWS - MEANT..ROWS).collect(),
                    false => (number..ROWS - MEANT).step_by(WRITERS).collect(),
                };
                let pause_ms = if is_by_ddl { PAUSE_OF_DDL_MS } else { pause_ms };
                let name = format!("w{:x}.{number}", random.next() >> 40);
                let writer = Writer::new(run, database, Random::new(random.next()), name);
                let stop = &no_writers;
                scope.spawn(move || writer.write_until(stop, &own, pause_ms))
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

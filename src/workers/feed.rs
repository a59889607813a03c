//! The thread that follows the changes of the catalog's tables, `bear-feed`.
//!
//! Invariant: between a Down and the next Connected nothing else is told, and a stop ends it whatever the network does.

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, Receiver, RecvTimeoutError, SendTimeoutError, Sender};

use crate::core::catalog::columns_read::Unchanged;
use crate::core::catalog::Section;
use crate::core::changes::image::Image;
use crate::core::feed::promise::Promises;
use crate::core::feed::{FeedOutcome, PresentRow, Rows, SectionChange};
use crate::core::jobs::retry::OutageBackoff;
use crate::postgres::{follow, FeedControl, FeedError, FeedKind, FeedSettings, InboxSign};

use super::{guarded, lock, InboxBell, Wake};

/// Outcomes that nobody has taken; the thread waits before it tells more. Redis' thread takes some hundreds in a tick.
const MAX_UNTAKEN: usize = 1024;

/// Bytes of them, about, but for a single one that is larger.
const MAX_UNTAKEN_BYTES: usize = 16 << 20;

/// While there are more it looks so often whether some have been taken.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(1);

/// While it waits it looks so often whether it is to end: whoever stops it takes no more.
const LOOK: Duration = Duration::from_millis(50);

/// One that has lasted so long was well: what comes then is a new failure.
const LASTED: Duration = Duration::from_secs(10);

/// What the feed tells, and what this thread has read of it so that its owner's need not.
#[derive(Debug)]
pub struct Told {
    pub outcome: FeedOutcome,
    /// Of each change, the present values of its rows, with what of them is as it was; None: values that make no sense, which
    /// may be any.
    pub images: Vec<Option<Vec<(Image, Unchanged)>>>,
    bytes: usize,
}

impl Told {
    fn of(mut outcome: FeedOutcome) -> Told {
        let (mut images, mut bytes) = (Vec::new(), 0);
        if let FeedOutcome::Changed { changes, .. } = &mut outcome {
            bytes = changes.iter().map(bytes_of).sum();
            images = changes.iter_mut().map(images_of).collect();
        }
        Told { outcome, images, bytes }
    }
}

fn bytes_of(change: &SectionChange) -> usize {
    /// Of a row beside its text.
    const ROW: usize = 128;

    match &change.rows {
        Rows::All => ROW,
        Rows::Some(rows) => {
            rows.iter().map(|row| ROW + row.id.len() + row.json.as_ref().map_or(0, |json| 2 * json.len())).sum()
        }
    }
}

fn images_of(change: &mut SectionChange) -> Option<Vec<(Image, Unchanged)>> {
    let Rows::Some(rows) = &mut change.rows else { return None };
    let image = |row: &PresentRow| {
        let image = Image::from_json(row.json.as_deref()?);
        Some(image.map(|image| (image, row.unchanged.clone())))
    };
    let images = rows.iter().filter_map(image).collect::<Result<_, _>>();
    rows.iter_mut().for_each(|row| row.json = None);
    images.ok()
}

/// What has been told and not taken.
pub struct Untaken {
    told: Receiver<Told>,
    bytes: Arc<AtomicUsize>,
}

impl Untaken {
    fn channel() -> (Outlet, Untaken) {
        let (sender, told) = bounded(MAX_UNTAKEN);
        let bytes = Arc::new(AtomicUsize::new(0));
        (Outlet { told: sender, bytes: bytes.clone() }, Untaken { told, bytes })
    }

    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// The next, if there is one.
    pub fn take(&self) -> Option<Told> {
        self.take_within(Duration::ZERO).ok()
    }

    pub fn take_within(&self, time: Duration) -> Result<Told, RecvTimeoutError> {
        let told = self.told.recv_timeout(time)?;
        self.bytes.fetch_sub(told.bytes, Ordering::AcqRel);
        Ok(told)
    }
}

/// Where the thread puts it.
struct Outlet {
    told: Sender<Told>,
    bytes: Arc<AtomicUsize>,
}

impl Outlet {
    /// Is there room for so many bytes more?
    fn has_room(&self, bytes: usize) -> bool {
        let held = self.bytes.load(Ordering::Acquire);
        held == 0 || held + bytes <= MAX_UNTAKEN_BYTES
    }
}

pub struct Feed {
    results: Untaken,
    kind: FeedKind,
    turn: Arc<Mutex<Option<Turn>>>,
    control: Arc<FeedControl>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Feed {
    /// Starts the thread, which connects at once.
    ///
    /// `wake` is called on that thread after each outcome; it must be quick and must not call back. For other settings,
    /// stop it and start another.
    pub fn start(
        settings: FeedSettings,
        sections: Arc<[Section]>,
        promises: Arc<Promises>,
        wake: Wake,
    ) -> io::Result<Feed> {
        let (outcomes, results) = Untaken::channel();
        let control = Arc::new(FeedControl::new(sections, promises));
        let turn = Arc::new(Mutex::new(None));
        let kind = settings.kind;
        let (own, own_turn) = (control.clone(), turn.clone());
        let body = move || feed_loop(&settings, &own, &mut Teller { outcomes, turn: own_turn, control: &own, wake });
        let thread = Builder::new().name("bear-feed".to_owned()).spawn(body)?;
        Ok(Feed { results, kind, turn, control, thread: Mutex::new(Some(thread)) })
    }

    /// From now on the bell is rung at each change of the inbox that the WAL tells of.
    pub fn ring(&self, bell: Arc<InboxBell>) {
        self.control.watch_inbox(move |sign| match sign {
            InboxSign::Changed => bell.ring(),
            InboxSign::Followed(is_followed) => bell.set_followed(is_followed),
        });
    }

    /// Follows another catalog with the connections that it has, if it can: a new one would wait for the transactions that
    /// are in progress. What has been told of the old catalog and not been taken is returned, to be dropped where time does
    /// not matter; a Connected comes.
    pub fn follow_instead(&mut self, sections: Arc<[Section]>) -> Option<Untaken> {
        if self.kind != FeedKind::Wal {
            return None;
        }
        let (outcomes, results) = Untaken::channel();
        // First, so that whoever finds the new catalog finds where to tell of it.
        let mut turn = lock(&self.turn);
        let catalog = self.control.follow_instead(sections);
        *turn = Some(Turn { catalog, outcomes });
        Some(std::mem::replace(&mut self.results, results))
    }

    pub fn results(&self) -> &Untaken {
        &self.results
    }

    /// What has been told and not taken, once nobody takes it.
    pub fn take_results(&mut self) -> Untaken {
        std::mem::replace(&mut self.results, Untaken::channel().1)
    }

    /// Asks the thread to end, without waiting. It does at once, but for an attempt to connect, within its limit.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Whether the thread has ended after [`Feed::stop`]; takes its handle away.
    pub fn is_stopped(&self) -> bool {
        let mut thread = lock(&self.thread);
        if let Some(finished) = thread.take_if(|thread| thread.is_finished()) {
            // Finished, so this does not wait.
            let _ = finished.join();
        }
        thread.is_none()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where to tell of the catalog with that number.
struct Turn {
    catalog: u64,
    outcomes: Outlet,
}

struct Teller<'a> {
    outcomes: Outlet,
    turn: Arc<Mutex<Option<Turn>>>,
    control: &'a FeedControl,
    wake: Wake,
}

impl Teller<'_> {
    fn tell(&mut self, outcome: FeedOutcome) {
        if let Some(turn) = lock(&self.turn).take_if(|turn| turn.catalog <= self.control.followed()) {
            self.outcomes = turn.outcomes;
        }
        let mut outcome = Told::of(outcome);
        while !self.outcomes.has_room(outcome.bytes) {
            if self.control.is_stopping() || Arc::strong_count(&self.outcomes.bytes) == 1 {
                return;
            }
            std::thread::sleep(LOOK_FOR_ROOM);
        }
        let bytes = outcome.bytes;
        self.outcomes.bytes.fetch_add(bytes, Ordering::AcqRel);
        loop {
            match self.outcomes.told.send_timeout(outcome, LOOK) {
                Ok(()) => return (self.wake)(),
                Err(SendTimeoutError::Timeout(_)) if self.control.is_stopping() => return,
                Err(SendTimeoutError::Timeout(untaken)) => outcome = untaken,
                // Nobody receives any more once the feed has been dropped.
                Err(SendTimeoutError::Disconnected(_)) => return,
            }
        }
    }
}

fn feed_loop(settings: &FeedSettings, control: &Arc<FeedControl>, teller: &mut Teller<'_>) {
    let mut backoff = OutageBackoff::default();
    while !control.is_stopping() {
        let started = Instant::now();
        let ended = guarded(|| follow(settings, control, &mut |outcome| teller.tell(outcome)));
        let (error, allowed) = match ended {
            Ok(FeedError::Stopped) => return,
            Ok(FeedError::Forbidden(error)) => (error, false),
            Ok(FeedError::Other(error)) => (error, true),
            Err(panic) => (panic.to_string(), true),
        };
        log::debug!("the change feed ended: {error}");
        teller.tell(FeedOutcome::Down { error, allowed });
        if started.elapsed() > LASTED {
            backoff = OutageBackoff::default();
        }
        control.sleep(backoff.next(RandomState::new().build_hasher().finish()));
    }
}

//! Keyspace notifications: who else touches our keys.
//!
//! Handlers may run in the middle of a command of ours and must not write. So they only note what happened; the
//! keyspace takes the notes before it does anything else.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{store, Keyspace};
use crate::core::catalog::Catalog;
use crate::core::keys::{self, KeyKind, QueuePart};
use crate::core::names::{self, Deployment};
use crate::redis_api::{KeyEvent, Removal};

/// What a key is to us. Lengths are of the prefix with its colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Entry { prefix_len: usize },
    Metadata { prefix_len: usize },
}

/// What foreign hands did to keys of one queue: each thing once, however often it was done.
pub type QueueNotes = Vec<(QueuePart, KeyEvent)>;

struct Note {
    event: KeyEvent,
    kind: Kind,
    key: Box<[u8]>,
}

struct Watch {
    db: i32,
    catalog: Rc<Catalog>,
    /// The one before a reload: what its sections left is swept, too.
    previous: Option<Rc<Catalog>>,
    deployment: Deployment,
}

thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
    static NOTES: RefCell<Vec<Note>> = const { RefCell::new(Vec::new()) };
    /// By the prefix of the space's keys, without the colon.
    static QUEUE_NOTES: RefCell<BTreeMap<Box<[u8]>, QueueNotes>> = const { RefCell::new(BTreeMap::new()) };
    /// Was something written, so that being in Redis no longer makes an entry live?
    static WRITTEN: Cell<bool> = const { Cell::new(false) };
}

/// Watches the keys of a catalog's sections in one database; replaces what was watched before.
pub fn watch(db: i32, catalog: Rc<Catalog>, deployment: Deployment) {
    WATCH.with_borrow_mut(|watch| {
        let previous = watch.take().map(|watch| watch.catalog).filter(|previous| !Rc::ptr_eq(previous, &catalog));
        *watch = Some(Watch { db, catalog, previous, deployment });
    });
}

/// Watches nothing: on a replica all writes are its master's.
pub fn pause() {
    WATCH.set(None);
    NOTES.take();
    QUEUE_NOTES.take();
    WRITTEN.set(false);
}

/// Has a foreign hand written something that the keyspace has not yet taken note of?
pub fn is_written() -> bool {
    WRITTEN.get()
}

/// What a key of the watched database is to us; None: not ours.
pub fn kind(key: &[u8]) -> Option<Kind> {
    WATCH.with_borrow(|watch| {
        let watch = watch.as_ref()?;
        let previous = || watch.previous.as_ref().and_then(|previous| kind_in(previous, watch.deployment, key));
        kind_in(&watch.catalog, watch.deployment, key).or_else(previous)
    })
}

fn kind_in(catalog: &Catalog, deployment: Deployment, key: &[u8]) -> Option<Kind> {
    let (space, call) = names::split_key(catalog, deployment, key)?;
    let prefix_len = key.len() - call.len();
    match keys::classify(call) {
        KeyKind::Metadata(_) => Some(Kind::Metadata { prefix_len }),
        KeyKind::Queue => None,
        KeyKind::Other => {
            let calls = &catalog.sections[space.section].calls;
            calls.is_canonical(call).then_some(Kind::Entry { prefix_len })
        }
    }
}

/// The handler of all keyspace notifications.
pub fn on_event(event: KeyEvent, db: i32, key: &[u8]) {
    if store::is_own_write() {
        return;
    }
    WATCH.with_borrow(|watch| {
        let Some(watch) = watch.as_ref().filter(|watch| watch.db == db) else { return };
        let Some(kind) = kind_in(&watch.catalog, watch.deployment, key) else {
            return note_queue(watch, event, key);
        };
        let harmless = matches!((event, kind), (KeyEvent::Removed(_), Kind::Entry { .. }));
        if !harmless {
            WRITTEN.set(true);
        }
        NOTES.with_borrow_mut(|notes| notes.push(Note { event, kind, key: key.into() }));
        crate::redis_api::arm(std::time::Duration::ZERO);
    });
}

fn note_queue(watch: &Watch, event: KeyEvent, key: &[u8]) {
    let Some((_, rest)) = names::split_key(&watch.catalog, watch.deployment, key) else { return };
    if let Some(part) = keys::queue_part(rest) {
        let prefix = &key[..key.len() - rest.len() - 1];
        QUEUE_NOTES.with_borrow_mut(|notes| match notes.get_mut(prefix) {
            Some(known) if known.contains(&(part, event)) => {}
            Some(known) => known.push((part, event)),
            None => drop(notes.insert(prefix.into(), vec![(part, event)])),
        });
        crate::redis_api::arm(std::time::Duration::ZERO);
    }
}

/// Did a foreign hand touch a queue that nobody has looked at since?
pub fn has_queue_notes() -> bool {
    QUEUE_NOTES.with_borrow(|notes| !notes.is_empty())
}

/// What foreign hands did to some queue, and to keys with which prefix.
pub fn take_queue_notes() -> Option<(Box<[u8]>, QueueNotes)> {
    QUEUE_NOTES.with_borrow_mut(BTreeMap::pop_first)
}

/// The same, of one queue.
pub fn take_notes_of_queue(prefix: &[u8]) -> Option<QueueNotes> {
    QUEUE_NOTES.with_borrow_mut(|notes| if notes.is_empty() { None } else { notes.remove(prefix) })
}

impl Keyspace {
    /// Takes the notes. Returns the prefixes that grew cold, so that fills there are struck, and whether a set that
    /// other spaces' entries may belong to was touched.
    pub fn take_notes(&mut self) -> Vec<Box<[u8]>> {
        WRITTEN.set(false);
        let mut cold: Vec<Box<[u8]>> = Vec::new();
        for note in NOTES.take() {
            match (note.event, note.kind) {
                (KeyEvent::Removed(how), Kind::Entry { .. }) => {
                    if let Some(entry) = self.index.remove(&note.key) {
                        match how {
                            Removal::Expired => self.expired += 1,
                            Removal::Evicted => self.evicted += 1,
                            Removal::Deleted => self.deleted += 1,
                        }
                        self.sweep_later(note.key, entry.metas);
                    }
                }
                (KeyEvent::Written, Kind::Entry { prefix_len })
                | (KeyEvent::Removed(_) | KeyEvent::Written, Kind::Metadata { prefix_len }) => {
                    if !cold.iter().any(|prefix| **prefix == note.key[..prefix_len]) {
                        cold.push(note.key[..prefix_len].into());
                    }
                    self.tampered(note.key);
                }
            }
        }
        for prefix in &cold {
            self.make_cold(prefix);
        }
        cold
    }
}

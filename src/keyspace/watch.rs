//! Keyspace notifications: who else touches our keys.
//!
//! Handlers may run in the middle of a command of ours and must not write. So they only note what happened; the
//! keyspace takes the notes before it does anything else.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{slots, store, tombstones, Keyspace};
use crate::core::cache::index::{Concern, Key};
use crate::core::calls::keys::{self, KeyKind, QueuePart};
use crate::core::calls::names::Deployment;
use crate::core::catalog::space;
use crate::core::catalog::Catalog;
use crate::core::slots::unsettled::Touched;
use crate::redis_api::{KeyEvent, Removal};

/// What a key is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Entry,
    Metadata,
    Queue(QueuePart),
    Lock,
}

/// A key under the names of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// Index into the catalog's sections.
    pub section: usize,
    /// Of the prefix of its space, with the colon.
    pub prefix_len: usize,
    pub kind: Kind,
}

/// What other clients did to keys of one queue: each thing once, however often it was done.
pub type QueueNotes = Vec<(QueuePart, KeyEvent)>;

/// What happened to the key of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockNote {
    /// By its TTL or by eviction it has gone, and nobody has touched it.
    Lapsed,
    Touched,
}

struct Note {
    event: KeyEvent,
    named: Named,
    key: Key,
}

struct Watch {
    db: i32,
    catalog: Rc<Catalog>,
    deployment: Deployment,
}

thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
    static NOTES: RefCell<Vec<Note>> = const { RefCell::new(Vec::new()) };
    /// By the prefix of the space's keys, without the colon.
    static QUEUE_NOTES: RefCell<BTreeMap<Box<[u8]>, QueueNotes>> = const { RefCell::new(BTreeMap::new()) };
    /// By the name of the lock's key.
    static LOCK_NOTES: RefCell<BTreeMap<Box<[u8]>, LockNote>> = const { RefCell::new(BTreeMap::new()) };
    /// Was something written, so that being in Redis no longer makes an entry live?
    static WRITTEN: Cell<bool> = const { Cell::new(false) };
    /// Did another client touch what the module keeps beside the sections?
    static MARKS_TOUCHED: Cell<bool> = const { Cell::new(false) };
}

/// Watches the keys of a catalog's sections in one database; replaces what was watched before.
pub fn watch(db: i32, catalog: Rc<Catalog>, deployment: Deployment) {
    WATCH.set(Some(Watch { db, catalog, deployment }));
}

/// Watches nothing: on a replica all writes are its master's.
pub fn pause() {
    WATCH.set(None);
    NOTES.take();
    QUEUE_NOTES.take();
    LOCK_NOTES.take();
    WRITTEN.set(false);
}

/// Has another client written something that the keyspace has not yet taken note of?
pub fn is_written() -> bool {
    WRITTEN.get()
}

/// What a key of the watched database is to us; None: no section's.
pub fn named(key: &[u8]) -> Option<Named> {
    WATCH.with_borrow(|watch| watch.as_ref().and_then(|watch| named_in(watch, key)))
}

/// Is it the key of a value, which the application computes?
pub fn is_value(key: &[u8]) -> bool {
    let query_of = |watch: &Watch| {
        let (space, call) = space::split_key(&watch.catalog, watch.deployment, key)?;
        let section = &watch.catalog.sections[space.section];
        section.calls.query_of(call).map(|query| section.queries[query].computed().is_some())
    };
    WATCH.with_borrow(|watch| watch.as_ref().and_then(query_of)) == Some(true)
}

fn named_in(watch: &Watch, key: &[u8]) -> Option<Named> {
    let (space, call) = space::split_key(&watch.catalog, watch.deployment, key)?;
    let kind = match keys::classify(call) {
        KeyKind::Metadata(_) => Kind::Metadata,
        KeyKind::Queue => Kind::Queue(keys::queue_part(call)?),
        KeyKind::Lock => Kind::Lock,
        KeyKind::Other => watch.catalog.sections[space.section].calls.is_canonical(call).then_some(Kind::Entry)?,
    };
    Some(Named { section: space.section, prefix_len: key.len() - call.len(), kind })
}

/// The handler of all keyspace notifications.
pub fn on_event(event: KeyEvent, db: i32, key: &[u8]) {
    if tombstones::heard(event, key) || store::is_own_write() {
        return;
    }
    WATCH.with_borrow(|watch| {
        let Some(watch) = watch.as_ref().filter(|watch| watch.db == db) else { return };
        if key.starts_with(store::OWN_PREFIX) {
            MARKS_TOUCHED.set(true);
            crate::redis_api::arm(std::time::Duration::ZERO);
        }
        let Some(named) = named_in(watch, key) else { return };
        // By RESTORE where keys go one by one, by any command where a slot is sent as a stream.
        if !matches!(event, KeyEvent::Removed(_)) && came_with_slot(&named, key) {
            return;
        }
        let event = if event == KeyEvent::Restored { KeyEvent::Written } else { event };
        match named.kind {
            Kind::Queue(part) => return note_queue(part, event, &key[..named.prefix_len - 1]),
            Kind::Lock => return note_lock(event, key),
            Kind::Entry | Kind::Metadata => {}
        }
        let harmless = matches!((event, named.kind), (KeyEvent::Removed(_), Kind::Entry));
        if !harmless {
            WRITTEN.set(true);
        }
        NOTES.with_borrow_mut(|notes| notes.push(Note { event, named, key: key.into() }));
        crate::redis_api::arm(std::time::Duration::ZERO);
    });
}

/// Does the key come with its slot, which is not this node's yet?
fn came_with_slot(named: &Named, key: &[u8]) -> bool {
    let what = match named.kind {
        Kind::Entry | Kind::Metadata => Touched::Entries,
        Kind::Queue(_) | Kind::Lock => Touched::Jobs,
    };
    slots::touched_elsewhere(&key[..named.prefix_len - 1], what)
}

fn note_queue(part: QueuePart, event: KeyEvent, prefix: &[u8]) {
    let event = if event == KeyEvent::Retimed { KeyEvent::Written } else { event };
    QUEUE_NOTES.with_borrow_mut(|notes| match notes.get_mut(prefix) {
        Some(known) if known.contains(&(part, event)) => {}
        Some(known) => known.push((part, event)),
        None => drop(notes.insert(prefix.into(), vec![(part, event)])),
    });
    crate::redis_api::arm(std::time::Duration::ZERO);
}

fn note_lock(event: KeyEvent, key: &[u8]) {
    let is_lapse = matches!(event, KeyEvent::Removed(Removal::Expired | Removal::Evicted));
    LOCK_NOTES.with_borrow_mut(|notes| match is_lapse {
        true => drop(notes.entry(key.into()).or_insert(LockNote::Lapsed)),
        false => drop(notes.insert(key.into(), LockNote::Touched)),
    });
    crate::redis_api::arm(std::time::Duration::ZERO);
}

/// Has anything happened to keys of locks that nobody has looked at since?
pub fn has_lock_notes() -> bool {
    LOCK_NOTES.with_borrow(|notes| !notes.is_empty())
}

/// What happened to the key of some lock.
pub fn next_lock_note() -> Option<(Box<[u8]>, LockNote)> {
    LOCK_NOTES.with_borrow_mut(BTreeMap::pop_first)
}

/// The same, of one lock.
pub fn take_lock_note(key: &[u8]) -> Option<LockNote> {
    LOCK_NOTES.with_borrow_mut(|notes| if notes.is_empty() { None } else { notes.remove(key) })
}

/// Did another client touch a queue that nobody has looked at since?
pub fn has_queue_notes() -> bool {
    QUEUE_NOTES.with_borrow(|notes| !notes.is_empty())
}

/// What other clients did to some queue, and to keys with which prefix.
pub fn take_queue_notes() -> Option<(Box<[u8]>, QueueNotes)> {
    QUEUE_NOTES.with_borrow_mut(BTreeMap::pop_first)
}

/// The same, of one queue.
pub fn take_notes_of_queue(prefix: &[u8]) -> Option<QueueNotes> {
    QUEUE_NOTES.with_borrow_mut(|notes| if notes.is_empty() { None } else { notes.remove(prefix) })
}

/// Takes the note that an entry is gone, if there is one.
fn take_removal(key: &[u8]) -> Option<Removal> {
    NOTES.with_borrow_mut(|notes| {
        let removal = |note: &Note| match note.event {
            KeyEvent::Removed(how) if note.named.kind == Kind::Entry && *note.key == *key => Some(how),
            _ => None,
        };
        let (at, how) = notes.iter().enumerate().find_map(|(at, note)| Some((at, removal(note)?)))?;
        notes.remove(at);
        Some(how)
    })
}

impl Keyspace {
    /// Takes the note, if there is one, that the entry is gone that stood under a key: before another is written there, which that
    /// note would else be about.
    pub(super) fn take_removal_of(&mut self, key: &Key) {
        if let Some(how) = take_removal(key) {
            self.entry_removed(key.clone(), how);
        }
    }

    /// Takes the notes. Returns the prefixes that grew cold, so that fills there are struck, and whether a set that
    /// other spaces' entries may belong to was touched.
    pub fn take_notes(&mut self) -> Vec<Box<[u8]>> {
        WRITTEN.set(false);
        if MARKS_TOUCHED.replace(false) {
            self.marks_touched();
        }
        let mut cold: Vec<Box<[u8]>> = Vec::new();
        for Note { event, named, key } in NOTES.take() {
            let is_entry = named.kind == Kind::Entry;
            if !(is_entry && matches!(event, KeyEvent::Removed(_))) {
                let prefix = &key[..named.prefix_len];
                if !cold.iter().any(|known| **known == *prefix) {
                    cold.push(prefix.into());
                }
            }
            match (event, is_entry) {
                (KeyEvent::Removed(how), true) => self.entry_removed(key, how),
                (KeyEvent::Retimed, true) => self.entry_retimed(key),
                (KeyEvent::Written | KeyEvent::Restored, true) => self.entry_overwritten(named.section, key),
                (event, false) => self.set_touched(named.section, key, event),
            }
        }
        for prefix in &cold {
            self.make_cold(prefix);
        }
        cold
    }

    fn entry_removed(&mut self, key: Key, how: Removal) {
        self.stranger_gone(&key);
        if let Some(entry) = self.index.remove(&key) {
            match how {
                Removal::Expired => self.expired += 1,
                Removal::Evicted => self.evicted += 1,
                Removal::Deleted => self.deleted += 1,
            }
            self.sweep_later(key, entry.into_remains());
        }
    }

    /// The value is still what we stored, and not to be trusted to end any more.
    fn entry_retimed(&mut self, key: Key) {
        if let Some(entry) = self.index.remove(&key) {
            self.sweep_later(key.clone(), entry.into_remains());
            self.doomed.insert(key);
        }
    }

    /// From now on it is somebody's.
    fn entry_overwritten(&mut self, section: usize, key: Key) {
        self.doomed.remove(&key);
        if let Some(entry) = self.index.remove(&key) {
            self.sweep_later(key.clone(), entry.into_remains());
        }
        self.stranger_found(section, &key);
    }

    fn set_touched(&mut self, section: usize, key: Key, event: KeyEvent) {
        if let Some(meta) = self.index.metas.find(&key) {
            // Entries of other spaces may belong to the set, which can no longer tell.
            self.abort_publications(|_, metas| metas.binary_search_by(|name| name.as_ref().cmp(&key)).is_ok());
            self.invalidate_later(Concern::Metas(vec![meta]));
        } else if matches!(event, KeyEvent::Removed(_)) {
            self.stranger_gone(&key);
        } else {
            self.stranger_found(section, &key);
        }
    }
}

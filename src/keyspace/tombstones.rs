//! The key by which replicas are told to serve nothing: outside a cluster [`store::TOMBSTONE`], in a cluster one for each master, see
//! [`crate::core::slots::tombstones`].
//!
//! Invariant: a replica is told before what it may not serve is on its way out, and until all of that has gone. Notifications come in
//! the middle of others' commands, so that what is known stands aside of all else.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use super::{slots, store, Keyspace};
use crate::core::calls::names::Deployment;
use crate::core::slots::tombstones::{is_tombstone, Step, Tags, Tombstones};
use crate::redis_api::{self, Context, KeyEvent, KeyType};

/// In a cluster one that nobody can remove any more ends by itself. While it is needed it is renewed in a fraction of that.
const TTL: Duration = Duration::from_secs(3600);
const RENEWED_AFTER: Duration = Duration::from_secs(600);

thread_local! {
    /// In a cluster alone.
    static KNOWN: RefCell<Option<Tombstones>> = const { RefCell::new(None) };
    /// When one is tried to be removed again, whose slot is on its way.
    static LOWERED_FROM: Cell<Option<Instant>> = const { Cell::new(None) };
    /// When this node last wrote its own.
    static PUT_AT: Cell<Option<Instant>> = const { Cell::new(None) };
}

pub fn begin(deployment: Deployment) {
    let in_cluster = deployment == Deployment::Cluster;
    KNOWN.set(in_cluster.then(|| Tombstones::new(Tags::of_all_slots())));
}

fn with<R>(use_it: impl FnOnce(&mut Tombstones) -> R) -> Option<R> {
    KNOWN.with_borrow_mut(|known| known.as_mut().map(use_it))
}

/// A notification of a key. True: it is one of these.
pub fn heard(event: KeyEvent, key: &[u8]) -> bool {
    if !is_tombstone(key) {
        return false;
    }
    let stands = !matches!(event, KeyEvent::Removed(_));
    with(|known| known.heard(key, stands));
    redis_api::arm(Duration::ZERO);
    true
}

/// The dataset is another one.
pub fn look_anew() {
    with(Tombstones::look_anew);
    redis_api::arm(Duration::ZERO);
}

/// The dataset has no key.
pub fn emptied() {
    with(Tombstones::emptied);
}

/// Looks for some of those that there may be. True when more are to be looked for.
pub fn look(ctx: Context) -> bool {
    with(|known| known.look(|name| KeyType::of(ctx, name).is_some())).unwrap_or(false)
}

/// On a replica in a cluster: does its master tell it to serve nothing? None outside a cluster.
pub fn is_cold() -> Option<bool> {
    with(|known| known.is_cold())
}

fn may_lower() -> bool {
    LOWERED_FROM.get().is_none_or(|from| Instant::now() >= from)
}

impl Keyspace {
    /// Tells replicas to serve nothing until it is removed. In a cluster not from within a command.
    pub(super) fn raise_tombstone(&mut self, ctx: Context) {
        if self.outside_commands {
            return raise_in_cluster(ctx);
        }
        if !self.tombstone && ctx.db_size() > 0 {
            store::put_tombstone(ctx, store::TOMBSTONE, None);
            self.tombstone = true;
        }
    }

    /// Removes the tombstone when nothing needs it any more.
    pub(super) fn lower_tombstone(&mut self, ctx: Context) {
        if self.is_moving() {
            return;
        }
        if self.outside_commands {
            return lower_in_cluster(ctx);
        }
        if self.tombstone {
            store::remove_tombstone(ctx, store::TOMBSTONE);
            self.tombstone = false;
        }
    }

    /// In a cluster: while any space rests, its entries may be there, and nobody may remove them.
    pub fn tell_while_slots_move(&mut self, ctx: Context) {
        if slots::any() && ctx.writes_allowed() {
            self.raise_tombstone(ctx);
        }
    }

    /// Does one stand that is to be removed?
    fn has_tombstone(&self) -> bool {
        self.outside_commands && !self.is_moving() && with(|known| known.is_any()) == Some(true)
    }

    /// The same, and it may be tried now.
    pub(super) fn has_tombstone_left(&self) -> bool {
        self.has_tombstone() && may_lower()
    }

    /// When it is to be tried again.
    pub fn next_deadline(&self) -> Option<Instant> {
        LOWERED_FROM.get().filter(|_| self.has_tombstone())
    }
}

fn raise_in_cluster(ctx: Context) {
    if ctx.db_size() == 0 {
        return;
    }
    match with(|known| known.raise(slots::seen)) {
        Some(Step::Put(name)) => put(ctx, &name),
        Some(Step::Stands(name)) if PUT_AT.get().is_none_or(|at| at.elapsed() >= RENEWED_AFTER) => put(ctx, &name),
        // Each step tries again.
        Some(Step::Stands(_) | Step::Searching | Step::Later | Step::Done | Step::Remove(_)) | None => {}
    }
}

fn put(ctx: Context, name: &[u8]) {
    store::put_tombstone(ctx, name, Some(TTL));
    PUT_AT.set(Some(Instant::now()));
}

fn lower_in_cluster(ctx: Context) {
    if !may_lower() {
        return;
    }
    PUT_AT.set(None);
    match with(|known| known.lower(slots::seen)) {
        Some(Step::Remove(names)) => names.iter().for_each(|name| store::remove_tombstone(ctx, name)),
        Some(Step::Later) => LOWERED_FROM.set(Some(Instant::now() + slots::LOOK_EVERY)),
        Some(Step::Done | Step::Stands(_) | Step::Put(_) | Step::Searching) | None => {}
    }
}

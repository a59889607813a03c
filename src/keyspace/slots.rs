//! In a cluster: is a space's slot this node's? See [`crate::core::slots`].
//!
//! Invariant: who writes keys of a space outside of its commands asks [`is_here`] in the same callback first. Notifications come in the
//! middle of others' commands, so that what is known stands aside of all else.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::core::calls::names::Deployment;
use crate::core::slots::epochs::{Epochs, Known};
use crate::core::slots::tag::tag_of;
use crate::core::slots::unsettled::{Seen, Touched, Turn, Unsettled};
use crate::redis_api::{self, Context, Replicate, SlotState};

/// While spaces rest, their slots are looked at so often.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

thread_local! {
    static IN_CLUSTER: Cell<bool> = const { Cell::new(false) };
    static UNSETTLED: RefCell<Unsettled> = RefCell::default();
    /// Does any space rest? Looked at by each query.
    static ANY: Cell<bool> = const { Cell::new(false) };
    static EPOCHS: Cell<Epochs> = Cell::default();
}

pub fn begin(deployment: Deployment) {
    IN_CLUSTER.set(deployment == Deployment::Cluster);
    forget();
}

pub fn in_cluster() -> bool {
    IN_CLUSTER.get()
}

/// All keys are others.
pub fn forget() {
    change(Unsettled::clear);
}

fn change<R>(change: impl FnOnce(&mut Unsettled) -> R) -> R {
    UNSETTLED.with_borrow_mut(|unsettled| {
        let result = change(unsettled);
        ANY.set(!unsettled.is_empty());
        result
    })
}

/// Does any space rest?
pub fn any() -> bool {
    ANY.get()
}

/// Spaces' tags that rest.
pub fn count() -> usize {
    UNSETTLED.with_borrow(Unsettled::len)
}

/// May keys of the space be written, and read as a whole? If not, it rests from now on.
pub fn is_here(prefix: &[u8]) -> bool {
    if !IN_CLUSTER.get() {
        return true;
    }
    let rests = ANY.get() && UNSETTLED.with_borrow(|unsettled| unsettled.rests(prefix));
    if !rests && state(tag_of(prefix)) == SlotState::Here {
        return true;
    }
    change(|unsettled| unsettled.rest(prefix));
    redis_api::arm(LOOK_EVERY);
    false
}

/// The same, and nothing follows from it.
pub fn seems_here(prefix: &[u8]) -> bool {
    !IN_CLUSTER.get()
        || (!UNSETTLED.with_borrow(|unsettled| unsettled.rests(prefix)) && state(tag_of(prefix)) == SlotState::Here)
}

/// Another hand has touched keys of a space. True: it rests, and this is taken note of.
pub fn touched_elsewhere(prefix: &[u8], what: Touched) -> bool {
    let is_elsewhere = !is_here(prefix);
    if is_elsewhere {
        change(|unsettled| unsettled.touch(prefix, what));
    }
    is_elsewhere
}

/// What has become of the next tag whose spaces rest.
pub fn look_at_next(ctx: Context) -> Option<Turn> {
    let tag = change(Unsettled::next)?;
    Some(look(ctx, &tag))
}

/// The same, of the space that a command names, if it rests.
pub fn look_at(ctx: Context, prefix: &[u8]) -> Turn {
    if !ANY.get() || !UNSETTLED.with_borrow(|unsettled| unsettled.rests(prefix)) {
        return Turn::Rests;
    }
    look(ctx, tag_of(prefix))
}

/// Whose the slot of a tag is, with its braces.
pub(super) fn seen(tag: &[u8]) -> Seen {
    match state(tag) {
        SlotState::Here => Seen::Here,
        SlotState::Elsewhere => Seen::Elsewhere { keys: 1 },
        SlotState::Unknown => Seen::Unknown,
    }
}

fn look(ctx: Context, tag: &[u8]) -> Turn {
    let seen = match state(tag) {
        SlotState::Here => Seen::Here,
        // What cannot be counted may be there.
        SlotState::Elsewhere => Seen::Elsewhere { keys: keys_in_slot(ctx, tag).unwrap_or(1) },
        SlotState::Unknown => Seen::Unknown,
    };
    change(|unsettled| unsettled.look(tag, seen))
}

fn state(tag: &[u8]) -> SlotState {
    // No section has a dot in its name, so that this is nobody's key.
    redis_api::slot_state(&[tag, b".bear"].concat())
}

fn keys_in_slot(ctx: Context, tag: &[u8]) -> Option<u64> {
    let slot = ctx.call(c"CLUSTER", Replicate::No, &[b"KEYSLOT", tag])?.integer()?;
    let count = ctx.call(c"CLUSTER", Replicate::No, &[b"COUNTKEYSINSLOT", slot.to_string().as_bytes()])?.integer()?;
    u64::try_from(count).ok()
}

/// May a slot have left and come back since the last look? About 15 us.
pub fn may_have_been_elsewhere(ctx: Context) -> bool {
    let mut known = None;
    if let Some(reply) = ctx.call(c"CLUSTER", Replicate::No, &[b"INFO"]) {
        reply.for_each(&mut |info| known = Known::parse(info));
    }
    let mut epochs = EPOCHS.get();
    let may = epochs.look(known);
    EPOCHS.set(epochs);
    may
}

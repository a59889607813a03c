//! The commands by which entries, metadata sets and the tombstone are written. All of them replicate, and what they
//! notify is marked as our own.

use std::cell::Cell;
use std::ffi::CStr;
use std::time::Duration;

use super::slots;
use crate::core::cache::index::Key;
use crate::core::slots::tag::tag_of;
use crate::redis_api::{Context, Replicate};

/// What the keys begin with that the module keeps beside the sections'. No section has a `.` in its name, so that they are
/// nobody's.
pub const OWN_PREFIX: &[u8] = b"bear.module:";

/// Set: sections under whose names bear has stored something in this dataset, as [`crate::core::cache::ownership`] names them.
pub const MARKS: &[u8] = b"bear.module:sections";

/// Set: keys under those names that others wrote, as far as they are known.
pub const STRANGERS: &[u8] = b"bear.module:foreign";

/// Exists while a large removal, or the sweep of a cold database, is not carried out: replicas serve no entry then. In a cluster it has
/// [other names](crate::core::slots::tombstones).
pub const TOMBSTONE: &[u8] = b"bear.module:cold";

thread_local! {
    static OWN: Cell<bool> = const { Cell::new(false) };
}

/// Is the change that Redis tells of our own?
pub fn is_own_write() -> bool {
    OWN.get()
}

pub(super) fn own<R>(write: impl FnOnce() -> R) -> R {
    OWN.set(true);
    let result = write();
    OWN.set(false);
    result
}

pub fn add_member(ctx: Context, set: &[u8], member: &[u8]) -> bool {
    own(|| ctx.call(c"SADD", Replicate::Yes, &[set, member])).is_some()
}

pub fn add_members(ctx: Context, set: &[u8], members: &[&[u8]]) -> bool {
    let mut args = vec![set];
    args.extend_from_slice(members);
    own(|| ctx.call(c"SADD", Replicate::Yes, &args)).is_some()
}

pub fn is_member(ctx: Context, set: &[u8], member: &[u8]) -> bool {
    ctx.call(c"SISMEMBER", Replicate::No, &[set, member]).and_then(|reply| reply.integer()) == Some(1)
}

pub fn remove_members(ctx: Context, set: &[u8], members: &[&[u8]]) {
    let mut args = vec![set];
    args.extend_from_slice(members);
    own(|| ctx.call(c"SREM", Replicate::Yes, &args));
}

/// Has Redis go on with the shrinking of a set that it began at a removal: on 7.0 a small one otherwise keeps both of
/// its tables until somebody looks at it (768 bytes instead of 176 were seen).
pub fn settle_set(ctx: Context, set: &[u8]) {
    // Each look-up moves a few buckets; a set of a dozen members is done after four.
    ctx.call(c"SMISMEMBER", Replicate::No, &[set, b"", b"", b"", b""]);
}

/// Removes keys. Returns how many were there; those that could not be removed go to `failed`.
///
/// In a cluster, keys of several slots do not go in one command, and are not tried: Valkey 9 has the temporary client of such a call
/// refuse whatever a module calls by it from then on. And a server may have renamed a command.
pub fn unlink<K: AsRef<[u8]>>(ctx: Context, keys: &[K], failed: &mut Vec<Key>) -> u64 {
    let share_a_call = |a: &K, b: &K| !slots::in_cluster() || tag_of(a.as_ref()) == tag_of(b.as_ref());
    keys.chunk_by(share_a_call).map(|keys| unlink_of_a_slot(ctx, keys, failed)).sum()
}

fn unlink_of_a_slot<K: AsRef<[u8]>>(ctx: Context, keys: &[K], failed: &mut Vec<Key>) -> u64 {
    let args: Vec<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
    if let Some(count) = remove_with(ctx, c"UNLINK", &args) {
        return count;
    }
    let mut removed = 0;
    for key in args {
        match remove_with(ctx, c"UNLINK", &[key]).or_else(|| remove_with(ctx, c"DEL", &[key])) {
            Some(count) => removed += count,
            None => failed.push(key.into()),
        }
    }
    removed
}

fn remove_with(ctx: Context, command: &CStr, keys: &[&[u8]]) -> Option<u64> {
    let reply = own(|| ctx.call(command, Replicate::Yes, keys))?;
    reply.integer().map(|count| count.max(0) as u64)
}

pub fn set_entry(ctx: Context, key: &[u8], value: &[u8], ttl_ms: u64) -> bool {
    let ttl = ttl_ms.to_string();
    own(|| ctx.call(c"SET", Replicate::Yes, &[key, value, b"PX", ttl.as_bytes()])).is_some()
}

/// Has an entry that stands live on for so long. False where it does not stand.
pub fn renew_entry(ctx: Context, key: &[u8], ttl_ms: u64) -> bool {
    let ttl = ttl_ms.to_string();
    let reply = own(|| ctx.call(c"PEXPIRE", Replicate::Yes, &[key, ttl.as_bytes()]));
    reply.and_then(|reply| reply.integer()) == Some(1)
}

pub fn put_tombstone(ctx: Context, name: &[u8], ttl: Option<Duration>) {
    let ttl = ttl.map(|ttl| ttl.as_millis().to_string());
    let mut args: Vec<&[u8]> = vec![name, b"entries are being removed"];
    args.extend(ttl.iter().flat_map(|ttl| [&b"PX"[..], ttl.as_bytes()]));
    own(|| ctx.call(c"SET", Replicate::Yes, &args));
}

pub fn remove_tombstone(ctx: Context, name: &[u8]) {
    let mut failed = Vec::new();
    unlink(ctx, &[name], &mut failed);
    if !failed.is_empty() {
        // Where the server refuses UNLINK and DEL to a module in a cluster (Valkey 9).
        put_tombstone(ctx, name, Some(Duration::from_millis(1)));
    }
}

pub fn member_count(ctx: Context, set: &[u8]) -> usize {
    let reply = ctx.call(c"SCARD", Replicate::No, &[set]);
    reply.and_then(|reply| reply.integer()).map_or(0, |count| count.max(0) as usize)
}

pub fn members(ctx: Context, set: &[u8]) -> Vec<Key> {
    let mut members = Vec::new();
    if let Some(reply) = ctx.call(c"SMEMBERS", Replicate::No, &[set]) {
        reply.for_each(&mut |member| members.push(member.into()));
    }
    members
}

/// Some members of a set, and where to go on (None: that was all).
pub fn scan_members(ctx: Context, set: &[u8], cursor: &[u8]) -> (Vec<Key>, Option<Key>) {
    let mut parts: Vec<Key> = Vec::new();
    if let Some(reply) = ctx.call(c"SSCAN", Replicate::No, &[set, cursor, b"COUNT", b"32"]) {
        reply.for_each(&mut |part| parts.push(part.into()));
    }
    if parts.is_empty() {
        return (parts, None);
    }
    let next = parts.remove(0);
    let more = next.as_ref() != b"0";
    (parts, more.then_some(next))
}

//! Reading a key by itself, without a command: a string without a copy, some members of a set. Works where a command is
//! refused, as in a cluster that is not up yet.

use std::ffi::{c_char, c_void};

use redis_module::raw;

use super::command::{make_string, string_bytes};
use super::{api, Context};

/// Type of a key, as far as we tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    String,
    List,
    Set,
    SortedSet,
    Hash,
    Stream,
    Other,
}

impl std::fmt::Display for KeyType {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            KeyType::String => "a string",
            KeyType::List => "a list",
            KeyType::Set => "a set",
            KeyType::SortedSet => "a sorted set",
            KeyType::Hash => "a hash",
            KeyType::Stream => "a stream",
            KeyType::Other => "another type",
        })
    }
}

impl KeyType {
    /// None where there is no key.
    pub fn of(ctx: Context, name: &[u8]) -> Option<KeyType> {
        #[cfg(debug_assertions)]
        super::own_slot::check(name);
        let name = make_string(name);
        // SAFETY: name was just made, the context is valid during its callback; both are released once, and a null key
        // is answered with "empty".
        let kind = unsafe {
            let key = api!(RedisModule_OpenKey)(ctx.raw(), name, raw::REDISMODULE_READ as i32);
            let kind = api!(RedisModule_KeyType)(key.cast());
            api!(RedisModule_CloseKey)(key.cast());
            api!(RedisModule_FreeString)(std::ptr::null_mut(), name);
            kind as isize
        };
        match kind {
            raw::REDISMODULE_KEYTYPE_EMPTY => None,
            raw::REDISMODULE_KEYTYPE_STRING => Some(KeyType::String),
            raw::REDISMODULE_KEYTYPE_LIST => Some(KeyType::List),
            raw::REDISMODULE_KEYTYPE_SET => Some(KeyType::Set),
            raw::REDISMODULE_KEYTYPE_ZSET => Some(KeyType::SortedSet),
            raw::REDISMODULE_KEYTYPE_HASH => Some(KeyType::Hash),
            raw::REDISMODULE_KEYTYPE_STREAM => Some(KeyType::Stream),
            _ => Some(KeyType::Other),
        }
    }
}

/// A string key open for reading: its value stays where it is until this is dropped.
pub struct StringKey {
    key: *mut raw::RedisModuleKey,
    name: *mut raw::RedisModuleString,
}

impl StringKey {
    /// None where the key is missing, expired, or no string.
    pub fn open(ctx: Context, name: &[u8]) -> Option<StringKey> {
        #[cfg(debug_assertions)]
        super::own_slot::check(name);
        // SAFETY: the name is copied; a null context leaves its release to us (Drop).
        let name =
            unsafe { api!(RedisModule_CreateString)(std::ptr::null_mut(), name.as_ptr().cast::<c_char>(), name.len()) };
        // SAFETY: name was just made, the context is valid during its callback.
        let key = unsafe { api!(RedisModule_OpenKey)(ctx.raw(), name, raw::REDISMODULE_READ as i32) };
        let open = StringKey { key: key.cast(), name };
        // SAFETY: a null key is answered with "empty".
        let kind = unsafe { api!(RedisModule_KeyType)(open.key) };
        (kind == raw::REDISMODULE_KEYTYPE_STRING as i32).then_some(open)
    }

    pub fn bytes(&self) -> &[u8] {
        let mut len = 0;
        // SAFETY: the key is open for reading and a string; nothing writes it while we hold the main thread in this
        // borrow, and the result does not outlive the key.
        unsafe {
            let start = api!(RedisModule_StringDMA)(self.key, &mut len, raw::REDISMODULE_READ as i32);
            std::slice::from_raw_parts(start.cast::<u8>(), len)
        }
    }

    /// Milliseconds left, None without a TTL.
    pub fn ttl_ms(&self) -> Option<i64> {
        // SAFETY: the key is open.
        let ttl = unsafe { api!(RedisModule_GetExpire)(self.key) };
        (ttl >= 0).then_some(ttl)
    }
}

impl Drop for StringKey {
    fn drop(&mut self) {
        // SAFETY: both were made in `open` and are released once; closing a null key does nothing.
        unsafe {
            api!(RedisModule_CloseKey)(self.key);
            api!(RedisModule_FreeString)(std::ptr::null_mut(), self.name);
        }
    }
}

/// A set, as far as it is looked at.
pub struct SetGlance {
    pub has_ttl: bool,
    /// All of a small set, the first ones of a large one.
    pub members: Vec<Box<[u8]>>,
}

/// Looks at a set; None where there is none of this name.
pub fn glance_at_set(ctx: Context, name: &[u8]) -> Option<SetGlance> {
    look_at_set(ctx, name, |members| !members.is_empty())
}

/// All members of a set that is known to be small, also where no command of it would be carried out; None: it is no set.
pub fn members_of_set(ctx: Context, name: &[u8]) -> Option<Vec<Box<[u8]>>> {
    look_at_set(ctx, name, |_| false).map(|set| set.members)
}

fn look_at_set(ctx: Context, name: &[u8], is_enough: impl Fn(&[Box<[u8]>]) -> bool) -> Option<SetGlance> {
    #[cfg(debug_assertions)]
    super::own_slot::check(name);
    let name = make_string(name);
    let mut glance = SetGlance { has_ttl: false, members: Vec::new() };
    // SAFETY: name was just made, the context is valid during its callback, and the key is null or open; key, name and cursor
    // are released once. The callback gets our members back as its data, during this call only.
    let is_set = unsafe {
        let key: *mut raw::RedisModuleKey =
            api!(RedisModule_OpenKey)(ctx.raw(), name, raw::REDISMODULE_READ as i32).cast();
        let is_set = api!(RedisModule_KeyType)(key) as isize == raw::REDISMODULE_KEYTYPE_SET;
        if is_set {
            glance.has_ttl = api!(RedisModule_GetExpire)(key) >= 0;
            let cursor = api!(RedisModule_ScanCursorCreate)();
            let members = std::ptr::from_mut(&mut glance.members).cast::<c_void>();
            // A step may find empty buckets alone.
            while !is_enough(&glance.members)
                && api!(RedisModule_ScanKey)(key, cursor, Some(collect_member), members) != 0
            {}
            api!(RedisModule_ScanCursorDestroy)(cursor);
        }
        api!(RedisModule_CloseKey)(key);
        api!(RedisModule_FreeString)(std::ptr::null_mut(), name);
        is_set
    };
    is_set.then_some(glance)
}

unsafe extern "C" fn collect_member(
    _: *mut raw::RedisModuleKey,
    member: *mut raw::RedisModuleString,
    _: *mut raw::RedisModuleString,
    members: *mut c_void,
) {
    // SAFETY: Redis hands a live string, and `members` is what `glance_at_set` gave.
    unsafe { (*members.cast::<Vec<Box<[u8]>>>()).push(string_bytes(member).into()) };
}

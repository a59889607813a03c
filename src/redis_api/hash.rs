//! Hashes without a command: fields are set, deleted and read. What is written is replicated as HSET and HDEL.
//!
//! Redis notifies nobody of such writes (watchers of the key are told); a hash without fields is gone.

use std::ffi::c_int;

use redis_module::raw;

use super::command::string_bytes;
use super::open::{Mode, OpenKey, WrongType};
use super::{api, Context};

const PLAIN: c_int = raw::REDISMODULE_HASH_NONE as c_int;

/// The value by which Redis is told to delete a field (`REDISMODULE_HASH_DELETE`).
fn delete_mark() -> *mut raw::RedisModuleString {
    std::ptr::without_provenance_mut(1)
}

fn end() -> *mut raw::RedisModuleString {
    std::ptr::null_mut()
}

/// A hash's key, open until this is dropped.
pub struct HashKey<'a>(OpenKey<'a>);

impl<'a> HashKey<'a> {
    pub fn open_to_read(ctx: Context<'a>, name: &[u8]) -> Result<HashKey<'a>, WrongType> {
        OpenKey::open(ctx, name, Mode::Read, raw::REDISMODULE_KEYTYPE_HASH).map(HashKey)
    }

    /// The first field makes the hash.
    pub fn open_to_write(ctx: Context<'a>, name: &[u8]) -> Result<HashKey<'a>, WrongType> {
        OpenKey::open(ctx, name, Mode::Write, raw::REDISMODULE_KEYTYPE_HASH).map(HashKey)
    }

    /// Fields; 0 where there is no hash.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Sets fields to values.
    pub fn set(&mut self, fields: &[(&[u8], &[u8])]) {
        if fields.is_empty() {
            return;
        }
        let mut words = self.0.words();
        for (field, value) in fields {
            let (field, value) = (words.push(field), words.push(value));
            // SAFETY: the key is open for writing and a hash or empty; both strings live as long as `words` and are copied,
            // and a null pointer ends the list.
            unsafe { api!(RedisModule_HashSet)(self.0.raw(), PLAIN, field, value, end()) };
        }
        self.0.replicate(c"HSET", &mut words);
    }

    /// Deletes fields. Returns how many were there.
    pub fn delete(&mut self, fields: &[&[u8]]) -> usize {
        let mut words = self.0.words();
        for field in fields {
            // A hash that has lost its last field is none; asked once more, Redis would make one for the moment.
            if !self.0.exists() {
                break;
            }
            let field = words.push(field);
            // SAFETY: as in `set`; the mark is a number that Redis compares with and does not follow.
            let deleted = unsafe { api!(RedisModule_HashSet)(self.0.raw(), PLAIN, field, delete_mark(), end()) };
            if deleted == 0 {
                words.pop();
            }
        }
        let deleted = words.after_key();
        if deleted > 0 {
            self.0.replicate(c"HDEL", &mut words);
        }
        deleted
    }

    /// Hands a field's value to `read`; None where it has none.
    pub fn get<R>(&self, field: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        if !self.0.exists() {
            return None;
        }
        let mut words = self.0.words();
        let field = words.push(field);
        let mut value: *mut raw::RedisModuleString = std::ptr::null_mut();
        // SAFETY: the key is open and a hash; the field lives as long as `words`, the pointer is of a live variable, and a
        // null pointer ends the list.
        unsafe { api!(RedisModule_HashGet)(self.0.raw(), PLAIN, field, std::ptr::from_mut(&mut value), end()) };
        if value.is_null() {
            return None;
        }
        let answer = read(string_bytes(value));
        // SAFETY: Redis made it for us; nothing refers to it any more.
        unsafe { api!(RedisModule_FreeString)(self.0.ctx().raw(), value) };
        Some(answer)
    }
}

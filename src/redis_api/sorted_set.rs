//! Sorted sets without a command: members are added, removed, and asked for their score. What is written is replicated as
//! ZADD and ZREM.
//!
//! Redis notifies nobody of such writes (watchers of the key are told); a set without members is gone.

use std::ffi::c_int;

use redis_module::raw;

use super::open::{Mode, OpenKey, WrongType};
use super::{api, Context};

/// A sorted set's key, open until this is dropped.
pub struct SortedSetKey<'a>(OpenKey<'a>);

impl<'a> SortedSetKey<'a> {
    pub fn open_to_read(ctx: Context<'a>, name: &[u8]) -> Result<SortedSetKey<'a>, WrongType> {
        OpenKey::open(ctx, name, Mode::Read, raw::REDISMODULE_KEYTYPE_ZSET).map(SortedSetKey)
    }

    /// The first member makes the set.
    pub fn open_to_write(ctx: Context<'a>, name: &[u8]) -> Result<SortedSetKey<'a>, WrongType> {
        OpenKey::open(ctx, name, Mode::Write, raw::REDISMODULE_KEYTYPE_ZSET).map(SortedSetKey)
    }

    /// Members; 0 where there is no set.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Adds a member, or gives it another score. False where the score is no number.
    pub fn add(&mut self, member: &[u8], score: f64) -> bool {
        if score.is_nan() {
            return false;
        }
        let mut words = self.0.words();
        // Rust writes as many digits as name this number and no other.
        words.push(score.to_string().as_bytes());
        let member = words.push(member);
        // SAFETY: the key is open for writing and a sorted set or empty; the member lives as long as `words` and is copied; no
        // flags are asked for.
        let status = unsafe { api!(RedisModule_ZsetAdd)(self.0.raw(), score, member, std::ptr::null_mut()) };
        let added = status == raw::REDISMODULE_OK as c_int;
        if added {
            self.0.replicate(c"ZADD", &mut words);
        }
        added
    }

    /// Removes members. Returns how many were there.
    pub fn remove(&mut self, members: &[&[u8]]) -> usize {
        let mut words = self.0.words();
        for member in members {
            if !self.0.exists() {
                break;
            }
            let member = words.push(member);
            let mut removed: c_int = 0;
            // SAFETY: the key is open for writing and a sorted set; the member lives as long as `words`, and the pointer is of
            // a live variable.
            unsafe { api!(RedisModule_ZsetRem)(self.0.raw(), member, &mut removed) };
            if removed == 0 {
                words.pop();
            }
        }
        let removed = words.after_key();
        if removed > 0 {
            self.0.replicate(c"ZREM", &mut words);
        }
        removed
    }

    /// None where it is no member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        if !self.0.exists() {
            return None;
        }
        let mut words = self.0.words();
        let member = words.push(member);
        let mut score = 0.0;
        // SAFETY: the key is open and a sorted set; the member lives as long as `words`, and the pointer is of a live variable.
        let status = unsafe { api!(RedisModule_ZsetScore)(self.0.raw(), member, &mut score) };
        (status == raw::REDISMODULE_OK as c_int).then_some(score)
    }
}

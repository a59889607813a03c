//! Strings with a time of their own, without a command: read, set until a Unix time, deleted. What is written is replicated as
//! `SET … PXAT` and DEL.
//!
//! Redis notifies nobody of such writes (watchers of the key are told).

use std::ffi::c_int;

use redis_module::raw;

use super::open::{Mode, OpenKey, WrongType};
use super::{api, Context};

/// A string's key, open until this is dropped.
pub struct TimedString<'a>(OpenKey<'a>);

impl<'a> TimedString<'a> {
    pub fn open_to_write(ctx: Context<'a>, name: &[u8]) -> Result<TimedString<'a>, WrongType> {
        OpenKey::open_anew(ctx, name, Mode::Write, raw::REDISMODULE_KEYTYPE_STRING).map(TimedString)
    }

    pub fn open_to_read(ctx: Context<'a>, name: &[u8]) -> Result<TimedString<'a>, WrongType> {
        OpenKey::open_anew(ctx, name, Mode::Read, raw::REDISMODULE_KEYTYPE_STRING).map(TimedString)
    }

    /// Hands the text to `read`; None where there is none.
    pub fn read<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        if !self.0.exists() {
            return None;
        }
        let mut len = 0;
        // SAFETY: the key is open and a string; nothing writes it while we hold the main thread in this call, which the text
        // does not outlive.
        let text = unsafe {
            let start = api!(RedisModule_StringDMA)(self.0.raw(), &mut len, raw::REDISMODULE_READ as c_int);
            std::slice::from_raw_parts(start.cast::<u8>(), len)
        };
        Some(read(text))
    }

    /// Milliseconds left; None without a TTL, or without a key.
    pub fn ttl_ms(&self) -> Option<u64> {
        // SAFETY: the key is open; a null one is answered with "no TTL".
        let ttl_ms = unsafe { api!(RedisModule_GetExpire)(self.0.raw()) };
        u64::try_from(ttl_ms).ok()
    }

    /// Sets the text, until a Unix time. The key is open for writing.
    pub fn set_until(&mut self, text: &[u8], unix_ms: u64) {
        let mut words = self.0.words();
        let value = words.push(text);
        if !self.overwrite(text) {
            // SAFETY: the key is open for writing and a string or empty; the string lives as long as `words`, and Redis takes a
            // reference of its own.
            unsafe { api!(RedisModule_StringSet)(self.0.raw(), value) };
        }
        // SAFETY: the key is open for writing, and there is one by now.
        unsafe { api!(RedisModule_SetAbsExpire)(self.0.raw(), unix_ms as i64) };
        words.push(b"PXAT");
        words.push(unix_ms.to_string().as_bytes());
        self.0.replicate(c"SET", &mut words);
    }

    /// Puts a text of the same length in the place of the one that stands there: to set it anew, Redis takes the key out of the
    /// database and puts it in again. False: there is none of that length.
    fn overwrite(&mut self, text: &[u8]) -> bool {
        if !self.0.exists() {
            return false;
        }
        let (mut len, mode) = (0, (raw::REDISMODULE_READ | raw::REDISMODULE_WRITE) as c_int);
        // SAFETY: the key is open for writing and a string; Redis sees to it that nobody shares the bytes, which are `len`, and
        // nothing else touches them while we hold the main thread in this call.
        unsafe {
            let start = api!(RedisModule_StringDMA)(self.0.raw(), &mut len, mode);
            if len != text.len() {
                return false;
            }
            std::ptr::copy_nonoverlapping(text.as_ptr(), start.cast::<u8>(), len);
        }
        true
    }

    /// Deletes it. False: there was none. The key is open for writing.
    pub fn delete(&mut self) -> bool {
        if !self.0.exists() {
            return false;
        }
        // SAFETY: the key is open for writing.
        unsafe { api!(RedisModule_DeleteKey)(self.0.raw()) };
        self.0.replicate(c"DEL", &mut self.0.words());
        true
    }
}

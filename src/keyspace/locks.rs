//! The keys of locks and limits: plain strings, what is read of them and written to them. All writes replicate, and are marked as
//! our own.
//!
//! Invariant: what bear has not written is not overwritten and not deleted. Whose a key is its text tells: a lock's is two numbers,
//! a limit's one, that of a space's tokens three.

use super::jobs;
use super::store::own;
use crate::core::limits::quota::read_moment;
use crate::core::locks::record::Record;
use crate::redis_api::{Context, KeyType, TimedString};

/// The key is somebody's: an error's text.
pub type Foreign = String;

/// A lock's key, open.
pub struct LockKey<'a>(TimedString<'a>);

/// A lock, and how long it is held from now on.
pub struct Standing {
    pub record: Record,
    pub left_ms: u64,
}

impl<'a> LockKey<'a> {
    pub fn open(ctx: Context<'a>, name: &[u8]) -> Result<LockKey<'a>, Foreign> {
        TimedString::open_to_write(ctx, name).map(LockKey).map_err(|_| wrong_type(ctx, name))
    }

    /// None: there is none.
    pub fn read(&self, name: &[u8]) -> Result<Option<Standing>, Foreign> {
        let Some(record) = self.0.read(Record::read) else { return Ok(None) };
        let record = record.ok_or_else(|| not_ours(name))?;
        Ok(Some(Standing { record, left_ms: record.left_ms(self.0.ttl_ms()) }))
    }

    pub fn write(&mut self, record: &Record, unix_ms: u64) {
        own(|| self.0.set_until(record.to_string().as_bytes(), unix_ms));
    }

    /// Deletes it if it is the one with this token.
    pub fn delete(&mut self, token: u64) {
        if self.0.read(Record::read).flatten().is_some_and(|record| record.token == token) {
            own(|| self.0.delete());
        }
    }
}

/// A limit's key, open.
pub struct LimitKey<'a>(TimedString<'a>);

impl<'a> LimitKey<'a> {
    pub fn open(ctx: Context<'a>, name: &[u8]) -> Result<LimitKey<'a>, Foreign> {
        TimedString::open_to_write(ctx, name).map(LimitKey).map_err(|_| wrong_type(ctx, name))
    }

    /// The moment that is kept; None: there is none.
    pub fn moment_ns(&self, name: &[u8]) -> Result<Option<u64>, Foreign> {
        let moment = self.0.read(read_moment);
        moment.map(|moment| moment.ok_or_else(|| not_ours(name))).transpose()
    }

    /// Keeps a moment until it has come.
    pub fn keep(&mut self, moment_ns: u64, unix_ms: u64) {
        own(|| self.0.set_until(moment_ns.to_string().as_bytes(), unix_ms));
    }
}

/// A token that was handed out in a space, by which epoch, and when.
pub struct KeptToken {
    pub token: u64,
    pub epoch: u64,
    pub at_us: u64,
}

/// None: none is kept.
pub fn read_token(ctx: Context, key: &[u8]) -> Result<Option<KeptToken>, Foreign> {
    let open = TimedString::open_to_read(ctx, key).map_err(|_| wrong_type(ctx, key))?;
    let read = |text: &[u8]| {
        let mut numbers = text.split(|byte| *byte == b' ').map(number);
        let token = KeptToken { token: numbers.next()??, epoch: numbers.next()??, at_us: numbers.next()?? };
        numbers.next().is_none().then_some(token)
    };
    open.read(read).map(|token| token.ok_or_else(|| not_ours(key))).transpose()
}

/// Keeps a token. It is looked at first: another hand may have put something else there.
pub fn keep_token(ctx: Context, key: &[u8], token: &KeptToken) -> Result<(), Foreign> {
    read_token(ctx, key)?;
    let text = format!("{} {} {}", token.token, token.epoch, token.at_us);
    jobs::write(ctx, c"SET", &[key, text.as_bytes()]);
    Ok(())
}

fn number(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

fn wrong_type(ctx: Context, key: &[u8]) -> Foreign {
    let kind = KeyType::of(ctx, key).unwrap_or(KeyType::Other);
    let key = String::from_utf8_lossy(key);
    format!("WRONGTYPE {key} holds {kind} and should be a string; rename or delete it")
}

fn not_ours(key: &[u8]) -> Foreign {
    format!("FOREIGN bear did not write {}; rename or delete it", String::from_utf8_lossy(key))
}

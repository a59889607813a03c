//! Streams without a command: entries are added, deleted, and walked over. What is written is replicated as XADD and XDEL.
//!
//! Redis notifies nobody of such writes; who watches the key, or waits for entries, is told.

use std::ffi::{c_int, c_long};

use redis_module::raw;
use smallvec::SmallVec;

use super::command::string_bytes;
use super::open::{Mode, OpenKey, WrongType};
use super::{api, Context};

/// Milliseconds, and a number within them.
pub type StreamId = (u64, u64);

/// Fields and values of an entry.
pub type Fields<'a> = [(&'a [u8], &'a [u8])];

/// Which way a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Backward,
}

/// A stream's key, open until this is dropped.
pub struct StreamKey<'a>(OpenKey<'a>);

impl<'a> StreamKey<'a> {
    pub fn open_to_read(ctx: Context<'a>, name: &[u8]) -> Result<StreamKey<'a>, WrongType> {
        OpenKey::open(ctx, name, Mode::Read, raw::REDISMODULE_KEYTYPE_STREAM).map(StreamKey)
    }

    /// The first entry makes the stream.
    pub fn open_to_write(ctx: Context<'a>, name: &[u8]) -> Result<StreamKey<'a>, WrongType> {
        OpenKey::open(ctx, name, Mode::Write, raw::REDISMODULE_KEYTYPE_STREAM).map(StreamKey)
    }

    /// Entries; 0 where there is no stream.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Adds an entry with an id that the server chooses, and has AOF and replicas add the same one. `fields` are names and
    /// values in turn. None where the server refuses (the last possible id is taken).
    pub fn add(&mut self, fields: &[&[u8]]) -> Option<StreamId> {
        self.add_entry(None, fields)
    }

    /// Adds an entry with an id of ours. False where the server refuses: the id is not greater than the last that the stream
    /// has had, or `0-0`.
    pub fn add_with_id(&mut self, id: StreamId, fields: &[&[u8]]) -> bool {
        self.add_entry(Some(id), fields).is_some()
    }

    fn add_entry(&mut self, id: Option<StreamId>, fields: &[&[u8]]) -> Option<StreamId> {
        let flags = if id.is_some() { 0 } else { raw::REDISMODULE_STREAM_ADD_AUTOID as c_int };
        let (ms, seq) = id.unwrap_or_default();
        let mut id = raw::RedisModuleStreamID { ms, seq };
        let mut words = self.0.words();
        words.push_empty();
        for field in fields {
            words.push(field);
        }
        // SAFETY: the key is open for writing; the words from the third on are pairs of live strings, which are copied.
        let status = unsafe {
            api!(RedisModule_StreamAdd)(self.0.raw(), flags, &mut id, words.from(2), (fields.len() / 2) as c_long)
        };
        if status != raw::REDISMODULE_OK as c_int {
            return None;
        }
        words.put(1, format!("{}-{}", id.ms, id.seq).as_bytes());
        self.0.replicate(c"XADD", &mut words);
        Some((id.ms, id.seq))
    }

    /// Deletes entries. Returns how many were there. The stream stays, though it be empty.
    ///
    /// Unlike XDEL, Redis does not note the greatest deleted id by this (`max-deleted-entry-id` of XINFO, from which the
    /// lag of consumer groups is told); replicas and the AOF, which run XDEL, do.
    pub fn delete(&mut self, ids: &[StreamId]) -> usize {
        if !self.0.exists() {
            return 0;
        }
        let mut words = self.0.words();
        for (ms, seq) in ids {
            let mut id = raw::RedisModuleStreamID { ms: *ms, seq: *seq };
            // SAFETY: the key is open for writing and a stream, no iterator is started, and the id is a live variable.
            let status = unsafe { api!(RedisModule_StreamDelete)(self.0.raw(), &mut id) };
            if status == raw::REDISMODULE_OK as c_int {
                words.push(format!("{ms}-{seq}").as_bytes());
            }
        }
        let deleted = words.after_key();
        if deleted > 0 {
            self.0.replicate(c"XDEL", &mut words);
        }
        deleted
    }

    /// Hands the fields of one entry to `read`; None where it is not there.
    pub fn read<R>(&self, id: StreamId, read: impl FnOnce(&Fields) -> R) -> Option<R> {
        let (mut read, mut answer) = (Some(read), None);
        self.walk(Direction::Forward, id, id, &mut |_, fields| {
            answer = read.take().map(|read| read(fields));
            false
        });
        answer
    }

    /// Hands the entries between two ids (both included) to `each`, until it says false.
    pub fn walk(
        &self,
        direction: Direction,
        from: StreamId,
        to: StreamId,
        each: &mut dyn FnMut(StreamId, &Fields) -> bool,
    ) {
        if !self.0.exists() {
            return;
        }
        let id_of = |(ms, seq)| raw::RedisModuleStreamID { ms, seq };
        let (mut start, mut end) = (id_of(from), id_of(to));
        let flags = match direction {
            Direction::Forward => 0,
            Direction::Backward => raw::REDISMODULE_STREAM_ITERATOR_REVERSE as c_int,
        };
        // SAFETY: the key is open and a stream; the iterator is stopped below, before the key is closed.
        unsafe {
            if api!(RedisModule_StreamIteratorStart)(self.0.raw(), flags, &mut start, &mut end)
                != raw::REDISMODULE_OK as c_int
            {
                return;
            }
        }
        while let Some((id, count)) = self.next_entry() {
            let strings = self.entry_fields(count);
            let fields: SmallVec<[(&[u8], &[u8]); 8]> =
                strings.iter().map(|(field, value)| (string_bytes(*field), string_bytes(*value))).collect();
            let more = each(id, &fields);
            drop(fields);
            for (field, value) in strings {
                // SAFETY: the iterator made them for us; nothing refers to them any more.
                unsafe {
                    api!(RedisModule_FreeString)(self.0.ctx().raw(), field);
                    api!(RedisModule_FreeString)(self.0.ctx().raw(), value);
                }
            }
            if !more {
                break;
            }
        }
        // SAFETY: started above.
        unsafe { api!(RedisModule_StreamIteratorStop)(self.0.raw()) };
    }

    fn next_entry(&self) -> Option<(StreamId, c_long)> {
        let mut id = raw::RedisModuleStreamID { ms: 0, seq: 0 };
        let mut count: c_long = 0;
        // SAFETY: an iterator is started; both pointers are of live variables.
        let status = unsafe { api!(RedisModule_StreamIteratorNextID)(self.0.raw(), &mut id, &mut count) };
        (status == raw::REDISMODULE_OK as c_int).then_some(((id.ms, id.seq), count))
    }

    fn entry_fields(&self, count: c_long) -> SmallVec<[(*mut raw::RedisModuleString, *mut raw::RedisModuleString); 8]> {
        let mut strings = SmallVec::new();
        for _ in 0..count {
            let (mut field, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
            // SAFETY: an entry is current; both pointers are of live variables.
            let status = unsafe { api!(RedisModule_StreamIteratorNextField)(self.0.raw(), &mut field, &mut value) };
            if status != raw::REDISMODULE_OK as c_int {
                break;
            }
            strings.push((field, value));
        }
        strings
    }
}

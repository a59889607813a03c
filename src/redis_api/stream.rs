//! Streams: adding an entry, and walking over entries without building a reply.

use std::ffi::{c_int, c_long};

use redis_module::raw;
use smallvec::SmallVec;

use super::command::{make_string, string_bytes};
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

/// There is a key of another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongType;

/// A stream's key, open until this is dropped.
pub struct StreamKey<'a> {
    ctx: Context<'a>,
    key: *mut raw::RedisModuleKey,
    name: *mut raw::RedisModuleString,
    exists: bool,
}

impl<'a> StreamKey<'a> {
    pub fn open_to_read(ctx: Context<'a>, name: &[u8]) -> Result<StreamKey<'a>, WrongType> {
        Self::open(ctx, name, raw::REDISMODULE_READ)
    }

    /// The first entry makes the stream.
    pub fn open_to_write(ctx: Context<'a>, name: &[u8]) -> Result<StreamKey<'a>, WrongType> {
        Self::open(ctx, name, raw::REDISMODULE_READ | raw::REDISMODULE_WRITE)
    }

    fn open(ctx: Context<'a>, name: &[u8], mode: u32) -> Result<StreamKey<'a>, WrongType> {
        let name = make_string(name);
        // SAFETY: name was just made, the context is valid during its callback; a null key is answered with "empty".
        let (key, kind) = unsafe {
            let key: *mut raw::RedisModuleKey = api!(RedisModule_OpenKey)(ctx.raw(), name, mode as c_int).cast();
            (key, api!(RedisModule_KeyType)(key))
        };
        let exists = kind != raw::REDISMODULE_KEYTYPE_EMPTY as c_int;
        let open = StreamKey { ctx, key, name, exists };
        match exists && kind != raw::REDISMODULE_KEYTYPE_STREAM as c_int {
            true => Err(WrongType),
            false => Ok(open),
        }
    }

    /// Entries; 0 where there is no stream.
    pub fn len(&self) -> u64 {
        if !self.exists {
            return 0;
        }
        // SAFETY: the key is open.
        unsafe { api!(RedisModule_ValueLength)(self.key) as u64 }
    }

    /// Adds an entry with an id that the server chooses, and has AOF and replicas add the same one. `fields` are names and
    /// values in turn. None where the server refuses (the last possible id is taken).
    pub fn add(&mut self, fields: &[&[u8]]) -> Option<StreamId> {
        let mut argv: SmallVec<[*mut raw::RedisModuleString; 20]> = SmallVec::with_capacity(fields.len() + 2);
        argv.push(self.name);
        argv.push(std::ptr::null_mut());
        argv.extend(fields.iter().map(|field| make_string(field)));
        let mut id = raw::RedisModuleStreamID { ms: 0, seq: 0 };
        // SAFETY: the key is open for writing; argv from its third place on holds pairs of live strings, which are copied.
        let status = unsafe {
            api!(RedisModule_StreamAdd)(
                self.key,
                raw::REDISMODULE_STREAM_ADD_AUTOID as c_int,
                &mut id,
                argv.as_mut_ptr().add(2),
                (fields.len() / 2) as c_long,
            )
        };
        let added = status == raw::REDISMODULE_OK as c_int;
        if added {
            self.exists = true;
            argv[1] = make_string(format!("{}-{}", id.ms, id.seq).as_bytes());
            // SAFETY: "v" takes an array of strings and its length, both of which outlive the call; Redis takes references.
            unsafe {
                api!(RedisModule_Replicate)(
                    self.ctx.raw(),
                    c"XADD".as_ptr(),
                    c"v".as_ptr(),
                    argv.as_mut_ptr(),
                    argv.len(),
                );
            }
        }
        for string in argv.into_iter().skip(1).filter(|string| !string.is_null()) {
            // SAFETY: made above, released once; Redis keeps references of its own.
            unsafe { api!(RedisModule_FreeString)(std::ptr::null_mut(), string) };
        }
        added.then_some((id.ms, id.seq))
    }

    /// Hands the entries between two ids (both included) to `each`, until it says false.
    pub fn walk(
        &self,
        direction: Direction,
        from: StreamId,
        to: StreamId,
        each: &mut dyn FnMut(StreamId, &Fields) -> bool,
    ) {
        if !self.exists {
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
            if api!(RedisModule_StreamIteratorStart)(self.key, flags, &mut start, &mut end)
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
                    api!(RedisModule_FreeString)(self.ctx.raw(), field);
                    api!(RedisModule_FreeString)(self.ctx.raw(), value);
                }
            }
            if !more {
                break;
            }
        }
        // SAFETY: started above.
        unsafe { api!(RedisModule_StreamIteratorStop)(self.key) };
    }

    fn next_entry(&self) -> Option<(StreamId, c_long)> {
        let mut id = raw::RedisModuleStreamID { ms: 0, seq: 0 };
        let mut count: c_long = 0;
        // SAFETY: an iterator is started; both pointers are of live variables.
        let status = unsafe { api!(RedisModule_StreamIteratorNextID)(self.key, &mut id, &mut count) };
        (status == raw::REDISMODULE_OK as c_int).then_some(((id.ms, id.seq), count))
    }

    fn entry_fields(&self, count: c_long) -> SmallVec<[(*mut raw::RedisModuleString, *mut raw::RedisModuleString); 8]> {
        let mut strings = SmallVec::new();
        for _ in 0..count {
            let (mut field, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
            // SAFETY: an entry is current; both pointers are of live variables.
            let status = unsafe { api!(RedisModule_StreamIteratorNextField)(self.key, &mut field, &mut value) };
            if status != raw::REDISMODULE_OK as c_int {
                break;
            }
            strings.push((field, value));
        }
        strings
    }
}

impl Drop for StreamKey<'_> {
    fn drop(&mut self) {
        // SAFETY: both were made in `open` and are released once; closing a null key does nothing.
        unsafe {
            api!(RedisModule_CloseKey)(self.key);
            api!(RedisModule_FreeString)(std::ptr::null_mut(), self.name);
        }
    }
}

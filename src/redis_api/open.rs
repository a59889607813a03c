//! A key open by its name, and the words of a command that is replicated for what was done to it. The types of keys
//! ([`super::StreamKey`], [`super::HashKey`], [`super::SortedSetKey`]) are built on it.

use std::ffi::{c_int, CStr};

use redis_module::raw;
use smallvec::SmallVec;

use super::command::make_string;
use super::{api, Context};

/// There is a key of another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongType;

/// What a key is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Read,
    /// The key is made by the first thing that is put into it.
    Write,
}

/// A key of the wanted type or none, open until this is dropped.
pub(super) struct OpenKey<'a> {
    ctx: Context<'a>,
    key: *mut raw::RedisModuleKey,
    name: *mut raw::RedisModuleString,
}

impl<'a> OpenKey<'a> {
    /// `wanted` is one of `REDISMODULE_KEYTYPE_…`.
    pub fn open(ctx: Context<'a>, name: &[u8], mode: Mode, wanted: isize) -> Result<OpenKey<'a>, WrongType> {
        let flags = match mode {
            Mode::Read => raw::REDISMODULE_READ,
            Mode::Write => raw::REDISMODULE_READ | raw::REDISMODULE_WRITE,
        };
        let name = make_string(name);
        // SAFETY: name was just made, the context is valid during its callback.
        let key = unsafe { api!(RedisModule_OpenKey)(ctx.raw(), name, flags as c_int) };
        let open = OpenKey { ctx, key: key.cast(), name };
        match open.kind() {
            kind if kind == wanted || kind == raw::REDISMODULE_KEYTYPE_EMPTY => Ok(open),
            _ => Err(WrongType),
        }
    }

    /// Null where there is none, opened to read.
    pub fn raw(&self) -> *mut raw::RedisModuleKey {
        self.key
    }

    pub fn ctx(&self) -> Context<'a> {
        self.ctx
    }

    fn kind(&self) -> isize {
        // SAFETY: the key is open; a null one is answered with "empty".
        unsafe { api!(RedisModule_KeyType)(self.key) as isize }
    }

    /// By now; what is put in and taken out may have changed it.
    pub fn exists(&self) -> bool {
        self.kind() != raw::REDISMODULE_KEYTYPE_EMPTY
    }

    /// Entries, fields or members; 0 where there is no key.
    pub fn len(&self) -> u64 {
        if !self.exists() {
            return 0;
        }
        // SAFETY: the key is open.
        unsafe { api!(RedisModule_ValueLength)(self.key) as u64 }
    }

    /// Words of a command, of which the first is this key's name.
    pub fn words(&self) -> Words {
        let mut words = Words(SmallVec::new());
        words.0.push(self.name);
        words
    }

    /// Has AOF and replicas run a command for what was done, in the same unit as the rest of the callback.
    pub fn replicate(&self, command: &CStr, words: &mut Words) {
        // SAFETY: "v" takes an array of strings and its length, both of which outlive the call; Redis takes references.
        unsafe {
            api!(RedisModule_Replicate)(
                self.ctx.raw(),
                command.as_ptr(),
                c"v".as_ptr(),
                words.0.as_mut_ptr(),
                words.0.len(),
            );
        }
    }
}

impl Drop for OpenKey<'_> {
    fn drop(&mut self) {
        // SAFETY: both were made in `open` and are released once; closing a null key does nothing.
        unsafe {
            api!(RedisModule_CloseKey)(self.key);
            api!(RedisModule_FreeString)(std::ptr::null_mut(), self.name);
        }
    }
}

/// The first one is the name of a key, and stays its own.
pub(super) struct Words(SmallVec<[*mut raw::RedisModuleString; 20]>);

impl Words {
    /// Copies a word. The answer lives as long as this.
    pub fn push(&mut self, word: &[u8]) -> *mut raw::RedisModuleString {
        let word = make_string(word);
        self.0.push(word);
        word
    }

    /// A place for a word that is not known yet ([`Words::put`]).
    pub fn push_empty(&mut self) {
        self.0.push(std::ptr::null_mut());
    }

    /// Fills the place.
    pub fn put(&mut self, place: usize, word: &[u8]) {
        free(std::mem::replace(&mut self.0[place], make_string(word)));
    }

    /// Takes back the last word.
    pub fn pop(&mut self) {
        if self.0.len() > 1 {
            self.0.pop().into_iter().for_each(free);
        }
    }

    /// How many follow the key.
    pub fn after_key(&self) -> usize {
        self.0.len() - 1
    }

    /// Those from a place on; the key's is 0.
    pub fn from(&mut self, place: usize) -> *mut *mut raw::RedisModuleString {
        self.0[place..].as_mut_ptr()
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        self.0.drain(1..).for_each(free);
    }
}

fn free(word: *mut raw::RedisModuleString) {
    if word.is_null() {
        return;
    }
    // SAFETY: made in `push` or `put`, and released once; Redis keeps references of its own.
    unsafe { api!(RedisModule_FreeString)(std::ptr::null_mut(), word) };
}

//! A key open by its name, and the words of a command that is replicated for what was done to it. The types of keys
//! ([`super::StreamKey`], [`super::HashKey`], [`super::SortedSetKey`]) are built on it.

use std::cell::RefCell;
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
        #[cfg(debug_assertions)]
        super::own_slot::check(name);
        OpenKey::open_named(ctx, name_of(name), mode, wanted)
    }

    /// The same of a key that is one of many, and will hardly be the next that is opened: its name is not held.
    pub fn open_anew(ctx: Context<'a>, name: &[u8], mode: Mode, wanted: isize) -> Result<OpenKey<'a>, WrongType> {
        #[cfg(debug_assertions)]
        super::own_slot::check(name);
        OpenKey::open_named(ctx, make_string(name), mode, wanted)
    }

    /// Takes the name's reference.
    fn open_named(
        ctx: Context<'a>,
        name: *mut raw::RedisModuleString,
        mode: Mode,
        wanted: isize,
    ) -> Result<OpenKey<'a>, WrongType> {
        let flags = match mode {
            Mode::Read => raw::REDISMODULE_READ,
            Mode::Write => raw::REDISMODULE_READ | raw::REDISMODULE_WRITE,
        };
        // SAFETY: name is a live string of ours, the context is valid during its callback.
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
        // SAFETY: the key was opened, and the name's reference taken, in `open_named`; both are released once, and closing a null key
        // does nothing.
        unsafe {
            api!(RedisModule_CloseKey)(self.key);
            api!(RedisModule_FreeString)(std::ptr::null_mut(), self.name);
        }
    }
}

/// A name, and the string that Redis takes.
type Name = (Box<[u8]>, *mut raw::RedisModuleString);

/// Names of keys that were opened lately, with the strings that Redis takes: an acknowledged job opens the same few again
/// and again, and to make a string costs as much as to find a key.
#[derive(Default)]
struct Names {
    held: SmallVec<[Name; NAMES]>,
    /// Where the next one goes.
    next: usize,
}

const NAMES: usize = 8;

/// Longer names are not held.
const MAX_HELD_NAME: usize = 128;

thread_local! {
    /// Only the main thread's is ever used.
    static LATELY: RefCell<Names> = RefCell::default();
}

/// A reference of the caller's own.
fn name_of(name: &[u8]) -> *mut raw::RedisModuleString {
    if name.len() > MAX_HELD_NAME {
        return make_string(name);
    }
    LATELY.with_borrow_mut(|names| {
        let known = names.held.iter().find(|(known, _)| **known == *name).map(|(_, string)| *string);
        let string = known.unwrap_or_else(|| {
            let string = make_string(name);
            if names.held.len() < NAMES {
                names.held.push((name.into(), string));
            } else {
                let at = names.next;
                names.next = (at + 1) % NAMES;
                free(std::mem::replace(&mut names.held[at], (name.into(), string)).1);
            }
            string
        });
        // SAFETY: a live string that the list holds a reference of; this is another one.
        unsafe { api!(RedisModule_RetainString)(std::ptr::null_mut(), string) };
        string
    })
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

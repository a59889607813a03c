//! Commands: their registration with documentation, and their arguments.

use std::cell::Cell;
use std::ffi::{c_char, c_int, CStr, CString};
use std::marker::PhantomData;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Instant;

use redis_module::raw;

use super::context::{write_log, Level};
use super::{api, Context};

thread_local! {
    /// What the longest of all commands took, in microseconds.
    static LONGEST_US: Cell<u64> = const { Cell::new(0) };
}

/// How long the longest command of ours has held Redis' thread, in microseconds; what Redis does before and after is not
/// in it.
pub fn longest_command_us() -> u64 {
    LONGEST_US.get()
}

/// A command, or the part of it that may be long, has ended.
pub fn note_command(begun: Instant) {
    LONGEST_US.set(LONGEST_US.get().max(begun.elapsed().as_micros() as u64));
}

/// What a command does to the key it names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum KeyAccess {
    /// The command has no key.
    None,
    Read,
    /// Reads and deletes what belongs to the key.
    Write,
}

/// Kind of an argument, for COMMAND DOCS and the hints of redis-cli.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ArgKind {
    Key,
    Text,
    Pattern,
    /// A bare word; the argument's token is what is typed.
    Token,
    OneOf(&'static [ArgSpec]),
    Block(&'static [ArgSpec]),
}

/// One argument, for COMMAND DOCS.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ArgSpec {
    pub name: &'static CStr,
    pub kind: ArgKind,
    pub token: Option<&'static CStr>,
    pub optional: bool,
    pub multiple: bool,
}

impl ArgSpec {
    pub const fn new(name: &'static CStr, kind: ArgKind) -> ArgSpec {
        ArgSpec { name, kind, token: None, optional: false, multiple: false }
    }

    /// An optional word behind a token.
    pub const fn option(name: &'static CStr, token: &'static CStr) -> ArgSpec {
        ArgSpec::new(name, ArgKind::Text).token(token).optional()
    }

    pub const fn token(mut self, token: &'static CStr) -> ArgSpec {
        self.token = Some(token);
        self
    }

    pub const fn optional(mut self) -> ArgSpec {
        self.optional = true;
        self
    }

    pub const fn multiple(mut self) -> ArgSpec {
        self.multiple = true;
        self
    }
}

/// What Redis is told of a command.
pub struct CommandSpec {
    pub name: &'static CStr,
    /// Redis' command flags, separated by spaces.
    pub flags: &'static CStr,
    /// ACL categories, separated by spaces.
    pub categories: &'static CStr,
    /// Redis' command tips, separated by spaces: which nodes of a cluster clients send it to, and what its output depends on.
    pub tips: &'static CStr,
    /// Number of words with the name; negative: at least as many.
    pub arity: c_int,
    pub key: KeyAccess,
    pub summary: &'static CStr,
    pub complexity: &'static CStr,
    pub args: &'static [ArgSpec],
}

/// A command: its description, and what it does.
pub trait Command {
    const SPEC: CommandSpec;
    /// One that has to be as fast as a look at the clock notes its long ways itself.
    const IS_TIMED: bool = true;
    fn run(ctx: Context, args: Args);
}

/// The words of a command, its name first.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    argv: *mut *mut raw::RedisModuleString,
    len: usize,
    callback: PhantomData<&'a ()>,
}

impl<'a> Args<'a> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        if index >= self.len {
            return None;
        }
        let mut len = 0;
        // SAFETY: index is below argc, and Redis keeps the strings for the length of the callback, which is 'a.
        unsafe {
            let start = api!(RedisModule_StringPtrLen)(*self.argv.add(index), &mut len);
            Some(std::slice::from_raw_parts(start.cast::<u8>(), len))
        }
    }
}

/// Registers a command; the error says which.
pub fn register<C: Command>(ctx: Context) -> Result<(), String> {
    let spec = C::SPEC;
    let failed = |what: &str| format!("{what} of {} was refused by the server", spec.name.to_string_lossy());
    let (first, last, step) = if spec.key == KeyAccess::None { (0, 0, 0) } else { (1, 1, 1) };
    // SAFETY: OnLoad's context; C strings are static.
    unsafe {
        let status = api!(RedisModule_CreateCommand)(
            ctx.raw(),
            spec.name.as_ptr(),
            Some(trampoline::<C>),
            spec.flags.as_ptr(),
            first,
            last,
            step,
        );
        if status != raw::REDISMODULE_OK as c_int {
            return Err(failed("the name"));
        }
        let command = api!(RedisModule_GetCommand)(ctx.raw(), spec.name.as_ptr());
        if command.is_null() || !describe(command, &spec) {
            return Err(failed("the description"));
        }
        // Servers before 7.2 have no categories for modules' commands.
        if let Some(set_categories) = raw::RedisModule_SetCommandACLCategories {
            if set_categories(command, spec.categories.as_ptr()) != raw::REDISMODULE_OK as c_int {
                return Err(failed("the ACL categories"));
            }
        }
    }
    Ok(())
}

/// Hands Redis the documentation. Redis copies it, so that what is built here goes with the call.
unsafe fn describe(command: *mut raw::RedisModuleCommand, spec: &CommandSpec) -> bool {
    let version = raw::RedisModuleCommandInfoVersion {
        version: 1,
        sizeof_historyentry: std::mem::size_of::<raw::RedisModuleCommandHistoryEntry>(),
        sizeof_keyspec: std::mem::size_of::<raw::RedisModuleCommandKeySpec>(),
        sizeof_arg: std::mem::size_of::<raw::RedisModuleCommandArg>(),
    };
    let access = match spec.key {
        KeyAccess::None => 0,
        KeyAccess::Read => raw::REDISMODULE_CMD_KEY_RO | raw::REDISMODULE_CMD_KEY_ACCESS,
        KeyAccess::Write => {
            raw::REDISMODULE_CMD_KEY_RW | raw::REDISMODULE_CMD_KEY_ACCESS | raw::REDISMODULE_CMD_KEY_DELETE
        }
    };
    // SAFETY: these are C structs for which all zeroes means "nothing", and ends an array.
    let mut key_specs: [raw::RedisModuleCommandKeySpec; 2] = unsafe { std::mem::zeroed() };
    key_specs[0].flags = access.into();
    key_specs[0].begin_search_type = raw::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_INDEX;
    key_specs[0].bs.index.pos = 1;
    key_specs[0].find_keys_type = raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_RANGE;
    key_specs[0].fk.range =
        raw::RedisModuleCommandKeySpec__bindgen_ty_2__bindgen_ty_1 { lastkey: 0, keystep: 1, limit: 0 };
    let mut nested = Vec::new();
    let args = arguments(spec.args, &mut nested);
    let info = raw::RedisModuleCommandInfo {
        version: &version,
        summary: spec.summary.as_ptr(),
        complexity: spec.complexity.as_ptr(),
        since: c"0.1.0".as_ptr(),
        history: std::ptr::null_mut(),
        tips: if spec.tips.is_empty() { std::ptr::null() } else { spec.tips.as_ptr() },
        arity: spec.arity,
        key_specs: if spec.key == KeyAccess::None { std::ptr::null_mut() } else { key_specs.as_mut_ptr() },
        args,
    };
    // SAFETY: everything `info` points to is live until the end of this function, and copied by the call.
    unsafe { api!(RedisModule_SetCommandInfo)(command, &info) == raw::REDISMODULE_OK as c_int }
}

/// A C array of arguments ended by an empty one; `storage` keeps it and its children alive.
fn arguments(specs: &[ArgSpec], storage: &mut Vec<Vec<raw::RedisModuleCommandArg>>) -> *mut raw::RedisModuleCommandArg {
    let mut list: Vec<raw::RedisModuleCommandArg> = Vec::with_capacity(specs.len() + 1);
    for spec in specs {
        // SAFETY: a C struct for which all zeroes means "nothing".
        let mut arg: raw::RedisModuleCommandArg = unsafe { std::mem::zeroed() };
        arg.name = spec.name.as_ptr();
        arg.key_spec_index = -1;
        arg.token = spec.token.map_or(std::ptr::null(), CStr::as_ptr);
        arg.flags = (if spec.optional { raw::REDISMODULE_CMD_ARG_OPTIONAL } else { 0 }
            | if spec.multiple { raw::REDISMODULE_CMD_ARG_MULTIPLE } else { 0 }) as c_int;
        arg.type_ = match spec.kind {
            ArgKind::Key => {
                arg.key_spec_index = 0;
                raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_KEY
            }
            ArgKind::Text => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING,
            ArgKind::Pattern => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PATTERN,
            ArgKind::Token => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PURE_TOKEN,
            ArgKind::OneOf(of) => {
                arg.subargs = arguments(of, storage);
                raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_ONEOF
            }
            ArgKind::Block(of) => {
                arg.subargs = arguments(of, storage);
                raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_BLOCK
            }
        };
        list.push(arg);
    }
    if list.is_empty() {
        return std::ptr::null_mut();
    }
    // SAFETY: as above; the empty argument ends the list.
    list.push(unsafe { std::mem::zeroed() });
    let start = list.as_mut_ptr();
    storage.push(list);
    start
}

unsafe extern "C" fn trampoline<C: Command>(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    let ctx = Context::new(ctx);
    let args = Args { argv, len: argc as usize, callback: PhantomData };
    // The arity is checked by Redis only for commands of a fixed one; a module's own check is expected.
    let arity = C::SPEC.arity;
    let fits = if arity >= 0 { argc == arity } else { argc >= -arity };
    if !fits {
        // SAFETY: the context is that of this command.
        return unsafe { api!(RedisModule_WrongArity)(ctx.raw()) };
    }
    #[cfg(debug_assertions)]
    let _within = super::own_slot::Within::begin(ctx, args.get(1).filter(|_| C::SPEC.key != KeyAccess::None));
    let begun = C::IS_TIMED.then(Instant::now);
    if catch_unwind(AssertUnwindSafe(|| C::run(ctx, args))).is_err() {
        ctx.reply().error("ERR internal error of bear: see the server's log");
    }
    if let Some(begun) = begun {
        note_command(begun);
    }
    raw::REDISMODULE_OK as c_int
}

/// Runs a callback of Redis'; a panic would abort the server, so it is logged instead.
pub(super) fn guard(what: &str, run: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        write_log(std::ptr::null_mut(), Level::Warning, &format!("<bear> panic in {what}"));
    }
}

/// A string of Redis' own, made from bytes; the caller owns it.
pub(super) fn make_string(bytes: &[u8]) -> *mut raw::RedisModuleString {
    // SAFETY: pointer and length are of one live slice, which is copied.
    unsafe { api!(RedisModule_CreateString)(std::ptr::null_mut(), bytes.as_ptr().cast::<c_char>(), bytes.len()) }
}

/// Bytes of a string of Redis', while the callback that was handed it runs.
pub(super) fn string_bytes<'a>(string: *const raw::RedisModuleString) -> &'a [u8] {
    let mut len = 0;
    // SAFETY: callers pass a live string and do not keep the slice beyond their callback.
    unsafe {
        let start = api!(RedisModule_StringPtrLen)(string, &mut len);
        std::slice::from_raw_parts(start.cast::<u8>(), len)
    }
}

pub(super) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}

//! The context that Redis hands to every callback.

use std::ffi::{c_int, CStr, CString};
use std::marker::PhantomData;

use redis_module::raw;

use super::api;

/// A callback's context: proof that we are on the main thread, and when.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    raw: *mut raw::RedisModuleCtx,
    callback: PhantomData<&'a ()>,
}

/// What the server says of itself and of the caller.
#[derive(Clone, Copy)]
pub struct Flags(u32);

impl Flags {
    /// The caller is a script, or another module: a client that is no connection.
    fn is_no_connection(self) -> bool {
        let is = |flag| self.0 & flag != 0;
        let is_in_multi = is(raw::REDISMODULE_CTX_FLAGS_MULTI);
        is(raw::REDISMODULE_CTX_FLAGS_LUA) || (is(raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING) && !is_in_multi)
    }

    /// The caller is another module, by no client's command.
    pub(super) fn is_of_module(self) -> bool {
        self.is_no_connection() && self.0 & raw::REDISMODULE_CTX_FLAGS_LUA == 0
    }

    /// The caller cannot be made to wait: MULTI, a script, or another module's call.
    pub fn cannot_block(self) -> bool {
        let blocking_denied = raw::REDISMODULE_CTX_FLAGS_MULTI
            | raw::REDISMODULE_CTX_FLAGS_LUA
            | raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING;
        self.0 & blocking_denied != 0
    }

    pub fn is_master(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_MASTER != 0
    }

    /// A replica whose link to its master is up.
    pub fn replica_in_sync(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_REPLICA_IS_ONLINE != 0
    }

    pub fn is_cluster(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_CLUSTER != 0
    }
}

impl<'a> Context<'a> {
    pub(super) fn new(raw: *mut raw::RedisModuleCtx) -> Self {
        Context { raw, callback: PhantomData }
    }

    pub(super) fn raw(self) -> *mut raw::RedisModuleCtx {
        self.raw
    }

    pub fn flags(self) -> Flags {
        // SAFETY: `raw` is valid during the callback, which 'a outlives not.
        Flags(unsafe { api!(RedisModule_GetContextFlags)(self.raw) } as u32)
    }

    /// The client that sent the command, as `CLIENT ID` tells it.
    pub fn client_id(self) -> u64 {
        // SAFETY: as in `flags`.
        unsafe { api!(RedisModule_GetClientId)(self.raw) }
    }

    /// Where it is connected from, `address:port`; empty for one that is no connection.
    pub fn client_address(self) -> String {
        // Valkey 9 ends when it is asked that of the client by which a script runs commands.
        if self.flags().is_no_connection() {
            return String::new();
        }
        let mut info = raw::RedisModuleClientInfo { version: 1, flags: 0, id: 0, addr: [0; 46], port: 0, db: 0 };
        // SAFETY: on the main thread; the structure says its version, and is of that size.
        let found = unsafe {
            api!(RedisModule_GetClientInfoById)(
                std::ptr::from_mut(&mut info).cast::<std::ffi::c_void>(),
                self.client_id(),
            )
        };
        if found != raw::REDISMODULE_OK as c_int {
            return String::new();
        }
        let address = info.addr.iter().take_while(|byte| **byte != 0).map(|byte| *byte as u8);
        format!("{}:{}", String::from_utf8_lossy(&address.collect::<Vec<u8>>()), info.port)
    }

    /// Tells Valkey 9 that this module knows what a slot is that comes and goes as a whole: else it refuses CLUSTER MIGRATESLOTS.
    /// Other servers have not given the number a meaning.
    pub fn accept_atomic_slot_migration(self) {
        /// VALKEYMODULE_OPTIONS_HANDLE_ATOMIC_SLOT_MIGRATION
        const HANDLE_ATOMIC_SLOT_MIGRATION: c_int = 1 << 5;

        let version = self.server_info(c"server", c"valkey_version").unwrap_or_default();
        let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
        if major >= 9 {
            // SAFETY: the context of OnLoad; the server keeps the number.
            unsafe { api!(RedisModule_SetModuleOptions)(self.raw, HANDLE_ATOMIC_SLOT_MIGRATION) };
        }
    }

    pub fn selected_db(self) -> i32 {
        // SAFETY: as in `flags`.
        unsafe { api!(RedisModule_GetSelectedDb)(self.raw) }
    }

    /// False for a number out of range, which changes nothing.
    pub fn select_db(self, db: i32) -> bool {
        // SAFETY: as in `flags`.
        unsafe { api!(RedisModule_SelectDb)(self.raw, db as c_int) == raw::REDISMODULE_OK as c_int }
    }

    /// One field of INFO.
    pub fn server_info(self, section: &CStr, field: &CStr) -> Option<String> {
        // SAFETY: the context is valid during its callback; the data is freed once, after its field has been copied.
        unsafe {
            let data = api!(RedisModule_GetServerInfo)(self.raw, section.as_ptr());
            let text = api!(RedisModule_ServerInfoGetFieldC)(data, field.as_ptr());
            let copy = (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned());
            api!(RedisModule_FreeServerInfo)(self.raw, data);
            copy
        }
    }

    /// Number of keys of the selected database.
    pub fn db_size(self) -> u64 {
        // SAFETY: as in `flags`.
        unsafe { api!(RedisModule_DbSize)(self.raw) }
    }

    /// May a write outside a command be made now? During FAILOVER, CLIENT PAUSE or SHUTDOWN the server would abort.
    pub fn writes_allowed(self) -> bool {
        // SAFETY: takes nothing and only reads the server's state.
        unsafe { api!(RedisModule_AvoidReplicaTraffic)() == 0 }
    }

    /// Memory in use as a share of `maxmemory`; 0 where there is no limit.
    pub fn memory_ratio(self) -> f32 {
        // SAFETY: takes nothing and only reads the server's state.
        unsafe { api!(RedisModule_GetUsedMemoryRatio)() }
    }

    /// Writes to the server's log; `level` is `debug`, `verbose`, `notice` or `warning`.
    pub fn log(self, level: Level, message: &str) {
        write_log(self.raw, level, message);
    }
}

/// Levels of the server's log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Debug,
    Notice,
    Warning,
}

pub(super) fn write_log(ctx: *mut raw::RedisModuleCtx, level: Level, message: &str) {
    let level = match level {
        Level::Debug => c"debug",
        Level::Notice => c"notice",
        Level::Warning => c"warning",
    };
    let text = CString::new(message.replace('\0', "\\0")).unwrap_or_default();
    // SAFETY: a null context is allowed (from any thread); "%s" takes one C string, which outlives the call.
    unsafe { api!(RedisModule_Log)(ctx, level.as_ptr(), c"%s".as_ptr(), text.as_ptr()) };
}

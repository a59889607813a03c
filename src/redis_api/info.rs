//! The module's part of INFO.

use std::cell::Cell;
use std::ffi::c_int;

use redis_module::raw;

use super::command::{c_string, guard};
use super::{api, Context};

thread_local! {
    static ON_INFO: Cell<Option<fn(&InfoWriter)>> = const { Cell::new(None) };
}

/// Writes fields; Redis puts the module's name before each.
pub struct InfoWriter(*mut raw::RedisModuleInfoCtx);

pub fn on_info(ctx: Context, handler: fn(&InfoWriter)) {
    ON_INFO.set(Some(handler));
    // SAFETY: OnLoad's context; the callback has the signature that Redis expects.
    unsafe { api!(RedisModule_RegisterInfoFunc)(ctx.raw(), Some(info)) };
}

unsafe extern "C" fn info(ctx: *mut raw::RedisModuleInfoCtx, for_crash_report: c_int) {
    // In a crash our own state may be half changed: nothing of it goes into the report.
    if for_crash_report == 0 {
        guard("INFO", || {
            if let Some(handler) = ON_INFO.get() {
                handler(&InfoWriter(ctx));
            }
        });
    }
}

impl InfoWriter {
    /// Begins a section; false where the caller did not ask for it.
    pub fn section(&self, name: &str) -> bool {
        // SAFETY: the context is valid during the callback, as in all below; names are copied.
        unsafe { api!(RedisModule_InfoAddSection)(self.0, c_string(name).as_ptr()) == raw::REDISMODULE_OK as c_int }
    }

    pub fn number(&self, name: &str, value: u64) {
        // SAFETY: see `section`.
        unsafe { api!(RedisModule_InfoAddFieldULongLong)(self.0, c_string(name).as_ptr(), value) };
    }

    pub fn text(&self, name: &str, value: &str) {
        let value = c_string(&value.replace(['\r', '\n'], " "));
        // SAFETY: see `section`.
        unsafe { api!(RedisModule_InfoAddFieldCString)(self.0, c_string(name).as_ptr(), value.as_ptr()) };
    }

    /// One line of several figures: `name:key=value,key=value`.
    pub fn figures(&self, name: &str, figures: &[(&str, u64)]) {
        // SAFETY: see `section`.
        unsafe {
            api!(RedisModule_InfoBeginDictField)(self.0, c_string(name).as_ptr());
            for (key, value) in figures {
                api!(RedisModule_InfoAddFieldULongLong)(self.0, c_string(key).as_ptr(), *value);
            }
            api!(RedisModule_InfoEndDictField)(self.0);
        }
    }
}

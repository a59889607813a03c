//! The way in and out, and the allocator.

use std::ffi::{c_int, CStr};

use redis_module::raw;

use super::command::string_bytes;
use super::context::Level;
use super::Context;

/// Redis' own allocator, so that `maxmemory` and INFO see what we use. A test binary has none.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: redis_module::alloc::RedisAlloc = redis_module::alloc::RedisAlloc;

/// Fills the function table and runs `load`. What [`entry_points`] defines calls it.
///
/// # Safety
/// The arguments are those that Redis passes to RedisModule_OnLoad, on the main thread.
pub unsafe fn run_load(
    name: &'static CStr,
    version: c_int,
    load: fn(Context, &[String]) -> Result<(), String>,
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: Redis' context; the name is a C string. Nothing was allocated before this call.
    let status =
        unsafe { raw::Export_RedisModule_Init(ctx, name.as_ptr(), version, raw::REDISMODULE_APIVER_1 as c_int) };
    if status != raw::REDISMODULE_OK as c_int {
        return status;
    }
    let ctx = Context::new(ctx);
    let args: Vec<String> = (0..argc as usize)
        // SAFETY: argv holds argc live strings.
        .map(|index| String::from_utf8_lossy(string_bytes(unsafe { *argv.add(index) })).into_owned())
        .collect();
    status_of(ctx, "loaded", || load(ctx, &args))
}

/// Runs `unload`.
///
/// # Safety
/// The context is the one that Redis passes to RedisModule_OnUnload, on the main thread.
pub unsafe fn run_unload(unload: fn(Context) -> Result<(), String>, ctx: *mut raw::RedisModuleCtx) -> c_int {
    let ctx = Context::new(ctx);
    status_of(ctx, "unloaded", || unload(ctx))
}

fn status_of(ctx: Context, done: &str, run: impl FnOnce() -> Result<(), String>) -> c_int {
    let reason = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(Ok(())) => return raw::REDISMODULE_OK as c_int,
        Ok(Err(reason)) => reason,
        Err(_) => "internal error".to_owned(),
    };
    ctx.log(Level::Warning, &format!("not {done}: {reason}"));
    raw::REDISMODULE_ERR as c_int
}

/// Defines the two symbols that Redis looks for.
macro_rules! entry_points {
    ($name:expr, $version:expr, $load:path, $unload:path) => {
        /// Redis' way in.
        ///
        /// # Safety
        /// Called by Redis, once a load, on the main thread.
        #[no_mangle]
        pub unsafe extern "C" fn RedisModule_OnLoad(
            ctx: *mut ::redis_module::raw::RedisModuleCtx,
            argv: *mut *mut ::redis_module::raw::RedisModuleString,
            argc: ::std::ffi::c_int,
        ) -> ::std::ffi::c_int {
            // SAFETY: the arguments are Redis' own.
            unsafe { $crate::redis_api::run_load($name, $version, $load, ctx, argv, argc) }
        }

        /// Redis' way out.
        ///
        /// # Safety
        /// Called by Redis on the main thread.
        #[no_mangle]
        pub unsafe extern "C" fn RedisModule_OnUnload(
            ctx: *mut ::redis_module::raw::RedisModuleCtx,
        ) -> ::std::ffi::c_int {
            // SAFETY: the argument is Redis' own.
            unsafe { $crate::redis_api::run_unload($unload, ctx) }
        }
    };
}
pub(crate) use entry_points;

//! The two symbols that Redis looks for, and the allocator.

use std::ffi::c_int;

use redis_module::raw;

use super::command::string_bytes;
use super::context::Level;
use super::Context;

/// Redis' own allocator, so that `maxmemory` and INFO see what we use. A test binary has none.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: redis_module::alloc::RedisAlloc = redis_module::alloc::RedisAlloc;

/// Loads the module: fills the function table and hands over to the crate's own start.
///
/// # Safety
/// Called by Redis, once a load, on the main thread.
#[no_mangle]
pub unsafe extern "C" fn RedisModule_OnLoad(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: Redis' context; the name is a C string. Nothing was allocated before this call.
    let status =
        unsafe { raw::Export_RedisModule_Init(ctx, c"bear".as_ptr(), crate::VERSION, raw::REDISMODULE_APIVER_1 as c_int) };
    if status != raw::REDISMODULE_OK as c_int {
        return status;
    }
    let ctx = Context::new(ctx);
    let args: Vec<String> = (0..argc as usize)
        // SAFETY: argv holds argc live strings.
        .map(|index| String::from_utf8_lossy(string_bytes(unsafe { *argv.add(index) })).into_owned())
        .collect();
    match std::panic::catch_unwind(|| crate::load(ctx, &args)) {
        Ok(Ok(())) => raw::REDISMODULE_OK as c_int,
        Ok(Err(reason)) => {
            ctx.log(Level::Warning, &format!("<bear> not loaded: {reason}"));
            raw::REDISMODULE_ERR as c_int
        }
        Err(_) => raw::REDISMODULE_ERR as c_int,
    }
}

/// Unloads the module, or refuses while a thread or a wake-up of ours is alive.
///
/// # Safety
/// Called by Redis on the main thread.
#[no_mangle]
pub unsafe extern "C" fn RedisModule_OnUnload(ctx: *mut raw::RedisModuleCtx) -> c_int {
    match std::panic::catch_unwind(|| crate::unload(Context::new(ctx))) {
        Ok(Ok(())) => raw::REDISMODULE_OK as c_int,
        Ok(Err(reason)) => {
            Context::new(ctx).log(Level::Warning, &format!("<bear> not unloaded: {reason}"));
            raw::REDISMODULE_ERR as c_int
        }
        Err(_) => raw::REDISMODULE_ERR as c_int,
    }
}

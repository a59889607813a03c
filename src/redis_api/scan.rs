//! Walking over the names of a database's keys in slices.

use std::ffi::c_void;

use redis_module::raw;

use super::{api, Context};

/// A walk that can stop between steps. Keys present throughout are seen at least once.
pub struct Scan {
    cursor: *mut raw::RedisModuleScanCursor,
}

impl Default for Scan {
    fn default() -> Self {
        // SAFETY: takes nothing; released in Drop.
        Scan { cursor: unsafe { api!(RedisModule_ScanCursorCreate)() } }
    }
}

impl Scan {
    /// Hands the next few names of the selected database to `each`; false when the walk is over.
    pub fn step(&mut self, ctx: Context, names: &mut Vec<Box<[u8]>>) -> bool {
        // SAFETY: the callback gets our `names` back as its data, during this call only.
        let more = unsafe {
            api!(RedisModule_Scan)(ctx.raw(), self.cursor, Some(collect), std::ptr::from_mut(names).cast::<c_void>())
        };
        more != 0
    }
}

unsafe extern "C" fn collect(
    _: *mut raw::RedisModuleCtx,
    name: *mut raw::RedisModuleString,
    _: *mut raw::RedisModuleKey,
    names: *mut c_void,
) {
    let mut len = 0;
    // SAFETY: Redis hands a live name, and `names` is what `step` gave.
    unsafe {
        let start = api!(RedisModule_StringPtrLen)(name, &mut len);
        (*names.cast::<Vec<Box<[u8]>>>()).push(std::slice::from_raw_parts(start.cast::<u8>(), len).into());
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        // SAFETY: made in Default, released once.
        unsafe { api!(RedisModule_ScanCursorDestroy)(self.cursor) };
    }
}

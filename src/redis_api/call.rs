//! Calling a Redis command, with or without replication.

use std::ffi::{c_char, CStr};

use redis_module::raw;
use smallvec::SmallVec;

use super::{api, Context};

/// Whether AOF and replicas see the call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Replicate {
    No,
    /// All calls of one callback are one MULTI/EXEC.
    Yes,
}

/// What a command answered.
pub struct CallReply(*mut raw::RedisModuleCallReply);

impl Context<'_> {
    /// Runs a command. None where it answered nothing or with an error.
    pub fn call(self, command: &CStr, replicate: Replicate, args: &[&[u8]]) -> Option<CallReply> {
        #[cfg(debug_assertions)]
        super::own_slot::check_call(command, args);
        let mut strings: SmallVec<[*mut raw::RedisModuleString; 16]> = args
            .iter()
            // SAFETY: pointer and length are of one live slice, which is copied; released below.
            .map(|arg| unsafe {
                api!(RedisModule_CreateString)(std::ptr::null_mut(), arg.as_ptr().cast::<c_char>(), arg.len())
            })
            .collect();
        let format = match replicate {
            Replicate::No => c"v",
            Replicate::Yes => c"!v",
        };
        // SAFETY: "v" takes an array of strings and its length; both outlive the call.
        let reply = unsafe {
            api!(RedisModule_Call)(self.raw(), command.as_ptr(), format.as_ptr(), strings.as_mut_ptr(), strings.len())
        };
        for string in strings {
            // SAFETY: made above, released once; Redis took its own reference where it kept one.
            unsafe { api!(RedisModule_FreeString)(std::ptr::null_mut(), string) };
        }
        if reply.is_null() {
            return None;
        }
        let reply = CallReply(reply);
        (reply.kind() != raw::REDISMODULE_REPLY_ERROR as i32).then_some(reply)
    }
}

impl CallReply {
    /// Takes over what a call has answered.
    pub(super) fn own(reply: *mut raw::RedisModuleCallReply) -> CallReply {
        CallReply(reply)
    }

    fn kind(&self) -> i32 {
        // SAFETY: the reply is live until Drop, as in all below.
        unsafe { api!(RedisModule_CallReplyType)(self.0) }
    }

    pub fn integer(&self) -> Option<i64> {
        (self.kind() == raw::REDISMODULE_REPLY_INTEGER as i32)
            // SAFETY: see `kind`.
            .then(|| unsafe { api!(RedisModule_CallReplyInteger)(self.0) })
    }

    /// Calls `each` with the elements of an array or a set, nested ones flattened.
    pub fn for_each(&self, each: &mut dyn FnMut(&[u8])) {
        walk(self.0, each);
    }
}

fn string_of<'a>(reply: *mut raw::RedisModuleCallReply) -> Option<&'a [u8]> {
    let mut len = 0;
    // SAFETY: a live reply; null comes back where it is no string.
    unsafe {
        let start = api!(RedisModule_CallReplyStringPtr)(reply, &mut len);
        (!start.is_null()).then(|| std::slice::from_raw_parts(start.cast::<u8>(), len))
    }
}

fn walk(reply: *mut raw::RedisModuleCallReply, each: &mut dyn FnMut(&[u8])) {
    // SAFETY: elements belong to their array and are live as long as it.
    let kind = unsafe { api!(RedisModule_CallReplyType)(reply) };
    if kind == raw::REDISMODULE_REPLY_ARRAY as i32 || kind == raw::REDISMODULE_REPLY_SET as i32 {
        // SAFETY: as above; indices are below the length, and a set's elements are read by the set's own call.
        let len = unsafe { api!(RedisModule_CallReplyLength)(reply) };
        for index in 0..len {
            let element = if kind == raw::REDISMODULE_REPLY_SET as i32 {
                unsafe { api!(RedisModule_CallReplySetElement)(reply, index) }
            } else {
                unsafe { api!(RedisModule_CallReplyArrayElement)(reply, index) }
            };
            if !element.is_null() {
                walk(element, each);
            }
        }
    } else if let Some(bytes) = string_of(reply) {
        each(bytes);
    }
}

impl Drop for CallReply {
    fn drop(&mut self) {
        // SAFETY: ours since RedisModule_Call returned it, freed once.
        unsafe { api!(RedisModule_FreeCallReply)(self.0) };
    }
}

//! Whose a slot of a cluster is, as the server goes by it for commands of modules.
//!
//! No function of the module API says so on all servers that bear loads into. The server itself checks each command that a module
//! calls: one about a key that does not exist goes through where the slot is this node's and stays, and is refused where it is
//! another's, or on its way here or away. MEMORY USAGE of such a key touches no statistics.

use std::ffi::c_char;
use std::io::{Error, ErrorKind};

use super::api;
use super::call::CallReply;
use super::wake;

/// Whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotState {
    /// This node's, and on its way to nobody.
    Here,
    /// Another's, or on its way here or away.
    Elsewhere,
    /// The cluster is down, or does not say.
    Unknown,
}

/// Of `key`, which must not exist. Within a callback this stays as it is.
pub fn slot_state(key: &[u8]) -> SlotState {
    // As no client: one that sends ASKING would be let through.
    let ctx = wake::detached();
    if ctx.is_null() {
        return SlotState::Here;
    }
    let words: [&[u8]; 2] = [b"USAGE", key];
    let mut strings = words.map(|word| {
        // SAFETY: pointer and length are of one live slice, which is copied; released below.
        unsafe { api!(RedisModule_CreateString)(std::ptr::null_mut(), word.as_ptr().cast::<c_char>(), word.len()) }
    });
    // SAFETY: on the main thread, with a context that lives for ever; "v" takes an array of strings and its length.
    let reply =
        unsafe { api!(RedisModule_Call)(ctx, c"MEMORY".as_ptr(), c"v".as_ptr(), strings.as_mut_ptr(), strings.len()) };
    // Before anything else may set it.
    let error = Error::last_os_error().kind();
    for string in strings {
        // SAFETY: made above, released once.
        unsafe { api!(RedisModule_FreeString)(std::ptr::null_mut(), string) };
    }
    if !reply.is_null() {
        drop(CallReply::own(reply));
        return SlotState::Here;
    }
    match error {
        ErrorKind::PermissionDenied => SlotState::Elsewhere,
        // The command has another name on a hardened server: nothing can be told.
        ErrorKind::NotFound => SlotState::Here,
        _ => SlotState::Unknown,
    }
}

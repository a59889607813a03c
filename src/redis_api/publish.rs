//! Publishing without a command: what Redis' own PUBLISH and SPUBLISH do, but for the replicas of a server that is no cluster,
//! which hear of it by the command alone.

use std::ffi::c_char;

use redis_module::raw;

use super::{api, Context};

impl Context<'_> {
    /// Tells subscribers of all nodes of a cluster.
    pub fn publish(self, channel: &[u8], message: &[u8]) {
        // SAFETY: the function takes a context and two strings, which outlive the call.
        with_strings(channel, message, |channel, message| unsafe {
            api!(RedisModule_PublishMessage)(self.raw(), channel, message)
        });
    }

    /// Tells sharded subscribers, those of the shard's other nodes included. Which slot the channel is of nobody looks at.
    pub fn publish_to_shard(self, channel: &[u8], message: &[u8]) {
        // SAFETY: as above.
        with_strings(channel, message, |channel, message| unsafe {
            api!(RedisModule_PublishMessageShard)(self.raw(), channel, message)
        });
    }
}

fn with_strings(
    channel: &[u8],
    message: &[u8],
    publish: impl FnOnce(*mut raw::RedisModuleString, *mut raw::RedisModuleString) -> i32,
) {
    // SAFETY: pointer and length are of one live slice, which is copied; released below.
    let [channel, message] = [channel, message].map(|text| unsafe {
        api!(RedisModule_CreateString)(std::ptr::null_mut(), text.as_ptr().cast::<c_char>(), text.len())
    });
    publish(channel, message);
    for string in [channel, message] {
        // SAFETY: made above, released once; Redis took its own reference where it kept one.
        unsafe { api!(RedisModule_FreeString)(std::ptr::null_mut(), string) };
    }
}

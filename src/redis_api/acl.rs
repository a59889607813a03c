//! What the caller's user may do beyond what Redis checks of a command's words.

use std::ffi::c_int;

use redis_module::raw;

use super::command::make_string;
use super::{api, Context};

impl Context<'_> {
    /// May the calling user use the channel? A call of another module may do anything, as its commands may.
    pub fn may_use_channel(self, channel: &[u8]) -> bool {
        if self.flags().is_of_module() {
            // It has no user, of which Redis 7.0 would not take notice.
            return true;
        }
        // SAFETY: on the main thread, with the context of a command whose client has a user; what is made is released once.
        unsafe {
            let name = api!(RedisModule_GetCurrentUserName)(self.raw());
            if name.is_null() {
                return false;
            }
            let user = api!(RedisModule_GetModuleUserFromUserName)(name);
            api!(RedisModule_FreeString)(std::ptr::null_mut(), name);
            if user.is_null() {
                return false;
            }
            let channel = make_string(channel);
            let flags = raw::REDISMODULE_CMD_CHANNEL_PUBLISH as c_int;
            let is_allowed =
                api!(RedisModule_ACLCheckChannelPermissions)(user, channel, flags) == raw::REDISMODULE_OK as c_int;
            api!(RedisModule_FreeString)(std::ptr::null_mut(), channel);
            api!(RedisModule_FreeModuleUser)(user);
            is_allowed
        }
    }
}

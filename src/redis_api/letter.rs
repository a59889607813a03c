//! A large reply, written on another thread into a place that Redis keeps beside a client that waits, and handed over by
//! the main thread as a whole, without a copy: fifty megabytes hold nobody.

use redis_module::raw;

use super::blocked::{Answer, BlockedClient};
use super::{api, Context, Replier};

/// The reply that a client will get.
#[derive(Debug)]
pub struct Letter {
    client: BlockedClient,
    ctx: *mut raw::RedisModuleCtx,
}

// SAFETY: another thread only writes the reply, which Redis allows without its lock in a context of a blocked client; the
// main thread makes the letter and sends it.
unsafe impl Send for Letter {}

impl Letter {
    /// On the main thread.
    pub fn to(client: BlockedClient) -> Letter {
        // SAFETY: the client is blocked, and answered in `send` only, which frees the context before.
        let ctx = unsafe { api!(RedisModule_GetThreadSafeContext)(client.raw()) };
        Letter { client, ctx }
    }

    /// Writes the whole reply, on any thread. An error is none for a letter: Redis counts those, on its own thread.
    pub fn write(&self, answer: &Answer) {
        if !matches!(answer, Answer::Error(_)) {
            answer.reply(Context::new(self.ctx));
        }
    }

    /// The same of a reply that is made while it is written.
    pub fn write_with(&self, write: impl FnOnce(Replier)) {
        write(Context::new(self.ctx).reply());
    }

    /// On the main thread, once it is written.
    pub fn send(self) {
        // SAFETY: made in `to`, freed once.
        unsafe { api!(RedisModule_FreeThreadSafeContext)(self.ctx) };
        self.client.answer(Answer::Written);
    }
}

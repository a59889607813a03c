//! A large reply, written on another thread into a place that Redis keeps beside a client that waits, and handed over by
//! the main thread as a whole, without a copy: fifty megabytes hold nobody.
//!
//! The letter, with the client in it, stays on the main thread. What goes to the other is a pen, which may be dropped
//! anywhere: who writes may panic, and the client gets an error all the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use redis_module::raw;

use super::blocked::{Answer, BlockedClient};
use super::{api, Context, Replier};

/// The reply that a client will get.
#[derive(Debug)]
pub struct Letter {
    client: BlockedClient,
    /// Of the client, as `CLIENT ID` tells it.
    client_id: u64,
    ctx: *mut raw::RedisModuleCtx,
    begun: Arc<AtomicBool>,
}

/// Writes a letter's reply.
pub struct Pen {
    ctx: *mut raw::RedisModuleCtx,
    begun: Arc<AtomicBool>,
}

// SAFETY: another thread only writes the reply, which Redis allows without its lock in a context of a blocked client; the
// letter, whose owner hears when the writing has ended, outlives the pen's use.
unsafe impl Send for Pen {}

impl Letter {
    /// On the main thread.
    pub fn to(client: BlockedClient) -> (Letter, Pen) {
        let client_id = client.id();
        // SAFETY: the client is blocked, and answered in `send` only, which frees the context before.
        let ctx = unsafe { api!(RedisModule_GetThreadSafeContext)(client.raw()) };
        let begun = Arc::new(AtomicBool::new(false));
        (Letter { client, client_id, ctx, begun: begun.clone() }, Pen { ctx, begun })
    }

    /// On the main thread, once it is written.
    pub fn send(self) {
        self.end(Answer::Written);
    }

    /// On the main thread, where the writing has failed: an error, or, where Redis has a part of the reply that cannot be
    /// taken back, the end of the connection.
    pub fn fail(self, error: &str) {
        if !self.begun.load(Ordering::Acquire) {
            return self.end(Answer::Error(error.into()));
        }
        // SAFETY: the context is live until `end`; a client that is gone is not found.
        unsafe { api!(RedisModule_DeauthenticateAndCloseClient)(self.ctx, self.client_id) };
        self.end(Answer::Written);
    }

    /// On the main thread, where nothing has been written: the client waits on.
    pub fn take_back(self) -> BlockedClient {
        self.free();
        self.client
    }

    fn end(self, answer: Answer) {
        self.free();
        self.client.answer(answer);
    }

    fn free(&self) {
        // SAFETY: made in `to`, freed once, by what takes the letter.
        unsafe { api!(RedisModule_FreeThreadSafeContext)(self.ctx) };
    }
}

impl Pen {
    /// Writes the whole reply, on any thread. An error is none for a letter, but for one in an array: Redis keeps those beside the
    /// reply until it is handed over, and counts them then.
    pub fn write(self, answer: &Answer) {
        if !matches!(answer, Answer::Error(_)) {
            self.begin();
            answer.reply(Context::new(self.ctx));
        }
    }

    /// The same of a reply that is made while it is written.
    pub fn write_with(self, write: impl FnOnce(Replier)) {
        self.begin();
        write(Context::new(self.ctx).reply());
    }

    fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }
}

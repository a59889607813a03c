//! Clients that wait for an answer.
//!
//! A client is blocked once and unblocked exactly once, whatever happened to it meanwhile (CLIENT KILL, a closed
//! connection): Redis keeps its side until then, and sends nothing to who is gone.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::sync::Arc;

use redis_module::raw;

use super::reply::ELEMENT;
use super::{api, Context, Replier, Value};

/// A reply that is made when it is written, on whatever thread that is.
pub trait Later: std::fmt::Debug + Send + Sync {
    /// Bytes that replying costs.
    fn cost(&self) -> usize;

    fn reply(&self, reply: Replier);
}

/// What a waiting client is told.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A bulk string, shared by all who wait for it.
    Bytes(Arc<Vec<u8>>),
    /// An array of the name of an encoding and bytes in it.
    Encoded(&'static str, Arc<Vec<u8>>),
    /// What is made when it is written.
    Later(Arc<dyn Later>),
    Null,
    Integer(i64),
    /// An array, of errors too.
    Many(Arc<Vec<Answer>>),
    /// Anything else, shared by all who wait for it.
    Value(Arc<Value>),
    /// A value and the token of a lease, where there are such.
    Leased(Option<Arc<Vec<u8>>>, Option<Arc<str>>),
    /// An error; its first word is the code.
    Error(Arc<str>),
    Ok,
    /// What a [`Letter`](super::Letter) holds, which Redis puts behind.
    Written,
}

impl Answer {
    /// Bytes that replying costs, for budgets; of what costs more than the limit, anything above it.
    pub fn cost_upto(&self, limit: usize) -> usize {
        match self {
            Answer::Bytes(bytes) | Answer::Encoded(_, bytes) => bytes.len(),
            Answer::Later(later) => later.cost(),
            Answer::Error(text) => text.len(),
            Answer::Value(value) => value.cost_upto(limit),
            Answer::Many(answers) => {
                let mut cost = ELEMENT;
                for answer in answers.iter() {
                    cost += ELEMENT + answer.cost_upto(limit);
                    if cost > limit {
                        break;
                    }
                }
                cost
            }
            Answer::Leased(value, _) => value.as_ref().map_or(0, |value| value.len()) + ELEMENT,
            Answer::Null | Answer::Integer(_) | Answer::Ok | Answer::Written => 16,
        }
    }

    pub fn reply(&self, ctx: Context) {
        match self {
            Answer::Bytes(bytes) => ctx.reply().bytes(bytes),
            Answer::Encoded(encoding, bytes) => ctx.reply().encoded(encoding, bytes),
            Answer::Later(later) => later.reply(ctx.reply()),
            Answer::Null => ctx.reply().null(),
            Answer::Integer(value) => ctx.reply().integer(*value),
            Answer::Many(answers) => {
                ctx.reply().array(answers.len());
                answers.iter().for_each(|answer| answer.reply(ctx));
            }
            Answer::Value(value) => ctx.reply().value(value),
            Answer::Leased(value, token) => {
                let reply = ctx.reply();
                reply.array(2);
                match value {
                    Some(value) => reply.bytes(value),
                    None => reply.null(),
                }
                match token {
                    Some(token) => reply.text(token),
                    None => reply.null(),
                }
            }
            Answer::Error(text) => ctx.reply().error(text),
            Answer::Ok => ctx.reply().ok(),
            Answer::Written => {}
        }
    }
}

/// Names a client while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientHandle(usize);

thread_local! {
    /// Clients that wait no more and have not been answered, by handle: their ids.
    static GONE: RefCell<BTreeMap<usize, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// A client that waits no more.
pub struct Gone {
    pub handle: ClientHandle,
    /// CLIENT UNBLOCK has let it go, and it has read that its command has ended; else it has hung up.
    pub is_connected: bool,
}

/// A client that has hung up or was unblocked by CLIENT UNBLOCK, each once. It is to be answered all the same: nobody gets
/// it, and Redis keeps its side until then.
pub fn take_gone() -> Option<Gone> {
    let (handle, id) = GONE.with_borrow_mut(BTreeMap::pop_first)?;
    // SAFETY: on the main thread; with no place to write to it only says whether there is such a client.
    let found = unsafe { api!(RedisModule_GetClientInfoById)(std::ptr::null_mut(), id) };
    Some(Gone { handle: ClientHandle(handle), is_connected: found == raw::REDISMODULE_OK as c_int })
}

/// Is there another?
pub fn has_gone() -> bool {
    GONE.with_borrow(|gone| !gone.is_empty())
}

/// Waits this client no more, though nobody has taken note of it yet?
pub fn is_gone(client: ClientHandle) -> bool {
    GONE.with_borrow(|gone| gone.contains_key(&client.0))
}

/// A client that waits. Dropping it unanswered would leave it waiting: it is answered with an error instead.
#[derive(Debug)]
pub struct BlockedClient {
    raw: *mut raw::RedisModuleBlockedClient,
    /// As `CLIENT ID` tells it.
    id: u64,
}

impl Context<'_> {
    /// Blocks the calling client until it is answered, or until somebody sends CLIENT UNBLOCK. Redis' own timeout is none.
    pub fn block(self) -> BlockedClient {
        // SAFETY: a command's context; the callbacks have the signatures that Redis expects.
        let raw = unsafe {
            api!(RedisModule_BlockClient)(self.raw(), Some(on_reply), Some(on_unblocked), Some(free_answer), 0)
        };
        // SAFETY: the handle was just made; the callback has the signature that Redis expects.
        unsafe { api!(RedisModule_SetDisconnectCallback)(raw, Some(on_gone)) };
        // SAFETY: a command's context.
        let id = unsafe { api!(RedisModule_GetClientId)(self.raw()) };
        BlockedClient { raw, id }
    }
}

impl BlockedClient {
    /// Names the client among those who wait.
    pub fn handle(&self) -> ClientHandle {
        ClientHandle(self.raw as usize)
    }

    pub(super) fn raw(&self) -> *mut raw::RedisModuleBlockedClient {
        self.raw
    }

    /// The client, as `CLIENT ID` tells it.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Answers, on the main thread.
    pub fn answer(mut self, answer: Answer) {
        self.send(answer);
    }

    fn send(&mut self, answer: Answer) {
        let raw = std::mem::replace(&mut self.raw, std::ptr::null_mut());
        if !raw.is_null() {
            // Redis may give the next client the same handle. As the process exits, the list may be gone already.
            let _ = GONE.try_with(|gone| gone.borrow_mut().remove(&(raw as usize)));
            let data = Box::into_raw(Box::new(answer)).cast::<c_void>();
            // SAFETY: the handle came from RedisModule_BlockClient and is used once; the data is freed by free_answer.
            unsafe { api!(RedisModule_UnblockClient)(raw, data) };
        }
    }
}

impl Drop for BlockedClient {
    fn drop(&mut self) {
        self.send(Answer::Error("ERR bear dropped this request; try it again".into()));
    }
}

unsafe extern "C" fn on_reply(ctx: *mut raw::RedisModuleCtx, _: *mut *mut raw::RedisModuleString, _: c_int) -> c_int {
    // SAFETY: in a reply callback the private data is what `send` passed, live until free_answer.
    let answer = unsafe { api!(RedisModule_GetBlockedClientPrivateData)(ctx).cast::<Answer>().as_ref() };
    match answer {
        Some(answer) => answer.reply(Context::new(ctx)),
        None => Context::new(ctx).reply().error("ERR bear has no answer; try it again"),
    }
    raw::REDISMODULE_OK as c_int
}

/// CLIENT UNBLOCK with TIMEOUT, which works only where there is such a callback. With ERROR Redis replies by itself, and calls
/// [`on_gone`], which it does not after this.
///
/// Redis would reply nothing at all to a client that has been answered and not yet served. That cannot be: answers are sent
/// by ticks, and no command is run between a timer and the serving of who was unblocked in it.
unsafe extern "C" fn on_unblocked(
    ctx: *mut raw::RedisModuleCtx,
    _: *mut *mut raw::RedisModuleString,
    _: c_int,
) -> c_int {
    Context::new(ctx).reply().null();
    // SAFETY: in a timeout callback the handle is that of the client that is let go.
    gone(ctx, unsafe { api!(RedisModule_GetBlockedClientHandle)(ctx) });
    raw::REDISMODULE_OK as c_int
}

unsafe extern "C" fn on_gone(ctx: *mut raw::RedisModuleCtx, client: *mut raw::RedisModuleBlockedClient) {
    gone(ctx, client);
}

fn gone(ctx: *mut raw::RedisModuleCtx, client: *mut raw::RedisModuleBlockedClient) {
    // SAFETY: the context of a callback, whose client is the one that is let go.
    let id = unsafe { api!(RedisModule_GetClientId)(ctx) };
    GONE.with_borrow_mut(|gone| gone.insert(client as usize, id));
    super::arm(std::time::Duration::ZERO);
}

unsafe extern "C" fn free_answer(_: *mut raw::RedisModuleCtx, data: *mut c_void) {
    if !data.is_null() {
        // SAFETY: made by Box::into_raw in `send`, freed once, after the reply.
        drop(unsafe { Box::from_raw(data.cast::<Answer>()) });
    }
}

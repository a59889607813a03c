//! What happens in the server outside our commands: keyspace notifications and server events.
//!
//! Handlers must not write. Keyspace handlers may run in the middle of a command of ours (a key found expired), so
//! they must not touch what commands borrow.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void, CStr};

use redis_module::raw;

use super::command::{guard, string_bytes};
use super::{api, Context};

/// A change of one key, as its notification says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyEvent {
    /// Gone by TTL, eviction, DEL or UNLINK.
    Removed(Removal),
    /// Its TTL changed, and nothing else.
    Retimed,
    /// By RESTORE, as MIGRATE sends it.
    Restored,
    /// Anything else that changed it.
    Written,
}

/// How a key went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal {
    Expired,
    Evicted,
    Deleted,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Master,
    Replica,
}

/// A dataset is being read from disk or from a master.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Loading {
    Started,
    Ended,
}

type KeyHandler = fn(event: KeyEvent, db: i32, key: &[u8]);

/// A handler, once it is named.
type Slot<F> = Cell<Option<F>>;

thread_local! {
    static ON_KEY: Slot<KeyHandler> = const { Cell::new(None) };
    static ON_ROLE: Slot<fn(Context, Role)> = const { Cell::new(None) };
    static ON_FLUSH: Slot<fn(Option<i32>)> = const { Cell::new(None) };
    static ON_LOADING: Slot<fn(Context, Loading)> = const { Cell::new(None) };
    static ON_SWAP: Slot<fn(i32, i32)> = const { Cell::new(None) };
    static ON_CRON: Slot<fn(Context)> = const { Cell::new(None) };
    static ON_SHUTDOWN: Slot<fn()> = const { Cell::new(None) };
    static ON_CONFIG: Slot<fn(Context)> = const { Cell::new(None) };
}

/// Every change of every key; the database and the name come with it.
pub fn on_keyspace(ctx: Context, handler: KeyHandler) {
    ON_KEY.set(Some(handler));
    let types = raw::REDISMODULE_NOTIFY_GENERIC
        | raw::REDISMODULE_NOTIFY_STRING
        | raw::REDISMODULE_NOTIFY_LIST
        | raw::REDISMODULE_NOTIFY_SET
        | raw::REDISMODULE_NOTIFY_HASH
        | raw::REDISMODULE_NOTIFY_ZSET
        | raw::REDISMODULE_NOTIFY_EXPIRED
        | raw::REDISMODULE_NOTIFY_EVICTED
        | raw::REDISMODULE_NOTIFY_STREAM
        | raw::REDISMODULE_NOTIFY_MODULE;
    // SAFETY: OnLoad's context; the callback has the signature that Redis expects.
    unsafe { api!(RedisModule_SubscribeToKeyspaceEvents)(ctx.raw(), types, Some(keyspace_event)) };
}

unsafe extern "C" fn keyspace_event(
    ctx: *mut raw::RedisModuleCtx,
    kind: c_int,
    event: *const c_char,
    key: *mut raw::RedisModuleString,
) -> c_int {
    guard("a keyspace event", || {
        let Some(handler) = ON_KEY.get() else { return };
        // SAFETY: Redis hands a C string that outlives the callback.
        let name = unsafe { CStr::from_ptr(event) }.to_bytes();
        let event = match name {
            _ if kind == raw::REDISMODULE_NOTIFY_EXPIRED => KeyEvent::Removed(Removal::Expired),
            _ if kind == raw::REDISMODULE_NOTIFY_EVICTED => KeyEvent::Removed(Removal::Evicted),
            b"del" | b"rename_from" | b"move_from" => KeyEvent::Removed(Removal::Deleted),
            b"expire" | b"persist" => KeyEvent::Retimed,
            b"restore" => KeyEvent::Restored,
            _ => KeyEvent::Written,
        };
        handler(event, Context::new(ctx).selected_db(), string_bytes(key));
    });
    0
}

pub fn on_role(ctx: Context, handler: fn(Context, Role)) {
    ON_ROLE.set(Some(handler));
    subscribe(ctx, raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED, 1);
}

/// FLUSHALL (None) or FLUSHDB of a database.
pub fn on_flush(ctx: Context, handler: fn(Option<i32>)) {
    ON_FLUSH.set(Some(handler));
    subscribe(ctx, raw::REDISMODULE_EVENT_FLUSHDB, 1);
}

pub fn on_loading(ctx: Context, handler: fn(Context, Loading)) {
    ON_LOADING.set(Some(handler));
    subscribe(ctx, raw::REDISMODULE_EVENT_LOADING, 1);
}

/// SWAPDB of two databases.
pub fn on_swap_db(ctx: Context, handler: fn(i32, i32)) {
    ON_SWAP.set(Some(handler));
    subscribe(ctx, raw::REDISMODULE_EVENT_SWAPDB, 1);
}

/// The server's cron loop, `hz` times a second.
pub fn on_cron(ctx: Context, handler: fn(Context)) {
    ON_CRON.set(Some(handler));
    subscribe(ctx, raw::REDISMODULE_EVENT_CRON_LOOP, 1);
}

pub fn on_shutdown(ctx: Context, handler: fn()) {
    ON_SHUTDOWN.set(Some(handler));
    subscribe(ctx, raw::REDISMODULE_EVENT_SHUTDOWN, 1);
}

/// CONFIG SET of anything.
pub fn on_config_change(ctx: Context, handler: fn(Context)) {
    ON_CONFIG.set(Some(handler));
    subscribe(ctx, raw::REDISMODULE_EVENT_CONFIG, 1);
}

fn subscribe(ctx: Context, id: u64, dataver: u64) {
    let event = raw::RedisModuleEvent { id, dataver };
    // SAFETY: OnLoad's context; an event that the server does not know is answered with an error.
    unsafe { api!(RedisModule_SubscribeToServerEvent)(ctx.raw(), event, Some(server_event)) };
}

/// The first fields of RedisModuleFlushInfoV1.
#[repr(C)]
struct FlushInfo {
    version: u64,
    sync: i32,
    dbnum: i32,
}

/// The first fields of RedisModuleSwapDbInfoV1.
#[repr(C)]
struct SwapInfo {
    version: u64,
    dbnum_first: i32,
    dbnum_second: i32,
}

unsafe extern "C" fn server_event(
    ctx: *mut raw::RedisModuleCtx,
    event: raw::RedisModuleEvent,
    subevent: u64,
    data: *mut c_void,
) {
    guard("a server event", || {
        let ctx = Context::new(ctx);
        match event.id {
            raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED => {
                let now_master = subevent == raw::REDISMODULE_EVENT_REPLROLECHANGED_NOW_MASTER;
                call(&ON_ROLE, |on| on(ctx, if now_master { Role::Master } else { Role::Replica }));
            }
            raw::REDISMODULE_EVENT_FLUSHDB => {
                // SAFETY: Redis passes a RedisModuleFlushInfoV1 with this event.
                let db = unsafe { data.cast::<FlushInfo>().as_ref() }.map_or(-1, |info| info.dbnum);
                call(&ON_FLUSH, |on| on((db >= 0).then_some(db)));
            }
            raw::REDISMODULE_EVENT_LOADING => {
                let ended = subevent >= raw::REDISMODULE_SUBEVENT_LOADING_ENDED;
                call(&ON_LOADING, |on| on(ctx, if ended { Loading::Ended } else { Loading::Started }));
            }
            raw::REDISMODULE_EVENT_SWAPDB => {
                // SAFETY: Redis passes a RedisModuleSwapDbInfoV1 with this event.
                if let Some(info) = unsafe { data.cast::<SwapInfo>().as_ref() } {
                    call(&ON_SWAP, |on| on(info.dbnum_first, info.dbnum_second));
                }
            }
            raw::REDISMODULE_EVENT_CRON_LOOP => call(&ON_CRON, |on| on(ctx)),
            raw::REDISMODULE_EVENT_SHUTDOWN => call(&ON_SHUTDOWN, |on| on()),
            raw::REDISMODULE_EVENT_CONFIG => call(&ON_CONFIG, |on| on(ctx)),
            _ => {}
        }
    });
}

fn call<F: Copy>(slot: &'static std::thread::LocalKey<Slot<F>>, run: impl FnOnce(F)) {
    if let Some(handler) = slot.get() {
        run(handler);
    }
}

//! From any thread to the main thread: a one-shot of the event loop that arms a timer, in whose callback writes
//! replicate as one unit.
//!
//! ```text
//! worker: wake() --posted--> one-shot on the main thread: arms a zero-delay timer --> tick(ctx)
//! ```
//! The flag is cleared in the one-shot, not in the tick: module timers follow the wall clock and freeze when it steps
//! back, so the cron loop re-arms a late one ([`rearm_if_late`]).

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use redis_module::raw;

use super::{api, Context};

static POSTED: AtomicBool = AtomicBool::new(false);
static TICK: OnceLock<fn(Context)> = OnceLock::new();

thread_local! {
    /// The armed timer and when it is due. Only the main thread's is ever used.
    static ARMED: Cell<Option<(raw::RedisModuleTimerID, Instant)>> = const { Cell::new(None) };
    static DETACHED: Cell<*mut raw::RedisModuleCtx> = const { Cell::new(std::ptr::null_mut()) };
}

/// Names the function that ticks run. Called once, on the main thread, while loading.
pub fn on_tick(ctx: Context, tick: fn(Context)) {
    let _ = TICK.set(tick);
    DETACHED.with(|detached| {
        // A second load in one process finds the first one's, whose module is gone: it is left, a few bytes.
        // SAFETY: the context of OnLoad is valid here; the detached one is kept until the module goes.
        detached.set(unsafe { api!(RedisModule_GetDetachedThreadSafeContext)(ctx.raw()) });
    });
}

/// Asks the main thread for a tick. From any thread; cheap when one is asked for already.
pub fn wake() {
    if !POSTED.swap(true, Ordering::AcqRel) {
        // SAFETY: RedisModule_EventLoopAddOneShot is the one call that any thread may make without the global lock.
        unsafe { api!(RedisModule_EventLoopAddOneShot)(Some(one_shot), std::ptr::null_mut()) };
    }
}

/// Is a one-shot on its way? Unloading now would leave Redis a pointer to nothing.
pub fn is_posted() -> bool {
    POSTED.load(Ordering::Acquire)
}

unsafe extern "C" fn one_shot(_: *mut c_void) {
    POSTED.store(false, Ordering::Release);
    // One that was armed within a tick comes a millisecond later, however early it is due.
    disarm();
    arm(Duration::ZERO);
}

/// The context of no client, for the main thread alone; null before the load.
pub(super) fn detached() -> *mut raw::RedisModuleCtx {
    DETACHED.get()
}

/// Arms a tick on the main thread, unless one is due earlier.
pub fn arm(delay: Duration) {
    let due = Instant::now() + delay;
    if ARMED.get().is_some_and(|(_, armed)| armed <= due) {
        return;
    }
    disarm();
    let ctx = DETACHED.get();
    if ctx.is_null() {
        return;
    }
    // SAFETY: on the main thread (commands, events and one-shots call this), with a context that lives for ever.
    let id = unsafe {
        api!(RedisModule_CreateTimer)(
            ctx,
            delay.as_micros().div_ceil(1000) as i64,
            Some(on_timer),
            std::ptr::null_mut(),
        )
    };
    ARMED.set(Some((id, due)));
}

/// Stops the armed tick, if any.
fn disarm() {
    if let Some((id, _)) = ARMED.take() {
        // SAFETY: as in `arm`; an id that has fired already is answered with an error.
        unsafe { api!(RedisModule_StopTimer)(DETACHED.get(), id, std::ptr::null_mut()) };
    }
}

/// From the cron loop: a timer that is late by the monotonic clock was frozen by a wall clock that stepped back.
pub fn rearm_if_late() {
    if ARMED.get().is_some_and(|(_, due)| due.elapsed() > Duration::from_millis(50)) {
        disarm();
        arm(Duration::ZERO);
    }
}

unsafe extern "C" fn on_timer(ctx: *mut raw::RedisModuleCtx, _: *mut c_void) {
    ARMED.set(None);
    if let Some(tick) = TICK.get() {
        super::command::guard("a tick", || tick(Context::new(ctx)));
    }
}

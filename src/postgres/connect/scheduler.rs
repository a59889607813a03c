//! The threads on which pools connect, shared by a pool and those that it replaces.
//!
//! r2d2 makes three for each pool otherwise, and nothing tells when they have ended. Nobody can join these either, so
//! each holds a token that its last act gives back.

use std::cell::RefCell;
use std::io;
use std::panic::catch_unwind;
use std::sync::{Arc, Barrier, Weak};

use scheduled_thread_pool::{OnPoolDropBehavior, ScheduledThreadPool};

/// Two, so that an attempt that hangs leaves one for the pool that replaces its own.
const THREADS: usize = 2;

thread_local! {
    /// Given back by the thread's end: the loader keeps a library whose thread-local destructors are still to run.
    static TOKEN: RefCell<Option<Arc<()>>> = const { RefCell::new(None) };
}

/// Its threads end, without what they had planned, once it and all pools on it are gone.
pub struct Scheduler {
    pub(in crate::postgres) threads: Arc<ScheduledThreadPool>,
    tokens: Weak<()>,
}

impl Scheduler {
    pub fn start() -> io::Result<Scheduler> {
        // It panics where the system grants no thread.
        let threads = catch_unwind(|| {
            ScheduledThreadPool::builder()
                .num_threads(THREADS)
                .thread_name_pattern("bear-connect-{}")
                .on_drop_behavior(OnPoolDropBehavior::DiscardPendingScheduled)
                .build()
        })
        .map_err(|_| io::Error::other("no thread to connect on"))?;
        let token = Arc::new(());
        let tokens = Arc::downgrade(&token);
        // Each waits for the others, so that no thread takes two, and so does the caller: a stop that came before would
        // leave one waiting.
        let all = Arc::new(Barrier::new(THREADS + 1));
        for _ in 0..THREADS {
            let (token, all) = (token.clone(), all.clone());
            threads.execute(move || {
                TOKEN.set(Some(token));
                all.wait();
            });
        }
        all.wait();
        Ok(Scheduler { threads: Arc::new(threads), tokens })
    }

    /// Tells of its threads when it is gone itself.
    pub fn watch(&self) -> SchedulerWatch {
        SchedulerWatch(self.tokens.clone())
    }
}

pub struct SchedulerWatch(Weak<()>);

impl SchedulerWatch {
    /// Threads that have not ended.
    pub fn alive(&self) -> usize {
        self.0.strong_count()
    }
}

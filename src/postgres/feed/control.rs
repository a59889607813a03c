//! How the feed is told what to follow, and to end: every wait of its thread looks here.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::core::catalog::Section;
use crate::core::feed::lock_pace::LockPace;
use crate::core::feed::promise::Promises;
use crate::postgres::connect::session::lock;

/// Shared by the feed's thread and whoever stops it.
pub struct FeedControl {
    stopping: Arc<AtomicBool>,
    /// For waits on the network.
    notify: Notify,
    /// The catalog to be followed, and which one it is.
    wanted: Mutex<(u64, Arc<[Section]>)>,
    /// Which one is followed.
    followed: AtomicU64,
    /// For a wait on the stream.
    called: Notify,
    /// Of locks on the tables that are followed, over all lives of the feed.
    pub(super) lock_pace: Mutex<LockPace>,
    /// For waits between two tries.
    sleep: Mutex<()>,
    woken: Condvar,
    pub(super) promises: Arc<Promises>,
    inbox: OnceLock<Box<dyn Fn(InboxSign) + Send + Sync>>,
    is_inbox_followed: AtomicBool,
}

/// What whoever reads the inbox is let know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboxSign {
    /// A transaction has been committed that has written rows of it. New snapshots may see it only a moment later.
    Changed,
    /// From now on each change is told, or none.
    Followed(bool),
}

impl FeedControl {
    /// The promises are those of whoever applies jobs to the same database.
    pub fn new(sections: Arc<[Section]>, promises: Arc<Promises>) -> FeedControl {
        FeedControl {
            promises,
            stopping: Arc::default(),
            notify: Notify::new(),
            wanted: Mutex::new((1, sections)),
            followed: AtomicU64::new(0),
            called: Notify::new(),
            lock_pace: Mutex::default(),
            sleep: Mutex::default(),
            woken: Condvar::new(),
            inbox: OnceLock::new(),
            is_inbox_followed: AtomicBool::new(false),
        }
    }

    /// Has `sign` called now, and on the feed's thread; it must be quick. Once.
    pub fn watch_inbox(&self, sign: impl Fn(InboxSign) + Send + Sync + 'static) {
        // A second one is nobody's.
        let _ = self.inbox.set(Box::new(sign));
        self.sign(InboxSign::Followed(self.is_inbox_followed.load(Ordering::Acquire)));
    }

    pub(super) fn sign(&self, sign: InboxSign) {
        if let InboxSign::Followed(is_followed) = sign {
            self.is_inbox_followed.store(is_followed, Ordering::Release);
        }
        if let Some(inbox) = self.inbox.get() {
            inbox(sign);
        }
    }

    /// Another catalog from now on; its number. Whoever follows goes on with the connections that it has.
    pub fn follow_instead(&self, sections: Arc<[Section]>) -> u64 {
        let mut wanted = lock(&self.wanted);
        *wanted = (wanted.0 + 1, sections);
        self.called.notify_one();
        wanted.0
    }

    /// Number of the catalog of which the thread tells.
    pub fn followed(&self) -> u64 {
        self.followed.load(Ordering::Acquire)
    }

    /// The catalog to be followed, if it is not the one that is; what is told from now on is of it.
    pub(super) fn take_catalog(&self) -> Option<Arc<[Section]>> {
        let wanted = lock(&self.wanted);
        let is_new = self.followed.swap(wanted.0, Ordering::AcqRel) != wanted.0;
        is_new.then(|| wanted.1.clone())
    }

    /// The same, whichever was followed.
    pub(super) fn catalog(&self) -> Arc<[Section]> {
        let wanted = lock(&self.wanted);
        self.followed.store(wanted.0, Ordering::Release);
        wanted.1.clone()
    }

    /// The thread ends at its next step, and no wait delays that.
    pub fn stop(&self) {
        let _sleep = lock(&self.sleep);
        self.stopping.store(true, Ordering::Release);
        // One that comes to wait later finds it too.
        self.notify.notify_one();
        self.woken.notify_all();
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits, unless a stop comes.
    pub fn sleep(&self, time: Duration) {
        let sleep = lock(&self.sleep);
        let waiting = |_: &mut ()| !self.is_stopping();
        drop(self.woken.wait_timeout_while(sleep, time, waiting).unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        self.stopping.clone()
    }

    pub(super) async fn called(&self) {
        self.called.notified().await;
    }

    pub(super) async fn stopped(&self) {
        while !self.is_stopping() {
            self.notify.notified().await;
        }
    }
}

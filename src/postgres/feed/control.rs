//! How the feed is told to end: every wait of its thread looks here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::postgres::session::lock;

/// Shared by the feed's thread and whoever stops it.
#[derive(Default)]
pub struct FeedControl {
    stopping: Arc<AtomicBool>,
    /// For waits on the network.
    notify: Notify,
    /// For waits between two tries.
    sleep: Mutex<()>,
    woken: Condvar,
}

impl FeedControl {
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

    pub(super) async fn stopped(&self) {
        while !self.is_stopping() {
            self.notify.notified().await;
        }
    }
}

//! Snapshots are asked for: one at a time, however many want one, and not too often, so that nobody who asks again and again
//! keeps the thread busy that makes them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout, Instant};

use crate::core::metrics::snapshot::Snapshot;
use crate::workers::Wake;

/// Between the end of one and the beginning of the next.
const PAUSE: Duration = Duration::from_millis(100);

/// Without a sign of life for so long, there will be no answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Somebody wants a snapshot.
pub struct Request {
    answer: oneshot::Sender<Snapshot>,
    steps: Arc<AtomicU64>,
}

impl Request {
    /// It is being made.
    pub fn goes_on(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// False: who asked has given up.
    pub fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    pub fn answer(self, snapshot: Snapshot) {
        // Whoever has given up meanwhile does not want it.
        let _ = self.answer.send(snapshot);
    }
}

/// Who waits for one. None: nobody made it.
pub type Asker = oneshot::Sender<Option<Arc<Snapshot>>>;

/// Asks for snapshots as long as anybody may want one.
pub async fn run(mut askers: mpsc::Receiver<Asker>, requests: Sender<Request>, wake: Wake) {
    let mut not_before = Instant::now();
    while let Some(first) = askers.recv().await {
        sleep_until(not_before).await;
        let mut waiting = vec![first];
        while let Ok(more) = askers.try_recv() {
            waiting.push(more);
        }
        let snapshot = ask(&requests, &wake).await.map(Arc::new);
        not_before = Instant::now() + PAUSE;
        for asker in waiting {
            let _ = asker.send(snapshot.clone());
        }
    }
}

async fn ask(requests: &Sender<Request>, wake: &Wake) -> Option<Snapshot> {
    let (answer, mut answered) = oneshot::channel();
    let steps = Arc::new(AtomicU64::new(0));
    requests.send(Request { answer, steps: steps.clone() }).ok()?;
    wake();
    let mut seen = 0;
    loop {
        match timeout(PATIENCE, &mut answered).await {
            Ok(snapshot) => return snapshot.ok(),
            Err(_) => {
                let now = steps.load(Ordering::Relaxed);
                if now == seen {
                    return None;
                }
                seen = now;
            }
        }
    }
}

//! `bear-clerk`: does what needs no Postgres and is too much for its owner's thread. It reads catalogs, writes large
//! replies, frees what is large; one thing after the other, none of which waits for anybody.

use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{unbounded, Receiver, Sender};

use super::Wake;

/// Something to be done; what comes of it, if anything does, is told. Where it panics, the other is.
type Errand<T> = (Option<T>, Box<dyn FnOnce() -> Option<T> + Send>);

/// Does it; `failed` is what comes of it where it panics. What it leaves behind then goes with it.
pub fn attempt<T>(errand: impl FnOnce() -> Option<T>, failed: Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(errand)).unwrap_or_else(|_| {
        log::error!("an errand of bear-clerk panicked");
        failed
    })
}

pub struct Clerk<T> {
    /// None once asked to end.
    errands: Option<Sender<Errand<T>>>,
    outcomes: Receiver<T>,
    thread: JoinHandle<()>,
}

impl<T: Send + 'static> Clerk<T> {
    /// `wake` is called on the clerk's thread after each outcome.
    pub fn start(wake: Wake) -> io::Result<Clerk<T>> {
        let (errands, todo) = unbounded::<Errand<T>>();
        let (done, outcomes) = unbounded();
        let thread = Builder::new().name("bear-clerk".to_owned()).spawn(move || {
            while let Ok((failed, errand)) = todo.recv() {
                if attempt(errand, failed).is_some_and(|outcome| done.send(outcome).is_ok()) {
                    wake();
                }
            }
        })?;
        Ok(Clerk { errands: Some(errands), outcomes, thread })
    }

    /// `failed` is told where the errand panics. False once asked to end: the errand is dropped here.
    pub fn give(&self, failed: Option<T>, errand: impl FnOnce() -> Option<T> + Send + 'static) -> bool {
        self.errands.as_ref().is_some_and(|errands| errands.send((failed, Box::new(errand))).is_ok())
    }

    pub fn outcomes(&self) -> &Receiver<T> {
        &self.outcomes
    }

    /// Asks the thread to end once it has done what it was given.
    pub fn stop(&mut self) {
        self.errands = None;
    }

    pub fn is_stopped(&self) -> bool {
        self.errands.is_none() && self.thread.is_finished()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn errands_are_done_in_turn_and_a_panic_is_one_errands_own() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counted = wakes.clone();
        let mut clerk: Clerk<u32> = Clerk::start(Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }))
        .unwrap();
        assert!(clerk.give(None, || Some(1)));
        assert!(clerk.give(None, || panic!("of this errand alone")));
        assert!(clerk.give(Some(7), || panic!("which somebody waits for")));
        assert!(clerk.give(None, || None));
        assert!(clerk.give(Some(8), || Some(2)));
        let outcomes = [(); 3].map(|()| clerk.outcomes().recv_timeout(PATIENCE));
        assert_eq!(outcomes, [Ok(1), Ok(7), Ok(2)]);
        clerk.stop();
        assert!(!clerk.give(None, || Some(3)));
        let begun = std::time::Instant::now();
        while !clerk.is_stopped() && begun.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        assert!(clerk.is_stopped() && clerk.outcomes().is_empty());
        assert_eq!(wakes.load(Ordering::Relaxed), 3);
    }
}

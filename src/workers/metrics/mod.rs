//! `bear-metrics`: the thread that answers Prometheus and whoever asks how the server is, by HTTP.
//!
//! | file | what |
//! |---|---|
//! | `serve` | connections and their limits, paths |
//! | `gather` | snapshots are asked for: one at a time, and not too often |
//! | `accept` | which format a client wants |
//! | `encode` | a snapshot in that format |
//! | `stream` | connections that end for their peer when they end here |
//!
//! Who starts it takes requests for snapshots ([`Listener::take_request`]) after each wake, and answers them when it can.

mod accept;
mod encode;
mod gather;
mod serve;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{unbounded, Receiver};
use socket2::SockRef;
use tokio::sync::watch;

pub use gather::Request;

use super::Wake;

pub struct Listener {
    /// Of the listening socket, to end it by.
    socket: TcpListener,
    /// None once asked to end.
    stop: Option<watch::Sender<()>>,
    requests: Receiver<Request>,
    thread: JoinHandle<()>,
}

/// Since the module was loaded.
#[derive(Debug, Default)]
pub struct Counts {
    scrapes: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    /// Answers with figures; connections and requests that were refused.
    pub fn get(&self) -> (u64, u64) {
        (self.scrapes.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    fn scraped(&self) {
        self.scrapes.fetch_add(1, Ordering::Relaxed);
    }

    fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl Listener {
    /// Listens; the error says why it cannot. Does not wait for anything.
    pub fn start(address: SocketAddr, counts: Arc<Counts>, wake: Wake) -> io::Result<Listener> {
        let socket = TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let (asked, requests) = unbounded();
        let (stop, stopping) = watch::channel(());
        let served = socket.try_clone()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let thread = Builder::new().name("bear-metrics".to_owned()).spawn(move || {
            runtime.block_on(serve::run(served, asked, wake, counts, stopping));
        })?;
        Ok(Listener { socket, stop: Some(stop), requests, thread })
    }

    pub fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Somebody who wants a snapshot.
    pub fn take_request(&self) -> Option<Request> {
        self.requests.try_recv().ok()
    }

    /// Asks the thread to end. Its port is free at once, also where a child of a fork has a copy of the socket.
    pub fn stop(&mut self) {
        if self.stop.take().is_some() {
            if let Err(error) = SockRef::from(&self.socket).shutdown(std::net::Shutdown::Both) {
                log::debug!("the listener for metrics was not listening: {error}");
            }
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.stop.is_none() && self.thread.is_finished()
    }
}

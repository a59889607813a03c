//! The listener of `bear.metrics-listen`. At load, an address that cannot be had is tried again each second; CONFIG SET refuses it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::core::metrics::figures::Figures;
use crate::server::Server;

const AGAIN: Duration = Duration::from_secs(1);

/// What is known of it; the listener itself is one of [`crate::server::threads::Threads`].
#[derive(Debug, Default)]
pub struct Endpoint {
    /// Why nobody listens who should, and since when the last attempt.
    failed: Option<(String, Instant)>,
    /// The longest piece of work of a scrape, on a processor.
    pub(super) longest_slice_us: u64,
}

impl Server {
    /// At load, and from the cron loop: is there to be a listener, and none?
    pub(in crate::server) fn look_at_endpoint(&mut self) {
        let Some(address) = self.config.metrics_address() else { return };
        let is_too_soon = self.endpoint.failed.as_ref().is_some_and(|(_, tried)| tried.elapsed() < AGAIN);
        if self.workers.listener().is_some() || is_too_soon {
            return;
        }
        self.endpoint.failed = self.workers.listen(address).err().map(|error| {
            let text = cannot(address, &error);
            if self.endpoint.failed.is_none() {
                log::warn!("{text}; tried again each second");
            }
            (text, Instant::now())
        });
    }

    /// Another address, or none. The error refuses the change: it is as it was.
    pub(in crate::server) fn move_endpoint(
        &mut self,
        before: Option<SocketAddr>,
        now: Option<SocketAddr>,
    ) -> Result<(), String> {
        // The new one may be the same port of more addresses.
        self.workers.end_listening();
        let moved = now.map_or(Ok(()), |address| self.workers.listen(address).map_err(|error| cannot(address, &error)));
        match &moved {
            Ok(()) => self.endpoint.failed = None,
            Err(_) => {
                // Where that fails, the cron loop tries again.
                let _ = before.map(|address| self.workers.listen(address));
            }
        }
        moved
    }

    pub(in crate::server) fn endpoint_figures(&self) -> Figures {
        let state = match (self.workers.listener(), self.config.metrics_address()) {
            (Some(_), _) => "listening",
            (None, Some(_)) => "failed",
            (None, None) => "off",
        };
        let (scrapes, refused) = self.workers.listener_counts();
        let mut figures = Figures::default();
        figures.text("metrics_state", state);
        if let Some((error, _)) = self.endpoint.failed.as_ref().filter(|_| state == "failed") {
            figures.text("metrics_last_error", error);
        }
        figures.numbers([
            ("metrics_scrapes", scrapes),
            ("metrics_longest_slice_cpu_us", self.endpoint.longest_slice_us),
            ("metrics_refused", refused),
        ]);
        figures
    }
}

fn cannot(address: SocketAddr, error: &std::io::Error) -> String {
    format!("cannot listen on {address} for bear.metrics-listen: {error}")
}

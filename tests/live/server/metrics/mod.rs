//! What Prometheus is told by HTTP, and whether all is well.

mod figures;
mod health;
mod holds;
mod listener;
mod prometheus;

use crate::support::process::free_port;
use crate::support::server::Builder;

/// A server that listens for Prometheus, and where.
fn listening(builder: Builder) -> (Builder, u16) {
    let port = free_port();
    (builder.config("bear.metrics-listen", format!("127.0.0.1:{port}")), port)
}

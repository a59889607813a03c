//! Pools and a private Postgres that goes away, falls silent, or asks for TLS.

mod outage;
mod silence;
mod tls;

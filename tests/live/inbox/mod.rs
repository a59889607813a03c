//! Jobs that applications enqueue within their own transactions: what becomes of them, in Redis and in Postgres.

mod complete;
mod fence;
mod full;
mod hands;
mod latency;
mod losses;
mod options;
mod order;
mod owners;
mod refused;
mod take;
mod tenants;

//! What Prometheus is told, and whether all is well.
//!
//! | file | what |
//! |---|---|
//! | `endpoint` | the listener: begun, replaced, tried again |
//! | `gather` | a snapshot is made, in slices of ticks |
//!
//! Idle and unscraped it costs nothing but the buckets that times are counted in.

mod endpoint;
mod gather;

pub use endpoint::Endpoint;
pub use gather::Gathering;

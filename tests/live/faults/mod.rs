//! Servers that die, fall silent, come back as others or lose data, clocks that step, and roles that change: nothing is lost, nothing
//! happens twice, and nobody is told what is older than what they could know.

mod clock;
mod cluster;
mod crash;
mod drain_outage;
mod drain_roles;
mod freshness;
mod identity;
mod inbox;
mod locks;
mod lost_ledger;
mod outage;
mod poison;
mod restore;
pub mod sweep;
mod workers;

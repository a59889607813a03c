//! Cached results: what is answered and under which key it is kept, what drops it, how long it lives, and what is true of it on a
//! replica, in MULTI, under every memory policy and beside keys of others.

mod compressed;
mod eviction;
mod examples;
mod explain;
mod foreign;
mod invalidate;
mod large;
mod limits;
mod many;
mod metadata;
mod multi;
mod noblock;
mod overload;
mod persistence;
mod policy;
mod query;
mod replica;
mod rewarm;
mod stale;
mod stampede;
mod sweep;
mod tracking;
mod values;
mod verify;

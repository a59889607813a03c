//! Jobs: what is taken and what is refused, in which order it is applied, what becomes of a bad one, what is said of each, and what
//! an operator may do to a queue. Where a whole Postgres or Redis fails under load: `faults`.

mod acl;
mod ahead;
mod appliers;
mod bad_jobs;
mod block;
mod caches;
mod control;
mod end;
mod enqueue;
mod examples;
mod foreign_tables;
mod fuzz;
mod hands;
mod keys;
mod lists;
mod order;
mod states;
mod tenants;
mod trace;
mod types;
mod unique;
mod values;
mod wait;

//! The change feed: what others write in Postgres, and what jobs change, is fresh in the cache a moment later, in either kind of feed.

mod changes;
mod columns;
mod derived;
mod edges;
mod links;
mod listed;
mod lost;
mod own_changes;
mod pages;
mod predicates;
mod values;

//! Schedules: when they tick, that each tick is carried out once, and what is said of them.

mod clock;
mod command;
mod many;
mod once;
mod query;
mod refused;
mod support;
mod ticks;

//! Schedules: when they tick, that each tick is carried out once, and what is said of them.

mod command;
mod support;
mod ticks;

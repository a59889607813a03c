//! What Postgres may be, and what may stand before it: poolers, standbys that are promoted, transactions in two phases, subscriptions,
//! slots. `BEAR_TEST_POSTGRES_BIN` has all of it asked of another version.

mod bouncer;
mod encoding;
mod promotion;
mod slots;
mod subscription;
mod two_phases;

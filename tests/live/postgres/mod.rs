//! What Postgres may be, and what may stand before it: poolers. `BEAR_TEST_POSTGRES_BIN` has all of it asked of another version.

mod bouncer;

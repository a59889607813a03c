//! Pure logic: names, values, the catalog, calls, fills. No I/O, no clock, no Redis, no Postgres.

pub mod fetch;
pub mod fills;
pub mod value;

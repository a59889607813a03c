pub mod core;
pub mod postgres;
pub mod workers;

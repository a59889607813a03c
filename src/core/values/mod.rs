//! Types and values: one canonical text for each value, and how texts of numbers, dates, durations and JSON are read.
//!
//! | file | what |
//! |---|---|
//! | `canonical` | canonical text of single values |
//! | `datetime` | dates and times as clients type them, and their one canonical spelling |
//! | `duration` | durations as the catalog writes and shows them |
//! | `json_compact` | any JSON as it is stored |
//! | `json_members` | members of an object in compact JSON, found without reading their values |
//! | `json_number` | numbers of JSON as decimal numbers |
//! | `json_text` | reads JSON text strictly and piece by piece, and writes it compactly |
//! | `percent` | shares as the catalog writes them |
//! | `priority` | which job is handed out first |
//! | `size` | sizes as the catalog writes them |
//! | `value` | types, and values in canonical form |
//!
//! A new scalar type: a variant in `value`, its spelling in `canonical`, its comparison in `changes/image/comparable`.

pub mod canonical;
pub mod datetime;
pub mod duration;
pub mod json_compact;
pub mod json_members;
pub mod json_number;
pub mod json_text;
pub mod percent;
pub mod priority;
pub mod size;
pub mod value;

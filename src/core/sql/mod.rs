//! SQL of the catalog as far as it must be understood: placeholders, tokens, names.
//!
//! | file | what |
//! |---|---|
//! | `hidden` | columns that are added to a SELECT |
//! | `spelling` | how a catalog may spell tables and columns |
//! | `template` | SQL of the catalog with `{name}` for values |
//! | `tokens` | a statement as the tokens of Postgres' lexer |
//! | `writes` | what a statement deletes from, and which columns it sets |
//!
//! What a statement may hold is decided in `template`; the other two read names alone.

pub mod hidden;
pub mod spelling;
pub mod template;
pub mod tokens;
pub mod writes;

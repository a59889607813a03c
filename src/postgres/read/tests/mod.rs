//! Fetches against a private Postgres: what they bring back, and whose an error is.

mod fetch;
mod own_errors;

//! The catalog: what a file of sections, queries and jobs becomes once everything in it has been checked. Immutable.
//!
//! | file | what |
//! |---|---|
//! | `additions` | what was derived, as keys of the file |
//! | `claim` | jobs that workers claim: leases, attempts, limits |
//! | `claimed` | which claimed jobs a section takes |
//! | `columns_read` | which columns of rows results read, and which of a changed row are as they were |
//! | `demand` | whether anybody depends on the values of a section's rows |
//! | `fetch_plan` | a query as the threads that fetch send it |
//! | `job` | a job: its payload, and the SQL that applies it |
//! | `life` | how long an entry is served |
//! | `limit` | a limit with a name, which BEAR.LIMIT asks |
//! | `lists` | what results list that predicates compare with |
//! | `outline` | what sections must know of each other before any is read |
//! | `read_catalog` | reads a catalog from TOML and checks it |
//! | `read_claim` | reads what is said of claimed jobs |
//! | `read_columns` | reads what the results of a query read |
//! | `read_job` | reads the jobs of a section |
//! | `read_life` | reads how long entries live |
//! | `read_lists` | reads what the results of a query list |
//! | `read_limit` | reads a section's limits, and tells their two kinds apart |
//! | `read_query` | reads the queries of a section |
//! | `read_schedule` | reads the schedules of a section |
//! | `read_value` | reads the values of a section, which the application computes |
//! | `schedule` | a schedule of the catalog |
//! | `section_names` | names of sections, found by name and within SQL |
//! | `sections` | the catalog itself |
//! | `slots` | which sections share a slot of a cluster, and which depend on each other over slots |
//! | `space` | which space of the catalog a client's name means, and which one owns a key |
//! | `toml_reader` | keys of TOML tables, and what is wrong with them |
//! | `words` | names that a section's SQL may mean |
//!
//! ```text
//! TOML -> outline (what sections say of each other) -> read_catalog -> read_query, read_job, read_claim, read_life, read_schedule -> sections
//! ```
//!
//! A new option of a query or job: a field in `sections` or `job`, a line in its reader, a row in the catalog's page of the book.

pub mod additions;
pub mod claim;
pub mod claimed;
pub mod columns_read;
pub mod demand;
pub mod fetch_plan;
pub mod job;
pub mod life;
pub mod limit;
pub mod lists;
pub mod outline;
pub mod read_catalog;
pub mod read_claim;
pub mod read_columns;
pub mod read_job;
pub mod read_life;
pub mod read_limit;
pub mod read_lists;
pub mod read_query;
pub mod read_schedule;
pub mod read_value;
pub mod schedule;
pub mod section_names;
pub mod sections;
pub mod slots;
pub mod space;
pub mod toml_reader;
pub mod words;

pub use sections::*;

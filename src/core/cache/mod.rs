//! Cached results: what a fetch brings, whether it may be stored, which entries are live and what drops them.
//!
//! | file | what |
//! |---|---|
//! | `asked` | a call as the thread that fetches it knows it |
//! | `leases` | until when a client may compute a value |
//! | `membership` | which metadata sets a result belongs to |
//! | `fetch` | what a fetch asks of Postgres and what it brings back |
//! | `fills` | which clients wait for which fetch, and whether its result may be stored |
//! | `gather` | replies that are put together from parts |
//! | `glob` | Redis' globs over bytes |
//! | `index` | which entries are live, and which metadata each belongs to |
//! | `meta_id` | the number of a metadata set |
//! | `metas` | metadata sets by number |
//! | `moment` | times of entries, kept small |
//! | `ownership` | whose the keys under a section's names are |
//! | `stored_form` | how a result's bytes are kept: as they are, or compressed |
//! | `readers` | what the results of live entries read, as numbers and marks |
//! | `rewarm` | which entries are fetched again that a change has dropped, and when |
//! | `tenant_sets` | sets of one row by whatever tenant it is kept under |
//! | `walk` | a walk over ordered keys that goes on where the last one stopped |
//!
//! ```text
//! asked -> fetch -> fills: stored unless struck -> index -> removed by row, tag, query, pattern, all
//! ```
//!
//! A new way to invalidate: `index` finds what it concerns, `fills` strikes what is under way; `fills/model` tries every order.

pub mod asked;
pub mod fetch;
pub mod fills;
pub mod gather;
pub mod glob;
pub mod index;
pub mod leases;
pub mod membership;
pub mod meta_id;
pub mod metas;
pub mod moment;
pub mod ownership;
pub mod readers;
pub mod rewarm;
pub mod stored_form;
pub mod tenant_sets;
pub mod walk;

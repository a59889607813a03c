//! Cached results, as their master sees them.
//!
//! | file | what |
//! |---|---|
//! | `call` | a call as a client makes it, and once it is checked |
//! | `query` | BEAR.QUERY: a call becomes a hit, a wait, or an error |
//! | `many` | BEAR.MQUERY: several calls, one reply |
//! | `noblock` | BEAR.QUERY … NOBLOCK: nil on a miss, and a message when its fetch has ended |
//! | `stored` | what an entry holds, plain or compressed |
//! | `fetching` | fetches are sent, their outcomes answered and stored |
//! | `waiting` | clients that wait for a fetch, and their deadlines |
//! | `refresh` | entries at the end of their life are fetched for nobody |
//! | `rewarm` | entries that a change has dropped are fetched again |
//! | `invalidate` | BEAR.INVALIDATE strikes fills and removes entries |
//! | `explain` | BEAR.EXPLAIN: what is known of a call |
//! | `verify` | BEAR.VERIFY: entries are compared with Postgres |
//! | `values`, `put` | BEAR.GET, BEAR.PUT, BEAR.FORGET: values, which the application computes |
//! | `owning` | sections whose names are somebody else's; BEAR.ADOPT |
//!
//! ```text
//! QUERY -> hit: answered from the key's memory
//!       -> miss: waits -> fetch -> answered -> stored, unless an invalidation has struck it meanwhile
//! ```
//! Whether a result may be stored is decided in `core/cache/fills`, whether an entry is live in `core/cache/index`.
//!
//! A new option of BEAR.QUERY: its word in `commands/query`, what it means in `query`. A new target of BEAR.INVALIDATE: `invalidate`,
//! then `keyspace/remove`, and a strike in `core/cache/fills`.

pub(in crate::server) mod call;
pub(in crate::server) mod explain;
pub(in crate::server) mod fetching;
pub(in crate::server) mod invalidate;
pub(in crate::server) mod many;
pub(in crate::server) mod noblock;
pub(in crate::server) mod owning;
pub(in crate::server) mod put;
pub(in crate::server) mod query;
pub(in crate::server) mod refresh;
pub(in crate::server) mod rewarm;
pub(in crate::server) mod stored;
pub(in crate::server) mod values;
pub(in crate::server) mod verify;
pub(in crate::server) mod waiting;

//! Slots of a cluster that move from node to node, and what a node may do meanwhile.
//!
//! | file | what |
//! |---|---|
//! | `tag` | which spaces share a slot for certain |
//! | `unsettled` | spaces that rest, and how their rest ends |
//! | `tombstones` | where a master's replicas are told to serve nothing |
//! | `epochs` | whether a slot without keys may have been elsewhere |
//!
//! A slot is, at a node, in one of four states. All that is kept of a space is one unit (entries, the queue's dozen keys, claims, locks),
//! and goes key by key: in two of the states a node may have some of it.
//!
//! | the slot is | who sends commands here | what this node may do with a space of it |
//! |---|---|---|
//! | owned | everybody | all |
//! | migrating (`->`) | nobody: keys named like spaces do not exist, so that Redis answers ASK | nothing: it rests |
//! | importing (`<-`) | clients that were sent here, with ASKING | nothing: it rests. Queries are answered from Postgres, the rest is told TRYAGAIN |
//! | another's | nobody | nothing: what is in memory of it goes |
//!
//! A slot that goes as a whole (CLUSTER MIGRATESLOTS) is owned until it is another's, at the moment when all of it is there; the server
//! allows no writes just before. At the other node its keys are written by a stream while it is another's, and touch its spaces: they rest.
//!
//! ```text
//!             a look says: not owned            owned, no key touched: goes on where it was
//!   (works) -------------------------> rests -------------------------------------------------> (works)
//!                                        |     owned, keys have come or gone: read anew, entries cold
//!                                        '----> another's, and no key is left: forgotten
//! ```
//! Whoever is about to write looks first, within the same callback, in which no slot can move. So no node writes half way, and the
//! ledger in Postgres, by the identity that moves with the queue, says what the other has applied.

pub mod epochs;
#[cfg(test)]
mod model;
pub mod tag;
pub mod tombstones;
#[cfg(test)]
mod tombstones_model;
pub mod unsettled;

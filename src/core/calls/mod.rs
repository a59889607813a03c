//! From the words of a client to a query, its arguments, and the keys and tags that stand for the call.
//!
//! | file | what |
//! |---|---|
//! | `ambiguity` | whether some words fit two queries of a section |
//! | `fit` | how words fit one pattern, as a key and as values |
//! | `keys` | the keys that a space owns, behind its prefix |
//! | `lookup` | from words to the one query that they call, and the one key that stands for the call |
//! | `names` | how sections and spaces may be called, and the prefix of a space's keys |
//! | `pattern` | the pattern of a call, as the catalog writes it |
//! | `predicate` | `match` and `on`: which rows belong in a result |
//! | `tags` | what tags an entry has |
//! | `word` | words as clients type them, and as keys hold them |
//!
//! ```text
//! words -> word -> fit (pattern) -> lookup: one query, its arguments -> keys, tags, predicate
//! ```
//!
//! A new kind of argument or group: `pattern`, then `fit`, then the proof in `ambiguity`.

pub mod ambiguity;
pub mod fit;
pub mod keys;
pub mod lookup;
pub mod names;
pub mod pattern;
pub mod predicate;
pub mod tags;
pub mod word;

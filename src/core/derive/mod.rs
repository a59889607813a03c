//! What a statement's result depends on, derived from Postgres' own rewritten tree of it.
//!
//! | file | what |
//! |---|---|
//! | `facts` | what must be known of the database beside the tree |
//! | `tree` | reads a tree's text |

// Nothing uses the room before the check of catalogs does; to be removed then.
#![allow(dead_code)]

pub mod facts;
pub mod tree;

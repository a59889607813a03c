//! What is asked of a query's declarations, and what they come to.

use std::collections::BTreeMap;

use super::origins::Origin;
use crate::core::catalog::{Query, Section};

/// What is known of the declarations of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub standing: Standing,
    /// Why it is not proven, or what its author says; and where Postgres may answer differently over the same data.
    pub reasons: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// What its author does not say was derived from the SQL, and what he says is proven.
    Derived,
    /// Whatever changes, what it concerns is dropped.
    Proven,
    /// Nobody knows more than its author says.
    Declared,
    /// Its author answers for it, whatever bear says.
    Trusted,
    /// It leaves stale answers.
    Wrong,
}

impl Standing {
    pub fn name(self) -> &'static str {
        match self {
            Standing::Derived => "derived",
            Standing::Proven => "proven",
            Standing::Declared => "declared",
            Standing::Trusted => "trust",
            Standing::Wrong => "wrong",
        }
    }
}

/// Sections whose rows a relation's rows concern, and the column that holds their ids (None: a SELECT tells); by the relation's oid.
pub type Mappings = BTreeMap<u32, Vec<(usize, Option<Box<str>>)>>;

/// What the catalog says of relations, by what Postgres takes their names for.
#[derive(Debug, Clone, Default)]
pub struct Mapped {
    pub tables: Mappings,
    /// Where columns of a section's `row` statement come from, if from a column alone.
    pub rows: BTreeMap<(usize, Box<str>), Origin>,
}

/// A query as the catalog has it.
#[derive(Clone, Copy)]
pub struct Stated<'a> {
    pub sections: &'a [Section],
    /// Its section.
    pub section: usize,
    pub query: &'a Query,
}

/// What one thing that is said comes to.
pub(super) enum Verdict {
    Enough,
    /// Nobody can tell, and why.
    Unclear(String),
    /// It leaves stale answers: what of the SQL it leaves out, and what would be right.
    Short(String),
}

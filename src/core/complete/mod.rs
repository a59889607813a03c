//! What a catalog leaves unsaid, in its own words: from the rules that were derived of each query's SQL.
//!
//! | file | what |
//! |---|---|
//! | `homes` | the section that changes of a relation's rows are told to, and by which of its columns; new ones where there is none |
//! | `words` | a condition as a predicate says it |
//! | `statement` | a rule as a SELECT of the rows, or of the values, that it concerns |
//! | `page` | the bound of a full page |
//! | `completer` | one query: its rules, whose homes are known, and what was found so far |
//! | `linked` | what a predicate demands of a rule's rows |
//! | `listed` | which rows a result lists, and which values of others |
//! | `read_columns` | the columns that decide |
//! | `query` | what one query leaves unsaid |
//!
//! ```text
//! rules of a query -> homes: on which sections it depends -> for each, what finds rows that come (a predicate)
//!                                                         -> and what finds rows that go or change (ids that the result lists)
//! ```
//!
//! Invariant: a row's change that a rule concerns is found by what is written here. A row that is concerned now meets the predicate;
//! one that was before is listed, for it met the rule in the snapshot of the result, and each list holds at least what meets it. What
//! cannot be said is left out of a predicate, which makes it wider; a list's statement says all of a rule, and leaves out only links
//! to what no statement can select.

mod completer;
mod homes;
mod linked;
mod listed;
mod page;
mod query;
mod read_columns;
mod statement;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use crate::core::catalog::additions::{Additions, SectionAdditions};
use crate::core::catalog::{Query, Section};
use crate::core::derive::facts::Facts;
use crate::core::derive::tree::Node;
use crate::core::derive::Derived;
use crate::core::prove::claims::Mapped;

pub use homes::Homes;

/// One query whose SQL Postgres takes.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// Its section.
    pub section: usize,
    /// Its number in the section.
    pub index: usize,
    pub query: &'a Query,
    pub tree: &'a Node,
    pub derived: &'a Derived,
}

/// The catalog as its author wrote it, and what its names mean.
#[derive(Clone, Copy)]
pub struct Said<'a> {
    pub sections: &'a [Section],
    pub mapped: &'a Mapped,
    /// By section: the relation that is its table, where it says nothing of `tables`.
    pub own_tables: &'a BTreeMap<usize, u32>,
    pub facts: &'a Facts,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Completed {
    pub additions: Additions,
    /// By the query's place: occurrences of relations of which its author says nothing, and this does.
    pub covered: BTreeMap<(usize, usize), BTreeSet<usize>>,
    /// By the query's place: where it is coarse, and why.
    pub reasons: BTreeMap<(usize, usize), BTreeSet<String>>,
}

/// What all of them leave unsaid. `coarse`: queries, by their place, of which what was written was refused by Postgres.
pub fn complete(said: Said<'_>, subjects: &[Subject<'_>], coarse: &BTreeSet<(usize, usize)>) -> Completed {
    let mut homes = Homes::of(said);
    let mut completed = Completed::default();
    let is_cacheable = |subject: &&Subject<'_>| {
        let mut refused = subject.derived.refused.iter();
        subject.query.trust.is_none() && refused.all(|refusal| refusal.why.is_covered_by_ttl())
    };
    for subject in subjects.iter().filter(is_cacheable) {
        let place = (subject.section, subject.index);
        let found = query::complete(said, &mut homes, subject, coarse.contains(&place));
        let section = &said.sections[subject.section].name;
        if found.additions != Default::default() {
            completed.additions.queries.insert((section.clone(), subject.index), found.additions);
        }
        completed.covered.insert(place, found.covered);
        if !found.reasons.is_empty() {
            completed.reasons.insert(place, found.reasons);
        }
    }
    let sections: BTreeMap<Box<str>, SectionAdditions> = homes.additions(said);
    completed.additions.sections = sections;
    completed
}

//! What is asked of a catalog, and what Postgres says of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::core::catalog::fetch_plan::FetchPlan;
use crate::core::catalog::{Catalog, Section};
use crate::core::prove::claims::Proof;
use crate::core::values::value::ArgType;
use crate::postgres::apply::answer::JobStatement;

/// The statements of a catalog.
#[derive(Debug, Clone)]
pub struct Validation {
    /// The caller's own number, brought back with the report.
    pub ticket: u64,
    pub statements: Vec<ValidateStatement>,
    /// Relations that sections map, with or without their schema.
    pub mapped_tables: Vec<String>,
    /// Whose queries are compared with what is said of them.
    pub sections: Arc<[Section]>,
    /// What these sections leave unsaid is derived, and read together with their file; None: it is not.
    pub file: Option<CatalogFile>,
    /// Is what others change told?
    pub has_feed: bool,
    pub deadline: Instant,
}

/// A catalog's file, to be read again with what was derived.
#[derive(Debug, Clone)]
pub struct CatalogFile {
    pub text: Arc<str>,
    /// See [`read_catalog::parse_with`].
    pub plan_id: fn() -> u64,
}

#[derive(Debug, Clone)]
pub struct ValidateStatement {
    /// Names the statement in messages, e.g. `bear query "size {start:int} …"`.
    pub what: String,
    /// With `$1 … $n`; ignored for a query, whose plan has its own.
    pub sql: String,
    /// None lets Postgres infer the type.
    pub params: Vec<Option<ArgType>>,
    pub kind: StatementKind,
}

#[derive(Debug, Clone)]
pub enum StatementKind {
    /// Its shape is checked too, and the relations it reads.
    Query(Arc<FetchPlan>),
    /// One of `tables`: what it means for the relations that it reads is told.
    Link {
        /// The relations that the section maps, with or without their schema; first the one that it is for.
        mapped: Vec<String>,
    },
    /// Its columns are checked, and what it changes without telling of it.
    Job(JobStatement, JobOf),
    Other,
}

/// Which job a statement is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOf {
    /// Its number in the catalog.
    pub section: usize,
    pub section_name: Box<str>,
    pub name: Box<str>,
}

/// By section and name of the job.
pub type JobHints = BTreeMap<(Box<str>, Box<str>), Vec<String>>;

/// Lines for a log or a reply, each beginning with the statement's `what`.
#[derive(Debug, Clone, Default)]
pub struct ValidationReport {
    pub errors: Vec<String>,
    pub warnings: Vec<String>,
    /// Statements of `tables` by which more is dropped than need be.
    pub links: Vec<String>,
    /// What there is to say of jobs that are right, by their section and name.
    pub hints: JobHints,
    /// What the declarations of queries are worth, by the ids of their plans.
    pub proofs: BTreeMap<u64, Proof>,
    /// The catalog with what its file leaves unsaid; None: it leaves nothing.
    pub completed: Option<Box<Catalog>>,
    /// Would something else be said if there were no feed?
    pub counts_on_feed: bool,
    /// Nobody knows what is left unsaid.
    pub is_underived: bool,
}

impl ValidationReport {
    /// Once, however many statements of the job it is true of.
    pub(super) fn hint(&mut self, job: &JobOf, hint: String) {
        let hints = self.hints.entry((job.section_name.clone(), job.name.clone())).or_default();
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
}

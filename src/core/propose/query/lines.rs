//! The lines of TOML.

use std::fmt;

use super::proposal::Proposal;
use crate::core::propose::write::{comment, quoted, statement};

/// The section that a query stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    pub section: String,
    /// Its table, where its name does not say it.
    pub table: Option<String>,
}

/// A query as it stands in a catalog.
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    pub section: &'a str,
    pub proposal: &'a Proposal,
    /// Does its author say that the rows are not tracked?
    pub says_no_rows: bool,
    /// How long its results live, where they change by themselves.
    pub ttl: Option<&'a str>,
    /// Lines of comment, before it and after it.
    pub above: &'a [String],
    pub below: &'a [String],
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.table {
            Some(table) => write!(f, "[{}]\ntable = {}\n\n", self.section, quoted(table)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.above {
            writeln!(f, "{}", comment(line))?;
        }
        writeln!(f, "[[{}.query]]", self.section)?;
        writeln!(f, "call = {}", quoted(&self.proposal.call))?;
        writeln!(f, "sql  = {}", statement(&self.proposal.sql))?;
        if self.says_no_rows {
            writeln!(f, "rows = false")?;
        }
        if let Some(ttl) = self.ttl {
            writeln!(f, "ttl  = {}", quoted(ttl))?;
        }
        for line in self.below.iter().chain(&self.proposal.notes) {
            writeln!(f, "{}", comment(line))?;
        }
        Ok(())
    }
}

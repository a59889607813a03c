//! What has become of rows.

use std::collections::HashSet;

use super::link::{rows, InboxLink};
use super::quote::ints;
use super::InboxError;

/// Rows that are asked for at once.
const AT_ONCE: usize = 500;

/// A row that is open no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// There is none: it was settled before, or somebody deleted it.
    Gone,
    /// `bear.complete` has completed it by this token; the JSON is its result.
    Done { space: Box<str>, token: u64, result: Option<Box<str>> },
    /// It is kept as failed: JSON.
    Failed { space: Box<str>, error: Box<str> },
}

/// Rows that are open no more, and ids that have not been looked at yet.
pub type Verified<'a> = (Vec<(u64, Settled)>, &'a [u64]);

impl InboxLink {
    /// Those of the first ids that are open no more, and which ids have not been looked at yet.
    pub fn verify<'a>(&mut self, ids: &'a [u64]) -> Result<Verified<'a>, InboxError> {
        let (now, later) = ids.split_at(ids.len().min(AT_ONCE));
        let sql = format!(
            "SELECT i.id, i.space, i.done, i.result::text, i.failed::text FROM bear.inbox i WHERE i.id = ANY ({})",
            ints(now)
        );
        let messages = self.read(&sql)?;
        let (mut there, mut settled) = (HashSet::new(), Vec::new());
        for row in rows(&messages) {
            let Some(id) = row.get(0).and_then(|id| id.parse::<u64>().ok()) else { continue };
            there.insert(id);
            let space = || row.get(1).unwrap_or_default().into();
            match (row.get(2), row.get(4)) {
                (Some(token), _) => {
                    let (token, result) = (token.parse().unwrap_or_default(), row.get(3).map(Into::into));
                    settled.push((id, Settled::Done { space: space(), token, result }));
                }
                (None, Some(error)) => settled.push((id, Settled::Failed { space: space(), error: error.into() })),
                (None, None) => {}
            }
        }
        settled.extend(now.iter().filter(|id| !there.contains(id)).map(|id| (*id, Settled::Gone)));
        Ok((settled, later))
    }
}

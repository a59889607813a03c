//! Whether the same rows give another answer: a view, a function, a type, a column, a policy is not what it was.
//!
//! No row changes then, so that no stream tells it; the catalogs of Postgres are looked at instead. Rule: what a name in a
//! section's SQL may mean, in any schema, counts, with all that depends on it: columns and their types, views and what they
//! read, functions and the names in their bodies, policies. So does what no statement names: operators, casts, collations.
//!
//! `watch` says when it is looked, and who waits for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_postgres::types::Type;
use tokio_postgres::Statement;

use crate::core::catalog::words::words_of;
use crate::core::catalog::Section;
use crate::core::values::value::Value;
use crate::mutations;
use crate::postgres::connect::client::{Client, ClientError};
use crate::postgres::connect::failure::Failure;
use crate::postgres::values::params::TextParam;

const DIGESTS: &str = include_str!("answers.sql");

/// Sections that one statement is asked about.
const SECTIONS_A_STATEMENT: usize = 100;

/// What the sections of a catalog may name, by section.
pub(super) type Words = Arc<[Vec<Box<str>>]>;

pub(super) fn words(sections: &[Section]) -> Words {
    sections.iter().map(|section| words_of(section).into_iter().collect()).collect()
}

/// What a look has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is the first one.
    Known,
    /// The sections whose answers may be others by now.
    Changed(Vec<usize>),
    /// It has not ended.
    Unknown,
}

/// What the answers depended on when it was looked at last.
pub(super) struct Answers {
    words: Words,
    all_words: Vec<Box<str>>,
    /// Of the connection.
    statement: Option<Statement>,
    /// Of all sections together, which is cheaper than of each, and of each.
    known: Option<(Option<i64>, Vec<Option<i64>>)>,
}

impl Answers {
    pub(super) fn new(words: Words) -> Answers {
        let all_words = words.iter().flatten().collect::<BTreeSet<_>>().into_iter().cloned().collect();
        Answers { words, all_words, statement: None, known: None }
    }

    /// The connection is another.
    pub(super) fn prepare_anew(&mut self) {
        self.statement = None;
    }

    /// Compares with the last look that ended well.
    pub(super) fn look(&mut self, client: &mut Client) -> Result<Meaning, Failure> {
        let statement = match &self.statement {
            Some(statement) => statement.clone(),
            None => {
                let statement = client.prepare_typed(DIGESTS, &[Type::INT4_ARRAY, Type::NAME_ARRAY])?;
                self.statement.insert(statement).clone()
            }
        };
        let all = self.of_all(client, &statement)?;
        let is_as_known = |(known, _): &(Option<i64>, _)| all == *known || mutations::is("no-answers-digest");
        if self.known.as_ref().is_some_and(is_as_known) {
            return Ok(Meaning::Changed(Vec::new()));
        }
        // What changes from here on is found the next time.
        let each = self.of_each(client, &statement)?;
        let meaning = match &self.known {
            None => Meaning::Known,
            Some((_, before)) => {
                let differ = |(section, (now, then))| (now != then).then_some(section);
                Meaning::Changed(each.iter().zip(before).enumerate().filter_map(differ).collect())
            }
        };
        self.known = Some((all, each));
        Ok(meaning)
    }

    fn of_all(&self, client: &mut Client, statement: &Statement) -> Result<Option<i64>, Failure> {
        let words: Vec<_> = self.all_words.iter().map(|word| (0, word.clone())).collect();
        Ok(digests(client, statement, &words, 1)?.pop().flatten())
    }

    fn of_each(&self, client: &mut Client, statement: &Statement) -> Result<Vec<Option<i64>>, Failure> {
        let mut all = Vec::new();
        for sections in self.words.chunks(SECTIONS_A_STATEMENT) {
            let of_one = |(section, words): (usize, &Vec<Box<str>>)| -> Vec<(usize, Box<str>)> {
                words.iter().map(|word| (section, word.clone())).collect()
            };
            let words: Vec<_> = sections.iter().enumerate().flat_map(of_one).collect();
            all.extend(digests(client, statement, &words, sections.len())?);
        }
        Ok(all)
    }
}

/// By section; None where nothing is meant by its words.
fn digests(
    client: &mut Client,
    statement: &Statement,
    words: &[(usize, Box<str>)],
    count: usize,
) -> Result<Vec<Option<i64>>, Failure> {
    let mut digests = vec![None; count];
    let sections = Value::Array(words.iter().map(|(section, _)| section.to_string().into()).collect());
    let words = Value::Array(words.iter().map(|(_, word)| word.clone()).collect());
    let (sections, words) = (sections.to_postgres_text(), words.to_postgres_text());
    let params = [TextParam(sections.as_deref()), TextParam(words.as_deref())];
    client.query_each(statement, params, |row: &tokio_postgres::Row| {
        let (section, digest): (i32, Option<i64>) =
            (row.try_get(0).map_err(ClientError::from)?, row.try_get(1).map_err(ClientError::from)?);
        if let Some(found) = usize::try_from(section).ok().and_then(|section| digests.get_mut(section)) {
            *found = digest;
        }
        Ok::<_, Failure>(())
    })?;
    Ok(digests)
}

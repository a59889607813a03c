//! Whether the same rows give another answer: a view, a function, a type, a column, a policy is not what it was.
//!
//! No row changes then, so that no stream tells it; the catalogs of Postgres are looked at instead. Rule: what a name in a
//! section's SQL may mean, in any schema, counts, with all that depends on it: columns and their types, views and what they
//! read, functions and the names in their bodies, policies. So does what no statement names: operators, casts, collations.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio_postgres::types::Type;
use tokio_postgres::Statement;

use crate::core::catalog::Section;
use crate::core::value::Value;
use crate::core::words::words_of;
use crate::mutations;
use crate::postgres::client::{Client, ClientError};
use crate::postgres::failure::Failure;
use crate::postgres::params::TextParam;

use super::error::FeedError;

const DIGESTS: &str = include_str!("answers.sql");

/// Of the time at most one part in so many is spent on looking, unless the grace asks for more.
const SPARING: u32 = 50;

/// Sections that one statement is asked about.
const SECTIONS_A_STATEMENT: usize = 100;

/// What the answers depended on when it was looked at last.
#[derive(Default)]
pub(super) struct Answers {
    /// None where nobody looks, for Postgres does not let us.
    statement: Option<Statement>,
    words: Vec<Vec<Box<str>>>,
    all_words: Vec<Box<str>>,
    /// Of all sections together, which is cheaper than of each.
    all: Option<i64>,
    each: Vec<Option<i64>>,
    look_at: Option<Instant>,
}

impl Answers {
    /// What they depend on from now on.
    pub(super) fn look(client: &mut Client, sections: &[Section], limit: Duration) -> Result<Answers, FeedError> {
        let words: Vec<BTreeSet<Box<str>>> = sections.iter().map(words_of).collect();
        let all_words = words.iter().flatten().collect::<BTreeSet<_>>().into_iter().cloned().collect();
        let words = words.into_iter().map(|words| words.into_iter().collect()).collect();
        let mut answers = Answers { words, all_words, ..Answers::default() };
        client.set_deadline(Instant::now() + limit);
        match client.prepare_typed(DIGESTS, &[Type::INT4_ARRAY, Type::NAME_ARRAY]).map_err(Failure::from) {
            Ok(statement) => answers.statement = Some(statement),
            Err(failure) => answers.give_up(failure)?,
        }
        answers.all = answers.of_all(client, limit)?;
        answers.each = answers.of_each(client, limit)?;
        Ok(answers)
    }

    /// The sections whose answers may be others by now; looks as often as the grace asks for.
    pub(super) fn changed(
        &mut self,
        client: &mut Client,
        grace: Duration,
        limit: Duration,
    ) -> Result<Vec<usize>, FeedError> {
        let started = Instant::now();
        if self.statement.is_none() || self.look_at.is_some_and(|at| started < at) {
            return Ok(Vec::new());
        }
        let all = self.of_all(client, limit)?;
        // Within the grace from the change on, the look included.
        self.look_at = Some(started + (started.elapsed() * SPARING).min(grace / 2));
        if all == self.all || self.statement.is_none() || mutations::is("no-answers-digest") {
            return Ok(Vec::new());
        }
        // What changes from here on is found the next time.
        self.all = all;
        let each = self.of_each(client, limit)?;
        let differ = |(section, (now, then)): (usize, (&Option<i64>, &Option<i64>))| (now != then).then_some(section);
        let changed = each.iter().zip(&self.each).enumerate().filter_map(differ).collect();
        self.each = each;
        Ok(changed)
    }

    fn of_all(&mut self, client: &mut Client, limit: Duration) -> Result<Option<i64>, FeedError> {
        let words: Vec<_> = self.all_words.iter().map(|word| (0, word.clone())).collect();
        Ok(self.digests(client, &words, 1, limit)?.pop().flatten())
    }

    fn of_each(&mut self, client: &mut Client, limit: Duration) -> Result<Vec<Option<i64>>, FeedError> {
        let mut all = Vec::new();
        for sections in self.words.clone().chunks(SECTIONS_A_STATEMENT) {
            let of = |(section, words): (usize, &Vec<Box<str>>)| {
                words.iter().map(move |word| (section, word.clone())).collect::<Vec<_>>()
            };
            let words: Vec<_> = sections.iter().enumerate().flat_map(of).collect();
            all.extend(self.digests(client, &words, sections.len(), limit)?);
        }
        Ok(all)
    }

    /// By section; None where nothing is meant by its words, or nobody looks any more.
    fn digests(
        &mut self,
        client: &mut Client,
        words: &[(usize, Box<str>)],
        count: usize,
        limit: Duration,
    ) -> Result<Vec<Option<i64>>, FeedError> {
        let mut digests = vec![None; count];
        let Some(statement) = &self.statement else { return Ok(digests) };
        let sections = Value::Array(words.iter().map(|(section, _)| section.to_string().into()).collect());
        let words = Value::Array(words.iter().map(|(_, word)| word.clone()).collect());
        let (sections, words) = (sections.to_postgres_text(), words.to_postgres_text());
        let params = [TextParam(sections.as_deref()), TextParam(words.as_deref())];
        client.set_deadline(Instant::now() + limit);
        let each = |row: &tokio_postgres::Row| {
            let (section, digest): (i32, Option<i64>) =
                (row.try_get(0).map_err(ClientError::from)?, row.try_get(1).map_err(ClientError::from)?);
            if let Some(found) = usize::try_from(section).ok().and_then(|section| digests.get_mut(section)) {
                *found = digest;
            }
            Ok::<_, Failure>(())
        };
        match client.query_each(statement, params, each) {
            Ok(()) => {}
            Err(failure) => self.give_up(failure)?,
        }
        Ok(digests)
    }

    /// Where the catalogs are closed to us, the rest of the feed is as good as without.
    fn give_up(&mut self, failure: Failure) -> Result<(), FeedError> {
        if matches!(failure, Failure::Broken(_) | Failure::Silent) {
            return Err(failure.into());
        }
        self.statement = None;
        let why = FeedError::from(failure);
        log::warn!("cached results stay when a view, a function or a type is altered, until their TTL ends: {why}");
        Ok(())
    }
}

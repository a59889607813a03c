//! Which sections are this data set's: a row of bear.inbox_owner each, renewed every few seconds; and which jobs its catalog has,
//! for bear.enqueue to look at.
//!
//! Invariant: a section is ours only under the generation that we drew. Whoever comes with the same data, a copy or a replica
//! that was promoted, draws a greater one, and what was ours is lost; it is not taken back before the other has been silent for
//! [`SILENCE`] by Postgres' clock.

use std::collections::{BTreeMap, BTreeSet};

use super::link::{rows, InboxLink};
use super::quote::{ints, text, texts};
use super::InboxError;

/// Whoever has not been there for so long owns nothing.
const SILENCE: &str = "interval '30 s'";

/// Whether the rows of a section are ours to take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owned {
    Ours,
    /// Another data set of Redis was there within the last 30 seconds; it is asked again.
    Others {
        name: Box<str>,
    },
}

/// A job of the catalog, as bear.enqueue knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CatalogJob {
    pub section: Box<str>,
    /// `*`: any name.
    pub job: Box<str>,
    /// `sql` or `claimed`, and how spaces of the section are written: `sql mail`, `sql {group}:mail`, `sql {*}:mail` of any tenant.
    pub kind: Box<str>,
}

/// What is wanted, and what is held of it. Outlives connections.
#[derive(Debug, Default)]
pub struct Holding {
    owner: i64,
    name: Box<str>,
    jobs: Vec<CatalogJob>,
    sections: BTreeSet<Box<str>>,
    /// By section, the generation under which it is ours.
    held: BTreeMap<Box<str>, i64>,
    /// Ours no more: others have come with the same data.
    lost: BTreeSet<Box<str>>,
    /// Of those that are not ours, whose they are.
    others: BTreeMap<Box<str>, Box<str>>,
}

impl Holding {
    /// As the data set with that number; the sections are those of the jobs.
    pub fn new(owner: i64, name: Box<str>, mut jobs: Vec<CatalogJob>) -> Holding {
        jobs.sort();
        let sections = jobs.iter().map(|job| job.section.clone()).collect();
        Holding { owner, name, jobs, sections, ..Holding::default() }
    }

    /// The same data set with another catalog goes on with what it holds.
    pub fn replaces(mut self, before: Holding) -> Holding {
        if before.owner == self.owner {
            (self.held, self.lost) = (before.held, before.lost);
        }
        self
    }

    /// The sections that are ours and wanted.
    pub fn ours(&self) -> impl Iterator<Item = &str> {
        self.held.keys().filter(|section| self.sections.contains(*section)).map(|section| &**section)
    }

    /// How each wanted section stands.
    pub fn standing(&self) -> BTreeMap<Box<str>, Owned> {
        let of = |section: &str| match self.held.contains_key(section) {
            true => Owned::Ours,
            false => Owned::Others { name: self.others.get(section).cloned().unwrap_or_default() },
        };
        self.sections.iter().map(|section| (section.clone(), of(section))).collect()
    }

    /// An array of the sections that are ours at the moment of the statement that it stands in.
    pub(super) fn ours_sql(&self) -> String {
        let generations =
            ints(self.held.iter().filter(|(section, _)| self.sections.contains(*section)).map(|(_, held)| held));
        format!(
            "ARRAY(SELECT o.section FROM bear.inbox_owner o JOIN ROWS FROM (unnest({}), unnest({generations})) AS k(section, generation) \
             ON o.section = k.section AND o.generation = k.generation WHERE o.owner = {}::int8)",
            texts(self.ours()),
            self.owner
        )
    }
}

impl InboxLink {
    /// Renews what is held, takes what may be taken, and has the jobs known where anything has come, or `is_new`: what is wanted.
    pub fn renew(&mut self, holding: &mut Holding, is_new: bool) -> Result<(), InboxError> {
        let before: BTreeSet<Box<str>> = holding.held.keys().cloned().collect();
        let has_lost = self.renew_once(holding)?;
        if has_lost {
            // Not to others, where the rows are gone.
            self.renew_once(holding)?;
        }
        if is_new || has_lost || holding.held.keys().any(|section| !before.contains(section)) {
            self.publish(holding)?;
        }
        Ok(())
    }

    /// Says whether anything was lost.
    fn renew_once(&mut self, holding: &mut Holding) -> Result<bool, InboxError> {
        let had: BTreeSet<Box<str>> = holding.held.keys().cloned().collect();
        let (sections, generations) =
            (texts(holding.held.keys().map(|section| &**section)), ints(holding.held.values()));
        let wanted = texts(holding.sections.iter().map(|section| &**section));
        let lost = texts(holding.lost.iter().map(|section| &**section));
        let (owner, name) = (holding.owner, text(&holding.name));
        // Each in the order of its sections, so that two who come at once do not wait for each other in a circle.
        let sql = format!(
            "UPDATE bear.inbox_owner o SET seen = clock_timestamp(), name = {name} \
               FROM ROWS FROM (unnest({sections}), unnest({generations})) AS k(section, generation) \
               WHERE o.section = k.section AND o.generation = k.generation AND o.owner = {owner}::int8 \
               RETURNING 'held', o.section, o.generation::text; \
             INSERT INTO bear.inbox_owner AS o (section, owner, generation, name, seen) \
               SELECT s.section, {owner}::int8, (extract(epoch FROM clock_timestamp()) * 1000000)::int8, {name}, clock_timestamp() \
               FROM unnest({wanted}) s(section) WHERE s.section <> ALL ({sections}) ORDER BY 1 \
               ON CONFLICT (section) DO UPDATE SET owner = excluded.owner, name = excluded.name, seen = excluded.seen, \
                 generation = greatest(o.generation + 1, excluded.generation) \
               WHERE o.seen < clock_timestamp() - {SILENCE} OR (o.owner = excluded.owner AND o.section <> ALL ({lost})) \
               RETURNING 'held', o.section, o.generation::text; \
             SELECT 'others', o.section, o.name FROM bear.inbox_owner o WHERE o.section = ANY ({wanted})"
        );
        let messages = self.write(&sql)?;
        let mut held = BTreeMap::new();
        let mut others = BTreeMap::new();
        for row in rows(&messages) {
            let (kind, section, last) = (row.get(0), row.get(1).unwrap_or_default(), row.get(2).unwrap_or_default());
            match kind {
                Some("held") => drop(held.insert(section.into(), last.parse().unwrap_or_default())),
                _ => drop(others.insert(Box::from(section), Box::from(last))),
            }
        }
        let lost: Vec<Box<str>> = had.into_iter().filter(|section| !held.contains_key(section)).collect();
        let has_lost = !lost.is_empty();
        holding.lost.extend(lost);
        holding.lost.retain(|section| !held.contains_key(section));
        (holding.held, holding.others) = (held, others);
        Ok(has_lost)
    }

    /// Has bear.enqueue know the jobs of what is ours, and gives back what is wanted no more.
    fn publish(&mut self, holding: &mut Holding) -> Result<(), InboxError> {
        let ours = texts(holding.ours());
        let jobs: Vec<&CatalogJob> =
            holding.jobs.iter().filter(|job| holding.held.contains_key(&job.section)).collect();
        let (unwanted, owner) = (
            texts(holding.held.keys().filter(|section| !holding.sections.contains(*section)).map(|s| &**s)),
            holding.owner,
        );
        let known = format!(
            "ROWS FROM (unnest({}), unnest({}), unnest({})) AS k(section, job, kind)",
            texts(jobs.iter().map(|job| &*job.section)),
            texts(jobs.iter().map(|job| &*job.job)),
            texts(jobs.iter().map(|job| &*job.kind)),
        );
        let wanted = texts(holding.sections.iter().map(|section| &**section));
        // Also what an earlier life of this data set had and gave no more notice of.
        let given_back = format!(
            "o.owner = {owner}::int8 AND o.section <> ALL ({wanted}) AND (o.section = ANY ({unwanted}) OR o.seen < clock_timestamp() - {SILENCE})"
        );
        self.write(&format!(
            "DELETE FROM bear.inbox_job j USING bear.inbox_owner o WHERE j.section = o.section AND {given_back}; \
             DELETE FROM bear.inbox_owner o WHERE {given_back}; \
             DELETE FROM bear.inbox_job j WHERE j.section = ANY ({ours}) \
               AND NOT EXISTS (SELECT FROM {known} WHERE k.section = j.section AND k.job = j.job); \
             INSERT INTO bear.inbox_job AS j (section, job, kind) SELECT k.section, k.job, k.kind FROM {known} ORDER BY 1, 2 \
               ON CONFLICT (section, job) DO UPDATE SET kind = excluded.kind WHERE j.kind <> excluded.kind"
        ))?;
        holding.held.retain(|section, _| holding.sections.contains(section));
        Ok(())
    }
}

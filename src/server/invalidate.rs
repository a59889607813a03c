//! BEAR.INVALIDATE: strikes the fills that it concerns, gives up their publications, and removes entries, in one unit.

use super::query::Words;
use super::{errors, Server};
use crate::core::glob;
use crate::core::keys::{self, Row};
use crate::core::names::{self, SpaceRef};
use crate::keyspace::{Outcome, Pace, What};
use crate::redis_api::Context;

/// Bytes of a PATTERN.
const MAX_PATTERN: usize = 256;

/// What is invalidated.
pub enum Target<'a> {
    /// What contains one of these rows.
    Rows(Words<'a>),
    /// What carries one of these tags.
    Tags(Words<'a>),
    /// The entry of one call.
    Call(Words<'a>),
    /// Calls whose part of the key matches.
    Pattern(&'a [u8]),
    All,
}

impl Server {
    /// Invalidates, and replies with the number of entries removed, at once or when it is known.
    pub fn invalidate(&mut self, ctx: Context, space_name: &[u8], target: &Target) -> Result<(), String> {
        let space = self.space(ctx, space_name)?;
        if !self.is_master() {
            return Err(
                "READONLY entries are invalidated on the master; a write here would make this replica differ".into()
            );
        }
        self.settle();
        let section = space.section;
        let mut prefix = Vec::new();
        names::write_prefix(space_name, self.deployment, &mut prefix);
        let rows = if let Target::Rows(ids) = target { ids.len() } else { 0 };
        let pace = if ctx.flags().cannot_block() { Pace::AtOnce } else { Pace::InSlices };
        let outcome = match target {
            Target::Rows(ids) => {
                let sets = self.row_sets(&space, &prefix, ids)?;
                self.remove_members(ctx, &sets, pace)
            }
            Target::Tags(tags) => {
                let sets: Vec<Box<[u8]>> = tags.iter().map(|tag| tag_set(&prefix, tag)).collect();
                self.remove_members(ctx, &sets, pace)
            }
            Target::Call(words) => {
                let mut key = prefix;
                key.push(b':');
                let limit = self.config.max_call_bytes as usize;
                let calls = &self.catalog.sections[section].calls;
                calls.write_key(words, limit, &mut key).map_err(errors::usage)?;
                self.fills.strike(&key);
                self.keyspace.abort_publication(&key);
                self.keyspace.remove(ctx, What::Key(&key), pace)
            }
            // A pattern costs its length times the key's, for each entry.
            Target::Pattern(pattern) if pattern.len() > MAX_PATTERN => {
                return Err(format!("ERR a pattern may hold at most {MAX_PATTERN} bytes, got {}", pattern.len()));
            }
            Target::Pattern(pattern) => self.remove_calls(ctx, prefix, Some(pattern), pace),
            Target::All => self.remove_calls(ctx, prefix, None, pace),
        };
        self.stats.section(section).rows_invalidated += rows as u64;
        match outcome {
            Outcome::Removed(count) => {
                self.stats.section(section).invalidated += count;
                ctx.reply().integer(count as i64);
            }
            Outcome::Pending(ticket) => {
                // It ends by itself: the client waits as long as it takes.
                let name = self.catalog.sections[section].name.as_ref().into();
                self.removing.insert(ticket, (ctx.block(), name));
            }
        }
        self.arm_soon();
        Ok(())
    }

    /// The sets of these rows, and the one of all rows of their section.
    fn row_sets(&self, space: &SpaceRef, prefix: &[u8], ids: &Words) -> Result<Vec<Box<[u8]>>, String> {
        let section = &self.catalog.sections[space.section];
        let Some(id_type) = section.id else {
            return Err(format!("ERR section '{}' has no rows; its catalog says no id", section.name));
        };
        let mut sets = Vec::with_capacity(ids.len() + 1);
        for id in ids {
            let mut canonical = Vec::new();
            id_type.write_canonical(id, &mut canonical).map_err(|error| format!("ERR id must be {error}"))?;
            sets.push(row_set(prefix, &Row::Id(canonical.into())));
        }
        sets.push(row_set(prefix, &Row::Any));
        Ok(sets)
    }

    fn remove_members(&mut self, ctx: Context, sets: &[Box<[u8]>], pace: Pace) -> Outcome {
        self.fills.change(sets.iter().map(AsRef::as_ref));
        self.keyspace.abort_publications(|_, metas| sets.iter().any(|set| metas.binary_search(set).is_ok()));
        self.keyspace.remove(ctx, What::Metas(sets), pace)
    }

    /// Rows of a space have changed in Postgres; None: any row.
    ///
    /// Their new values may belong in results that did not contain them, so that all results of the space go.
    pub(super) fn rows_changed<'a>(
        &mut self,
        ctx: Context,
        section: usize,
        mut prefix: Vec<u8>,
        ids: impl Iterator<Item = Option<&'a str>>,
    ) {
        let mut sets: Vec<Box<[u8]>> =
            ids.flatten().map(|id| row_set(&prefix, &Row::Id(id.as_bytes().into()))).collect();
        let rows = sets.len();
        sets.push(row_set(&prefix, &Row::Any));
        prefix.push(b':');
        self.fills.strike_where(|key, _| key.starts_with(&prefix));
        self.keyspace.abort_publications(|key, _| key.starts_with(&prefix));
        self.keyspace.drop_all_of(ctx, &prefix);
        // Results of other spaces that contain one of the rows, or depend on all.
        self.remove_members(ctx, &sets, Pace::InSlices);
        self.stats.section(section).rows_invalidated += rows as u64;
    }

    fn remove_calls(&mut self, ctx: Context, mut prefix: Vec<u8>, pattern: Option<&[u8]>, pace: Pace) -> Outcome {
        prefix.push(b':');
        let concerned = |key: &[u8]| {
            key.strip_prefix(prefix.as_slice())
                .is_some_and(|call| pattern.is_none_or(|pattern| glob::matches(pattern, call)))
        };
        self.fills.strike_where(|key, _| concerned(key));
        self.keyspace.abort_publications(|key, _| concerned(key));
        self.keyspace.remove(ctx, What::Calls { prefix: &prefix, pattern }, pace)
    }
}

fn row_set(prefix: &[u8], row: &Row) -> Box<[u8]> {
    let mut key = Vec::new();
    keys::write_row_key(prefix, row, &mut key);
    key.into()
}

fn tag_set(prefix: &[u8], tag: &[u8]) -> Box<[u8]> {
    let mut key = Vec::new();
    keys::write_tag_key(prefix, tag, &mut key);
    key.into()
}

//! BEAR.INVALIDATE: strikes the fills that it concerns, gives up their publications, and removes entries, in one unit.

use super::call::Words;
use crate::core::cache::glob;
use crate::core::calls::keys;
use crate::core::calls::names;
use crate::core::catalog::space::SpaceRef;
use crate::core::changes::change::Changes;
use crate::core::changes::image::{Cell, Image, ImageError};
use crate::core::events::entry::{Cause, Listed, Rows};
use crate::keyspace::{Outcome, Pace, What};
use crate::redis_api::{self, Context};
use crate::server::feed::changes::row_sets;
use crate::server::{errors, Server};

/// Bytes of a PATTERN.
const MAX_PATTERN: usize = 256;

/// What is invalidated.
pub enum Target<'a> {
    /// What contains one of these rows.
    Rows(Words<'a>),
    /// What contains one of these rows, and what they belong in with the values that Postgres has of them.
    Changed(Words<'a>),
    /// The same of one row with these values, a JSON object.
    Image(&'a [u8]),
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
        let space = self.space_here(ctx, space_name)?;
        self.entries_go(|| cause_of(space_name, target));
        let result = self.invalidate_now(ctx, space_name, space, target);
        self.tell_of_entries(ctx);
        result
    }

    fn invalidate_now(
        &mut self,
        ctx: Context,
        space_name: &[u8],
        space: SpaceRef,
        target: &Target,
    ) -> Result<(), String> {
        if !self.is_master() {
            return Err(
                "READONLY entries are invalidated on the master; a write here would make this replica differ".into()
            );
        }
        self.check_owned(ctx, space)?;
        self.settle();
        let section = space.section;
        let mut prefix = Vec::new();
        names::write_prefix(space_name, self.deployment, &mut prefix);
        let rows = match target {
            Target::Rows(ids) | Target::Changed(ids) => ids.len(),
            Target::Image(_) => 1,
            _ => 0,
        };
        let pace = if ctx.flags().cannot_block() { Pace::AtOnce } else { Pace::InSlices };
        let outcome = match target {
            Target::Rows(ids) => {
                let ids = self.row_ids(section, ids)?;
                self.remove_rows(ctx, &prefix, row_sets(&prefix, &ids), Changes::default(), pace)
            }
            Target::Changed(ids) => {
                let ids = self.row_ids(section, ids)?;
                if ctx.flags().cannot_block() {
                    return Err("NOWAIT CHANGED asks Postgres, and in MULTI or a script nothing can wait; send it \
                                outside, or use ROW or IMAGE"
                        .into());
                }
                self.stats.section(section).rows_invalidated += rows as u64;
                if self.read_rows(ctx, section, space.tenant, &prefix, &ids) {
                    return Ok(());
                }
                // Nobody to ask: all that a predicate may concern.
                let changes = Changes::of_space(&prefix, None);
                self.remove_rows(ctx, &prefix, row_sets(&prefix, &ids), changes, pace)
            }
            Target::Image(json) => {
                let image = Image::from_client(json).map_err(|error| match error {
                    ImageError::TooLarge { .. } | ImageError::TooManyColumns => {
                        format!("TOOLARGE the row's image {error}")
                    }
                    error => format!("ERR the row's image {error}"),
                })?;
                let ids = self.image_id(section, &image)?;
                let changes = Changes::of_space(&prefix, Some(vec![image]));
                self.remove_rows(ctx, &prefix, row_sets(&prefix, &ids), changes, pace)
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
        // Not by a timer that is due: it would run before the reply is sent.
        redis_api::wake();
        Ok(())
    }

    /// The ids in canonical form.
    fn row_ids(&self, section: usize, ids: &Words) -> Result<Vec<Box<str>>, String> {
        ids.iter().map(|id| self.row_id(section, id)).collect()
    }

    pub(in crate::server) fn row_id(&self, section: usize, id: &[u8]) -> Result<Box<str>, String> {
        let section = &self.catalog.sections[section];
        let Some(id_type) = section.id else {
            return Err(format!("ERR section '{}' has no rows; its catalog says no id", section.name));
        };
        let mut canonical = Vec::new();
        id_type.write_canonical(id, &mut canonical).map_err(|error| format!("ERR id must be {error}"))?;
        Ok(String::from_utf8_lossy(&canonical).into())
    }

    /// The row's id, where its image tells it.
    fn image_id(&self, section: usize, image: &Image) -> Result<Vec<Box<str>>, String> {
        match image.get("id") {
            None => Ok(Vec::new()),
            Some(Cell::Scalar(id)) => Ok(vec![self.row_id(section, id.as_bytes())?]),
            Some(_) => Err("ERR the row's image has an id that is no single value".into()),
        }
    }

    fn remove_members(&mut self, ctx: Context, sets: &[Box<[u8]>], pace: Pace) -> Outcome {
        self.fills.change(sets.iter().map(AsRef::as_ref), None);
        self.keyspace.abort_changed(|metas, _| sets.iter().any(|set| metas.binary_search(set).is_ok()));
        self.keyspace.remove(ctx, What::Metas(sets), pace)
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

fn tag_set(prefix: &[u8], tag: &[u8]) -> Box<[u8]> {
    let mut key = Vec::new();
    keys::write_tag_key(prefix, tag, &mut key);
    key.into()
}

/// What events tell of it.
fn cause_of(space: &[u8], target: &Target) -> Cause {
    let texts = |words: &Words| Some(Listed::new(words.iter().map(|word| String::from_utf8_lossy(word))));
    let rows = |ids| Cause::Row(Rows { of: String::from_utf8_lossy(space).into(), ids });
    match target {
        Target::Rows(ids) | Target::Changed(ids) => rows(texts(ids)),
        Target::Image(json) => {
            let image = Image::from_client(json).ok();
            rows(image.as_ref().and_then(|image| image.get("id")).and_then(|id| match id {
                Cell::Scalar(id) => Some(Listed::new(std::iter::once(id))),
                _ => None,
            }))
        }
        Target::Tags(tags) => Cause::Tag(texts(tags).unwrap_or_default()),
        Target::Call(_) | Target::Pattern(_) | Target::All => Cause::Command,
    }
}

//! What the rows that a batch changed look like after its commit.
//!
//! Read in a statement of its own, whose snapshot sees the commit and whatever was committed since.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::core::catalog::Section;
use crate::core::changes::change::Present;
use crate::core::changes::image::Image;
use crate::core::jobs::batch::{Applied, Batch, SpaceApplied};

use super::writer::{Trouble, Writer};
use crate::postgres::connect::session::BEGIN_READ;
use crate::postgres::read::rows::{images, RowRead};

/// Rows of one section, and the spaces of the batch that changed some.
#[derive(Default)]
struct Group {
    ids: BTreeSet<Box<str>>,
    spaces: Vec<usize>,
}

/// Adds what it can tell to `applied`. An error means that the connection is of no more use.
pub(in crate::postgres) fn read(writer: &mut Writer, batch: &Batch, applied: &mut Applied) -> Result<(), Trouble> {
    for ((section, tenant), Group { ids, spaces }) in groups(batch, applied) {
        let images = match batch.sections[section].has_demand() {
            true => ask(writer, &batch.sections[section], tenant.as_deref(), &ids)?,
            // After the commit: whoever depends on values from now on reads them later.
            false => Some(Vec::new()),
        };
        let Some(images) = images else { continue };
        // All of them with the first space that is published.
        let mut images = Some(images);
        for space in spaces {
            if let SpaceApplied::Done { present, .. } = &mut applied.spaces[space] {
                present.push(Present { section, images: images.take().unwrap_or_default() });
            }
        }
    }
    Ok(())
}

/// None: nobody can tell.
fn ask(
    writer: &mut Writer,
    section: &Section,
    tenant: Option<&str>,
    ids: &BTreeSet<Box<str>>,
) -> Result<Option<Vec<Image>>, Trouble> {
    match RowRead::new(section, ids.iter().map(|id| &**id), tenant) {
        Some(read) => run(writer, section, &read),
        None => Ok(None),
    }
}

/// What is worth asking: rows of sections that predicates are about.
fn groups(batch: &Batch, applied: &Applied) -> BTreeMap<(usize, Option<Arc<str>>), Group> {
    let mut groups: BTreeMap<(usize, Option<Arc<str>>), Group> = BTreeMap::new();
    for (index, (space, applied)) in batch.spaces.iter().zip(&applied.spaces).enumerate() {
        let SpaceApplied::Done { changed, .. } = applied else { continue };
        for change in changed {
            let Some(section) = batch.sections.get(change.section).filter(|section| section.has_predicates) else {
                continue;
            };
            let Some(id) = &change.id else { continue };
            if section.tenant.is_some() && space.tenant.is_none() {
                continue;
            }
            let tenant = space.tenant.clone().filter(|_| section.tenant.is_some());
            let group = groups.entry((change.section, tenant)).or_default();
            group.ids.insert(id.clone());
            if group.spaces.last() != Some(&index) {
                group.spaces.push(index);
            }
        }
    }
    groups
}

/// None: the statement failed, which is no reason for the batch to.
fn run(writer: &mut Writer, section: &Section, read: &RowRead) -> Result<Option<Vec<Image>>, Trouble> {
    let pinned = writer.pinned();
    if !pinned.is_empty() {
        writer.simple(&format!("{BEGIN_READ} {pinned}"))?;
    }
    let params: Vec<Option<&str>> = read.params.iter().map(Option::as_deref).collect();
    let mut result = writer.run(&read.sql, &read.types, &params);
    if let Err(Trouble::Statement { sqlstate, .. }) = &result {
        if pinned.is_empty() && writer.forget_stale(sqlstate) {
            result = writer.run(&read.sql, &read.types, &params);
        }
    }
    if !pinned.is_empty() {
        writer.simple("ROLLBACK")?;
    }
    match result {
        Ok((rows, _)) => Ok(images(&rows)),
        Err(Trouble::Statement { sqlstate, message }) => {
            log::debug!("the row statement of '{}' failed: {message} ({sqlstate})", section.name);
            Ok(None)
        }
        Err(trouble) => Err(trouble),
    }
}

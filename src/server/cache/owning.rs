//! Sections whose names are somebody else's are refused; BEAR.ADOPT takes them over.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::core::calls::names::Deployment;
use crate::core::catalog::space::SpaceRef;
use crate::core::catalog::{Catalog, Section};
use crate::core::values::value::shorten;
use crate::keyspace::owned;
use crate::redis_api::Context;
use crate::server::Server;

/// Between two looks whether keys of others have gone.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How marks name the sections of a catalog, in its order; and what is new in them to one that was there before.
pub(in crate::server) fn arranged(
    catalog: &Catalog,
    before: Option<&Catalog>,
    deployment: Deployment,
) -> Vec<owned::Arranged> {
    let arranged = |section: &Section| {
        let prefix = section.prefix(None, deployment);
        let known = before.and_then(|before| before.section(section.name.as_bytes()));
        owned::Arranged {
            member: owned::member_of(&section.name, section.tenant.is_some(), &prefix),
            has_new_calls: known.is_some_and(|(_, known)| has_new_calls(section, known)),
        }
    };
    catalog.sections.iter().map(arranged).collect()
}

fn has_new_calls(section: &Section, before: &Section) -> bool {
    let calls = |section: &Section| -> BTreeSet<Box<str>> {
        section.queries.iter().map(|query| query.call.text().into()).collect()
    };
    !calls(section).is_subset(&calls(before))
}

impl Server {
    /// Refuses what would use the names of a section that are somebody's.
    pub(in crate::server) fn check_owned(&mut self, ctx: Context, space: SpaceRef) -> Result<(), String> {
        if self.is_master() {
            self.keyspace.take_possession(ctx);
        }
        if self.keyspace.is_owned(space.section) {
            return Ok(());
        }
        let name = &self.catalog.sections[space.section].name;
        let may_see = space.tenant.map_or_else(String::new, |tenant| format!("{{{tenant}}}:"));
        match self.keyspace.refusal(space.section, name, may_see.as_bytes()) {
            Some(reason) => Err(format!("FOREIGN {reason}")),
            None => Ok(()),
        }
    }

    /// BEAR.ADOPT.
    pub fn adopt(&mut self, ctx: Context, name: &[u8]) -> Result<(), String> {
        self.check_db(ctx)?;
        let Some((section, _)) = self.catalog.section(name) else {
            let names: Vec<&str> = self.catalog.sections.iter().map(|section| &*section.name).collect();
            return Err(format!("ERR no section '{}'; there are: {}", shorten(name), names.join(", ")));
        };
        if !self.is_master() {
            return Err("READONLY keys are adopted on the master".into());
        }
        self.settle();
        self.keyspace.take_possession(ctx);
        log::warn!("BEAR.ADOPT: what stands under the names of section '{}' is removed", shorten(name));
        self.keyspace.adopt(ctx, section);
        self.begin_discovery();
        self.arm_soon();
        ctx.reply().ok();
        Ok(())
    }

    /// Has a tick look whether keys of others have gone: from the cron loop.
    pub(in crate::server) fn look_for_strangers(&self) {
        if self.is_master() && self.keyspace.has_strangers() && self.strangers_seen.elapsed() >= LOOK_EVERY {
            self.arm_soon();
        }
    }

    /// The look itself.
    pub(in crate::server) fn look_at_strangers(&mut self, ctx: Context, now: Instant) {
        if self.is_master() && self.keyspace.has_strangers() && now - self.strangers_seen >= LOOK_EVERY {
            self.strangers_seen = now;
            self.keyspace.look_for_strangers(ctx);
        }
    }

    /// On a replica: may an entry of the section be served, as far as its master has told?
    pub(in crate::server) fn replica_may_serve(&mut self, ctx: Context, section: usize, key: &[u8]) -> bool {
        let section = &self.catalog.sections[section];
        let prefix = section.prefix(None, self.deployment);
        let member = owned::member_of(&section.name, section.tenant.is_some(), &prefix);
        self.masters_marks.may_serve(ctx, &member, key)
    }
}

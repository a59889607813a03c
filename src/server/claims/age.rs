//! Records go that have grown too old, also where no other job settles: some spaces every second, in turn. And the oldest of an
//! open section, whose job types are without number.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use super::space::WorkSpace;
use crate::core::catalog::claim::{ClaimSpec, Keep};
use crate::core::catalog::Section;
use crate::core::claims::keep::Rule;
use crate::keyspace::slots;
use crate::redis_api::Context;
use crate::server::queues::wall_ms;
use crate::server::Server;

/// How often some are looked at.
const EVERY_MS: u64 = 1_000;

/// Spaces that are looked at then.
const SPACES: usize = 256;

/// And of each so many types, and records that go.
const TYPES: usize = 16;
const RECORDS: usize = 64;

/// What all types of an open section keep: so many times what one may.
const SHARES: u64 = 16;

/// Does a catalog say of any job how long it is remembered?
pub fn has_age(section: &Section) -> bool {
    let has = |spec: &ClaimSpec| [spec.keep, spec.keep_failed].iter().any(|keep| matches!(keep, Keep::AgeMs(_)));
    section.jobs.iter().filter_map(|job| job.claim()).any(has)
        || section.open.as_ref().is_some_and(|open| has(&open.claim))
}

impl Server {
    /// Looks at the next few spaces, where it is time to.
    pub(super) fn age_records(&mut self, ctx: Context, deadline: Instant) {
        let now_ms = self.claims.now_ms();
        if now_ms < self.claims.age_ms {
            return;
        }
        let catalog = self.catalog.clone();
        let (completed_max, failed_max) = (self.config.completed_max_bytes as u64, self.config.failed_max_jobs as u64);
        for _ in 0..SPACES {
            let after = self.claims.aged.take().map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.claims.spaces.range_mut::<Arc<str>, _>((after, Bound::Unbounded)).next();
            let Some((name, space)) = next else { break };
            let name = name.clone();
            let is_here = slots::is_here(&space.prefix);
            if let Some((_, section)) = catalog.section(space.section.as_bytes()).filter(|_| is_here) {
                space.age(ctx, section, completed_max, failed_max);
                self.claims.note_idleness(&name, now_ms);
            }
            self.claims.aged = Some(name);
            if Instant::now() >= deadline {
                return;
            }
        }
        self.claims.age_ms = now_ms + EVERY_MS;
    }
}

impl WorkSpace {
    fn age(&mut self, ctx: Context, section: &Section, completed_max: u64, failed_max: u64) {
        if self.loading.is_some() || self.wrong_type.is_some() {
            return;
        }
        let spec = |name: &str| section.claimed_job(name.as_bytes()).map_or(&ClaimSpec::DEFAULT, |of| of.claim);
        let (mut gone, mut gone_failed) = (Vec::new(), Vec::new());
        let rule = |name: &str| Rule::completed(spec(name).keep, completed_max);
        self.kept.sweep(rule, wall_ms(), TYPES, RECORDS, &mut gone);
        let rule = |name: &str| Rule::failed(spec(name).keep_failed, failed_max, completed_max.max(1 << 20));
        self.kept_failed.sweep(rule, wall_ms(), TYPES, RECORDS, &mut gone_failed);
        self.drop_records(ctx, &self.keys.completed.clone(), gone);
        self.drop_records(ctx, &self.keys.failed.clone(), gone_failed);
    }

    /// The oldest records go, of whatever type, where there are too many of all types together.
    pub(super) fn shrink_records(&mut self, ctx: Context, completed_max: u64) {
        let max_bytes = SHARES * completed_max.max(64 << 10);
        let (mut gone, mut gone_failed) = (Vec::new(), Vec::new());
        self.kept.shrink(max_bytes, RECORDS, &mut gone);
        self.kept_failed.shrink(max_bytes, RECORDS, &mut gone_failed);
        self.drop_records(ctx, &self.keys.completed.clone(), gone);
        self.drop_records(ctx, &self.keys.failed.clone(), gone_failed);
    }
}

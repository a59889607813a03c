//! BEAR.LIMIT: its key is all there is of a limit, so that it goes on over restarts and promotions where it was.

use super::lock::check_name;
use crate::core::calls::{keys, names};
use crate::core::catalog::Section;
use crate::core::limits::quota::{Quota, Verdict};
use crate::core::values::value::shorten;
use crate::keyspace::locks::LimitKey;
use crate::redis_api::Context;
use crate::server::queues::wall_ns;
use crate::server::Server;

/// Which limit is asked.
pub enum LimitBy<'a> {
    /// One of the catalog.
    Name(&'a [u8]),
    /// One that the command says.
    Numbers { burst: u64, count: u64, period_ms: u64 },
}

impl Server {
    /// BEAR.LIMIT.
    pub fn ask_limit(
        &mut self,
        ctx: Context,
        space: &[u8],
        by: &LimitBy,
        key: &[u8],
        quantity: u64,
    ) -> Result<(), String> {
        let space_ref = self.space_here(ctx, space)?;
        self.check_owned(ctx, space_ref)?;
        if !self.is_master() {
            return Err("READONLY limits are asked on the master".into());
        }
        check_name("a limit's key", key)?;
        let section = &self.catalog.sections[space_ref.section];
        let (name, quota) = match by {
            LimitBy::Name(name) => named(section, name).map(|(name, quota)| (Some(name), quota))?,
            LimitBy::Numbers { burst, count, period_ms } => {
                (None, Quota::new(*burst, *count, *period_ms).map_err(|error| format!("ERR {error}"))?)
            }
        };
        let mut full = std::mem::take(&mut self.key);
        full.clear();
        names::write_prefix(space, self.deployment, &mut full);
        keys::write_limit_key(name, key, &mut full);
        let verdict = self.ask_key(ctx, &full, &quota, quantity);
        self.key = full;
        let verdict = verdict?;
        self.locks.figures.asked += 1;
        self.locks.figures.limited += u64::from(verdict.is_limited);
        let reply = ctx.reply();
        reply.array(5);
        reply.integer(verdict.is_limited.into());
        reply.integer(verdict.limit as i64);
        reply.integer(verdict.remaining as i64);
        reply.integer(verdict.retry_after_ms.map_or(-1, |retry_ms| retry_ms as i64));
        reply.integer(verdict.reset_after_ms as i64);
        Ok(())
    }

    fn ask_key(&mut self, ctx: Context, name: &[u8], quota: &Quota, quantity: u64) -> Result<Verdict, String> {
        let mut key = LimitKey::open(ctx, name)?;
        let now_ns = wall_ns();
        let verdict = quota.ask(key.moment_ns(name)?, now_ns, quantity);
        if let Some(moment_ns) = verdict.keep_ns {
            self.keyspace.mark_queue(ctx, name);
            // Once the moment has come there is nothing to remember.
            key.keep(moment_ns, moment_ns.div_ceil(1_000_000));
        }
        Ok(verdict)
    }
}

fn named<'a>(section: &'a Section, name: &[u8]) -> Result<(&'a str, Quota), String> {
    let limits = &section.named_limits;
    match limits.iter().find(|limit| limit.name.as_bytes() == name) {
        Some(limit) => Ok((&limit.name, limit.quota)),
        None if limits.is_empty() => Err(format!(
            "ERR section '{}' has no limit with a name in the catalog; say burst, count and period_ms after the key, or \
             write [{}.limit.{}]",
            section.name,
            section.name,
            shorten(name)
        )),
        None => {
            let names: Vec<&str> = limits.iter().map(|limit| &*limit.name).collect();
            Err(format!("ERR no limit of section '{}' is called '{}'; there are {}", section.name, shorten(name), names.join(", ")))
        }
    }
}

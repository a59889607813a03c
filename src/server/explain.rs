//! What is known of a call: its key, its SQL, and what would drop it.

use std::rc::Rc;

use super::query::Words;
use super::{Call, Server};
use crate::core::names;
use crate::redis_api::{Context, StringKey};

/// For BEAR.EXPLAIN.
pub struct Explained {
    pub call: Rc<Call>,
    /// Is an entry stored that would be served?
    pub cached: bool,
    /// None where nothing is stored, or it does not end.
    pub ttl_ms: Option<i64>,
    pub bytes: Option<usize>,
    /// Rows of the stored result; only the master that filled it knows.
    pub rows: Option<u32>,
    /// What the stored result's fetch took.
    pub took_us: Option<u32>,
    /// Metadata sets that the entry belongs to: the space of each, and what follows its prefix.
    pub metas: Vec<(String, Vec<u8>)>,
}

impl Server {
    pub fn explain(&mut self, ctx: Context, space_name: &[u8], words: &Words) -> Result<Explained, String> {
        let space = self.space(ctx, space_name)?;
        self.settle();
        let call = Rc::new(Call::new(self, space_name, space, words)?);
        let served = if self.is_master() {
            !self.keyspace.is_strict() || self.keyspace.live(&call.key).is_some()
        } else {
            ctx.flags().replica_in_sync() && crate::keyspace::replica_may_serve(ctx)
        };
        let entry = if served { StringKey::open(ctx, &call.key) } else { None };
        let live = entry.as_ref().and_then(|_| self.keyspace.live(&call.key));
        let metas = live.map_or_else(Vec::new, |live| {
            let split = |name: &[u8]| {
                let (_, set) = names::split_key(&call.catalog, self.deployment, name)?;
                let space = &name[..name.len() - set.len() - 1];
                Some((String::from_utf8_lossy(space).into_owned(), set.to_vec()))
            };
            let mut metas: Vec<_> = self.keyspace.meta_names(live).filter_map(split).collect();
            metas.sort_unstable();
            metas
        });
        Ok(Explained {
            cached: entry.is_some(),
            ttl_ms: entry.as_ref().and_then(StringKey::ttl_ms),
            bytes: entry.as_ref().map(|entry| entry.bytes().len()),
            rows: live.map(|live| live.facts.rows),
            took_us: live.map(|live| live.facts.took_us),
            metas,
            call,
        })
    }
}

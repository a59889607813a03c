//! What is known of a call: its key, its SQL, and what would drop it.

use std::rc::Rc;

use super::call::Words;
use crate::core::cache::meta_id::MetaId;
use crate::core::catalog::life::Age;
use crate::core::catalog::lists::ListOf;
use crate::core::catalog::space;
use crate::core::values::value::Value;
use crate::redis_api::{Context, StringKey};
use crate::server::{Call, Server};

/// For BEAR.EXPLAIN.
pub struct Explained {
    pub call: Rc<Call>,
    /// Is an entry stored that would be served?
    pub cached: bool,
    /// What is left of its TTL. None where nothing is stored, or it does not end.
    pub ttl_ms: Option<i64>,
    /// How long it will be served beyond its TTL; only the master that filled it knows, as of the next.
    pub stale_ms: Option<i64>,
    /// Is its TTL over?
    pub stale: Option<bool>,
    /// How long who computes it has still. None: nobody does.
    pub lease_ms: Option<i64>,
    pub bytes: Option<usize>,
    /// What the entry's key holds: fewer where it is compressed.
    pub stored_bytes: Option<usize>,
    /// Rows of the stored result; only the master that filled it knows.
    pub rows: Option<u32>,
    /// What the stored result's fetch took.
    pub took_us: Option<u32>,
    /// Metadata sets that the entry belongs to: the space of each, and what follows its prefix.
    pub metas: Vec<(String, Vec<u8>)>,
    /// Sets beside those, which are rows' for the most part.
    pub more_metas: usize,
    /// What predicates compare with of each of the query's lists; None: it is not stored, or there is too much.
    pub listed: Vec<(Box<str>, Option<Linked>)>,
    /// What the last row of a full page has in its sort keys, by its columns; None: NULL.
    pub last: Vec<(Box<str>, Option<Box<str>>)>,
}

/// Values of a list.
pub struct Linked {
    pub count: usize,
    pub first: Vec<Box<str>>,
}

/// Metadata sets that are looked at: so many of the first, and as many of the last, which have the tags.
const LOOKED_AT: usize = 256;

/// Values named of each list; the others are counted.
const NAMED_VALUES: usize = 20;

impl Server {
    pub fn explain(&mut self, ctx: Context, space_name: &[u8], words: &Words) -> Result<Explained, String> {
        let space = self.space(ctx, space_name)?;
        self.settle();
        let call = Rc::new(Call::new(self, space_name, space, words)?);
        let served = if self.is_master() {
            let trusted = !self.keyspace.is_strict() || self.keyspace.live(&call.key).is_some();
            trusted && !self.would_withhold(call.section)
        } else {
            ctx.flags().replica_in_sync() && self.replica_may_serve(ctx, call.section, &call.key)
        };
        let life = call.catalog.sections[call.section].queries[call.query].life;
        let entry = if served { StringKey::open(ctx, &call.key) } else { None };
        let entry = entry.filter(|entry| self.is_readable(entry, call.query()));
        let live = entry.as_ref().and_then(|_| self.keyspace.live(&call.key));
        let age = live.map(|live| self.age_of(&life, live));
        let entry = entry.filter(|_| age != Some(Age::Over));
        let kept_ms = entry.as_ref().and_then(StringKey::ttl_ms);
        let ttl_ms = match live {
            Some(live) if life.is_soft() => {
                let left = live.facts.ends.since_beginning().saturating_sub(self.begun.elapsed()).as_millis() as i64;
                kept_ms.map(|kept_ms| kept_ms.min(left))
            }
            _ => kept_ms,
        };
        let metas = live.map_or_else(Vec::new, |live| {
            let split = |name: &[u8]| {
                let (_, set) = space::split_key(&call.catalog, self.deployment, name)?;
                let space = &name[..name.len() - set.len() - 1];
                Some((String::from_utf8_lossy(space).into_owned(), set.to_vec()))
            };
            let of = |metas: &[MetaId]| -> Vec<_> { self.keyspace.meta_names(metas).filter_map(split).collect() };
            let all = live.metas.as_ref();
            let mut metas = of(&all[..all.len().min(LOOKED_AT)]);
            metas.extend(of(&all[all.len().saturating_sub(LOOKED_AT).max(LOOKED_AT.min(all.len()))..]));
            metas.sort_unstable();
            metas
        });
        let compared = live.and_then(|live| live.dependent).and_then(|id| self.keyspace.compared(id));
        let (mut listed, mut last) = (Vec::new(), Vec::new());
        for (at, list) in call.query().lists.iter().enumerate() {
            let value = compared.and_then(|compared| compared.get(call.args.len() + at));
            match (list.of, value) {
                (ListOf::Last(_), Some(Value::Scalar(text))) => last.push((list.name.clone(), Some(text.clone()))),
                (ListOf::Last(_), Some(Value::Array(_))) => last.push((list.name.clone(), None)),
                (ListOf::Last(_), Some(Value::Null) | None) => {}
                (_, Some(Value::Array(values))) => {
                    let first = values.iter().take(NAMED_VALUES).cloned().collect();
                    listed.push((list.name.clone(), Some(Linked { count: values.len(), first })));
                }
                (_, Some(Value::Scalar(_) | Value::Null) | None) => listed.push((list.name.clone(), None)),
            }
        }
        Ok(Explained {
            listed,
            last,
            cached: entry.is_some(),
            ttl_ms,
            stale_ms: live
                .and(kept_ms)
                .zip(ttl_ms)
                .map(|(kept_ms, ttl_ms)| if life.stale_ms > 0 { kept_ms - ttl_ms } else { 0 }),
            stale: age.map(|age| age == Age::Stale),
            lease_ms: self.lease_left_ms(&call.key),
            bytes: entry.as_ref().map(|entry| self.plain_len(entry, call.query())),
            stored_bytes: entry.as_ref().map(|entry| entry.bytes().len()),
            rows: live.map(|live| live.facts.rows),
            took_us: live.filter(|_| call.computed().is_none()).map(|live| live.facts.took_us),
            more_metas: live.map_or(0, |live| live.metas.len().saturating_sub(2 * LOOKED_AT)),
            metas,
            call,
        })
    }
}

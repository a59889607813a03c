//! A lock becomes somebody's: a token that is greater than all before it, and a key with the time that is left.

use super::Locks;
use crate::core::calls::keys::token_key;
use crate::core::claims::token::{Tokens, MAX_TOKEN};
use crate::core::locks::holders::{Found, Hold, Name};
use crate::core::locks::record::Record;
use crate::keyspace::locks::{self as keys, Foreign, KeptToken, LockKey};
use crate::mutations;
use crate::redis_api::Context;
use crate::server::queues::{wall_ms, wall_us};
use crate::server::Server;

/// Spaces whose tokens are in memory. Those of another one are read again from its key.
const SPACES: usize = 10_000;

/// A lock that a command or a tick is about.
pub(super) struct Wanted<'a> {
    /// Of the space's keys, without the colon.
    pub prefix: &'a [u8],
    pub name: &'a Name,
}

impl Server {
    /// Looks a lock up in its key, where nothing is known of it. The key stays open.
    pub(super) fn look_at_lock<'a>(&mut self, ctx: Context<'a>, name: &Name) -> Result<LockKey<'a>, Foreign> {
        let read = LockKey::open(ctx, name).and_then(|key| key.read(name).map(|standing| (key, standing)));
        let (key, standing) = match read {
            Ok(read) => read,
            Err(text) => {
                if self.locks.policy.is_unread(name) {
                    self.locks.policy.found(name, Found::Strange);
                }
                return Err(text);
            }
        };
        if self.locks.policy.is_unread(name) {
            let now_us = self.locks.now_us();
            let found = match standing {
                Some(_) if mutations::is("locks-forgotten") => Found::Nothing,
                Some(keys::Standing { record: Record { token, ms }, left_ms }) => {
                    Found::Held(Hold { token, until_us: now_us + left_ms * 1_000, ms })
                }
                None => Found::Nothing,
            };
            self.locks.policy.found(name, found);
        }
        Ok(key)
    }

    /// Grants a lock that is free. Returns the token.
    pub(super) fn grant_lock(
        &mut self,
        ctx: Context,
        wanted: &Wanted,
        mut key: LockKey,
        ms: u64,
    ) -> Result<u64, Foreign> {
        let (now_us, wall_us) = (self.locks.now_us(), wall_us());
        let token = self.next_lock_token(ctx, wanted.prefix, wall_us)?;
        self.keyspace.mark_queue(ctx, wanted.name);
        // The key outlives what is known here: it is rounded up.
        key.write(&Record { token, ms }, wall_us.div_ceil(1_000) + ms);
        self.locks.policy.hold(wanted.name, Hold { token, until_us: now_us + ms * 1_000, ms });
        self.locks.figures.granted += 1;
        Ok(token)
    }

    /// A greater one than all of the space before it.
    fn next_lock_token(&mut self, ctx: Context, prefix: &[u8], wall_us: u64) -> Result<u64, Foreign> {
        let epoch = self.queues.epoch();
        let Locks { tokens, greatest_token, .. } = &mut self.locks;
        if !tokens.contains_key(prefix) {
            let found = find_tokens(ctx, prefix, epoch, *greatest_token, wall_us)?;
            if tokens.len() >= SPACES {
                tokens.pop_first();
            }
            tokens.insert(prefix.into(), found);
        }
        let (token, is_kept) = match tokens.get_mut(prefix) {
            Some(of_space) => of_space.next(wall_us),
            None => return Err("ERR the space's tokens are unknown".into()),
        };
        *greatest_token = token.max(*greatest_token);
        if is_kept {
            let key = token_key(prefix);
            let kept = KeptToken { token, epoch: epoch as u64, at_us: wall_us };
            if let Err(text) = keys::keep_token(ctx, &key, &kept) {
                // Nothing is known of it any more: the next one is kept first, too.
                tokens.remove(prefix);
                return Err(text);
            }
        }
        Ok(token)
    }

    /// Writes what is left of a lock's time, whose key has gone or is another's: the clock was set forward, or it was evicted.
    pub(super) fn write_lock_again(&mut self, ctx: Context, name: &[u8], hold: &Hold) {
        if !ctx.writes_allowed() {
            return;
        }
        let left_ms = hold.until_us.saturating_sub(self.locks.now_us()).div_ceil(1_000);
        let Ok(mut key) = LockKey::open(ctx, name) else { return };
        if matches!(key.read(name), Ok(None)) {
            key.write(&Record { token: hold.token, ms: hold.ms }, wall_ms() + left_ms + 1);
        }
    }
}

/// As the key tells: see [`crate::core::claims::token`].
fn find_tokens(ctx: Context, prefix: &[u8], epoch: i64, greatest: u64, wall_us: u64) -> Result<Tokens, Foreign> {
    let mut tokens = Tokens::default();
    match keys::read_token(ctx, &token_key(prefix))? {
        // None was handed out, or all was flushed.
        None => tokens.above(greatest.min(MAX_TOKEN / 2)),
        Some(kept) if i64::try_from(kept.epoch) == Ok(epoch) => tokens.go_on(kept.token, greatest),
        Some(_) if mutations::is("tokens-by-clock") => {}
        Some(kept) => tokens.found(kept.token, kept.at_us, wall_us),
    }
    Ok(tokens)
}

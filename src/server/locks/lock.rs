//! BEAR.LOCK, BEAR.UNLOCK, BEAR.EXTENDLOCK.

use std::time::{Duration, Instant};

use super::grant::Wanted;
use super::serve::Wish;
use crate::core::calls::{keys, names};
use crate::core::locks::holders::{Hold, Name};
use crate::core::locks::record::Record;
use crate::core::values::value::shorten;
use crate::keyspace::locks::LockKey;
use crate::keyspace::watch;
use crate::mutations;
use crate::redis_api::{self, Context};
use crate::server::queues::wall_us;
use crate::server::Server;

/// Bytes of a lock's name, and of a limit's key.
const MAX_NAME: usize = 1_024;

/// What somebody asks for.
pub struct LockRequest {
    /// How long he is to hold it.
    pub ms: u64,
    /// How long he waits for it; 0: not at all.
    pub wait_ms: u64,
}

impl Server {
    /// BEAR.LOCK.
    pub fn lock(&mut self, ctx: Context, space: &[u8], name: &[u8], request: &LockRequest) -> Result<(), String> {
        let (prefix, name) = self.lock_named(ctx, space, name)?;
        let key = self.look_at_lock(ctx, &name)?;
        if self.locks.policy.may_take(&name, self.locks.now_us()) {
            let wanted = Wanted { prefix: &prefix, name: &name };
            let token = self.grant_lock(ctx, &wanted, key, request.ms)?;
            ctx.reply().integer(token as i64);
        } else if request.wait_ms == 0 || ctx.flags().cannot_block() {
            ctx.reply().null();
        } else {
            let wait = Duration::from_millis(request.wait_ms);
            let ticket = self.locks.clients.add(ctx.block(), Instant::now() + wait);
            self.locks.wishes.insert(ticket, Wish { prefix: prefix.into(), ms: request.ms });
            self.locks.policy.wait(&name, ticket);
            redis_api::arm(wait);
            self.arm_for_locks();
        }
        Ok(())
    }

    /// BEAR.UNLOCK.
    pub fn unlock(&mut self, ctx: Context, space: &[u8], name: &[u8], token: &[u8]) -> Result<(), String> {
        let token = parse_token(token)?;
        let (_, name) = self.lock_named(ctx, space, name)?;
        let mut key = self.look_at_lock(ctx, &name)?;
        let is_his = self.is_unlocked(&name, token);
        if is_his {
            key.delete(token);
            self.locks.figures.given_back += 1;
            if self.locks.policy.next_due().is_some() {
                self.arm_soon();
            }
        }
        ctx.reply().integer(is_his.into());
        Ok(())
    }

    fn is_unlocked(&mut self, name: &Name, token: u64) -> bool {
        let now_us = self.locks.now_us();
        let token = match self.locks.policy.held(name, now_us) {
            Some(hold) if mutations::is("unlock-any-token") => hold.token,
            _ => token,
        };
        self.locks.policy.release(name, token, now_us)
    }

    /// BEAR.EXTENDLOCK.
    pub fn extend_lock(
        &mut self,
        ctx: Context,
        space: &[u8],
        name: &[u8],
        token: &[u8],
        ms: u64,
    ) -> Result<(), String> {
        let token = parse_token(token)?;
        let (_, name) = self.lock_named(ctx, space, name)?;
        let mut key: LockKey = self.look_at_lock(ctx, &name)?;
        let now_us = self.locks.now_us();
        let is_his = self.locks.policy.extend(&name, Hold { token, until_us: now_us + ms * 1_000, ms }, now_us);
        if is_his {
            key.write(&Record { token, ms }, wall_us().div_ceil(1_000) + ms);
        }
        ctx.reply().integer(is_his.into());
        Ok(())
    }

    /// The prefix of the space that a command names, and the lock; what other hands did to its key is known then.
    fn lock_named(&mut self, ctx: Context, space: &[u8], name: &[u8]) -> Result<(Vec<u8>, Name), String> {
        let space_ref = self.space_here(ctx, space)?;
        self.check_owned(ctx, space_ref)?;
        if !self.is_master() {
            return Err("READONLY locks are taken and given back on the master".into());
        }
        check_name("a lock's name", name)?;
        let mut prefix = Vec::new();
        names::write_prefix(space, self.deployment, &mut prefix);
        let mut key = prefix.clone();
        keys::write_lock_key(name, &mut key);
        if let Some(note) = watch::take_lock_note(&key) {
            self.take_lock_note(ctx, &key, note);
        }
        Ok((prefix, key.into()))
    }
}

pub(super) fn check_name(what: &str, name: &[u8]) -> Result<(), String> {
    match name.len() {
        0 => Err(format!("ERR {what} is 1 to {MAX_NAME} bytes, got none")),
        1..=MAX_NAME => Ok(()),
        len => Err(format!("TOOLARGE {what} is 1 to {MAX_NAME} bytes, got {len}")),
    }
}

fn parse_token(token: &[u8]) -> Result<u64, String> {
    let number = std::str::from_utf8(token).ok().and_then(|token| token.parse().ok());
    number.ok_or_else(|| format!("ERR a token is the number that BEAR.LOCK gave, got '{}'", shorten(token)))
}

//! Entries that were stored, or are served no more: what the keyspace has noted is published by the callback that did it.

use crate::core::calls::names::{is_space_name, section_of_prefix};
use crate::core::events::entry::{write_invalidated, Cause, Listed, Rows};
use crate::keyspace::told::Happened;
use crate::redis_api::Context;
use crate::server::queues::wall_ms;
use crate::server::Server;

/// A space's name, by the prefix of its keys without the colon.
pub fn space_of(prefix: &[u8]) -> &[u8] {
    if is_space_name(prefix) {
        prefix
    } else {
        section_of_prefix(prefix)
    }
}

/// Rows of a space, by their ids; None: any.
pub fn rows_of(space: &str, ids: Option<&[Box<str>]>) -> Rows {
    Rows { of: space.into(), ids: ids.map(|ids| Listed::new(ids.iter())) }
}

/// The same, by the prefix of the space's keys.
pub fn rows_of_prefix(prefix: &[u8], ids: Option<&[Box<str>]>) -> Rows {
    rows_of(&String::from_utf8_lossy(space_of(prefix)), ids)
}

impl Server {
    /// What is removed from now on goes for this reason, until [`Server::tell_of_entries`].
    pub(in crate::server) fn entries_go(&mut self, cause: impl FnOnce() -> Cause) {
        self.keyspace.told.because(cause);
    }

    /// Publishes what has happened to entries in this callback.
    pub(in crate::server) fn tell_of_entries(&mut self, ctx: Context) {
        self.keyspace.told.forget_cause();
        let mut count = 0;
        while let Some(happened) = self.keyspace.told.take() {
            let prefix = happened.prefix();
            let Ok(space) = std::str::from_utf8(space_of(prefix)) else { continue };
            if !self.events.tells_of(space) {
                continue;
            }
            self.events.sending.push(space, |out| match &happened {
                Happened::Stored { stored, .. } => stored.as_stored().write(space, wall_ms(), out),
                Happened::Gone { cause, gone, pattern, .. } => {
                    write_invalidated(space, cause, gone, pattern, wall_ms(), out);
                }
            });
            count += 1;
        }
        if count > 0 {
            self.events.flush(ctx, count);
        }
    }
}

//! `BEAR.VERIFY space [COUNT n]`: fetches stored entries again and tells which differ, though nothing invalidated them.
//!
//! Reply: a map (RESP2: a flat array) of
//! - checked: entries compared;
//! - different: those of them that differ, and still do a tenth of a second later;
//! - gone: entries invalidated, replaced, expired or beyond their TTL before they were compared, which says nothing;
//! - values: entries that applications have computed, which are not compared;
//! - failed: entries whose fetch failed (the log says how); ten failures in a row end the command;
//! - calls: of up to 100 that differ, a map of call (its words), key, stored_bytes, age_ms, fetched_bytes, and rows, as
//!   many as are stored.
//!
//! COUNT (100; at most 100,000) is how many entries are taken; each command goes on where the last one of the space
//! stopped. At most half of `bear.fetch-threads` fetch for it, one command at a time. O(N) with N the entries taken, a
//! statement each. Nothing is stored or replicated.
//! Errors: ERR (wrong words), READONLY (a replica), NOWAIT, POSTGRES (no URL), OVERLOADED, FOREIGN (the section is
//! refused).

use super::cursor::{once, Cursor};
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Verify;

const DEFAULT_COUNT: u64 = 100;
const MAX_COUNT: u64 = 100_000;

impl Command for Verify {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.verify",
        flags: c"readonly admin",
        categories: c"admin dangerous",
        tips: c"nondeterministic_output",
        arity: -2,
        key: KeyAccess::Read,
        summary: c"Fetches cached results again and tells which differ from Postgres.",
        complexity: c"O(N) with N the entries compared, each a statement in Postgres.",
        args: &[ArgSpec::new(c"space", ArgKind::Key), ArgSpec::new(c"count", ArgKind::Text).token(c"COUNT").optional()],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let mut count = None;
            while cursor.take("COUNT") {
                once("COUNT", &mut count, cursor.number("COUNT", 1, MAX_COUNT)?)?;
            }
            cursor.finish()?;
            server.verify(ctx, space, count.unwrap_or(DEFAULT_COUNT))
        });
    }
}

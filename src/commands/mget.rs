//! `BEAR.MGET space [LEASE ms] n word … n word …`: many calls of BEAR.GET, of which none waits.
//!
//! Reply: an array, for each call what BEAR.GET with WAIT 0 replies, its error included: value and token, or nil. O(N) in the
//! number of calls. Nothing is replicated.
//! Errors: ERR (wrong words), TOOLARGE, FOREIGN (the section is refused). Those of single calls stand in the array.

use super::cursor::{once, Cursor};
use super::mquery::calls;
use crate::core::catalog::MAX_LEASE_MS;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, AskedOfMany};

pub struct MGet;

impl Command for MGet {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.mget",
        flags: c"readonly",
        categories: c"read",
        tips: c"nondeterministic_output",
        arity: -4,
        key: KeyAccess::Read,
        summary:
            c"Returns many values of a space that the application computes, and tokens for those that it is to compute.",
        complexity: c"O(N) in the number of calls.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::option(c"lease-ms", c"LEASE"),
            ArgSpec::new(
                c"call",
                ArgKind::Block(&[ArgSpec::new(c"n", ArgKind::Text), ArgSpec::new(c"word", ArgKind::Text).multiple()]),
            )
            .multiple(),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let mut lease_ms = None;
            while cursor.take("LEASE") {
                once("LEASE", &mut lease_ms, cursor.number("LEASE", 1, MAX_LEASE_MS)?)?;
            }
            let calls = calls(&mut cursor)?;
            server.query_many(ctx, space, AskedOfMany::Values { lease_ms }, calls)
        });
    }
}

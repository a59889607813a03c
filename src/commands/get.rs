//! `BEAR.GET space [LEASE ms] [WAIT ms] word …`: a value that the application computes, or the right to compute it.
//!
//! Reply: an array of two. A hit: the value and nil; where its life is near its end, one caller gets a token beside it, and
//! computes it anew. A miss: nil and a token to the first; the others wait for WAIT, by default as long as a lease, and get
//! the value and nil from BEAR.PUT, nil and a token where the lease has ended, else nil and nil. O(1). Nothing is replicated.
//! In MULTI and scripts, and on replicas, nobody waits.
//! Errors: ERR (wrong words, a call that is a query), OVERLOADED (bear.max-fills leases are under way), FOREIGN (the section is
//! refused).

use super::cursor::{once, Cursor, DAY_MS};
use crate::core::catalog::MAX_LEASE_MS;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, GetOptions};

pub struct Get;

impl Command for Get {
    const IS_TIMED: bool = false;
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.get",
        flags: c"readonly",
        categories: c"read",
        tips: c"nondeterministic_output",
        arity: -3,
        key: KeyAccess::Read,
        summary: c"Returns a value that the application computes, or a token for who is to compute it.",
        complexity: c"O(1)",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::option(c"lease-ms", c"LEASE"),
            ArgSpec::option(c"wait-ms", c"WAIT"),
            ArgSpec::new(c"word", ArgKind::Text).multiple(),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let mut options = GetOptions::default();
            loop {
                if cursor.take("LEASE") {
                    once("LEASE", &mut options.lease_ms, cursor.number("LEASE", 1, MAX_LEASE_MS)?)?;
                } else if cursor.take("WAIT") {
                    once("WAIT", &mut options.wait_ms, cursor.number("WAIT", 0, DAY_MS)?)?;
                } else {
                    break;
                }
            }
            let words = cursor.rest()?;
            server.get_value(ctx, space, &options, &words)
        });
    }
}

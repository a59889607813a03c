//! `BEAR.FORGET space token`: gives up the lease of a value, which BEAR.GET has given.
//!
//! Reply: an integer, 1; 0 where the token names no lease of the space, or not any more. The first who waits for the value gets
//! a lease of his own. O(log N) with N the leases under way. Nothing is replicated.
//! Errors: ERR (wrong words), FOREIGN (the section is refused), READONLY (a replica).

use super::cursor::Cursor;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Forget;

impl Command for Forget {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.forget",
        flags: c"write",
        categories: c"write",
        tips: c"nondeterministic_output",
        arity: 3,
        key: KeyAccess::Write,
        summary: c"Gives up the lease of a value, so that the next who waits for it may compute it.",
        complexity: c"O(log N) with N the leases under way.",
        args: &[ArgSpec::new(c"space", ArgKind::Key), ArgSpec::new(c"token", ArgKind::Text)],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let token = cursor.next("the token")?;
            server.forget_lease(ctx, space, token)
        });
    }
}

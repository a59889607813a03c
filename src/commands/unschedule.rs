//! `BEAR.UNSCHEDULE space name`: ends a schedule that BEAR.SCHEDULE made.
//!
//! Reply: 1, or 0 where there is none. What it has enqueued stays. O(1). Replicated as HDEL.
//! Errors: ERR (no name, one of the catalog's), WRONGTYPE, FOREIGN, READONLY (a replica).

use super::cursor::Cursor;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Unschedule;

impl Command for Unschedule {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.unschedule",
        flags: c"write",
        categories: c"write",
        tips: c"",
        arity: 3,
        key: KeyAccess::Write,
        summary: c"Ends a schedule that BEAR.SCHEDULE made.",
        complexity: c"O(1)",
        args: &[ArgSpec::new(c"space", ArgKind::Key), ArgSpec::new(c"name", ArgKind::Text)],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let name = cursor.next("the schedule's name")?;
            cursor.finish()?;
            server.unschedule(ctx, space, name)
        });
    }
}

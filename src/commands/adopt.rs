//! `BEAR.ADOPT section`: what stands under the names of the section's entries and metadata sets counts as bear's, and goes.
//!
//! For a section that is refused with FOREIGN, or to be rid of keys that others wrote since. Keys of queues are left alone.
//!
//! Reply: OK, at once; the keys go in slices, and what is filled meanwhile is stored. O(N) with N the keys of the database.
//! Replicated as UNLINK and SADD. Errors: ERR (no such section), READONLY (a replica).

use super::cursor::Cursor;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Adopt;

impl Command for Adopt {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.adopt",
        flags: c"write admin",
        categories: c"write admin dangerous",
        tips: c"request_policy:all_shards response_policy:all_succeeded",
        arity: 2,
        key: KeyAccess::None,
        summary: c"Removes whatever stands under the names of a section's entries, whoever wrote it.",
        complexity: c"O(N) with N the keys of the database, in slices.",
        args: &[ArgSpec::new(c"section", ArgKind::Text)],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let section = cursor.next("the section")?;
            cursor.finish()?;
            server.adopt(ctx, section)
        });
    }
}

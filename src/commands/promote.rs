//! `BEAR.PROMOTE space id | ALL`: delayed jobs become due.
//!
//! Reply: an integer, how many. O(log N) with N the delayed jobs; ALL: O(N), in slices, and in MULTI and scripts as many as
//! one takes. Replicated as ZREM.
//! Errors: ERR (wrong words, an unknown id, a job that is not delayed), WRONGTYPE, FOREIGN, NOWAIT (in MULTI or a
//! script, while the queue is being read), READONLY (a replica).

use super::cursor::Cursor;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, PromoteTarget};

pub struct Promote;

impl Command for Promote {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.promote",
        flags: c"write admin",
        categories: c"write admin dangerous",
        tips: c"nondeterministic_output",
        arity: 3,
        key: KeyAccess::Write,
        summary: c"Makes a delayed job, or all of them, due.",
        complexity: c"O(log N) with N the delayed jobs; O(N) with ALL.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(
                c"which",
                ArgKind::OneOf(&[
                    ArgSpec::new(c"id", ArgKind::Text),
                    ArgSpec::new(c"all", ArgKind::Token).token(c"ALL"),
                ]),
            ),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let target = match cursor.take("ALL") {
                true => PromoteTarget::All,
                false => PromoteTarget::Job(cursor.next("the id of a delayed job, or ALL")?),
            };
            cursor.finish()?;
            server.promote(ctx, space, &target)
        });
    }
}

//! `BEAR.RETRY space id … | ALL`: enqueues failed jobs again, under new ids.
//!
//! Reply: an array of the new ids, in the order of the failed records. With ids all of them or none, in one unit; with ALL
//! some at a time while the client waits, and those that do not fit their definition, or whose UNIQUE key another job holds,
//! stay failed. The new jobs have the UNIQUE, PRIORITY, ATTEMPTS and BACKOFF of the failed ones. O(N) with N the failed jobs kept.
//! Replicated as XADD, ZADD, HSET and XDEL.
//! Errors: ERR (wrong words, an unknown id), CATALOG (the job does not fit its definition), DUPLICATE (another job holds its
//! UNIQUE key), TOOLARGE (more ids or bytes than are written in one piece), NOWAIT, FULL, UNSAFE, WRONGTYPE, READONLY (a
//! replica), OOM.

use super::cursor::Cursor;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, RetryTarget};

pub struct Retry;

impl Command for Retry {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.retry",
        flags: c"write admin deny-oom",
        categories: c"write admin dangerous",
        tips: c"nondeterministic_output",
        arity: -3,
        key: KeyAccess::Write,
        summary: c"Enqueues failed jobs again.",
        complexity: c"O(N) with N the failed jobs kept.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(
                c"which",
                ArgKind::OneOf(&[
                    ArgSpec::new(c"id", ArgKind::Text).multiple(),
                    ArgSpec::new(c"all", ArgKind::Token).token(c"ALL"),
                ]),
            ),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            if cursor.take("ALL") {
                cursor.finish()?;
                return server.retry_jobs(ctx, space, &RetryTarget::All);
            }
            let ids = cursor.some("the id of a failed job, or ALL")?;
            server.retry_jobs(ctx, space, &RetryTarget::Ids(&ids))
        });
    }
}

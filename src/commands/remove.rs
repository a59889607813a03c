//! `BEAR.REMOVE space id`: removes a job that is neither being applied nor claimed, or the record of one that failed, or that was
//! claimed and is completed.
//!
//! Reply: 1, or 0 where there is no such job. O(log N) for a queued job, O(N) with N the failed jobs kept otherwise.
//! Replicated as XDEL, XADD, ZREM, HDEL and DEL. Errors: ERR (wrong words; the job is active), WRONGTYPE, NOWAIT (a long search in MULTI
//! or a script), READONLY (a replica).

use super::cursor::space_and_job;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Remove;

impl Command for Remove {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.remove",
        flags: c"write admin",
        categories: c"write admin dangerous",
        tips: c"",
        arity: 3,
        key: KeyAccess::Write,
        summary: c"Removes a queued job, or the record of a settled one.",
        complexity: c"O(log N) for a queued job; O(N) with N the failed jobs kept.",
        args: &[ArgSpec::new(c"space", ArgKind::Key), ArgSpec::new(c"id", ArgKind::Text)],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let (space, id) = space_and_job(args)?;
            server.remove_job(ctx, space, id)
        });
    }
}

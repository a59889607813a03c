//! `BEAR.UPDATE space id json`: another payload for a job that is not active.
//!
//! Reply: OK. The payload is checked as by BEAR.ENQUEUE. O(N) with N its bytes. Replicated as HSET.
//! Errors: ERR (wrong words or payload, an unknown id, a job that is claimed or has settled), TOOLARGE (over
//! bear.max-job-bytes), FULL, WRONGTYPE, FOREIGN, NOWAIT (in MULTI or a script, while the queue is being read), READONLY (a
//! replica), OOM.

use super::cursor::Cursor;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Update;

impl Command for Update {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.update",
        flags: c"write deny-oom",
        categories: c"write",
        tips: c"nondeterministic_output",
        arity: 4,
        key: KeyAccess::Write,
        summary: c"Gives a job that is not active another payload.",
        complexity: c"O(N) with N the bytes of the payload.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(c"id", ArgKind::Text),
            ArgSpec::new(c"json", ArgKind::Text),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let id = cursor.next("the job's id")?;
            let json = cursor.next("the payload")?;
            cursor.finish()?;
            server.update_job(ctx, space, id, json)
        });
    }
}

//! `BEAR.RELEASE space id token`: a worker that ends gives a job back.
//!
//! Reply: the state that follows: waiting, at the job's old place, without an attempt counted; or failed, of a job that was
//! cancelled. O(log N) with N the jobs of the queue. Replicated as HDEL, or XDEL and XADD.
//! Errors: ERR (wrong words, an unknown id), LOST (the token is not that of the job's claim any more), WRONGTYPE, FOREIGN,
//! NOWAIT (in MULTI or a script, while the queue is being read), READONLY (a replica).

use super::cursor::{ClaimWords, Cursor};
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Release;

impl Command for Release {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.release",
        flags: c"write",
        categories: c"write",
        tips: c"nondeterministic_output",
        arity: 4,
        key: KeyAccess::Write,
        summary: c"Gives a claimed job back, without an attempt counted.",
        complexity: c"O(log N) with N the jobs of the queue.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(c"id", ArgKind::Text),
            ArgSpec::new(c"token", ArgKind::Text),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let ClaimWords { space, id, token } = cursor.claim()?;
            cursor.finish()?;
            server.release(ctx, space, id, token)
        });
    }
}

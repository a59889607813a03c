//! `BEAR.LOG space id token text`: a line that a worker keeps with its job.
//!
//! Reply: an integer, how many lines the job has had. The last 1,000 are kept, within 64 KB. O(1). Replicated as RPUSH and
//! LTRIM.
//! Errors: ERR (wrong words, an unknown id), LOST (the token is not that of the job's claim any more), TOOLARGE (a line over
//! 4 KB), WRONGTYPE, FOREIGN, NOWAIT (in MULTI or a script, while the queue is being read), READONLY (a replica), OOM.

use super::cursor::{ClaimWords, Cursor};
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Log;

const MAX_LINE: usize = 4 << 10;

impl Command for Log {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.log",
        flags: c"write deny-oom",
        categories: c"write",
        tips: c"nondeterministic_output",
        arity: 5,
        key: KeyAccess::Write,
        summary: c"Keeps a line of text with a claimed job.",
        complexity: c"O(1)",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(c"id", ArgKind::Text),
            ArgSpec::new(c"token", ArgKind::Text),
            ArgSpec::new(c"text", ArgKind::Text),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let ClaimWords { space, id, token } = cursor.claim()?;
            let text = cursor.text("a line of BEAR.LOG", MAX_LINE)?;
            cursor.finish()?;
            server.log_line(ctx, space, id, token, text)
        });
    }
}

//! `BEAR.CANCEL space id [message]`: a job is to be done no more.
//!
//! Reply: failed, of a job that waited or was delayed; active, of one that is claimed: its worker is told by its next
//! BEAR.EXTEND and by an event. A message is cut at 2 KB. O(log N) with N the jobs of the queue. Replicated as XDEL and XADD,
//! or HSET; the event is PUBLISH and SPUBLISH on `bear:events:<space>`.
//! Errors: ERR (wrong words, an unknown id, a job that has settled), WRONGTYPE, FOREIGN, NOWAIT (in MULTI or a script, while
//! the queue is being read), READONLY (a replica).

use super::cursor::{cut, Cursor, MAX_MESSAGE};
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Cancel;

impl Command for Cancel {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.cancel",
        flags: c"write admin",
        categories: c"write admin dangerous",
        tips: c"nondeterministic_output",
        arity: -3,
        key: KeyAccess::Write,
        summary: c"Ends a queued job as failed, or has its worker end it.",
        complexity: c"O(log N) with N the jobs of the queue.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(c"id", ArgKind::Text),
            ArgSpec::new(c"message", ArgKind::Text).optional(),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let id = cursor.next("the job's id")?;
            let message = match cursor.is_done() {
                true => None,
                false => Some(cut(cursor.next("the message")?, MAX_MESSAGE)),
            };
            cursor.finish()?;
            server.cancel(ctx, space, id, message)
        });
    }
}

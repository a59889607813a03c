//! `BEAR.RESUME space`: goes on applying and handing out the jobs of a space. Where its ledger is lost (BEAR.STATS says `LEDGER …`), a new one
//! begins, and whatever is still queued counts as not applied.
//!
//! Reply: OK. O(1). Replicated as DEL.
//! Errors: ERR (wrong words; a batch of a queue without a ledger is still in flight), WRONGTYPE, FOREIGN (keys are
//! somebody's), NOWAIT (a long search in MULTI or a script), READONLY (a replica).

use super::cursor::only_space;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Resume;

impl Command for Resume {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.resume",
        flags: c"write admin",
        categories: c"write admin dangerous",
        tips: c"",
        arity: 2,
        key: KeyAccess::Write,
        summary: c"Goes on applying and handing out the jobs of a space.",
        complexity: c"O(1)",
        args: &[ArgSpec::new(c"space", ArgKind::Key)],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| server.resume_queue(ctx, only_space(args)?));
    }
}

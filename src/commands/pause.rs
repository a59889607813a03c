//! `BEAR.PAUSE space`: stops applying and handing out the jobs of a space; enqueueing and acknowledging go on. Lasts over a
//! restart.
//!
//! Reply: OK. O(1). Replicated as SET. Errors: ERR (wrong words), FOREIGN (keys are
//! somebody's), READONLY (a replica).

use super::cursor::only_space;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Pause;

impl Command for Pause {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.pause",
        flags: c"write admin",
        categories: c"write admin dangerous",
        tips: c"",
        arity: 2,
        key: KeyAccess::Write,
        summary: c"Stops applying and handing out the jobs of a space.",
        complexity: c"O(1)",
        args: &[ArgSpec::new(c"space", ArgKind::Key)],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| server.pause_queue(ctx, only_space(args)?));
    }
}

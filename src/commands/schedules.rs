//! `BEAR.SCHEDULES space`: its schedules, the catalog's and those that commands made.
//!
//! Reply: an array of maps, by name. O(N) with N the schedules, in slices; in MULTI and scripts it ends after the first with what it
//! has. Nothing is replicated. Errors: ERR (wrong words), WRONGTYPE, FOREIGN.

use super::cursor::only_space;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Schedules;

impl Command for Schedules {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.schedules",
        flags: c"readonly",
        categories: c"read",
        tips: c"nondeterministic_output",
        arity: 2,
        key: KeyAccess::Read,
        summary: c"Lists the schedules of a space: when they tick next, and what came of the last tick.",
        complexity: c"O(N) with N the schedules.",
        args: &[ArgSpec::new(c"space", ArgKind::Key)],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| server.list_schedules(ctx, only_space(args)?));
    }
}

//! `BEAR.RELOAD`: reads the catalog's file again.
//!
//! Reply: OK. All or nothing: a file that does not load, or whose statements Postgres refuses, changes nothing. Fills
//! under way are struck, and where a section changed the cache is cold. While Postgres is away the file alone decides.
//! Nothing is replicated. Errors: ERR (what is wrong), POSTGRES, NOWAIT.

use super::cursor::Cursor;
use crate::redis_api::{Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Reload;

impl Command for Reload {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.reload",
        flags: c"admin",
        categories: c"admin dangerous",
        tips: c"request_policy:all_nodes response_policy:all_succeeded",
        arity: 1,
        key: KeyAccess::None,
        summary: c"Reads the catalog's file again; changes all of it or nothing.",
        complexity: c"O(N) with N the statements of the catalog.",
        args: &[],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            Cursor::new(args).finish()?;
            if ctx.flags().cannot_block() {
                return Err("NOWAIT BEAR.RELOAD waits for Postgres, which MULTI and scripts cannot".into());
            }
            server.reload(|| ctx.block())
        });
    }
}

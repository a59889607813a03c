//! `BEAR.UNLOCK space name token`: gives a lock back.
//!
//! Reply: an integer, 1; 0 where the token does not hold the lock, or not any more. O(log N) with N the locks that are held.
//! Replicated as DEL of the lock's key.
//! Errors: ERR (wrong words, an unknown space), TOOLARGE (a name over 1,024 bytes), WRONGTYPE (the lock's key is of another type),
//! FOREIGN (keys are somebody's), READONLY (a replica).

use super::cursor::Cursor;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Unlock;

impl Command for Unlock {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.unlock",
        flags: c"write",
        categories: c"write",
        tips: c"nondeterministic_output",
        arity: 4,
        key: KeyAccess::Write,
        summary: c"Gives a lock back, which its token holds.",
        complexity: c"O(log N) with N the locks that are held.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(c"name", ArgKind::Text),
            ArgSpec::new(c"token", ArgKind::Text),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let name = cursor.next("the lock's name")?;
            let token = cursor.next("the lock's token")?;
            server.unlock(ctx, space, name, token)
        });
    }
}

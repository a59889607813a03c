//! `BEAR.EXTENDLOCK space name token ms`: a lock is held for another time, from now on.
//!
//! Reply: an integer, 1; 0 where the token does not hold the lock, or not any more. The time may also be shorter than what was left.
//! O(log N) with N the locks that are held. Replicated as SET of the lock's key.
//! Errors: ERR (wrong words, an unknown space), TOOLARGE (a name over 1,024 bytes), WRONGTYPE (the lock's key is of another type),
//! FOREIGN (keys are somebody's), READONLY (a replica).

use super::cursor::Cursor;
use crate::core::locks::record::MAX_LOCK_MS;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct ExtendLock;

impl Command for ExtendLock {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.extendlock",
        flags: c"write",
        categories: c"write",
        tips: c"nondeterministic_output",
        arity: 5,
        key: KeyAccess::Write,
        summary: c"Holds a lock for another time, from now on.",
        complexity: c"O(log N) with N the locks that are held.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(c"name", ArgKind::Text),
            ArgSpec::new(c"token", ArgKind::Text),
            ArgSpec::new(c"ms", ArgKind::Text),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let name = cursor.next("the lock's name")?;
            let token = cursor.next("the lock's token")?;
            let ms = cursor.number("ms", 1, MAX_LOCK_MS)?;
            server.extend_lock(ctx, space, name, token, ms)
        });
    }
}

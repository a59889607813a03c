//! `BEAR.LOCK space name ms [WAIT ms]`: takes a lock for a time, or waits for it.
//!
//! Reply: an integer, the token, greater than all before it in the space; nil where somebody else holds the lock, or came before,
//! with WAIT once that time is over. WAIT 0 does not wait. O(log N) with N the locks that are held. In MULTI and scripts WAIT is
//! ignored. Replicated as SET of the lock's key, and now and then of the space's tokens.
//! Errors: ERR (wrong words, an unknown space), TOOLARGE (a name over 1,024 bytes), WRONGTYPE (the lock's key is of another type),
//! FOREIGN (keys are somebody's), READONLY (a replica), OOM.

use super::cursor::{once, Cursor, DAY_MS};
use crate::core::locks::record::MAX_LOCK_MS;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, LockRequest};

pub struct Lock;

impl Command for Lock {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.lock",
        flags: c"write deny-oom",
        categories: c"write",
        tips: c"nondeterministic_output",
        arity: -4,
        key: KeyAccess::Write,
        summary: c"Takes a lock for a time, first come, first served, with a token that grows for ever.",
        complexity: c"O(log N) with N the locks that are held.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(c"name", ArgKind::Text),
            ArgSpec::new(c"ms", ArgKind::Text),
            ArgSpec::option(c"wait-ms", c"WAIT"),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let name = cursor.next("the lock's name")?;
            let ms = cursor.number("ms", 1, MAX_LOCK_MS)?;
            let mut wait_ms = None;
            while !cursor.is_done() {
                if cursor.take("WAIT") {
                    once("WAIT", &mut wait_ms, cursor.number("WAIT", 0, 365 * DAY_MS)?)?;
                } else {
                    cursor.no_option("there is WAIT ms")?;
                }
            }
            server.lock(ctx, space, name, &LockRequest { ms, wait_ms: wait_ms.unwrap_or(0) })
        });
    }
}

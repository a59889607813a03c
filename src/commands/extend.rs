//! `BEAR.EXTEND space id token [LEASE ms] [PROGRESS json]`: the claim goes on for another lease, from now on.
//!
//! Reply: an integer, the milliseconds that are left of the lease. Without LEASE it is as long as it was. O(log N) with N
//! the claims of the queue. Replicated as HSET.
//! Errors: ERR (wrong words, an unknown id, a PROGRESS that is no JSON), LOST (the token is not that of the job's claim any
//! more), CANCELLED (by BEAR.CANCEL; its message), TOOLARGE (a PROGRESS over 4 KB), WRONGTYPE, FOREIGN, NOWAIT (in MULTI or a
//! script, while the queue is being read), READONLY (a replica).

use super::cursor::{once, ClaimWords, Cursor};
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Extend;

const MAX_PROGRESS: usize = 4 << 10;

impl Command for Extend {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.extend",
        flags: c"write",
        categories: c"write",
        tips: c"nondeterministic_output",
        arity: -4,
        key: KeyAccess::Write,
        summary: c"Extends the lease of a claimed job, and says how far it is.",
        complexity: c"O(log N) with N the claims of the queue.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(c"id", ArgKind::Text),
            ArgSpec::new(c"token", ArgKind::Text),
            ArgSpec::option(c"lease-ms", c"LEASE"),
            ArgSpec::option(c"json", c"PROGRESS"),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let ClaimWords { space, id, token } = cursor.claim()?;
            let (mut lease_ms, mut progress) = (None, None);
            while !cursor.is_done() {
                if cursor.take("LEASE") {
                    once("LEASE", &mut lease_ms, cursor.lease()?)?;
                } else if cursor.take("PROGRESS") {
                    once("PROGRESS", &mut progress, cursor.text("the JSON after PROGRESS", MAX_PROGRESS)?)?;
                } else {
                    cursor.no_option("there are LEASE ms and PROGRESS json")?;
                }
            }
            server.extend_claim(ctx, space, id, token, lease_ms, progress)
        });
    }
}

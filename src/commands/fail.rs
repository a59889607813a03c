//! `BEAR.FAIL space id token message [FINAL] [BACKOFF ms] [STACK text]`: the attempt has failed.
//!
//! Reply: the state that follows: delayed (until the next attempt), waiting (BACKOFF 0) or failed (no attempt is left, or
//! FINAL, or the job was cancelled). A message is cut at 2 KB, a STACK at 16 KB. O(log N) with N the jobs of the queue.
//! Replicated as HDEL, HSET and ZADD, or XDEL, HDEL and XADD.
//! Errors: ERR (wrong words, an unknown id), LOST (the token is not that of the job's claim any more), WRONGTYPE, FOREIGN,
//! NOWAIT (in MULTI or a script, while the queue is being read), READONLY (a replica).

use super::cursor::{cut, once, ClaimWords, Cursor, DAY_MS, MAX_MESSAGE};
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, FailRequest};

pub struct Fail;

const MAX_STACK: usize = 16 << 10;

impl Command for Fail {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.fail",
        flags: c"write",
        categories: c"write",
        tips: c"nondeterministic_output",
        arity: -5,
        key: KeyAccess::Write,
        summary: c"Says that the attempt at a claimed job has failed.",
        complexity: c"O(log N) with N the jobs of the queue.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(c"id", ArgKind::Text),
            ArgSpec::new(c"token", ArgKind::Text),
            ArgSpec::new(c"message", ArgKind::Text),
            ArgSpec::new(c"final", ArgKind::Token).token(c"FINAL").optional(),
            ArgSpec::option(c"backoff-ms", c"BACKOFF"),
            ArgSpec::option(c"stack", c"STACK"),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let ClaimWords { space, id, token } = cursor.claim()?;
            let message = cut(cursor.next("the message")?, MAX_MESSAGE);
            let (mut is_final, mut backoff_ms, mut stack) = (None, None, None);
            while !cursor.is_done() {
                if cursor.take("FINAL") {
                    once("FINAL", &mut is_final, ())?;
                } else if cursor.take("BACKOFF") {
                    once("BACKOFF", &mut backoff_ms, cursor.number("BACKOFF", 0, DAY_MS)?)?;
                } else if cursor.take("STACK") {
                    once("STACK", &mut stack, cut(cursor.next("the text after STACK")?, MAX_STACK))?;
                } else {
                    cursor.no_option("there are FINAL, BACKOFF ms and STACK text; a message is one word")?;
                }
            }
            let is_final = is_final.is_some();
            if is_final && backoff_ms.is_some() {
                return Err("ERR after FINAL there is no other attempt; give FINAL or BACKOFF ms".into());
            }
            server.fail(ctx, space, &FailRequest { id, token, message, stack, is_final, backoff_ms })
        });
    }
}

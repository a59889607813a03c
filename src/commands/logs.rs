//! `BEAR.LOGS space id [COUNT n] [AFTER n]`: the lines that workers have kept with a job.
//!
//! Reply: an array of maps, oldest first, at most COUNT (100; at most 1,000): n (the line's number, from 1 on), time (Unix time
//! in ms), text. With AFTER from the line after that number on. Empty for a job without lines. O(N) with N the lines kept.
//! Nothing is replicated.
//! Errors: ERR (wrong words), WRONGTYPE.

use super::cursor::{once, Cursor};
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Logs;

const MAX_COUNT: u64 = 1_000;

impl Command for Logs {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.logs",
        flags: c"readonly",
        categories: c"read",
        tips: c"nondeterministic_output",
        arity: -3,
        key: KeyAccess::Read,
        summary: c"Returns the lines of text that are kept with a job.",
        complexity: c"O(N) with N the lines kept.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(c"id", ArgKind::Text),
            ArgSpec::option(c"count", c"COUNT"),
            ArgSpec::option(c"after-n", c"AFTER"),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let id = cursor.next("the job's id")?;
            let (mut count, mut after) = (None, None);
            while !cursor.is_done() {
                if cursor.take("COUNT") {
                    once("COUNT", &mut count, cursor.number("COUNT", 1, MAX_COUNT)? as usize)?;
                } else if cursor.take("AFTER") {
                    once("AFTER", &mut after, cursor.number("AFTER", 0, i64::MAX as u64)?)?;
                } else {
                    cursor.no_option("there are COUNT n and AFTER n")?;
                }
            }
            server.log_lines(ctx, space, id, count.unwrap_or(100), after)
        });
    }
}

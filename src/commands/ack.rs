//! `BEAR.ACK space id token [id token …] [RESULT json]`: the jobs are done.
//!
//! Reply: of one job the integer 1; of several an array of how many were accepted and of the others, an array of pairs of
//! id and error. O(N*log(M)) with N the jobs named and M those of the queue. Replicated as XDEL, HDEL, XADD and HSET.
//! Errors: ERR (wrong words, an unknown id, a RESULT that is no JSON), LOST (the token is not that of the job's claim any
//! more; of several jobs it is in the reply), TOOLARGE (more than 1,000 jobs; a RESULT over 64 KB), WRONGTYPE, FOREIGN,
//! NOWAIT (in MULTI or a script, while the queue is being read), READONLY (a replica).

use super::cursor::Cursor;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Ack;

const MAX_PAIRS: usize = 1_000;

const PAIR: &[ArgSpec] = &[ArgSpec::new(c"id", ArgKind::Text), ArgSpec::new(c"token", ArgKind::Text)];

impl Command for Ack {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.ack",
        flags: c"write",
        categories: c"write",
        tips: c"nondeterministic_output",
        arity: -4,
        key: KeyAccess::Write,
        summary: c"Says that claimed jobs are done.",
        complexity: c"O(N*log(M)) with N the jobs named and M those of the queue.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(c"claim", ArgKind::Block(PAIR)).multiple(),
            ArgSpec::option(c"json", c"RESULT"),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let mut pairs: Vec<(&[u8], &[u8])> = Vec::new();
            let mut result = None;
            while !cursor.is_done() {
                if cursor.take("RESULT") {
                    result = Some(cursor.next("the JSON after RESULT")?);
                    cursor.finish()?;
                } else if pairs.len() == MAX_PAIRS {
                    return Err(format!("TOOLARGE {MAX_PAIRS} jobs are acknowledged at once; send them in several"));
                } else {
                    let id = cursor.next("the job's id")?;
                    let token = cursor.next("the token of the last job")?;
                    pairs.push((id, token));
                }
            }
            if pairs.is_empty() {
                return Err("ERR the job's id and its token are missing: BEAR.ACK space id token".into());
            }
            if result.is_some() && pairs.len() > 1 {
                return Err("ERR RESULT is of one job; acknowledge each that has one by itself".into());
            }
            server.ack(ctx, space, &pairs, result)
        });
    }
}

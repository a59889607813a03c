//! `BEAR.JOB space id | UNIQUE key [BLOCK ms]`: what is known of a job, by its id or by the UNIQUE key that it holds; with BLOCK
//! once it has settled, or what is known when that time is up (0: however long it takes). In MULTI and scripts BLOCK is ignored.
//!
//! Reply: a map (RESP2: keys and values in turn), or nil for an unknown id or key: id, job, state (waiting, active, delayed,
//! completed, failed), data (JSON), attempts, enqueued, due and finished (Unix time in ms, or nil), error (a map of message
//! and sqlstate, or nil), result (JSON, or nil), rows (rows that its statement returned, or nil), and, nil where it is not
//! known: worker, token, started, lease_ends, max_attempts, backoff (ms, or an array of them), unique, progress (JSON), priority,
//! stack, log (lines), errors (an array of maps: attempt, message, stack, worker, at), cancelled. O(log N) for a queued job; a settled one is looked for among the records that are kept. Nothing is replicated.
//! Errors: ERR (wrong words; with BLOCK, a job that was removed), READONLY (BLOCK on a replica), WRONGTYPE (of a job that is not found), NOWAIT (a long search in MULTI or a script).

use super::cursor::{Cursor, DAY_MS};
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Job;

impl Command for Job {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.job",
        flags: c"readonly",
        categories: c"read",
        tips: c"nondeterministic_output",
        arity: -3,
        key: KeyAccess::Read,
        summary: c"Returns what is known of a job.",
        complexity: c"O(log N) for a queued job; O(N) with N the entries of records kept for a settled one.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(
                c"which",
                ArgKind::OneOf(&[
                    ArgSpec::new(c"id", ArgKind::Text),
                    ArgSpec::new(c"unique-key", ArgKind::Text).token(c"UNIQUE"),
                ]),
            ),
            ArgSpec::option(c"block-ms", c"BLOCK"),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            if cursor.take("UNIQUE") {
                let key = cursor.next("the key after UNIQUE")?;
                let block_ms = block_ms(&mut cursor)?;
                return server.job_by_unique(ctx, space, key, block_ms);
            }
            let id = cursor.next("the job's id, or UNIQUE key")?;
            let block_ms = block_ms(&mut cursor)?;
            server.job(ctx, space, id, block_ms)
        });
    }
}

/// What follows the job.
fn block_ms(cursor: &mut Cursor) -> Result<Option<u64>, String> {
    let block_ms = match cursor.take("BLOCK") {
        true => Some(cursor.number("BLOCK", 0, 365 * DAY_MS)?),
        false => None,
    };
    cursor.finish()?;
    Ok(block_ms)
}

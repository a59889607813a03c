//! `BEAR.ENQUEUE space job json [UNIQUE key] [DELAY ms | AT ms] [ATTEMPTS n] [BACKOFF ms] [PRIORITY n] [TRACEPARENT text]
//! [BLOCK ms]`: a job for Postgres, or for workers that claim it.
//!
//! Reply: a bulk string, the job's id; with BLOCK BEAR.JOB's map, once the job has settled (0: however long it takes).
//! O(N) with N the bytes of the payload. Replicated as XADD, with UNIQUE, DELAY and AT as ZADD and HSET, too.
//! In MULTI and scripts BLOCK is ignored.
//! Errors: ERR (wrong words or payload), TOOLARGE, FULL, DUPLICATE (another job holds the UNIQUE key), UNSAFE (the
//! maxmemory-policy may evict the queue), WRONGTYPE (a key of the queue is of another type), TIMEOUT (BLOCK is over, the job
//! stays queued), FOREIGN (keys are somebody's), READONLY (a replica), OOM.

use super::cursor::{once, Cursor, DAY_MS};
use crate::core::values::priority::{Priority, MAX_PRIORITY};
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, EnqueueOptions};

pub struct Enqueue;

/// Bytes of a UNIQUE key.
const MAX_UNIQUE: usize = 1_024;

impl Command for Enqueue {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.enqueue",
        flags: c"write deny-oom",
        categories: c"write",
        tips: c"nondeterministic_output",
        arity: -4,
        key: KeyAccess::Write,
        summary: c"Queues a job: it is applied to Postgres exactly once, or claimed by workers.",
        complexity: c"O(N) with N the bytes of the payload.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(c"job", ArgKind::Text),
            ArgSpec::new(c"json", ArgKind::Text),
            ArgSpec::option(c"unique-key", c"UNIQUE"),
            ArgSpec::new(
                c"due",
                ArgKind::OneOf(&[
                    ArgSpec::new(c"delay-ms", ArgKind::Text).token(c"DELAY"),
                    ArgSpec::new(c"unix-ms", ArgKind::Text).token(c"AT"),
                ]),
            )
            .optional(),
            ArgSpec::option(c"attempts", c"ATTEMPTS"),
            ArgSpec::option(c"backoff-ms", c"BACKOFF"),
            ArgSpec::option(c"priority", c"PRIORITY"),
            ArgSpec::option(c"traceparent", c"TRACEPARENT"),
            ArgSpec::option(c"block-ms", c"BLOCK"),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let job = cursor.next("the job")?;
            let data = cursor.next("the payload")?;
            let options = options(&mut cursor)?;
            server.enqueue(ctx, space, job, data, &options)
        });
    }
}

fn options<'a>(cursor: &mut Cursor<'a>) -> Result<EnqueueOptions<'a>, String> {
    let mut options = EnqueueOptions::default();
    while !cursor.is_done() {
        if cursor.take("UNIQUE") {
            let key = cursor.next("the key after UNIQUE")?;
            if key.len() > MAX_UNIQUE {
                return Err(format!("TOOLARGE a UNIQUE key may hold {MAX_UNIQUE} bytes, got {}", key.len()));
            }
            once("UNIQUE", &mut options.unique, key)?;
        } else if cursor.take("DELAY") {
            once("DELAY", &mut options.delay_ms, cursor.number("DELAY", 0, 365 * DAY_MS)?)?;
        } else if cursor.take("AT") {
            once("AT", &mut options.at_ms, at(cursor)?)?;
        } else if cursor.take("PRIORITY") {
            once("PRIORITY", &mut options.priority, cursor.number("PRIORITY", 1, MAX_PRIORITY.into())? as Priority)?;
        } else if cursor.take("ATTEMPTS") {
            once("ATTEMPTS", &mut options.attempts, cursor.number("ATTEMPTS", 1, 100)? as u32)?;
        } else if cursor.take("BACKOFF") {
            once("BACKOFF", &mut options.backoff_ms, cursor.number("BACKOFF", 0, DAY_MS)?)?;
        } else if cursor.take("TRACEPARENT") {
            let text = cursor.next("the text after TRACEPARENT")?;
            server::check_traceparent(text)?;
            once("TRACEPARENT", &mut options.traceparent, text)?;
        } else if cursor.take("BLOCK") {
            once("BLOCK", &mut options.block_ms, cursor.number("BLOCK", 0, 365 * DAY_MS)?)?;
        } else {
            cursor.no_option(
                "there are UNIQUE key, DELAY ms, AT ms, ATTEMPTS n, BACKOFF ms, PRIORITY n, TRACEPARENT text and BLOCK ms",
            )?;
        }
    }
    if options.delay_ms.is_some() && options.at_ms.is_some() {
        return Err("ERR DELAY and AT both say when the job is due; give one of them".into());
    }
    Ok(options)
}

/// The Unix time after AT. What would be a moment of the year 1970 was meant to be seconds.
fn at(cursor: &mut Cursor) -> Result<u64, String> {
    let ms = cursor.number("AT", 0, i64::MAX as u64)?;
    if ms < 365 * DAY_MS {
        return Err(format!("ERR AT is a Unix time in milliseconds, such as 1700000000000, got {ms}"));
    }
    Ok(ms)
}

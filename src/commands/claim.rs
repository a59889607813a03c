//! `BEAR.CLAIM space [JOB name …] [COUNT n] [LEASE ms] [BLOCK ms] [WORKER name]`: hands a worker the next jobs.
//!
//! Reply: an array of maps, none where no job may be begun (with BLOCK: once the time is over): id, job, data (JSON),
//! attempt (this one), attempts (the most there are), token, lease_ms, priority, enqueued (Unix time in ms), space. Its
//! payloads are a megabyte together, or the first alone. O(N*log(M)) with N the jobs claimed and M those that wait. In
//! MULTI and scripts BLOCK is ignored. Replicated as HSET, and now and then SET; where there is a rate, XADD and XTRIM.
//! Errors: ERR (wrong words, an unknown space or job), TOOLARGE (more than 100 names), WRONGTYPE (a key of the queue is of another
//! type), FOREIGN (keys are somebody's), READONLY (a replica), OOM.

use super::cursor::{once, Cursor, DAY_MS};
use crate::core::values::value::shorten;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, ClaimRequest, Words};

pub struct Claim;

/// Names after JOB.
const MAX_JOBS: usize = 100;

const MAX_COUNT: u64 = 1_000;

/// Bytes of a worker's name.
const MAX_WORKER: usize = 128;

const OPTIONS: [&str; 5] = ["JOB", "COUNT", "LEASE", "BLOCK", "WORKER"];

const JOB: &[ArgSpec] =
    &[ArgSpec::new(c"job-token", ArgKind::Token).token(c"JOB"), ArgSpec::new(c"job", ArgKind::Text).multiple()];

impl Command for Claim {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.claim",
        flags: c"write deny-oom",
        categories: c"write",
        tips: c"nondeterministic_output",
        arity: -2,
        key: KeyAccess::Write,
        summary: c"Hands a worker the next jobs of a queue, each for the time of a lease.",
        complexity: c"O(N*log(M)) with N the jobs claimed and M those that wait.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(c"jobs", ArgKind::Block(JOB)).optional(),
            ArgSpec::option(c"count", c"COUNT"),
            ArgSpec::option(c"lease-ms", c"LEASE"),
            ArgSpec::option(c"block-ms", c"BLOCK"),
            ArgSpec::option(c"worker", c"WORKER"),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let request = request(&mut cursor)?;
            server.claim(ctx, space, &request)
        });
    }
}

fn request<'a>(cursor: &mut Cursor<'a>) -> Result<ClaimRequest<'a>, String> {
    let (mut jobs, mut count, mut lease_ms, mut block_ms, mut worker) = (None, None, None, None, None);
    while !cursor.is_done() {
        if cursor.take("JOB") {
            once("JOB", &mut jobs, names(cursor)?)?;
        } else if cursor.take("COUNT") {
            once("COUNT", &mut count, cursor.number("COUNT", 1, MAX_COUNT)? as usize)?;
        } else if cursor.take("LEASE") {
            once("LEASE", &mut lease_ms, cursor.lease()?)?;
        } else if cursor.take("BLOCK") {
            once("BLOCK", &mut block_ms, cursor.number("BLOCK", 0, 365 * DAY_MS)?)?;
        } else if cursor.take("WORKER") {
            once("WORKER", &mut worker, worker_name(cursor)?)?;
        } else {
            cursor.no_option("there are JOB name …, COUNT n, LEASE ms, BLOCK ms and WORKER name")?;
        }
    }
    Ok(ClaimRequest { jobs: jobs.unwrap_or_default(), count: count.unwrap_or(1), lease_ms, block_ms, worker })
}

/// Names up to the next option. The first word is one in any case: a job may be called COUNT.
fn names<'a>(cursor: &mut Cursor<'a>) -> Result<Words<'a>, String> {
    let mut names = Words::new();
    names.push(cursor.next("the job's name after JOB")?);
    while !cursor.is_done() && !OPTIONS.iter().any(|option| cursor.is_at(option)) {
        if names.len() == MAX_JOBS {
            return Err(format!(
                "TOOLARGE JOB takes at most {MAX_JOBS} names; without JOB jobs of any name are claimed"
            ));
        }
        names.push(cursor.next("the job's name")?);
    }
    Ok(names)
}

fn worker_name<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], String> {
    let name = cursor.next("the name after WORKER")?;
    let is_name = (1..=MAX_WORKER).contains(&name.len()) && std::str::from_utf8(name).is_ok();
    is_name.then_some(name).ok_or_else(|| {
        format!(
            "ERR a worker's name is 1 to {MAX_WORKER} bytes of UTF-8, got '{}' ({} bytes)",
            shorten(name),
            name.len()
        )
    })
}

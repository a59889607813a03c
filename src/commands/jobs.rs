//! `BEAR.JOBS space state [JOB name] [COUNT n] [AFTER id] [NEWEST] [OFFSET n]`: jobs in one state.
//!
//! Reply: an array of BEAR.JOB's maps, at most COUNT (10; at most 1,000): queued ones in the order of their ids, settled
//! ones in the order in which they settled, from the one after AFTER on, OFFSET more passed over; with NEWEST the other way
//! round. O(N) with N the jobs passed over, in slices; in MULTI and scripts it ends after the first with what it has, and a
//! list of 16 MB ends, too. Nothing is replicated.
//! Errors: ERR (wrong words), WRONGTYPE.

use super::cursor::{once, Cursor};
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, ListRequest, ListedState};

pub struct Jobs;

const MAX_OFFSET: u64 = 1_000_000_000;

const fn state(name: &'static std::ffi::CStr) -> ArgSpec {
    ArgSpec::new(name, ArgKind::Token).token(name)
}

impl Command for Jobs {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.jobs",
        flags: c"readonly",
        categories: c"read",
        tips: c"nondeterministic_output",
        arity: -3,
        key: KeyAccess::Read,
        summary: c"Lists jobs in one state.",
        complexity: c"O(N) with N the jobs passed over.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(
                c"state",
                ArgKind::OneOf(&[
                    state(c"waiting"),
                    state(c"active"),
                    state(c"delayed"),
                    state(c"completed"),
                    state(c"failed"),
                ]),
            ),
            ArgSpec::option(c"job", c"JOB"),
            ArgSpec::option(c"count", c"COUNT"),
            ArgSpec::option(c"after-id", c"AFTER"),
            ArgSpec::new(c"newest", ArgKind::Token).token(c"NEWEST").optional(),
            ArgSpec::option(c"offset", c"OFFSET"),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let state = ListedState::ALL.into_iter().find(|(name, _)| cursor.take(name)).map(|(_, state)| state);
            let state = state.ok_or("ERR the state is one of waiting, active, delayed, completed, failed")?;
            let (mut job, mut count, mut after, mut newest, mut offset) = (None, None, None, None, None);
            while !cursor.is_done() {
                if cursor.take("JOB") {
                    once("JOB", &mut job, cursor.next("the job's name after JOB")?)?;
                } else if cursor.take("COUNT") {
                    once("COUNT", &mut count, cursor.number("COUNT", 1, 1_000)? as usize)?;
                } else if cursor.take("AFTER") {
                    once("AFTER", &mut after, cursor.next("the id after AFTER")?)?;
                } else if cursor.take("NEWEST") {
                    once("NEWEST", &mut newest, ())?;
                } else if cursor.take("OFFSET") {
                    once("OFFSET", &mut offset, cursor.number("OFFSET", 0, MAX_OFFSET)?)?;
                } else {
                    cursor.no_option("there are JOB name, COUNT n, AFTER id, NEWEST and OFFSET n")?;
                }
            }
            let request = ListRequest {
                state,
                job,
                count: count.unwrap_or(10),
                after,
                is_newest_first: newest.is_some(),
                offset: offset.unwrap_or(0),
            };
            server.jobs(ctx, space, &request)
        });
    }
}

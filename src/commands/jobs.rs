//! `BEAR.JOBS space state [COUNT n] [AFTER id]`: jobs in one state.
//!
//! Reply: an array of BEAR.JOB's maps, at most COUNT (10; at most 1,000): queued ones in the order of their ids, settled
//! ones in the order in which they settled, from the one after AFTER on. O(N) with N the jobs passed over, in slices; in
//! MULTI and scripts it ends after the first with what it has, and a list of 16 MB ends, too. Nothing is replicated.
//! Errors: ERR (wrong words), WRONGTYPE.

use super::cursor::{once, Cursor};
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, ListedState};

pub struct Jobs;

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
            ArgSpec::new(c"count", ArgKind::Text).token(c"COUNT").optional(),
            ArgSpec::new(c"after-id", ArgKind::Text).token(c"AFTER").optional(),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let state = ListedState::ALL.into_iter().find(|(name, _)| cursor.take(name)).map(|(_, state)| state);
            let state = state.ok_or("ERR the state is one of waiting, active, delayed, completed, failed")?;
            let (mut count, mut after) = (None, None);
            while !cursor.is_done() {
                if cursor.take("COUNT") {
                    once("COUNT", &mut count, cursor.number("COUNT", 1, 1_000)? as usize)?;
                } else if cursor.take("AFTER") {
                    once("AFTER", &mut after, cursor.next("the id after AFTER")?)?;
                } else {
                    cursor.finish()?;
                }
            }
            server.jobs(ctx, space, state, count.unwrap_or(10), after)
        });
    }
}

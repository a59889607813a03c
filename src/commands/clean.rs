//! `BEAR.CLEAN space completed | failed | delayed | waiting [OLDER ms] [COUNT n]`: removes jobs in one state.
//!
//! Reply: an integer, how many. OLDER: those that settled, or were enqueued, at least so long ago. O(N) with N the jobs of
//! the state, in slices, and in MULTI and scripts one. Replicated as XDEL, ZREM and HDEL.
//! Errors: ERR (wrong words), WRONGTYPE, FOREIGN, NOWAIT (in MULTI or a script, and nothing was found in their time),
//! READONLY (a replica).

use super::cursor::{once, Cursor, DAY_MS};
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, ListedState};

pub struct Clean;

const MAX_COUNT: u64 = 1_000_000_000;

const fn state(name: &'static std::ffi::CStr) -> ArgSpec {
    ArgSpec::new(name, ArgKind::Token).token(name)
}

impl Command for Clean {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.clean",
        flags: c"write admin",
        categories: c"write admin dangerous",
        tips: c"nondeterministic_output",
        arity: -3,
        key: KeyAccess::Write,
        summary: c"Removes jobs in one state.",
        complexity: c"O(N) with N the jobs of the state.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(
                c"state",
                ArgKind::OneOf(&[state(c"completed"), state(c"failed"), state(c"delayed"), state(c"waiting")]),
            ),
            ArgSpec::option(c"older-ms", c"OLDER"),
            ArgSpec::option(c"count", c"COUNT"),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let state = ListedState::ALL.into_iter().find(|(name, _)| cursor.take(name)).map(|(_, state)| state);
            let state = match state {
                Some(ListedState::Active) => {
                    return Err("ERR active jobs are not removed: BEAR.CANCEL tells their workers to end".into())
                }
                Some(state) => state,
                None => return Err("ERR the state is one of completed, failed, delayed, waiting".into()),
            };
            let (mut older_ms, mut count) = (None, None);
            while !cursor.is_done() {
                if cursor.take("OLDER") {
                    once("OLDER", &mut older_ms, cursor.number("OLDER", 0, 3_650 * DAY_MS)?)?;
                } else if cursor.take("COUNT") {
                    once("COUNT", &mut count, cursor.number("COUNT", 1, MAX_COUNT)?)?;
                } else {
                    cursor.no_option("there are OLDER ms and COUNT n")?;
                }
            }
            server.clean(ctx, space, state, older_ms, count)
        });
    }
}

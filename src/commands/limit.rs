//! `BEAR.LIMIT space name key [quantity]`, `BEAR.LIMIT space key burst count period_ms [quantity]`: may it be done now?
//!
//! Reply: an array of five integers: 1 where it is limited and 0 where it is not; the limit, which is the burst and one; how many
//! would be let through now; of one that is limited, after how many milliseconds it will be let through, else -1 (also where it
//! never will be); after how many the limit is whole again. Quantity 0 only looks. O(1). Replicated as SET of the limit's key,
//! where it was let through.
//! Errors: ERR (wrong words, an unknown space or limit), TOOLARGE (a key over 1,024 bytes), WRONGTYPE (the limit's key is of another
//! type), FOREIGN (keys are somebody's), READONLY (a replica), OOM.

use super::cursor::Cursor;
use crate::core::limits::quota::{MAX_BURST, MAX_COUNT, MAX_PERIOD_MS, MAX_QUANTITY};
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, LimitBy};

pub struct Limit;

/// Words, with the command's name, of the longer form: the shorter one has fewer.
const WITH_NUMBERS: usize = 6;

const NAMED: &[ArgSpec] = &[ArgSpec::new(c"limit", ArgKind::Text), ArgSpec::new(c"key", ArgKind::Text)];
const NUMBERS: &[ArgSpec] = &[
    ArgSpec::new(c"key", ArgKind::Text),
    ArgSpec::new(c"burst", ArgKind::Text),
    ArgSpec::new(c"count", ArgKind::Text),
    ArgSpec::new(c"period-ms", ArgKind::Text),
];

impl Command for Limit {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.limit",
        flags: c"write deny-oom fast",
        categories: c"write",
        tips: c"nondeterministic_output",
        arity: -4,
        key: KeyAccess::Write,
        summary: c"Says whether something may be done now, at most so often in a time, as CL.THROTTLE does.",
        complexity: c"O(1)",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(
                c"by",
                ArgKind::OneOf(&[
                    ArgSpec::new(c"named", ArgKind::Block(NAMED)),
                    ArgSpec::new(c"numbers", ArgKind::Block(NUMBERS)),
                ]),
            ),
            ArgSpec::new(c"quantity", ArgKind::Text).optional(),
        ],
    };
    /// It is a read and a write of one key.
    const IS_TIMED: bool = false;

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let (by, key) = if args.len() < WITH_NUMBERS {
                let name = cursor.next("the limit's name")?;
                (LimitBy::Name(name), cursor.next("the key")?)
            } else {
                let key = cursor.next("the key")?;
                let burst = cursor.number("burst", 0, MAX_BURST)?;
                let count = cursor.number("count", 1, MAX_COUNT)?;
                let period_ms = cursor.number("period_ms", 1, MAX_PERIOD_MS)?;
                (LimitBy::Numbers { burst, count, period_ms }, key)
            };
            let quantity = match cursor.is_done() {
                true => 1,
                false => cursor.number("quantity", 0, MAX_QUANTITY)?,
            };
            cursor.finish()?;
            server.ask_limit(ctx, space, &by, key, quantity)
        });
    }
}

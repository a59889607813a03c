//! `BEAR.LIMITQUEUE space [BY field] [CONCURRENCY n] [RATE rate] | DEFAULT`: how many claimed jobs there may be at a time,
//! and how many may be begun in a time, from now on.
//!
//! Reply: OK. BY: of each value of a field. 0: no limit. What is not named stays as it is; DEFAULT: all as in the catalog
//! again. O(1). Replicated as HSET, or DEL.
//! Errors: ERR (wrong words, a rate that is none, a field that no claimed job has), WRONGTYPE, FOREIGN, READONLY (a replica).

use super::cursor::{once, Cursor};
use crate::core::catalog::claim::Rate;
use crate::core::values::value::shorten;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, LimitRequest};

pub struct LimitQueue;

const MAX_CONCURRENCY: u64 = 1_000_000;

const LIMITS: &[ArgSpec] = &[
    ArgSpec::option(c"field", c"BY"),
    ArgSpec::option(c"concurrency", c"CONCURRENCY"),
    ArgSpec::option(c"rate", c"RATE"),
];

impl Command for LimitQueue {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.limitqueue",
        flags: c"write admin",
        categories: c"write admin dangerous",
        tips: c"",
        arity: -3,
        key: KeyAccess::Write,
        summary: c"Limits how many jobs of a queue are claimed at a time, and begun in a time.",
        complexity: c"O(1)",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(
                c"limits",
                ArgKind::OneOf(&[
                    ArgSpec::new(c"limit", ArgKind::Block(LIMITS)),
                    ArgSpec::new(c"default", ArgKind::Token).token(c"DEFAULT"),
                ]),
            ),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let request = match cursor.take("DEFAULT") {
                true => LimitRequest::Default,
                false => limits(&mut cursor)?,
            };
            cursor.finish()?;
            server.limit_queue(ctx, space, &request)
        });
    }
}

fn limits<'a>(cursor: &mut Cursor<'a>) -> Result<LimitRequest<'a>, String> {
    let (mut by, mut concurrency, mut rate) = (None, None, None);
    while !cursor.is_done() {
        if cursor.take("BY") {
            once("BY", &mut by, cursor.next("the field after BY")?)?;
        } else if cursor.take("CONCURRENCY") {
            let number = cursor.number("CONCURRENCY", 0, MAX_CONCURRENCY)?;
            once("CONCURRENCY", &mut concurrency, Some(number as u32).filter(|number| *number > 0))?;
        } else if cursor.take("RATE") {
            once("RATE", &mut rate, read_rate(cursor.next("the rate after RATE, such as 80/s,")?)?)?;
        } else {
            cursor.no_option("there are BY field, CONCURRENCY n and RATE rate, or DEFAULT alone")?;
        }
    }
    if concurrency.is_none() && rate.is_none() {
        return Err("ERR the limit is missing: CONCURRENCY n, RATE rate (such as 80/s), or both; 0 is no limit".into());
    }
    Ok(LimitRequest::Set { by, concurrency, rate })
}

/// 0: none.
fn read_rate(word: &[u8]) -> Result<Option<Rate>, String> {
    if word == b"0" {
        return Ok(None);
    }
    let rate = Rate::parse(&shorten(word));
    rate.map(Some).map_err(|error| format!("ERR {error}; 0 is no limit"))
}

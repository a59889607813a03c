//! `BEAR.MQUERY space [FRESH | CACHED] n word … n word …`: many calls of BEAR.QUERY, all misses fetched at the same time.
//!
//! Reply: an array, for each call what BEAR.QUERY replies, its error included. O(1) a hit; a miss costs its statement, once for all
//! who wait for it. Nothing is replicated by the command itself.
//! Errors: ERR (wrong words), TOOLARGE, FOREIGN (the section is refused). Those of single calls stand in the array.

use super::cursor::{Cursor, MAX_WORDS};
use crate::core::values::value::shorten;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, AskedOfMany, Calls};

/// Calls of one command.
const MAX_CALLS: usize = 1_000;

/// Their words, and the bytes of these: they are kept while the client waits, and copying them takes half a millisecond at most.
const MAX_ALL_WORDS: usize = 20_000;
const MAX_BYTES: usize = 2 << 20;

pub struct MQuery;

impl Command for MQuery {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.mquery",
        flags: c"readonly",
        categories: c"read",
        tips: c"nondeterministic_output",
        arity: -4,
        key: KeyAccess::Read,
        summary: c"Returns the JSON of many calls of a space, from the cache or from Postgres.",
        complexity: c"O(N) in the number of calls; each miss costs its query's statement in Postgres, once for all who wait for it.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(
                c"freshness",
                ArgKind::OneOf(&[
                    ArgSpec::new(c"fresh", ArgKind::Token).token(c"FRESH"),
                    ArgSpec::new(c"cached", ArgKind::Token).token(c"CACHED"),
                ]),
            )
            .optional(),
            ArgSpec::new(
                c"call",
                ArgKind::Block(&[
                    ArgSpec::new(c"n", ArgKind::Text),
                    ArgSpec::new(c"word", ArgKind::Text).multiple(),
                ]),
            )
            .multiple(),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let freshness = cursor.freshness();
            let calls = calls(&mut cursor)?;
            server.query_many(ctx, space, AskedOfMany::Results(freshness), calls)
        });
    }
}

/// Calls, each after the number of its words.
pub(super) fn calls(cursor: &mut Cursor) -> Result<Calls, String> {
    let mut calls = Calls::default();
    while calls.len() == 0 || !cursor.is_done() {
        if calls.len() == MAX_CALLS {
            return Err(format!("ERR a command takes at most {MAX_CALLS} calls; send them in several"));
        }
        let call = calls.len() + 1;
        let count = cursor.next_of_many(|| format!("the number of words of call {call}"))?;
        let number = std::str::from_utf8(count).ok().and_then(|count| count.parse::<usize>().ok());
        let Some(number) = number.filter(|number| (1..=MAX_WORDS).contains(number)) else {
            return Err(format!(
                "ERR each call comes after the number of its words, from 1 to {MAX_WORDS}; got '{}' before call {call}",
                shorten(count)
            ));
        };
        calls.begin();
        for word in 1..=number {
            calls.push(cursor.next_of_many(|| format!("word {word} of {number} of call {call}"))?);
            if calls.word_count() > MAX_ALL_WORDS || calls.byte_count() > MAX_BYTES {
                return Err(format!(
                    "TOOLARGE the calls of one command may have {MAX_ALL_WORDS} words and {MAX_BYTES} bytes together; send \
                     them in several"
                ));
            }
        }
    }
    Ok(calls)
}

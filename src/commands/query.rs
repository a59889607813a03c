//! `BEAR.QUERY space [FRESH | CACHED | NOBLOCK name] [RAW] word …`: the JSON of a named query, from the cache or from Postgres.
//!
//! Reply: a bulk string (RESP2 and RESP3), the JSON; nil with CACHED or NOBLOCK on a miss.
//! With RAW an array of the encoding, zstd or identity, and the bytes as they are stored.
//! With NOBLOCK the end of the fetch is published on `bear:fill:<name>`. O(1) on a hit; a miss costs its
//! statement, once for all who wait for it. Nothing is replicated by the command itself; storing a result replicates
//! SADD and SET.
//! Errors: ERR (wrong words), NOWAIT, POSTGRES, TIMEOUT, TOOLARGE, QUERY, OVERLOADED, FOREIGN (the section is refused), NOPERM (the channel of
//! NOBLOCK).

use super::cursor::Cursor;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, Wanted};

pub struct Query;

impl Command for Query {
    const IS_TIMED: bool = false;
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.query",
        flags: c"readonly",
        categories: c"read",
        tips: c"nondeterministic_output",
        arity: -3,
        key: KeyAccess::Read,
        summary: c"Returns the JSON of a named query, from the cache or from Postgres.",
        complexity: c"O(1) on a hit; a miss costs the query's statement in Postgres, once for all who wait for it.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(
                c"freshness",
                ArgKind::OneOf(&[
                    ArgSpec::new(c"fresh", ArgKind::Token).token(c"FRESH"),
                    ArgSpec::new(c"cached", ArgKind::Token).token(c"CACHED"),
                    ArgSpec::new(c"name", ArgKind::Text).token(c"NOBLOCK"),
                ]),
            )
            .optional(),
            ArgSpec::new(c"raw", ArgKind::Token).token(c"RAW").optional(),
            ArgSpec::new(c"word", ArgKind::Text).multiple(),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            if cursor.take("NOBLOCK") {
                let name = cursor.next("the name after NOBLOCK")?;
                let wanted = wanted(&mut cursor);
                let words = cursor.some("the call")?;
                return server.query_and_tell(ctx, space, name, wanted, &words);
            }
            let freshness = cursor.freshness();
            let wanted = wanted(&mut cursor);
            let words = cursor.rest()?;
            server.query(ctx, space, freshness, wanted, &words)
        });
    }
}

fn wanted(cursor: &mut Cursor) -> Wanted {
    if cursor.take("RAW") {
        Wanted::Raw
    } else {
        Wanted::Plain
    }
}

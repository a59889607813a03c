//! `BEAR.PROPOSE [SECTION name] [TABLE table …]`: a catalog for the database that is connected to. `BEAR.PROPOSE SQL
//! statement [CALL call]`: the lines of one query. `BEAR.PROPOSE SLOW [COUNT n]`: queries for the reads that cost most.
//!
//! Reply: its text, TOML, as one bulk string. O(N) with N the relations of the database, or the statements that are looked at.
//! Nothing is stored or replicated; Postgres is read, on the thread that checks catalogs. Errors: ERR (wrong words, no table,
//! nothing to propose, a statement that cannot be cached), NOWAIT, POSTGRES, OVERLOADED.

use super::cursor::{once, Cursor};
use crate::core::propose::Wanted;
use crate::core::values::value::shorten;
use crate::postgres::{Asked, Statement};
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, Server};

pub struct Propose;

/// Queries that SLOW proposes where nothing is said, and at most.
const COUNT: u64 = 10;
const MAX_COUNT: u64 = 100;

const TABLES: &[ArgSpec] = &[
    ArgSpec::option(c"section", c"SECTION"),
    ArgSpec::new(c"table", ArgKind::Text).token(c"TABLE").optional().multiple(),
];
const SQL: &[ArgSpec] = &[ArgSpec::new(c"statement", ArgKind::Text).token(c"SQL"), ArgSpec::option(c"call", c"CALL")];
const SLOW: &[ArgSpec] = &[ArgSpec::new(c"slow", ArgKind::Token).token(c"SLOW"), ArgSpec::option(c"count", c"COUNT")];

impl Command for Propose {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.propose",
        flags: c"readonly admin",
        categories: c"admin dangerous",
        tips: c"nondeterministic_output",
        arity: -1,
        key: KeyAccess::None,
        summary: c"Proposes a catalog for the tables of the connected database, or queries for statements.",
        complexity: c"O(N) with N the relations of the database, or the statements that are looked at.",
        args: &[ArgSpec::new(
            c"what",
            ArgKind::OneOf(&[
                ArgSpec::new(c"tables", ArgKind::Block(TABLES)),
                ArgSpec::new(c"query", ArgKind::Block(SQL)),
                ArgSpec::new(c"slow-reads", ArgKind::Block(SLOW)),
            ]),
        )
        .optional()],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let asked = asked(&mut Cursor::new(args), server)?;
            server.propose(ctx, asked)
        });
    }
}

fn asked(cursor: &mut Cursor, server: &Server) -> Result<Asked, String> {
    let asked = if cursor.take("SQL") {
        let sql = text(cursor.next("the statement")?)?;
        let call = if cursor.take("CALL") { Some(text(cursor.next("the call")?)?) } else { None };
        Asked::Statement(Statement { sql, call }, server.known())
    } else if cursor.take("SLOW") {
        let count = if cursor.take("COUNT") { cursor.number("the count", 1, MAX_COUNT)? } else { COUNT };
        Asked::Slow(count as usize, server.known())
    } else {
        Asked::Tables(tables(cursor)?, server.feed_in_force())
    };
    cursor.finish()?;
    Ok(asked)
}

fn tables(cursor: &mut Cursor) -> Result<Wanted, String> {
    let (mut section, mut tables) = (None, Vec::new());
    loop {
        if cursor.take("SECTION") {
            once("SECTION", &mut section, text(cursor.next("the section's name")?)?)?;
        } else if cursor.take("TABLE") {
            for table in cursor.some("a table")? {
                tables.push(text(table)?);
            }
        } else {
            return Ok(Wanted { section, tables });
        }
    }
}

/// Postgres has no texts with a NUL, and its protocol ends one there.
fn text(word: &[u8]) -> Result<Box<str>, String> {
    if word.contains(&0) {
        return Err(format!("ERR '{}' has a NUL byte, which is in no text of Postgres", shorten(word)));
    }
    let text = std::str::from_utf8(word).map_err(|_| format!("ERR '{}' is no UTF-8", shorten(word)))?;
    Ok(text.into())
}

//! `BEAR.PROPOSE [SECTION name] [TABLE table …]`: a catalog for the database that is connected to.
//!
//! Reply: its text, TOML, as one bulk string. O(N) with N the relations of the database. Nothing is stored or replicated;
//! Postgres is read, on the thread that checks catalogs. Errors: ERR (wrong words, no table, nothing to propose), NOWAIT,
//! POSTGRES, OVERLOADED.

use super::cursor::{once, Cursor};
use crate::core::propose::Wanted;
use crate::core::values::value::shorten;
use crate::postgres::Asked;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Propose;

impl Command for Propose {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.propose",
        flags: c"readonly admin",
        categories: c"admin dangerous",
        tips: c"nondeterministic_output",
        arity: -1,
        key: KeyAccess::None,
        summary: c"Proposes a catalog for the tables of the connected database.",
        complexity: c"O(N) with N the relations of the database.",
        args: &[
            ArgSpec::option(c"section", c"SECTION"),
            ArgSpec::new(c"table", ArgKind::Text).token(c"TABLE").optional().multiple(),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let asked = asked(&mut Cursor::new(args))?;
            server.propose(ctx, asked)
        });
    }
}

fn asked(cursor: &mut Cursor) -> Result<Asked, String> {
    let (mut section, mut tables) = (None, Vec::new());
    loop {
        if cursor.take("SECTION") {
            once("SECTION", &mut section, text(cursor.next("the section's name")?)?)?;
        } else if cursor.take("TABLE") {
            for table in cursor.some("a table")? {
                tables.push(text(table)?);
            }
        } else {
            break;
        }
    }
    cursor.finish()?;
    Ok(Asked::Tables(Wanted { section, tables }))
}

fn text(word: &[u8]) -> Result<Box<str>, String> {
    let text = std::str::from_utf8(word).map_err(|_| format!("ERR '{}' is no UTF-8", shorten(word)))?;
    Ok(text.into())
}

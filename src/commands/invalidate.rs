//! `BEAR.INVALIDATE space ROW id … | CHANGED id … | IMAGE json | TAG tag … | QUERY word … | PATTERN glob | ALL`: drops
//! cached results.
//!
//! Reply: an integer, how many entries are served no more. O(N) in the entries removed (PATTERN: in the space's entries);
//! a removal of more than 200 is in force when it replies, and carried out in slices. It replies at once where the index
//! knows the number (ALL, one row or tag), else when its entries have been counted; of those that wait for that, eight are
//! in force at a time. Replicated as UNLINK and
//! SREM, up to 200 in the reply's own unit, else the tombstone `bear.module:cold` there.
//!
//! ROW drops what contains the rows, and what lists no rows of the section but depends on them (`rows = false`). CHANGED
//! reads the rows' present values from Postgres, and drops what they belong in now, too; where Postgres does not answer
//! within `bear.query-timeout-ms`, all that a `match` or `on` may concern. IMAGE does the same with the values that it is
//! given: a JSON object of the columns of the section's `row` statement.
//! Errors: ERR (wrong words), TOOLARGE (more ids, tags or bytes than are in force in one piece), READONLY (a replica), NOWAIT
//! (CHANGED in MULTI or a script), FOREIGN (the section is refused).

use super::cursor::Cursor;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, Target};

pub struct Invalidate;

const ROW: &[ArgSpec] =
    &[ArgSpec::new(c"row", ArgKind::Token).token(c"ROW"), ArgSpec::new(c"id", ArgKind::Text).multiple()];
const CHANGED: &[ArgSpec] =
    &[ArgSpec::new(c"changed", ArgKind::Token).token(c"CHANGED"), ArgSpec::new(c"id", ArgKind::Text).multiple()];
const TAG: &[ArgSpec] =
    &[ArgSpec::new(c"tag-token", ArgKind::Token).token(c"TAG"), ArgSpec::new(c"tag", ArgKind::Text).multiple()];
const QUERY: &[ArgSpec] =
    &[ArgSpec::new(c"query", ArgKind::Token).token(c"QUERY"), ArgSpec::new(c"word", ArgKind::Text).multiple()];

impl Command for Invalidate {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.invalidate",
        flags: c"write",
        categories: c"write",
        tips: c"nondeterministic_output",
        arity: -3,
        key: KeyAccess::Write,
        summary: c"Removes the cached results that contain rows, carry tags, or are of certain calls.",
        complexity: c"O(N) with N the entries removed; PATTERN: the entries of the space.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(
                c"what",
                ArgKind::OneOf(&[
                    ArgSpec::new(c"rows", ArgKind::Block(ROW)),
                    ArgSpec::new(c"changed-rows", ArgKind::Block(CHANGED)),
                    ArgSpec::new(c"image", ArgKind::Text).token(c"IMAGE"),
                    ArgSpec::new(c"tags", ArgKind::Block(TAG)),
                    ArgSpec::new(c"call", ArgKind::Block(QUERY)),
                    ArgSpec::new(c"pattern", ArgKind::Pattern).token(c"PATTERN"),
                    ArgSpec::new(c"all", ArgKind::Token).token(c"ALL"),
                ]),
            ),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let target = target(&mut cursor)?;
            cursor.finish()?;
            server.invalidate(ctx, space, &target)
        });
    }
}

fn target<'a>(cursor: &mut Cursor<'a>) -> Result<Target<'a>, String> {
    if cursor.take("ROW") {
        Ok(Target::Rows(cursor.some("the row's id")?))
    } else if cursor.take("CHANGED") {
        Ok(Target::Changed(cursor.some("the row's id")?))
    } else if cursor.take("IMAGE") {
        Ok(Target::Image(cursor.next("the row's image, a JSON object")?))
    } else if cursor.take("TAG") {
        Ok(Target::Tags(cursor.some("the tag")?))
    } else if cursor.take("QUERY") {
        Ok(Target::Call(cursor.some("the call")?))
    } else if cursor.take("PATTERN") {
        Ok(Target::Pattern(cursor.next("the pattern")?))
    } else if cursor.take("ALL") {
        Ok(Target::All)
    } else {
        Err("ERR what to invalidate is one of: ROW id … | CHANGED id … | IMAGE json | TAG tag … | QUERY word … | PATTERN glob | ALL".into())
    }
}

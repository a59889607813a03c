//! `BEAR.PUT space n word … value [TOKEN t] [TTL ms] [TAG t …] [ROW section id …] [IF ABSENT]`: stores a value that the
//! application has computed, whose call has n words.
//!
//! Reply: an integer, 1: stored; 0: not, for an invalidation, a newer value or the end of the lease came between, or there is
//! no room for it. Clients that wait for the value get it. O(N) with N the rows and tags of the entry; of a value of JSON over
//! 64 KiB the client waits until it is read. Replicated as SADD and SET, when it is stored.
//! Errors: ERR (wrong words, a call that is a query, a value that is not JSON where the catalog wants it), TOOLARGE (a value
//! over bear.max-entry-bytes, too many words, too long ones), FOREIGN (the section is refused), READONLY (a replica).

use super::cursor::{once, Cursor, MAX_WORDS};
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, PutRequest, Words};

pub struct Put;

/// Bytes of the tags and ids of one value: each is part of a key's name, which Redis' thread writes and frees.
const MAX_NAMED_BYTES: usize = 128 << 10;

/// A year.
const MAX_TTL_MS: u64 = 365 * super::cursor::DAY_MS;

impl Command for Put {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.put",
        flags: c"write",
        categories: c"write",
        tips: c"nondeterministic_output",
        arity: -5,
        key: KeyAccess::Write,
        summary: c"Stores a value that the application has computed.",
        complexity: c"O(N) with N the rows and tags of the entry.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(c"n", ArgKind::Text),
            ArgSpec::new(c"word", ArgKind::Text).multiple(),
            ArgSpec::new(c"value", ArgKind::Text),
            ArgSpec::option(c"token", c"TOKEN"),
            ArgSpec::option(c"ttl-ms", c"TTL"),
            ArgSpec::option(c"tag", c"TAG").multiple(),
            ArgSpec::new(
                c"rows",
                ArgKind::Block(&[
                    ArgSpec::new(c"section", ArgKind::Text).token(c"ROW"),
                    ArgSpec::new(c"id", ArgKind::Text).multiple(),
                ]),
            )
            .optional()
            .multiple(),
            ArgSpec::new(
                c"if",
                ArgKind::Block(&[
                    ArgSpec::new(c"if", ArgKind::Token).token(c"IF"),
                    ArgSpec::new(c"absent", ArgKind::Token).token(c"ABSENT"),
                ]),
            )
            .optional(),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            if args.len() > MAX_WORDS {
                let (most, got) = (MAX_WORDS, args.len());
                return Err(format!("TOOLARGE a value's command takes at most {most} words, ids and tags, got {got}"));
            }
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let n = cursor.number("n, how many words the call has,", 1, MAX_WORDS as u64)?;
            let words = (0..n).map(|_| cursor.next("a word of the call")).collect::<Result<Words, String>>()?;
            let value = cursor.next("the value")?;
            let mut request = PutRequest {
                words,
                value,
                token: None,
                ttl_ms: None,
                tags: Words::new(),
                rows: Vec::new(),
                if_absent: false,
            };
            options(&mut cursor, &mut request)?;
            check_named(&request)?;
            server.put_value(ctx, space, &request)
        });
    }
}

/// Words with which an option begins. In the place of a tag or an id that does not come first they begin one, too.
const OPTIONS: [&str; 5] = ["TOKEN", "TTL", "TAG", "ROW", "IF"];

fn options<'a>(cursor: &mut Cursor<'a>, request: &mut PutRequest<'a>) -> Result<(), String> {
    while !cursor.is_done() {
        if cursor.take("TOKEN") {
            once("TOKEN", &mut request.token, cursor.next("the token")?)?;
        } else if cursor.take("TTL") {
            once("TTL", &mut request.ttl_ms, cursor.number("TTL", 0, MAX_TTL_MS)?)?;
        } else if cursor.take("TAG") {
            let before = request.tags.len();
            some(cursor, "a tag", &mut request.tags)?;
            if request.tags[before..].iter().any(|tag| tag.is_empty()) {
                return Err("ERR a tag cannot be empty".into());
            }
        } else if cursor.take("ROW") {
            let section = cursor.next("the section of the rows")?;
            let mut ids = Words::new();
            some(cursor, "a row's id", &mut ids)?;
            request.rows.push((section, ids));
        } else if cursor.take("IF") {
            if !cursor.take("ABSENT") {
                return Err("ERR behind IF there is ABSENT".into());
            }
            request.if_absent = true;
        } else {
            cursor.no_option("there are TOKEN, TTL ms, TAG tag …, ROW section id … and IF ABSENT")?;
        }
    }
    if request.if_absent && request.token.is_some() {
        return Err("ERR IF ABSENT and TOKEN exclude each other: a lease says what may be replaced".into());
    }
    Ok(())
}

fn check_named(request: &PutRequest) -> Result<(), String> {
    let ids = request.rows.iter().flat_map(|(_, ids)| ids);
    let got: usize = request.tags.iter().chain(ids).map(|named| named.len()).sum();
    if got <= MAX_NAMED_BYTES {
        return Ok(());
    }
    Err(format!("TOOLARGE the tags and ids of a value may have {MAX_NAMED_BYTES} bytes together, got {got}"))
}

/// The next word, whatever it is, and those up to the next option.
fn some<'a>(cursor: &mut Cursor<'a>, name: &str, into: &mut Words<'a>) -> Result<(), String> {
    into.push(cursor.next(name)?);
    while !cursor.is_done() && !OPTIONS.iter().any(|option| cursor.is_at(option)) {
        into.push(cursor.next(name)?);
    }
    Ok(())
}

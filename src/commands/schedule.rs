//! `BEAR.SCHEDULE space name CRON expr | EVERY ms [ZONE tz] [FROM ms] [UNTIL ms] [LIMIT n] [MISSED none | one | all] JOB job json
//! [PRIORITY n] [ATTEMPTS n] [BACKOFF ms] | QUERY word …`: from now on a job is enqueued, or a query fetched, at each tick.
//!
//! Reply: OK. One of the same name is replaced; where its rule is the same, what it has done so far counts on.
//! O(N) with N the bytes of the payload. Replicated as HSET.
//! Errors: ERR (wrong words, an expression that never ticks, a name of the catalog's, no such job or call), TOOLARGE, UNSAFE,
//! WRONGTYPE, FOREIGN, READONLY (a replica), OOM.

use super::cursor::{once, Cursor, DAY_MS};
use crate::core::jobs::scheduled::MAX_DATA;
use crate::core::schedules::definition::{Definition, Missed, ScheduledJob, What};
use crate::core::schedules::rule::{Rule, EVERY_MS};
use crate::core::values::priority::{Priority, MAX_PRIORITY};
use crate::core::values::value::shorten;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Schedule;

const JOB: &[ArgSpec] = &[
    ArgSpec::new(c"job", ArgKind::Text).token(c"JOB"),
    ArgSpec::new(c"json", ArgKind::Text),
    ArgSpec::option(c"priority", c"PRIORITY"),
    ArgSpec::option(c"attempts", c"ATTEMPTS"),
    ArgSpec::option(c"backoff-ms", c"BACKOFF"),
];

impl Command for Schedule {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.schedule",
        flags: c"write deny-oom",
        categories: c"write",
        tips: c"",
        arity: -7,
        key: KeyAccess::Write,
        summary: c"Enqueues a job, or fetches a query, again and again: by a cron expression, or every so often.",
        complexity: c"O(N) with N the bytes of the payload.",
        args: &[
            ArgSpec::new(c"space", ArgKind::Key),
            ArgSpec::new(c"name", ArgKind::Text),
            ArgSpec::new(
                c"rule",
                ArgKind::OneOf(&[
                    ArgSpec::new(c"expression", ArgKind::Text).token(c"CRON"),
                    ArgSpec::new(c"every-ms", ArgKind::Text).token(c"EVERY"),
                ]),
            ),
            ArgSpec::option(c"zone", c"ZONE"),
            ArgSpec::option(c"from-unix-ms", c"FROM"),
            ArgSpec::option(c"until-unix-ms", c"UNTIL"),
            ArgSpec::option(c"limit", c"LIMIT"),
            ArgSpec::option(c"missed", c"MISSED"),
            ArgSpec::new(
                c"what",
                ArgKind::OneOf(&[
                    ArgSpec::new(c"a-job", ArgKind::Block(JOB)),
                    ArgSpec::new(c"word", ArgKind::Text).token(c"QUERY").multiple(),
                ]),
            ),
        ],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let name = cursor.next("the schedule's name")?;
            let definition = definition(&mut cursor)?;
            cursor.finish()?;
            server.schedule(ctx, space, name, &definition)
        });
    }
}

#[derive(Default)]
struct Read<'a> {
    cron: Option<&'a str>,
    every_ms: Option<u64>,
    zone: Option<&'a str>,
    from_ms: Option<u64>,
    until_ms: Option<u64>,
    limit: Option<u64>,
    missed: Option<Missed>,
    job: Option<(&'a str, &'a str)>,
    priority: Option<Priority>,
    attempts: Option<u32>,
    backoff_ms: Option<u64>,
    query: Option<Vec<Box<str>>>,
}

fn definition(cursor: &mut Cursor) -> Result<Definition, String> {
    let mut read = Read::default();
    while !cursor.is_done() {
        option(cursor, &mut read)?;
    }
    let of_job = read.priority.is_some() || read.attempts.is_some() || read.backoff_ms.is_some();
    let what = match (read.job, read.query) {
        (Some((name, data)), None) => What::Job(ScheduledJob {
            name: name.into(),
            data: data.into(),
            attempts: read.attempts,
            backoff_ms: read.backoff_ms,
            priority: read.priority,
        }),
        (None, Some(_)) if of_job => {
            return Err("ERR PRIORITY, ATTEMPTS and BACKOFF are of a job, and a query has none".into());
        }
        (None, Some(words)) => What::Query(words),
        (Some(_), Some(_)) => return Err("ERR JOB and QUERY exclude each other; give one of them".into()),
        (None, None) => return Err("ERR what is to be done is missing: JOB name json, or QUERY word …".into()),
    };
    let rule = match (read.cron, read.every_ms) {
        (Some(cron), None) => Rule::cron(cron, read.zone, read.from_ms),
        (None, Some(_)) if read.zone.is_some() => {
            return Err("ERR ZONE is for CRON; EVERY is counted from FROM, or from the beginning of 1970, UTC".into());
        }
        (None, Some(every_ms)) => Rule::every(every_ms, read.from_ms),
        (Some(_), Some(_)) => return Err("ERR CRON and EVERY exclude each other; give one of them".into()),
        (None, None) => return Err("ERR the rule is missing: CRON expression, or EVERY ms".into()),
    };
    Ok(Definition {
        rule: rule.map_err(|error| format!("ERR {error}"))?,
        until_ms: read.until_ms,
        limit: read.limit,
        missed: read.missed.unwrap_or_default(),
        what,
    })
}

fn option<'a>(cursor: &mut Cursor<'a>, read: &mut Read<'a>) -> Result<(), String> {
    if cursor.take("CRON") {
        let text = text(cursor.next("the expression after CRON")?, "a cron expression")?;
        once("CRON", &mut read.cron, text)
    } else if cursor.take("EVERY") {
        once("EVERY", &mut read.every_ms, cursor.number("EVERY", EVERY_MS.0, EVERY_MS.1)?)
    } else if cursor.take("ZONE") {
        once("ZONE", &mut read.zone, text(cursor.next("the zone after ZONE")?, "a time zone's name")?)
    } else if cursor.take("FROM") {
        let moment = moment(cursor, "FROM")?;
        once("FROM", &mut read.from_ms, moment)
    } else if cursor.take("UNTIL") {
        let moment = moment(cursor, "UNTIL")?;
        once("UNTIL", &mut read.until_ms, moment)
    } else if cursor.take("LIMIT") {
        once("LIMIT", &mut read.limit, cursor.number("LIMIT", 1, i64::MAX as u64)?)
    } else if cursor.take("MISSED") {
        let word = cursor.next("none, one or all after MISSED")?;
        let missed = std::str::from_utf8(word).ok().and_then(Missed::parse);
        let missed = missed.ok_or_else(|| format!("ERR MISSED is none, one or all, got '{}'", shorten(word)))?;
        once("MISSED", &mut read.missed, missed)
    } else if cursor.take("JOB") {
        let name = text(cursor.next("the job after JOB")?, "a job's name")?;
        let data = cursor.text("the payload of a schedule", MAX_DATA)?;
        once("JOB", &mut read.job, (name, text(data, "a payload")?))
    } else if cursor.take("PRIORITY") {
        once("PRIORITY", &mut read.priority, cursor.number("PRIORITY", 1, MAX_PRIORITY.into())? as Priority)
    } else if cursor.take("ATTEMPTS") {
        once("ATTEMPTS", &mut read.attempts, cursor.number("ATTEMPTS", 1, 100)? as u32)
    } else if cursor.take("BACKOFF") {
        once("BACKOFF", &mut read.backoff_ms, cursor.number("BACKOFF", 0, DAY_MS)?)
    } else if cursor.take("QUERY") {
        let words = cursor.some("the call after QUERY")?;
        let words = words.iter().map(|word| text(word, "a word of a scheduled call").map(Into::into));
        once("QUERY", &mut read.query, words.collect::<Result<_, _>>()?)
    } else {
        cursor.no_option(
            "there are CRON expression, EVERY ms, ZONE name, FROM ms, UNTIL ms, LIMIT n, MISSED none|one|all, JOB name json with \
             PRIORITY n, ATTEMPTS n and BACKOFF ms, and QUERY word …",
        )
    }
}

fn text<'a>(word: &'a [u8], what: &str) -> Result<&'a str, String> {
    std::str::from_utf8(word).map_err(|_| format!("ERR {what} is UTF-8, got '{}'", shorten(word)))
}

/// A Unix time. What would be a moment of the year 1970 was meant to be seconds.
fn moment(cursor: &mut Cursor, name: &str) -> Result<u64, String> {
    let ms = cursor.number(name, 0, i64::MAX as u64)?;
    if ms < 365 * DAY_MS {
        return Err(format!("ERR {name} is a Unix time in milliseconds, such as 1700000000000, got {ms}"));
    }
    Ok(ms)
}

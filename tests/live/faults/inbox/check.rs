//! What is in Postgres and in Redis at the end of a round, against what was committed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::site::Site;
use crate::faults::workers::event::{Answer, Event, Verb, What};
use crate::support::{Reply, Wire};

pub const SPACES: [&str; 3] = ["effect", "own", "plain"];

/// Of a round.
#[derive(Debug, Default)]
pub struct Counts {
    pub committed: i64,
    pub failed: i64,
    /// Transactions of workers that were told that their claim was over.
    pub fenced: usize,
    /// Effects of jobs that were done more than once, where that may be.
    pub repeated: i64,
}

/// Waits until nothing is to be done any more.
pub fn wait_drained(site: &Site, within: Duration) -> Result<(), String> {
    let begun = Instant::now();
    let mut client = site.database.client();
    let mut wire = site.master.wire();
    loop {
        let open: i64 =
            client.query_one("SELECT count(*) FROM bear.inbox WHERE failed IS NULL", &[]).expect("it").get(0);
        let left = left_in_redis(&mut wire);
        if open == 0 && left.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > within {
            let rows = client.query(
                "SELECT concat_ws(' ', id, space, job, data, 'due', due, 'fence', fence, 'done', done) FROM bear.inbox \
                 WHERE failed IS NULL ORDER BY id LIMIT 5",
                &[],
            );
            let rows: Vec<String> = rows.expect("rows").iter().map(|row| row.get(0)).collect();
            let info = site.master.info("bear");
            let of_inbox: Vec<String> = info
                .names()
                .filter(|name| name.contains("inbox"))
                .map(|name| format!("{name}: {}", info.text(name)))
                .collect();
            return Err(format!(
                "stuck after {within:?}: {open} rows are open, {rows:#?}; in Redis {left:#?}; {of_inbox:#?}"
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Keys of jobs that have not settled, or of whose end Postgres has not been told.
fn left_in_redis(wire: &mut Wire) -> Vec<String> {
    let mut left = Vec::new();
    for space in SPACES {
        for part in ["inbox", "inbox:tell", "work:claims", "work:delayed", "work:attempts"] {
            let key = format!("{space}:queue:{part}");
            if wire.run(&format!("EXISTS {key}")) != Reply::Int(0) {
                let content =
                    if part.ends_with("delayed") { format!("ZRANGE {key} 0 3") } else { format!("HGETALL {key}") };
                left.push(format!("{key}: {}", shown(&wire.run(&content))));
            }
        }
        for part in ["queue", "queue:work"] {
            let length = wire.run(&format!("XLEN {space}:{part}")).int();
            if length > 0 {
                let first = wire.run(&format!("XRANGE {space}:{part} - + COUNT 2"));
                let states = ["waiting", "active", "delayed"].map(|state| {
                    format!("{state}: {}", shown(&wire.run(&format!("BEAR.JOBS {space} {state} COUNT 1"))))
                });
                let stats = shown(&wire.run(&format!("BEAR.STATS {space}")));
                left.push(format!("{space}:{part} has {length} jobs, {}; {states:#?}; {stats}", shown(&first)));
            }
        }
    }
    left
}

/// The words of a reply, as many as are worth reading.
fn shown(reply: &Reply) -> String {
    let text = match reply {
        Reply::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(" "),
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("{other:?}"),
    };
    text.chars().take(600).collect()
}

/// `fenced`: transactions that were refused.
pub fn check(site: &Site, fenced: usize) -> Result<Counts, String> {
    let mut client = site.database.client();
    let mut marks = |what: &str, sql: &str| -> Result<(), String> {
        let rows = client.query(&format!("SELECT concat_ws(' ', {what}) {sql} LIMIT 5"), &[]).expect(sql);
        let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        if found.is_empty() {
            return Ok(());
        }
        Err(format!("{found:#?}: {sql}"))
    };
    let of_sent =
        "FROM public.sent s LEFT JOIN (SELECT mark, count(*) AS times FROM public.mark GROUP BY mark) m USING (mark) \
        LEFT JOIN bear.inbox i ON i.id = s.row_id";
    let shown = "s.space, s.job, s.mark, s.row_id, coalesce(m.times, 0), i.failed";
    let say = |what: &str| format!("{shown}, '— {what}'");
    // A row that has failed stands for a job without an effect; one that is gone for a job with one.
    marks(
        &say("exactly once, or failed and never"),
        &format!("{of_sent} WHERE s.space <> 'plain' AND coalesce(m.times, 0) <> CASE WHEN i.failed IS NULL THEN 1 ELSE 0 END"),
    )?;
    marks(
        &say("at least once, or failed"),
        &format!("{of_sent} WHERE s.space = 'plain' AND coalesce(m.times, 0) = 0 AND i.failed IS NULL"),
    )?;
    marks(
        &say("those that fail are kept, and no others"),
        &format!("{of_sent} WHERE s.space = 'effect' AND s.bad <> (i.failed IS NOT NULL)"),
    )?;
    marks(
        "m.mark, '— nobody has committed it'",
        "FROM public.mark m LEFT JOIN public.sent s USING (mark) WHERE s.mark IS NULL AND m.mark NOT LIKE 'plain.%' AND m.mark NOT LIKE 'tick.%'",
    )?;
    marks(
        "m.mark, count(*), '— a job of Redis is applied once'",
        "FROM public.mark m WHERE m.mark LIKE 'plain.%' AND m.who <> 'plain' GROUP BY m.mark HAVING count(*) > 1",
    )?;
    marks(
        "i.*, '— nobody has committed it'",
        "FROM bear.inbox i LEFT JOIN public.sent s ON s.row_id = i.id WHERE s.mark IS NULL",
    )?;
    let mut number = |sql: &str| -> i64 { client.query_one(sql, &[]).expect(sql).get(0) };
    Ok(Counts {
        committed: number("SELECT count(*) FROM public.sent"),
        failed: number("SELECT count(*) FROM bear.inbox WHERE failed IS NOT NULL"),
        fenced,
        repeated: number("SELECT count(*) FROM (SELECT mark FROM public.mark WHERE who = 'plain' GROUP BY mark HAVING count(*) > 1) m"),
    })
}

/// Each second of a round has had its job, and each job its effect, once.
pub fn check_ticks(site: &Site, name: &str) -> Result<(), String> {
    let ticks = super::history::ticks(&site.master.aof(), name);
    if let Some(pair) = ticks.windows(2).find(|pair| pair[1] != pair[0] + 1_000) {
        return Err(format!("the schedule {name} ticked at {} and then at {}: {ticks:?}", pair[0], pair[1]));
    }
    let sql = "SELECT count(*) FROM public.mark WHERE mark = 'tick.' || $1";
    let done: i64 = site.database.client().query_one(sql, &[&name]).expect(sql).get(0);
    match done == ticks.len() as i64 {
        true => Ok(()),
        false => {
            Err(format!("the schedule {name} has ticked {} times, and {done} jobs were done: {ticks:?}", ticks.len()))
        }
    }
}

/// Nobody's transaction counts after another has been given the job; how many were refused. `forgot`: Redis has lost what it knew of
/// claims. Then another may hold a job whose first worker has not been told; its effect is there once all the same.
pub fn check_events(events: &[Event], forgot: bool) -> Result<usize, String> {
    let mut given: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut begun: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    let mut done: BTreeMap<&str, u64> = BTreeMap::new();
    let mut fenced = 0;
    for event in events {
        match event.what {
            What::Odd => return Err(format!("an odd answer: {event}")),
            What::Claimed(_) => {
                let known = given.entry(&event.id).or_default();
                *known = (*known).max((event.token, event.at_us));
            }
            What::Sends(Verb::Ack) => drop(begun.insert((&event.id, event.token), event.at_us)),
            What::Got(Verb::Ack, Answer::Lost) => fenced += 1,
            What::Got(Verb::Ack, Answer::Done) => {
                if let Some(other) = done.insert(&event.id, event.token) {
                    return Err(format!("completed twice, by {other} and by {event}"));
                }
                let sent_us = begun.get(&(event.id.as_str(), event.token)).copied().unwrap_or(0);
                let (token, given_us) = given.get(event.id.as_str()).copied().unwrap_or_default();
                if !forgot && token > event.token && given_us < sent_us {
                    return Err(format!("bear.complete was accepted after token {token} had been given out: {event}"));
                }
            }
            _ => {}
        }
    }
    Ok(fenced)
}

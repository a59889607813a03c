//! BEAR.LOG, BEAR.LOGS: lines that a worker keeps with its job, in a list ([`LogLine`]). The oldest go where
//! there are too many; a list that bear did not write is left alone.

use std::sync::Arc;

use super::settle::check_claim;
use super::space::{LogSize, WorkSpace};
use crate::core::claims::log_line::LogLine;
use crate::core::jobs::job_id::JobId;
use crate::keyspace::claims::{self as keys, WorkKeys};
use crate::redis_api::{Answer, Context, KeyType, Value};
use crate::server::queues::{parse_id, wall_ms};
use crate::server::Server;

/// What is kept of a job.
const MAX_LINES: u64 = 1_000;
const MAX_BYTES: u64 = 64 << 10;

/// Oldest lines that are looked at together.
const LOOK: u64 = 64;

impl Server {
    /// BEAR.LOG; the text is at most 4 KB.
    pub fn log_line(&mut self, ctx: Context, space: &[u8], id: &[u8], token: &[u8], text: &[u8]) -> Result<(), String> {
        let (name, id, token) = self.claim_named(ctx, space, id, token)?;
        let text: Box<[u8]> = text.into();
        self.when_loaded(ctx, &name, true, move |server, ctx, name| {
            check_claim(server, ctx, name, id, token)?;
            let Some(space) = server.claims.spaces.get_mut(name) else { return Err("ERR no such job".into()) };
            space.write_line(ctx, id, &text).map(|number| Answer::Integer(number as i64))
        })
    }

    /// BEAR.LOGS: the lines after a number. From the key alone, so that replicas tell the same.
    pub fn log_lines(
        &mut self,
        ctx: Context,
        space: &[u8],
        id: &[u8],
        count: usize,
        after: Option<u64>,
    ) -> Result<(), String> {
        self.space_here(ctx, space)?;
        let id = parse_id(id)?;
        let key = WorkKeys::new(&self.prefix_of(&String::from_utf8_lossy(space))).log(id);
        check_list(ctx, &key)?;
        let after = after.unwrap_or(0);
        let first =
            keys::lines(ctx, &key, 0, 0).first().and_then(|line| LogLine::read(line)).map_or(1, |line| line.number);
        // Numbers follow one another, and the oldest have gone.
        let from = (after + 1).saturating_sub(first).min(MAX_LINES) as i64;
        let lines = keys::lines(ctx, &key, from, from + count as i64 - 1);
        let lines = lines.iter().filter_map(|line| LogLine::read(line)).filter(|line| line.number > after);
        let lines = lines.map(|line| {
            Value::Map(vec![
                ("n", Value::Integer(line.number as i64)),
                ("time", Value::Integer(line.at_ms as i64)),
                ("text", Value::Bytes(line.text.into())),
            ])
        });
        self.answer_here(ctx, Answer::Value(Arc::new(Value::Array(lines.collect()))));
        Ok(())
    }
}

impl WorkSpace {
    /// Adds a line to the log of a job, and drops the oldest. Returns its number.
    fn write_line(&mut self, ctx: Context, id: JobId, text: &[u8]) -> Result<u64, String> {
        let key = self.keys.log(id);
        let stands = check_list(ctx, &key)?;
        if stands && self.logged.get(&id).is_none_or(|count| *count == 0) {
            if !is_log(ctx, &key) {
                let key = String::from_utf8_lossy(&key);
                return Err(format!("FOREIGN bear did not write {key}; rename or delete it"));
            }
            self.logged.insert(id, 0);
        }
        let number = self.log_len(ctx, id) + 1;
        let line = LogLine { number, at_ms: wall_ms(), text }.write();
        let mut size = match self.log_sizes.get(&id) {
            _ if !stands => LogSize::default(),
            Some(size) => *size,
            None => measure(ctx, &key),
        };
        size.lines += 1;
        size.bytes += line.len() as u64;
        let lines = keys::log(ctx, &key, &[&line], u64::MAX);
        if lines != size.lines {
            // Another hand was at it.
            size = measure(ctx, &key);
        }
        self.logged.insert(id, number);
        self.log_sizes.insert(id, trim(ctx, &key, size));
        Ok(number)
    }
}

/// Does the key hold a log, as far as its last line tells?
pub fn is_log(ctx: Context, key: &[u8]) -> bool {
    let is_list = KeyType::of(ctx, key) == Some(KeyType::List);
    is_list && keys::lines(ctx, key, -1, -1).first().is_some_and(|line| LogLine::read(line).is_some())
}

/// Drops the oldest lines of which there is no room.
fn trim(ctx: Context, key: &[u8], mut size: LogSize) -> LogSize {
    let mut oldest = Vec::new();
    let mut dropped = 0;
    while size.lines > MAX_LINES || size.bytes > MAX_BYTES {
        if oldest.is_empty() {
            oldest = keys::lines(ctx, key, dropped as i64, (dropped + LOOK - 1) as i64);
            oldest.reverse();
        }
        let Some(line) = oldest.pop() else { break };
        size.lines -= 1;
        size.bytes -= line.len() as u64;
        dropped += 1;
    }
    if dropped > 0 {
        keys::drop_lines(ctx, key, dropped);
    }
    size
}

fn measure(ctx: Context, key: &[u8]) -> LogSize {
    let lines = keys::lines(ctx, key, 0, -1);
    LogSize { lines: lines.len() as u64, bytes: lines.iter().map(|line| line.len() as u64).sum() }
}

/// Is there a list? What is none is not written to.
fn check_list(ctx: Context, key: &[u8]) -> Result<bool, String> {
    match KeyType::of(ctx, key) {
        None => Ok(false),
        Some(KeyType::List) => Ok(true),
        Some(kind) => {
            let key = String::from_utf8_lossy(key);
            Err(format!("WRONGTYPE {key} holds {kind} and should be {}; rename or delete it", KeyType::List))
        }
    }
}

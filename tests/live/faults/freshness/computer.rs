//! Clients that compute values: they ask as readers do, and who gets a lease reads Postgres and sends what he has read, at
//! once or slowly, too late, or never.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::model::{Call, Shape};
use super::reader::is_expected;
use super::run::Run;
use crate::support::{Database, Random, Reply, Wire};

/// The longest that one of them computes; with a feed a lease has to be shorter than its grace.
const MOST_MS: usize = 60;

pub struct Computer<'a> {
    pub run: &'a Run,
    pub database: &'a Database,
    pub stop: &'a AtomicBool,
    pub random: Random,
}

impl Computer<'_> {
    pub fn compute(mut self) {
        while !self.is_stopped() {
            let wire = self.run.era().map(|era| (era, Wire::try_connect(self.run.port())));
            let Some((era, Ok(mut wire))) = wire else {
                thread::sleep(Duration::from_millis(2));
                continue;
            };
            let mut client = None;
            while !self.is_stopped() && self.ask(&mut wire, era, &mut client).is_ok() {}
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.run.has_failed()
    }

    /// One question, and what follows from it.
    fn ask(&mut self, wire: &mut Wire, era: u64, client: &mut Option<postgres::Client>) -> io::Result<()> {
        let call = &self.run.values[self.random.below(self.run.values.len())];
        let lease = Duration::from_millis(20 + self.random.below(100) as u64);
        let (lease_ms, wait_ms) = (lease.as_millis().to_string(), self.random.below(50).to_string());
        let mut words = vec!["BEAR.GET", call.space.name(), "LEASE", &lease_ms, "WAIT", &wait_ms];
        words.extend(call.words.split(' '));
        let floors = self.run.history.floors();
        let begun = Instant::now();
        let reply = self.exchange(wire, era, &words)?;
        let Reply::Array(parts) = reply else {
            return self.refused(&words, &reply);
        };
        if let Reply::Bulk(json) = &parts[0] {
            self.run.check_answer(call, &floors, json);
            self.run.reads.fetch_add(1, Ordering::Relaxed);
        }
        match &parts[1] {
            Reply::Nil => Ok(()),
            token => self.answer(wire, era, client, call, &token.text(), begun + lease),
        }
    }

    fn answer(
        &mut self,
        wire: &mut Wire,
        era: u64,
        client: &mut Option<postgres::Client>,
        call: &Call,
        token: &str,
        ends: Instant,
    ) -> io::Result<()> {
        self.nap();
        let read = self.read(client, call);
        self.nap();
        let space = call.space.name();
        let Some((json, ids)) = read.filter(|_| !self.random.once_in(10)) else {
            // Whoever cannot compute says so, or dies.
            if self.random.once_in(2) {
                let words = ["BEAR.FORGET", space, token];
                let reply = self.exchange(wire, era, &words)?;
                return self.refused(&words, &reply);
            }
            return Ok(());
        };
        if self.random.once_in(10) {
            thread::sleep(ends.saturating_duration_since(Instant::now()) + Duration::from_millis(2));
        }
        let n = call.words.split(' ').count().to_string();
        let mut words = vec!["BEAR.PUT", space, &n];
        words.extend(call.words.split(' '));
        words.extend([json.as_str(), "TOKEN", token]);
        if call.names_rows && !ids.is_empty() {
            words.extend(["ROW", space]);
            words.extend(ids.iter().map(String::as_str));
        }
        let reply = self.exchange(wire, era, &words)?;
        self.refused(&words, &reply)
    }

    /// What Postgres has now: the value, and the ids of its rows.
    fn read(&mut self, client: &mut Option<postgres::Client>, call: &Call) -> Option<(String, Vec<String>)> {
        if client.as_ref().is_none_or(postgres::Client::is_closed) {
            *client = self.database.try_client();
        }
        let sql = "SELECT id, ver FROM item WHERE size BETWEEN $1 AND $2 AND coalesce(id = $3, true)";
        let (low, high) = call.range_of_sizes();
        let rows = client.as_mut()?.query(sql, &[&low, &high, &call.id]).ok()?;
        let ids = rows.iter().map(|row| row.get::<_, i64>(0).to_string()).collect();
        let rows = rows.iter().map(|row| {
            let (id, version): (i64, i64) = (row.get(0), row.get(1));
            format!("{{\"id\":{id},\"ver\":{version}}}")
        });
        let rows: Vec<String> = rows.collect();
        let json = match call.shape {
            Shape::One => rows.into_iter().next().unwrap_or_else(|| "null".to_owned()),
            Shape::List | Shape::Count => format!("[{}]", rows.join(",")),
        };
        Some((json, ids))
    }

    fn nap(&mut self) {
        if self.random.once_in(2) {
            thread::sleep(Duration::from_millis(self.random.below(MOST_MS / 2) as u64));
        }
    }

    fn exchange(&self, wire: &mut Wire, era: u64, words: &[&str]) -> io::Result<Reply> {
        let broken = || io::Error::from(io::ErrorKind::ConnectionAborted);
        if !wire.try_send(words) {
            return Err(broken());
        }
        let reply = wire.try_receive()?;
        // What is the master no more may have answered.
        if self.run.era() == Some(era) {
            Ok(reply)
        } else {
            Err(broken())
        }
    }

    fn refused(&self, words: &[&str], reply: &Reply) -> io::Result<()> {
        match reply {
            Reply::Int(0..=1) => {}
            Reply::Error(error) if is_expected(error) => thread::sleep(Duration::from_millis(1)),
            reply => self.run.fail(&format!("{words:?} was answered {reply:?}")),
        }
        Ok(())
    }
}

//! Clients that ask, many questions at a time, and check what they are told.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::history::Floors;
use super::run::Run;
use crate::support::{Random, Reply, Wire};

/// Errors that a client may meet while servers come and go.
const EXPECTED: [&str; 9] = [
    "LOADING ",
    "POSTGRES ",
    "TIMEOUT ",
    "OVERLOADED ",
    "READONLY ",
    "MASTERDOWN ",
    "OOM ",
    "UNBLOCKED ",
    // Who waits for a job is told so.
    "ERR the queue was ",
];

/// May a client meet this error?
pub fn is_expected(error: &str) -> bool {
    EXPECTED.iter().any(|code| error.starts_with(code))
}

pub struct Reader<'a> {
    pub run: &'a Run,
    pub stop: &'a AtomicBool,
    pub random: Random,
    /// Questions that are sent at a time.
    pub depth: usize,
}

/// What was answered to a call last, and found right for these floors: what has begun since can only explain more.
#[derive(Clone)]
struct Known {
    json: Vec<u8>,
    floors: Floors,
}

impl Reader<'_> {
    pub fn read(mut self) {
        let mut known: Vec<Option<Known>> = vec![None; self.run.calls.len()];
        while !self.is_stopped() {
            // The era before the port: what a server says that is the master no more belongs to an era that is over.
            let wire = self.run.era().map(|era| (era, Wire::try_connect(self.run.port())));
            let Some((era, Ok(mut wire))) = wire else {
                thread::sleep(Duration::from_millis(2));
                continue;
            };
            while !self.is_stopped() && self.exchange(&mut wire, era, &mut known).is_ok() {}
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.run.has_failed()
    }

    /// An error ends the connection.
    fn exchange(&mut self, wire: &mut Wire, era: u64, known: &mut [Option<Known>]) -> io::Result<()> {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let mut bytes = Vec::with_capacity(self.depth * 64);
        let asked: Vec<usize> = (0..self.depth).map(|_| self.draw()).collect();
        for call in &asked {
            let option = if self.random.once_in(400) { 1 + self.random.below(2) } else { 0 };
            bytes.extend_from_slice(&self.run.calls[*call].bytes[option]);
        }
        let floors = self.run.history.floors();
        if !wire.try_send_bytes(&bytes) {
            return Err(broken());
        }
        let mut checked = 0;
        for at in asked {
            match wire.try_receive()? {
                Reply::Bulk(json) => {
                    if self.run.era() != Some(era) {
                        return Err(broken());
                    }
                    self.check(at, &floors, json, &mut known[at]);
                    checked += 1;
                }
                Reply::Nil => {}
                Reply::Error(error) if is_expected(&error) => thread::sleep(Duration::from_millis(1)),
                reply => self.run.fail(&format!("{} was answered {reply:?}", self.run.calls[at].call.words)),
            }
        }
        self.run.reads.fetch_add(checked, Ordering::Relaxed);
        Ok(())
    }

    fn check(&self, at: usize, floors: &Floors, json: Vec<u8>, known: &mut Option<Known>) {
        if known.as_ref().is_some_and(|known| known.json == json && known.floors == *floors) {
            return;
        }
        self.run.check_answer(&self.run.calls[at].call, floors, &json);
        *known = Some(Known { json, floors: *floors });
    }

    /// Half of the calls are asked for more often than the others.
    fn draw(&mut self) -> usize {
        let calls = self.run.calls.len();
        let at = self.random.below(calls);
        if self.random.once_in(2) {
            at
        } else {
            at / 2
        }
    }
}

//! Clients that write: each has rows of its own, and knows of each version when it is begun and when it must be seen.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::model::{row, Section, State};
use super::reader::is_expected;
use super::run::Run;
use crate::support::{Database, Random, Reply, Wire};

/// How long a write may take, the end of an outage included.
const PATIENCE: Duration = Duration::from_secs(30);

/// How it gets about that rows were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A job, waited for.
    Job,
    /// Written by another hand, then told by the ids, for the module to look.
    Changed,
    /// … by what the row looks like now.
    Image,
    /// … by what it looks like, without its id, and by what contained it.
    ImageAndRow,
    /// … by what contains it: enough where it belongs in nothing else now.
    Row,
    /// … by dropping all that is cached.
    All,
    /// Nobody tells: the change feed sees it, within its grace.
    Feed,
    /// The same, though a job does it: it tells of another row.
    UntoldJob,
    /// DDL, of which nobody tells: the change feed looks for it.
    Ddl,
}

impl Way {
    pub fn draw(random: &mut Random, has_feed: bool) -> Way {
        if has_feed && !random.once_in(4) {
            return if random.once_in(4) { Way::UntoldJob } else { Way::Feed };
        }
        match random.below(20) {
            0..=8 => Way::Job,
            9..=12 => Way::Changed,
            13..=15 => Way::Image,
            16 => Way::ImageAndRow,
            17..=18 => Way::Row,
            _ => Way::All,
        }
    }

    /// This one, or what there is instead of it for a row of that section.
    fn of(self, section: Section) -> Way {
        match self {
            _ if section != Section::Meant => self,
            Way::Feed | Way::UntoldJob => Way::Ddl,
            _ => Way::All,
        }
    }
}

pub struct Writer<'a> {
    pub run: &'a Run,
    pub database: &'a Database,
    pub random: Random,
    /// Tells this writer from others.
    pub name: String,
    wire: Option<Wire>,
    client: Option<postgres::Client>,
    /// Who was the master when `wire` was made.
    era: u64,
}

impl<'a> Writer<'a> {
    pub fn new(run: &'a Run, database: &'a Database, random: Random, name: String) -> Writer<'a> {
        Writer { run, database, random, name, wire: None, client: None, era: 0 }
    }

    /// Writes rows of its own until told to stop; what was begun is ended then.
    pub fn write_until(mut self, stop: &AtomicBool, own: &[usize], most_pause_ms: usize) {
        while !stop.load(Ordering::Relaxed) && !self.run.has_failed() {
            let first = self.random.below(own.len());
            let section = row(own[first]).0;
            let way = Way::draw(&mut self.random, self.run.feed_grace.is_some()).of(section);
            // A transaction of several rows of a section.
            let count = if matches!(way, Way::Changed | Way::Feed) { 1 + self.random.below(3) } else { 1 };
            let rows = own[first..].iter().take(count).copied();
            let rows: Vec<usize> = rows.filter(|at| row(*at).0 == section).collect();
            self.write(&rows, way);
            thread::sleep(Duration::from_micros(1000 * self.random.below(most_pause_ms + 1) as u64));
        }
    }

    /// Writes the next versions of rows of one section, and comes back when they are seen. Returns their old and new states.
    pub fn write(&mut self, rows: &[usize], way: Way) -> Vec<(State, State)> {
        let changes = rows.iter().map(|at| {
            let (_, old) = self.run.history.newest(*at);
            let stays = way == Way::Row || row(*at).0 == Section::Meant;
            let new = if stays { old } else { old.next(&mut self.random) };
            let version = self.run.history.begin(*at, new);
            self.run.event(&format!("{} {:?} version {version} by {way:?}: {old:?} to {new:?}", self.name, row(*at)));
            (*at, version, old, new)
        });
        let changes: Vec<(usize, u32, State, State)> = changes.collect();
        let is_seen = match way {
            Way::Job => changes.iter().all(|(at, version, _, new)| self.apply_by_job("PUT", *at, *version, *new)),
            Way::UntoldJob => {
                let mut all = changes.iter();
                all.all(|(at, version, _, new)| self.apply_by_job("PUT_UNTOLD", *at, *version, *new))
                    && self.wait_for_feed()
            }
            Way::Feed => self.put(&changes) && self.wait_for_feed(),
            Way::Ddl => self.put(&changes) && self.wait_for_look(),
            _ => self.put(&changes) && self.tell(&changes, way),
        };
        if !is_seen || !self.put_through(&changes) {
            return Vec::new();
        }
        for (at, version, ..) in &changes {
            self.run.history.seen(*at, *version);
            self.run.event(&format!("{} {:?} version {version} is seen", self.name, row(*at)));
            self.run.writes.fetch_add(1, Ordering::Relaxed);
        }
        changes.into_iter().map(|(_, _, old, new)| (old, new)).collect()
    }

    fn apply_by_job(&mut self, job: &str, at: usize, version: u32, state: State) -> bool {
        let (section, id) = row(at);
        let payload = match state.size {
            Some(size) => json!({ "id": id, "ver": version, "size": size, "colors": state.color_names() }),
            None => json!({ "id": id, "ver": version }),
        };
        let payload = payload.to_string();
        let mut tries = 0;
        self.until_done(|writer| {
            tries += 1;
            // One key for a few tries: the job may have arrived. Then another one, for the first may be lost; a version
            // that is written twice is the same.
            let key = format!("{}.{at}.{version}.{}", writer.name, tries / 4);
            let reply =
                writer.ask(&["BEAR.ENQUEUE", section.name(), job, &payload, "UNIQUE", &key, "BLOCK", "5000"])?;
            if matches!(&reply, Reply::Error(_) | Reply::Nil) {
                return writer.refused(&reply).map(|()| false);
            }
            let job = reply.map();
            match job["state"].text().as_str() {
                "completed" => Some(true),
                _ => {
                    writer.run.fail(&format!("a job that cannot fail: {job:?}"));
                    None
                }
            }
        })
    }

    /// Writes by the tables themselves, in one transaction.
    fn put(&mut self, changes: &[(usize, u32, State, State)]) -> bool {
        self.until_done(|writer| {
            let mut client = match writer.client.take().filter(|client| !client.is_closed()) {
                Some(client) => client,
                None => writer.database.try_client()?,
            };
            let mut transaction = client.transaction().ok()?;
            for (at, version, _, new) in changes {
                let (section, id) = row(*at);
                let sql = "SELECT put($1, $2, $3, $4, $5)";
                let colors = new.color_names();
                let params: [&(dyn postgres::types::ToSql + Sync); 5] =
                    [&section.name(), &id, &i64::from(*version), &new.size, &colors];
                transaction.execute(sql, &params).ok()?;
            }
            // Where the answer is lost it is written again, and nothing happens if it was.
            transaction.commit().ok()?;
            writer.client = Some(client);
            Some(true)
        })
    }

    /// Has some of the rows' values be as they are now: nobody else writes these rows.
    fn put_through(&mut self, changes: &[(usize, u32, State, State)]) -> bool {
        for (at, version, _, new) in changes {
            let (section, id) = row(*at);
            let words = format!("mine {id}");
            let is_put = section == Section::Item && self.run.values.iter().any(|call| call.words == words);
            if !is_put || self.random.once_in(2) {
                continue;
            }
            let json = match new.size {
                Some(_) => format!("{{\"id\":{id},\"ver\":{version}}}"),
                None => "null".to_owned(),
            };
            let id = id.to_string();
            let put = ["BEAR.PUT", "item", "2", "mine", &id, &json];
            let is_done = self.until_done(|writer| match writer.ask(&put)? {
                Reply::Int(_) => Some(true),
                reply => writer.refused(&reply).map(|()| false),
            });
            if !is_done {
                return false;
            }
        }
        true
    }

    fn tell(&mut self, changes: &[(usize, u32, State, State)], way: Way) -> bool {
        let section = row(changes[0].0).0;
        let ids: Vec<String> = changes.iter().map(|(at, ..)| row(*at).1.to_string()).collect();
        let image = |with_id: bool| -> Vec<String> {
            let (at, version, _, new) = &changes[0];
            let mut image = json!({ "ver": version, "size": new.size, "colors": new.color_names() });
            if with_id {
                image["id"] = row(*at).1.into();
            }
            vec!["IMAGE".to_owned(), image.to_string()]
        };
        let by_ids = |word: &str| -> Vec<String> { std::iter::once(word.to_owned()).chain(ids.clone()).collect() };
        let is_gone = changes[0].3.size.is_none();
        let messages = match way {
            Way::Changed | Way::Job | Way::Feed | Way::UntoldJob | Way::Ddl => vec![by_ids("CHANGED")],
            Way::Image if !is_gone => vec![image(true)],
            Way::ImageAndRow if !is_gone => vec![by_ids("ROW"), image(false)],
            Way::Image | Way::ImageAndRow | Way::Row => vec![by_ids("ROW")],
            Way::All => vec![vec!["ALL".to_owned()]],
        };
        // Boxes are shown among items.
        let all = [Section::Item, Section::Box, Section::Held];
        let is_everywhere = way == Way::All && section != Section::Meant;
        let spaces: &[Section] = if is_everywhere { &all } else { &[section] };
        spaces.iter().all(|space| messages.iter().all(|message| self.invalidate(*space, message)))
    }

    fn invalidate(&mut self, space: Section, message: &[String]) -> bool {
        let mut words = vec!["BEAR.INVALIDATE", space.name()];
        words.extend(message.iter().map(String::as_str));
        self.until_done(|writer| match writer.ask(&words)? {
            Reply::Int(_) => Some(true),
            reply => writer.refused(&reply).map(|()| false),
        })
    }

    /// Waits until the feed has passed what was written, or its grace is over: it must be seen then, whatever the feed does.
    fn wait_for_feed(&mut self) -> bool {
        let written = Instant::now();
        let grace = self.run.feed_grace.expect("there is a feed");
        let mut end = None;
        self.until_done(|writer| {
            if written.elapsed() > grace {
                return Some(true);
            }
            if end.is_none() {
                end = Some(writer.end_of_log()?);
            }
            let reply = writer.ask(&["BEAR.FEED"])?;
            if reply.is_error() {
                return writer.refused(&reply).map(|()| false);
            }
            let feed = reply.map();
            let is_past = end.is_some_and(|end| position(&feed["position"]) >= Some(end));
            Some(is_past && feed["state"].text() == "following")
        })
    }

    /// Waits until DDL must be seen: the feed looks for it at least each half of its grace, and may have been behind since
    /// the last look.
    fn wait_for_look(&mut self) -> bool {
        let written = Instant::now();
        let grace = self.run.feed_grace.expect("there is a feed");
        self.until_done(|_| Some(written.elapsed() > grace + grace / 2))
    }

    /// Where Postgres' log ends.
    fn end_of_log(&mut self) -> Option<u64> {
        let client = self.client.as_mut()?;
        let row = client.query_one("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint", &[]).ok()?;
        u64::try_from(row.get::<_, i64>(0)).ok()
    }

    /// Tries until it is done. None of `attempt`: the connection broke; false: not yet.
    fn until_done(&mut self, mut attempt: impl FnMut(&mut Self) -> Option<bool>) -> bool {
        let begun = Instant::now();
        while !self.run.has_failed() {
            if attempt(self) == Some(true) {
                return true;
            }
            if begun.elapsed() > PATIENCE {
                self.run.fail(&format!("{} has tried for {PATIENCE:?} to write in vain", self.name));
            }
            thread::sleep(Duration::from_millis(2));
        }
        false
    }

    /// The master's reply; None where the connection broke.
    fn ask(&mut self, words: &[&str]) -> Option<Reply> {
        let era = self.run.era()?;
        let mut wire = match self.wire.take().filter(|_| self.era == era) {
            Some(wire) => wire,
            None => Wire::try_connect(self.run.port()).ok()?,
        };
        if !wire.try_send(words) {
            return None;
        }
        let reply = wire.try_receive().ok()?;
        if self.run.era() != Some(era) {
            return None;
        }
        self.era = era;
        self.wire = Some(wire);
        Some(reply)
    }

    fn refused(&self, reply: &Reply) -> Option<()> {
        match reply {
            Reply::Error(error) if is_expected(error) => Some(()),
            Reply::Nil => Some(()),
            reply => {
                self.run.fail(&format!("{} was told {reply:?}", self.name));
                None
            }
        }
    }
}

/// A place in Postgres' log, as a number or as Postgres writes it.
fn position(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::Int(position) => u64::try_from(*position).ok(),
        Reply::Bulk(_) | Reply::Simple(_) => {
            let text = reply.text();
            let (high, low) = text.split_once('/')?;
            Some(u64::from_str_radix(high, 16).ok()? << 32 | u64::from_str_radix(low, 16).ok()?)
        }
        _ => None,
    }
}

//! What must hold when the queue is empty again, whatever happened before.
//!
//! The truth about the queue is the append-only file: what is not there was never enqueued, and what is there must have
//! its effect once. The order of the ids is the order in which the model applies the jobs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::json;

use super::load::{Answer, Record, CALLS, CLIENTS, PRIVATE, SHARED};
use super::model::{Bear, Fate, Model};
use super::site::Site;
use crate::support::marked::effects_after;
use crate::support::{aof, wait_for};

type JobId = (u64, u64);

pub struct Checker {
    model: Model,
    /// The last of the effects that were looked at.
    seq: i64,
    /// The last of the jobs that were looked at.
    last: JobId,
    pub jobs: usize,
}

/// A job that was enqueued, and what must have come of it.
struct Expected {
    id: JobId,
    mark: String,
    fate: Fate,
    bear: Option<i64>,
}

impl Checker {
    pub fn new(site: &Site) -> Checker {
        let mut model = Model::default();
        let is_the_models = |id: &i64| SHARED.contains(id) || (PRIVATE..PRIVATE + CLIENTS as i64).contains(id);
        model.bears.extend(bears(site).into_iter().filter(|(id, _)| is_the_models(id)));
        Checker { model, seq: 0, last: (0, 0), jobs: 0 }
    }

    /// `sent` is what clients have sent since the last look.
    pub fn check(&mut self, site: &Site, sent: &Record) {
        let expected = self.expect(site, sent);
        self.jobs += expected.len();
        self.check_effects(site, &expected);
        self.check_bears(site);
        check_outcomes(site, &expected);
        check_cache(site);
        check_ledger(site);
    }

    /// The jobs of the append-only file, in the order of their ids, through the model.
    fn expect(&mut self, site: &Site, sent: &Record) -> Vec<Expected> {
        let mut queued: Vec<(JobId, String)> = queued(site).into_iter().filter(|(id, _)| *id > self.last).collect();
        queued.sort();
        self.last = queued.last().map_or(self.last, |(id, _)| *id);
        let ids: HashMap<&str, JobId> = queued.iter().map(|(id, mark)| (mark.as_str(), *id)).collect();
        assert_eq!(ids.len(), queued.len(), "a job was enqueued twice");
        for (mark, sent) in sent {
            let found = ids.get(mark.as_str());
            match &sent.answer {
                Answer::Accepted(id) | Answer::Settled(id, _) => {
                    assert_eq!(found, Some(&parse_id(id)), "{mark} was accepted as {id}: {:?}", sent.job);
                }
                Answer::Refused(line) => {
                    assert!(line.starts_with("LOADING "), "{mark}: {line}");
                    assert_eq!(found, None, "{mark} was refused: {line}");
                }
                Answer::InDoubt => {}
            }
        }
        let expect = |(id, mark): (JobId, String)| {
            let sent = sent.get(&mark).unwrap_or_else(|| panic!("nobody has sent {mark}"));
            let fate = self.model.apply(&mark, &sent.job);
            if let Answer::Settled(_, state) = &sent.answer {
                assert_eq!(state, state_after(fate), "{mark} has settled");
            }
            Expected { id, mark, fate, bear: sent.job.bear() }
        };
        queued.into_iter().map(expect).collect()
    }

    fn check_effects(&mut self, site: &Site, expected: &[Expected]) {
        let effects = effects_after(&site.database, self.seq);
        self.seq = effects.last().map_or(self.seq, |effect| effect.seq);
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for effect in &effects {
            *times.entry(&effect.mark).or_default() += 1;
        }
        for job in expected {
            let due = usize::from(job.fate == Fate::Completed);
            let applied = times.remove(job.mark.as_str()).unwrap_or(0);
            assert_eq!(applied, due, "how often {} ({:?}) was applied: {:?}", job.mark, job.id, job.fate);
        }
        assert_eq!(times, BTreeMap::new(), "applied again, or never enqueued");
        let of_bears: BTreeSet<i64> = expected.iter().filter_map(|job| job.bear).collect();
        for bear in of_bears {
            let found: Vec<&str> =
                effects.iter().filter(|effect| effect.bear == bear).map(|effect| effect.mark.as_str()).collect();
            let jobs = expected.iter().filter(|job| job.bear == Some(bear) && job.fate == Fate::Completed);
            let due: Vec<&str> = jobs.map(|job| job.mark.as_str()).collect();
            assert_eq!(found, due, "the order in which bear {bear} was changed");
        }
    }

    fn check_bears(&self, site: &Site) {
        let mut found = bears(site);
        for (id, bear) in &self.model.bears {
            assert_eq!(found.remove(id).as_ref(), Some(bear), "bear {id}");
        }
        // Bears that nobody changes.
        found.retain(|id, _| ![7, 8].contains(id));
        assert_eq!(found.len(), self.model.created.len(), "bears that were created");
        for (id, bear) in found {
            assert_eq!(Some(&bear), self.model.created.get(&bear.name), "bear {id}");
        }
    }
}

fn state_after(fate: Fate) -> &'static str {
    match fate {
        Fate::Completed => "completed",
        Fate::Failed(_) => "failed",
    }
}

/// What BEAR.JOB says of each.
fn check_outcomes(site: &Site, expected: &[Expected]) {
    let mut wire = site.redis.wire();
    for jobs in expected.chunks(100) {
        for job in jobs {
            wire.begin(&format!("BEAR.JOB bear {}-{}", job.id.0, job.id.1));
        }
        for job in jobs {
            let reply = wire.receive();
            // Old outcomes of completed jobs make room for new ones.
            if reply.is_nil() && job.fate == Fate::Completed {
                continue;
            }
            assert!(!reply.is_nil() && !reply.is_error(), "{} is unknown ({:?}): {reply:?}", job.mark, job.fate);
            let found = reply.map();
            assert_eq!(found["state"].text(), state_after(job.fate), "{}: {found:?}", job.mark);
            match job.fate {
                Fate::Completed => {
                    assert!(found["attempts"].int() <= 1, "a lost connection is no attempt: {found:?}");
                }
                Fate::Failed(words) => {
                    let message = found["error"].map()["message"].text();
                    assert!(message.contains(words), "{}: {message}", job.mark);
                }
            }
        }
    }
}

/// No entry disagrees with Postgres, nor does what is fetched now.
fn check_cache(site: &Site) {
    let bears = bears(site);
    for call in CALLS {
        let due: Vec<_> = bears
            .iter()
            .filter(|(_, bear)| belongs(call, bear))
            .map(|(id, bear)| json!({ "id": id, "name": bear.name, "size": bear.size, "colors": bear.colors }))
            .collect();
        for option in ["CACHED ", ""] {
            // The connections that fetch may not be back yet.
            let reply = wait_for(&format!("{option}{call} is answered"), || {
                let reply = site.redis.run(&format!("BEAR.QUERY bear {option}{call}"));
                (!reply.is_error()).then_some(reply)
            });
            if !(reply.is_nil() && option == "CACHED ") {
                assert_eq!(reply.json(), json!(due), "{option}{call}");
            }
        }
    }
}

/// Whether a result has the bear.
fn belongs(call: &str, bear: &Bear) -> bool {
    let words: Vec<&str> = call.split(' ').collect();
    let word_after = |name: &str, at: usize| words.iter().position(|word| *word == name).map(|place| words[place + at]);
    let number_after = |at: usize| word_after("size", at).map(|word| word.parse::<i64>().expect("a number"));
    let is_in_size =
        number_after(1).is_none_or(|low| low <= bear.size) && number_after(2).is_none_or(|high| bear.size <= high);
    is_in_size
        && word_after("colors", 1).is_none_or(|colors| colors.split(',').any(|color| bear.colors.contains(color)))
}

/// Nothing waits in the ledger when nothing waits in the queue, and it has what Redis knows.
fn check_ledger(site: &Site) {
    let queue = site.redis.run("GET bear:queue:id").text();
    let mut client = site.database.client();
    let mut count = |sql: String| client.query_one(&sql, &[]).expect("the ledger").get::<_, i64>(0);
    let waiting = count(format!("SELECT count(*) FROM bear.left_out WHERE queue::text = '{queue}' AND failed IS NULL"));
    assert_eq!(waiting, 0, "jobs that the ledger says are still to be applied");
    for (epoch, mark) in site.redis.run("HGETALL bear:queue:ledger").map() {
        let (Ok(epoch), Some((ms, seq))) = (epoch.parse::<i64>(), try_parse_id(&mark.text())) else { continue };
        let found = count(format!(
            "SELECT count(*) FROM bear.ledger WHERE queue::text = '{queue}' AND epoch = {epoch}
             AND (mark_ms, mark_seq) >= ({ms}, {seq})"
        ));
        assert!(found > 0, "the ledger lacks epoch {epoch} up to {ms}-{seq}");
    }
    let state = site.redis.run("BEAR.STATS bear").map()["ledger"].text();
    assert!(!state.starts_with("LEDGER"), "{state}");
}

/// The jobs that were added to the queue, by the append-only file.
fn queued(site: &Site) -> Vec<(JobId, String)> {
    let is_job = |command: &aof::Command| command.name() == "XADD" && command.text(1) == "bear:queue";
    let commands = aof::read(&site.append_only_folder());
    commands
        .iter()
        .filter(|command| is_job(command))
        .map(|command| {
            let words: Vec<String> = (2..command.0.len()).map(|index| command.text(index)).collect();
            let at = words.iter().position(|word| try_parse_id(word).is_some()).expect("an explicit id");
            let data = words[at + 1..].chunks_exact(2).find(|pair| pair[0] == "data").expect("a payload");
            let payload: serde_json::Value = serde_json::from_str(&data[1]).expect("JSON");
            (parse_id(&words[at]), payload["mark"].as_str().expect("a mark").to_owned())
        })
        .collect()
}

fn bears(site: &Site) -> BTreeMap<i64, Bear> {
    let sql = "SELECT b.id, b.name, b.size, ARRAY(SELECT c.name FROM bear_colors x JOIN color c ON c.id = x.color_id
               WHERE x.bear_id = b.id) FROM bear b";
    let rows = site.database.client().query(sql, &[]).expect("the bears");
    rows.iter()
        .map(|row| {
            let colors: Vec<String> = row.get(3);
            (row.get(0), Bear { name: row.get(1), size: row.get(2), colors: colors.into_iter().collect() })
        })
        .collect()
}

fn try_parse_id(text: &str) -> Option<JobId> {
    let (ms, seq) = text.split_once('-')?;
    Some((ms.parse().ok()?, seq.parse().ok()?))
}

#[track_caller]
fn parse_id(text: &str) -> JobId {
    try_parse_id(text).unwrap_or_else(|| panic!("{text:?} is no id"))
}

#[test]
fn the_check_knows_which_calls_have_a_bear() {
    let bear = Bear { name: String::new(), size: 120, colors: ["black".to_owned()].into() };
    let found: Vec<&str> = CALLS.into_iter().filter(|call| belongs(call, &bear)).collect();
    assert_eq!(found, ["all", "size 0 150", "size 100 100000", "colors black", "colors black,white size 100 100000"]);
}

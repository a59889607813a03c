//! The rules of one space: what may be done to its jobs, step by step.

use std::collections::BTreeMap;

use serde_json::Value;

pub type Id = (u64, u64);

pub fn parse_id(text: &str) -> Option<Id> {
    let (ms, seq) = text.split_once('-')?;
    Some((ms.parse().ok()?, seq.parse().ok()?))
}

/// Of the wall clock, by which starts are read, against the monotonic one, by which they are limited: the server looks at both
/// at the same moment, and each is cut to milliseconds.
const CLOCKS_MS: u64 = 5;

/// What the catalog says of a section.
#[derive(Default)]
struct Limits {
    concurrency: Option<usize>,
    rate: Option<(usize, u64)>,
    by_concurrency: Option<usize>,
    by_rate: Option<(usize, u64)>,
}

fn limits(space: &str) -> Limits {
    match space {
        "tight" => {
            Limits { concurrency: Some(3), rate: Some((30, 1000)), by_concurrency: Some(1), by_rate: Some((12, 1000)) }
        }
        _ if space.ends_with(":mail") => Limits { concurrency: Some(2), ..Limits::default() },
        _ => Limits::default(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By the claim with this token.
    Completed(u64),
    Failed,
    /// Nobody held it.
    Cancelled,
}

#[derive(Debug, Clone)]
pub struct Claim {
    token: u64,
    started_ms: u64,
    /// The shortest that it was ever given.
    lease_ms: u64,
}

#[derive(Debug, Clone)]
pub struct Job {
    pub mark: String,
    name: String,
    orders: Vec<String>,
    by: Option<String>,
    /// Its place among those of its order.
    place: (u64, bool, Id),
    attempts: Option<u32>,
    pub delayed: bool,
    tried: u32,
    pub claim: Option<Claim>,
    /// While somebody held it: it goes on no more.
    is_cancelled: bool,
    /// Of every claim that there was.
    pub tokens: Vec<u64>,
    pub end: Option<End>,
}

/// Limits that were set by command.
#[derive(Default)]
pub struct Set {
    pub concurrency: Option<usize>,
    pub rate: Option<(usize, u64)>,
    pub by_concurrency: Option<usize>,
}

impl Set {
    /// From the hash, of which no field is taken away but with the whole.
    pub fn read(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = value.trim_end_matches("/s").parse().map_err(|_| format!("{name} is {value}"))?;
        match name {
            "concurrency" => self.concurrency = Some(number),
            "rate" => self.rate = Some((number, 1000)),
            "by_concurrency" => self.by_concurrency = Some(number),
            _ => return Err(format!("nobody has set {name} to {value}")),
        }
        Ok(())
    }
}

#[derive(Default)]
pub struct Space {
    open: BTreeMap<Id, Job>,
    pub ended: BTreeMap<Id, Job>,
    marks: BTreeMap<String, Id>,
    /// The last job of each mark: one that failed may be retried, under another id.
    last_of: BTreeMap<String, Id>,
    last_token: u64,
    pub is_paused: bool,
    /// What was set in the place of the catalog's.
    pub set: Set,
    starts: Vec<u64>,
    starts_by: BTreeMap<String, Vec<u64>>,
}

impl Space {
    pub fn job(&self, id: Id) -> Option<&Job> {
        self.open.get(&id).or_else(|| self.ended.get(&id))
    }

    pub fn marked(&self, mark: &str) -> Option<(Id, &Job)> {
        let id = *self.marks.get(mark)?;
        Some((id, self.job(id)?))
    }

    pub fn jobs(&self) -> impl Iterator<Item = (&Id, &Job)> {
        self.open.iter().chain(&self.ended)
    }

    pub fn open(&self) -> usize {
        self.open.len()
    }
}

impl Space {
    pub fn enqueue(&mut self, args: &[String]) -> Result<(), String> {
        let at = args.iter().position(|word| parse_id(word).is_some()).ok_or("an entry without an id")?;
        let id = parse_id(&args[at]).expect("just now");
        let get = |name: &str| args[at + 1..].chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1].as_str());
        let data: Value = get("data").and_then(|data| serde_json::from_str(data).ok()).ok_or("no payload")?;
        let field = |name: &str| data[name].as_str().map(str::to_owned);
        let mark = field("mark").ok_or("a payload of nobody")?;
        let due_ms: Option<u64> = get("due").and_then(|due| due.parse().ok()).filter(|due| *due > id.0);
        let job = Job {
            mark: mark.clone(),
            name: get("job").unwrap_or_default().to_owned(),
            orders: [field("to"), field("also")].into_iter().flatten().collect(),
            by: field("by"),
            place: due_ms.map_or((id.0, false, id), |due| (due, true, id)),
            attempts: get("attempts").and_then(|attempts| attempts.parse().ok()),
            delayed: false,
            tried: 0,
            claim: None,
            is_cancelled: false,
            tokens: Vec::new(),
            end: None,
        };
        if let Some(other) = self.last_of.insert(mark.clone(), id) {
            if !matches!(self.job(other).and_then(|job| job.end), Some(End::Failed | End::Cancelled)) {
                return Err(format!("{mark} is enqueued twice, as {other:?} and {id:?}"));
            }
        }
        self.marks.entry(mark.clone()).or_insert(id);
        self.open.insert(id, job);
        Ok(())
    }

    /// Another payload of a job that nobody holds.
    pub fn update(&mut self, id: &str, data: &str) -> Result<(), String> {
        let data: Value = serde_json::from_str(data).map_err(|error| error.to_string())?;
        let Some(job) = parse_id(id).and_then(|id| self.open.get_mut(&id)) else {
            return Err(format!("{id} is updated, and not in the queue"));
        };
        if job.claim.is_some() {
            return Err(format!("{} is updated while somebody holds it", job.mark));
        }
        job.orders = ["to", "also"].iter().filter_map(|name| data[*name].as_str().map(str::to_owned)).collect();
        Ok(())
    }

    pub fn each<'a>(
        &mut self,
        ids: impl Iterator<Item = &'a String>,
        change: impl Fn(&mut Job) -> Result<(), String>,
    ) -> Result<(), String> {
        for id in ids {
            // Of what has settled in this unit there may be something to delete still.
            if let Some(job) = parse_id(id).and_then(|id| self.open.get_mut(&id)) {
                change(job)?;
            }
        }
        Ok(())
    }

    /// True: a new claim, not another lease of one.
    pub fn claim(&mut self, name: &str, id: &str, record: &str) -> Result<bool, String> {
        let record: Value = serde_json::from_str(record).map_err(|error| error.to_string())?;
        let number = |name: &str| record[name].as_u64().ok_or(format!("a claim without {name}: {record}"));
        let (token, started_ms, lease_ms) = (number("token")?, number("started")?, number("lease_ms")?);
        let id = parse_id(id).ok_or("a claim of no id")?;
        let job = self.open.get(&id).ok_or(format!("{id:?} is claimed, and not in the queue"))?.clone();
        if let Some(claim) = &job.claim {
            if claim.token != token {
                return Err(format!("{} is held by token {} and given to {token}", job.mark, claim.token));
            }
            let claim = self.open.get_mut(&id).and_then(|job| job.claim.as_mut()).expect("just now");
            claim.lease_ms = claim.lease_ms.min(lease_ms);
            if !record["cancelled"].is_null() {
                self.open.get_mut(&id).expect("just now").is_cancelled = true;
            }
            return Ok(false);
        }
        if token <= self.last_token {
            return Err(format!("{} is given token {token} after {}", job.mark, self.last_token));
        }
        if self.is_paused {
            return Err(format!("{} is begun in a queue that is paused", job.mark));
        }
        if job.delayed {
            return Err(format!("{} is delayed and claimed", job.mark));
        }
        if number("attempt")? != u64::from(job.tried) + 1 {
            return Err(format!("{} was tried {} times: {record}", job.mark, job.tried));
        }
        let before = self.open.values().find(|other| {
            let is_in_line = !other.delayed || other.tried > 0;
            is_in_line && other.place < job.place && other.orders.iter().any(|value| job.orders.contains(value))
        });
        if let Some(before) = before {
            return Err(format!("{} is begun before {} of its order: {before:?}, {job:?}", job.mark, before.mark));
        }
        self.last_token = token;
        let mut of = limits(name);
        of.concurrency = self.set.concurrency.or(of.concurrency);
        of.rate = self.set.rate.or(of.rate);
        of.by_concurrency = self.set.by_concurrency.or(of.by_concurrency);
        check_rate(&mut self.starts, started_ms, of.rate)?;
        if let Some(by) = &job.by {
            check_rate(self.starts_by.entry(by.clone()).or_default(), started_ms, of.by_rate)?;
        }
        let job = self.open.get_mut(&id).expect("just now");
        job.claim = Some(Claim { token, started_ms, lease_ms });
        job.tokens.push(token);
        let claimed: Vec<&Job> = self.open.values().filter(|job| job.claim.is_some()).collect();
        if of.concurrency.is_some_and(|most| claimed.len() > most) {
            return Err(format!("{} are claimed at the same time", claimed.len()));
        }
        let by = &self.open[&id].by;
        let of_group = claimed.iter().filter(|job| job.by == *by).count();
        if by.is_some() && of.by_concurrency.is_some_and(|most| of_group > most) {
            return Err(format!("{of_group} of {by:?} are claimed at the same time"));
        }
        Ok(true)
    }

    /// True: because its lease has ended.
    pub fn attempt(&mut self, id: &str, record: &str) -> Result<bool, String> {
        let record: Value = serde_json::from_str(record).map_err(|error| error.to_string())?;
        let Some(job) = parse_id(id).and_then(|id| self.open.get_mut(&id)) else {
            return Err(format!("an attempt of {id}, which is not in the queue"));
        };
        if record["attempts"].as_u64() != Some(u64::from(job.tried) + 1) {
            return Err(format!("{} was tried {} times: {record}", job.mark, job.tried));
        }
        job.tried += 1;
        if job.attempts.is_some_and(|most| job.tried >= most) {
            return Err(format!("{} goes on after its last attempt", job.mark));
        }
        let last = record["errors"].as_array().and_then(|errors| errors.last()).cloned().unwrap_or_default();
        let has_expired = last["message"].as_str().is_some_and(|message| message.starts_with("the lease of"));
        let Some(claim) = &job.claim else {
            return Err(format!("an attempt of {}, which nobody holds", job.mark));
        };
        let at_ms = last["at"].as_u64().unwrap_or(0);
        if has_expired && at_ms + CLOCKS_MS < claim.started_ms + claim.lease_ms {
            return Err(format!("the lease of {} has ended early: {claim:?}, {last}", job.mark));
        }
        Ok(has_expired)
    }

    pub fn settle(&mut self, id: &str, outcomes: &BTreeMap<Id, End>) -> Result<(), String> {
        let id = parse_id(id).ok_or("no id")?;
        let mut job = self.open.remove(&id).ok_or(format!("{id:?} settles twice"))?;
        let Some(end) = outcomes.get(&id) else { return Err(format!("{} is gone without an outcome", job.mark)) };
        match (end, job.tokens.last()) {
            (End::Completed(token), Some(last)) if token == last => {}
            (End::Completed(token), last) => {
                return Err(format!("{} is completed by {token}, and its last claim was {last:?}", job.mark));
            }
            (End::Failed | End::Cancelled, _) => {}
        }
        if job.claim.is_none() != (*end == End::Cancelled) {
            return Err(format!("{} ({}) has settled as {end:?}, and nobody held it", job.mark, job.name));
        }
        job.claim = None;
        job.end = Some(*end);
        self.ended.insert(id, job);
        Ok(())
    }

    /// What holds after each unit.
    pub fn check(&self) -> Result<(), String> {
        if let Some(job) = self.open.values().find(|job| job.delayed && job.claim.is_some()) {
            return Err(format!("{} is delayed and claimed", job.mark));
        }
        match self.open.values().find(|job| job.is_cancelled && job.claim.is_none()) {
            Some(job) => Err(format!("{} was cancelled, and goes on", job.mark)),
            None => Ok(()),
        }
    }
}

fn check_rate(starts: &mut Vec<u64>, started_ms: u64, rate: Option<(usize, u64)>) -> Result<(), String> {
    starts.push(started_ms);
    let Some((count, per_ms)) = rate else { return Ok(()) };
    if starts.len() > count {
        let window = started_ms.saturating_sub(starts[starts.len() - 1 - count]);
        if window + CLOCKS_MS < per_ms {
            return Err(format!("{} were begun within {window} ms", count + 1));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_is_exceeded_is_seen() {
        let mut starts = Vec::new();
        let rate = Some((2, 1000));
        for ms in [0, 500, 1000, 1500, 2000] {
            assert_eq!(check_rate(&mut starts, ms, rate), Ok(()));
        }
        assert!(check_rate(&mut starts, 2400, rate).is_err());
    }
}

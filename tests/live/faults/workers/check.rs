//! What clients were told, against what happened.

use std::collections::BTreeMap;

use super::event::{Answer, Event, Verb, What};
use super::history::History;
use super::load::{Enqueued, Sent};
use super::rules::{parse_id, End};

/// Everything that clients saw in a round.
#[derive(Default)]
pub struct Seen {
    /// By mark.
    pub sent: BTreeMap<String, Sent>,
    pub events: Vec<Event>,
}

pub fn check(history: &History, seen: &Seen) -> Result<(), String> {
    check_enqueued(history, seen)?;
    check_told(history, seen)
}

/// What workers were told, also where jobs are left.
pub fn check_told(history: &History, seen: &Seen) -> Result<(), String> {
    check_claims(history, seen)?;
    check_ends(history, seen)?;
    check_fencing(seen)
}

fn check_enqueued(history: &History, seen: &Seen) -> Result<(), String> {
    for (mark, sent) in &seen.sent {
        let found = history.spaces.get(&sent.space).and_then(|space| space.marked(mark));
        match (&sent.answer, found) {
            (Enqueued::Accepted(id), Some((found, _))) if parse_id(id) == Some(found) => {}
            (Enqueued::Accepted(id), found) => return Err(format!("{mark} was accepted as {id}: {found:?}")),
            (Enqueued::Refused(line), Some(_)) => return Err(format!("{mark} was refused, and is there: {line}")),
            (Enqueued::Refused(line), None) => {
                let code = line.split(' ').next().unwrap_or_default();
                if !["LOADING", "READONLY", "UNBLOCKED", "MASTERDOWN"].contains(&code) {
                    return Err(format!("{mark} was refused: {line}"));
                }
            }
            (Enqueued::InDoubt, _) => {}
        }
    }
    for (name, space) in &history.spaces {
        if let Some((id, job)) = space.jobs().find(|(_, job)| !seen.sent.contains_key(&job.mark)) {
            return Err(format!("nobody has sent {} of {name}, {id:?}", job.mark));
        }
        if space.open() > 0 {
            return Err(format!("{name}: {} jobs have not settled", space.open()));
        }
    }
    Ok(())
}

fn check_claims(history: &History, seen: &Seen) -> Result<(), String> {
    let mut holders: BTreeMap<(&str, u64), &str> = BTreeMap::new();
    for event in &seen.events {
        let Event { space, id, token, .. } = event;
        match event.what {
            What::Odd => return Err(format!("an odd answer: {event}")),
            What::Claimed(unconfirmed) => {
                if let (Some(other), false) = (holders.insert((space, *token), id), unconfirmed) {
                    return Err(format!("token {token} of {space} was handed out twice, for {other} and {id}"));
                }
                let job = parse_id(id).and_then(|id| history.spaces.get(space)?.job(id));
                let is_known = job.is_some_and(|job| job.tokens.contains(token));
                if !is_known && !unconfirmed {
                    return Err(format!("a claim that is not in the append-only file: {event}, {job:?}"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Each end that somebody was told of is there, once; and each that is there was somebody's.
fn check_ends(history: &History, seen: &Seen) -> Result<(), String> {
    let mut accepted: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut sent: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
    let mut doubts: Vec<(&str, u64)> = Vec::new();
    for event in &seen.events {
        let Event { space, id, token, .. } = event;
        let job = parse_id(id).and_then(|id| history.spaces.get(space)?.job(id));
        let end = job.and_then(|job| job.end);
        match event.what {
            What::Sends(Verb::Ack) => sent.entry((space, id)).or_default().push(*token),
            What::Got(Verb::Ack, Answer::Done) => {
                if let Some(other) = accepted.insert((space, id), *token) {
                    return Err(format!("two acknowledgements of {id} were accepted: {other} and {token}"));
                }
                if end != Some(End::Completed(*token)) {
                    return Err(format!("an accepted acknowledgement: {event}; what came of it: {job:?}"));
                }
            }
            What::Got(Verb::Ack, Answer::Doubt | Answer::Unconfirmed) => doubts.push((id, *token)),
            What::Got(_, Answer::Lost) if end == Some(End::Completed(*token)) && !doubts.contains(&(id, *token)) => {
                return Err(format!("told LOST, and it has settled by this token: {event}; {job:?}"));
            }
            What::Got(Verb::Fail, Answer::Done) if event.text == "failed" && end != Some(End::Failed) => {
                return Err(format!("told that it has failed: {event}; {job:?}"));
            }
            _ => {}
        }
    }
    for (name, space) in &history.spaces {
        for (id, job) in space.jobs() {
            let Some(End::Completed(token)) = job.end else { continue };
            let id = format!("{}-{}", id.0, id.1);
            if !sent.get(&(name.as_str(), id.as_str())).is_some_and(|tokens| tokens.contains(&token)) {
                return Err(format!("{id} of {name} is completed by {token}, which nobody has acknowledged: {job:?}"));
            }
        }
    }
    Ok(())
}

/// Nobody's word counts after another has been given the job.
fn check_fencing(seen: &Seen) -> Result<(), String> {
    let mut newest: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    for event in &seen.events {
        if event.what == What::Claimed(false) {
            let known = newest.entry((&event.space, &event.id)).or_default();
            *known = (*known).max((event.token, event.at_us));
        }
    }
    let mut begun: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    for event in &seen.events {
        match event.what {
            What::Sends(_) => drop(begun.insert((&event.id, event.token), event.at_us)),
            What::Got(verb, Answer::Done) => {
                let sent_us = begun.get(&(event.id.as_str(), event.token)).copied().unwrap_or(0);
                let (token, given_us) = newest.get(&(&event.space, &event.id)).copied().unwrap_or_default();
                if token > event.token && given_us < sent_us {
                    return Err(format!("{verb:?} was accepted after token {token} had been given out: {event}"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

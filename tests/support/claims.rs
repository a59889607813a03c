//! Claimed jobs: enqueueing, claiming and acknowledging them.

use super::wire::{Reply, Wire};

/// A job as its worker is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    pub id: String,
    pub job: String,
    pub data: String,
    pub attempt: i64,
    pub token: u64,
    pub space: String,
}

#[track_caller]
pub fn claimed(reply: &Reply) -> Vec<Claimed> {
    let one = |job: &Reply| {
        let job = job.map();
        Claimed {
            id: job["id"].text(),
            job: job["job"].text(),
            data: job["data"].text(),
            attempt: job["attempt"].int(),
            token: job["token"].int() as u64,
            space: job["space"].text(),
        }
    };
    reply.list().iter().map(one).collect()
}

/// BEAR.CLAIM with these words.
#[track_caller]
pub fn claim(wire: &mut Wire, words: &str) -> Vec<Claimed> {
    let reply = wire.run(&format!("BEAR.CLAIM {words}"));
    assert!(!reply.is_error(), "{words}: {reply:?}");
    claimed(&reply)
}

/// The same, of exactly one job.
#[track_caller]
pub fn claim_one(wire: &mut Wire, words: &str) -> Claimed {
    let mut jobs = claim(wire, words);
    assert_eq!(jobs.len(), 1, "{words}: {jobs:?}");
    jobs.remove(0)
}

/// BEAR.ENQUEUE with these words, the payload without blanks; the id.
#[track_caller]
pub fn enqueue(wire: &mut Wire, words: &str) -> String {
    let reply = wire.run(&format!("BEAR.ENQUEUE {words}"));
    assert!(!reply.is_error(), "{words}: {reply:?}");
    reply.text()
}

/// BEAR.ACK, FAIL, … of a claim, with more words.
#[track_caller]
pub fn tell(wire: &mut Wire, command: &str, of: &Claimed, more: &str) -> Reply {
    wire.run(&format!("BEAR.{command} {} {} {} {more}", of.space, of.id, of.token))
}

#[track_caller]
pub fn ack(wire: &mut Wire, of: &Claimed) {
    assert_eq!(tell(wire, "ACK", of, ""), Reply::Int(1), "{of:?}");
}

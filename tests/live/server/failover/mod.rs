//! Failovers under load, by a cluster and by Sentinel: what a replica has received goes on by itself at the one that is promoted, once and
//! in order, and nobody is answered with what was before.

mod cluster;
mod load;
mod rewrite;
mod sentinel;

use std::time::{Duration, Instant};

use crate::support::{eventually, wait_for, Redis, Reply, Wire};
use load::Told;

/// When what worked again, after a master was gone.
#[derive(Debug, Clone, Copy)]
struct Took {
    /// Until another is promoted, which is the cluster's or the sentinels' doing.
    promoted: Duration,
    /// From then on, until a query is answered.
    answered: Duration,
    /// And until a job is applied that was enqueued there.
    applied: Duration,
}

impl std::fmt::Display for Took {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Took { promoted, answered, applied } = self;
        write!(f, "promoted after {promoted:?}; from then on a query was answered in {answered:?}, a job applied in {applied:?}")
    }
}

/// Watches a replica become the master of a family, and go on as one. The job that shows it is of the family's own.
fn watch(replica: &Redis, family: i64, mark: &str, begun: Instant, told: &mut Told) -> Took {
    wait_for("the replica is promoted", || is_master(replica).then_some(()));
    let promoted = begun.elapsed();
    let since = Instant::now();
    let query = format!("BEAR.QUERY {} one 1", load::space(family));
    eventually("a query is answered", || try_run(replica, &query).is_some_and(|reply| !reply.is_error()));
    let answered = since.elapsed();
    // Under one UNIQUE key: it is one job, however often it is sent.
    let enqueue = load::grow(family, 0, mark).join(" ") + " BLOCK 20000";
    let reply = wait_for("a job is taken", || try_run(replica, &enqueue).filter(|reply| !reply.is_error()));
    assert_eq!(reply.map()["state"], Reply::Bulk(b"completed".to_vec()), "{reply:?}");
    told.sent.push((mark.to_owned(), load::Known::Confirmed));
    Took { promoted, answered, applied: since.elapsed() }
}

/// On a connection of its own, which a sentinel may end.
fn try_run(redis: &Redis, line: &str) -> Option<Reply> {
    let mut wire = Wire::try_connect(redis.port()).ok()?;
    if !wire.try_send(&line.split(' ').collect::<Vec<_>>()) {
        return None;
    }
    wire.try_receive().ok()
}

fn is_master(redis: &Redis) -> bool {
    matches!(try_run(redis, "ROLE"), Some(Reply::Array(role)) if role[0].text() == "master")
}

/// Does it follow whoever listens on this port?
fn follows(redis: &Redis, port: u16) -> bool {
    let Some(Reply::Array(role)) = try_run(redis, "ROLE") else { return false };
    role[0].text() == "slave" && role[2].int() == i64::from(port) && role[3].text() == "connected"
}

/// Waits until all jobs for Postgres have settled.
fn wait_drained(families: i64, mut ask: impl FnMut(&str) -> Reply) {
    for family in 0..families {
        let line = format!("XLEN {}:queue", load::space(family));
        eventually("all has settled", || ask(&line) == Reply::Int(0));
    }
}

//! Memory of waiting jobs, against a plain stream that holds their names and payloads.

use crate::figures::{count, Table};
use crate::jobs::{mixed, rename, Job};
use crate::memory::used;
use crate::queue;
use crate::setup::Servers;
use crate::support::Redis;

const JOBS: usize = 100_000;

pub fn run(servers: &Servers, _: usize) -> Vec<Table> {
    let mut table = Table::new(
        format!("Memory: bytes a waiting job, {} jobs", count(JOBS as f64)),
        &["jobs", "job and payload", "plain stream", "bear", "ratio"],
    );
    let renames = (0..JOBS).map(|at| rename(at, at)).collect::<Vec<_>>();
    for (name, jobs) in [("UPDATE_BEAR_NAME", renames), ("five kinds", mixed(JOBS, JOBS))] {
        let bytes = jobs.iter().map(|job| job.name.len() + job.data.len()).sum::<usize>() as f64 / JOBS as f64;
        let plain = grown(servers, |redis| add_plainly(redis, &jobs));
        let queued = grown(servers, |redis| queue::enqueue(redis, &jobs));
        table.row(vec![
            name.to_owned(),
            count(bytes),
            format!("{plain:.1}"),
            format!("{queued:.1}"),
            format!("{:.2}", queued / plain),
        ]);
    }
    table.note(
        "used_memory, so whatever else the module keeps of a job is in it. The plain stream's fields are job and data.",
    );
    vec![table]
}

/// By how many bytes a job `add` makes memory grow.
fn grown(servers: &Servers, add: impl FnOnce(&Redis)) -> f64 {
    let redis = queue::redis(&servers.database);
    // What the append-only file has yet to write counts as memory.
    let written = || {
        let info = redis.info("all");
        info.int("aof_buffer_length") == 0 && info.int("aof_pending_bio_fsync") == 0
    };
    crate::support::eventually("the file is written", written);
    let before = used(&redis);
    add(&redis);
    crate::support::eventually("the file is written", written);
    (used(&redis) - before) as f64 / JOBS as f64
}

fn add_plainly(redis: &Redis, jobs: &[Job]) {
    let mut wire = redis.wire();
    for jobs in jobs.chunks(500) {
        for job in jobs {
            wire.send(&["XADD", "plain", "*", "job", job.name, "data", &job.data]);
        }
        for _ in jobs {
            wire.receive().bulk();
        }
    }
}

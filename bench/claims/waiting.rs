//! A million jobs of mixed priorities wait: what a claim costs then, what memory they take, and how soon a server that is started
//! again hands out the first of them.

use std::time::Instant;

use super::{ack, claimed, pipelined, redis, words, PAYLOAD};
use crate::figures::{count, median, ms, quantile, Table};
use crate::memory::used;
use crate::probe::Probe;
use crate::setup::{bear, raise_priority, Servers};
use crate::support::{eventually, Random, Redis, Wire};

/// Jobs that wait, one after the other; memory is that of those between the last two.
const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

/// Pairs of CLAIM and ACK at each size.
const PAIRS: usize = 3_000;

struct Pairs {
    times_us: Vec<f64>,
    /// Of a CLAIM and an ACK, by the server's own clock.
    in_commands_us: f64,
}

pub fn run(_: &Servers, rounds: usize) -> Vec<Table> {
    let rounds = rounds.clamp(1, 3);
    let mut pairs: [Vec<Pairs>; 3] = Default::default();
    let (mut plain, mut queued, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        plain.push(plain_bytes());
        let mut redis = redis();
        raise_priority(&redis);
        let mut random = Random::new(7);
        let mut waiting = 0;
        for (size, pairs) in SIZES.into_iter().zip(&mut pairs) {
            let bytes = grown(&redis, size - waiting, |wire, jobs| add(wire, jobs, &mut random));
            if size == SIZES[2] {
                queued.push(bytes);
            }
            waiting = size;
            pairs.push(measure(&redis, &mut random));
        }
        starts.push(start_again(&mut redis));
    }
    vec![of_pairs(&pairs), of_memory(&plain, &queued), of_starts(&starts)]
}

fn of_pairs(pairs: &[Vec<Pairs>; 3]) -> Table {
    let mut table = Table::new(
        "Claiming among many: one worker, BEAR.CLAIM and then BEAR.ACK, µs a pair",
        &["jobs waiting, ten priorities", "p50", "p99", "in the two commands, mean"],
    );
    for (size, rounds) in SIZES.iter().zip(pairs) {
        let of = |figure: &dyn Fn(&Pairs) -> f64| median(&rounds.iter().map(figure).collect::<Vec<_>>());
        table.row(vec![
            count(*size as f64),
            format!("{:.0}", of(&|pairs| median(&pairs.times_us))),
            format!("{:.0}", of(&|pairs| quantile(&pairs.times_us, 0.99))),
            format!("{:.1}", of(&|pairs| pairs.in_commands_us)),
        ]);
    }
    table.note(format!(
        "{PAIRS} pairs each, two round trips a pair, a job being enqueued after each; medians of {} rounds. In the commands: by \
         INFO commandstats.",
        pairs[0].len()
    ));
    table
}

fn of_memory(plain: &[f64], queued: &[f64]) -> Table {
    let mut table = Table::new(
        format!("Memory: bytes a waiting job of {} bytes, the last of a million", PAYLOAD.len()),
        &["plain stream", "bear", "ratio"],
    );
    let ratios: Vec<f64> = queued.iter().zip(plain).map(|(queued, plain)| queued / plain).collect();
    table.row(vec![
        format!("{:.1}", median(plain)),
        format!("{:.1}", median(queued)),
        format!("{:.2}", median(&ratios)),
    ]);
    table.note(
        "used_memory, so whatever else the module keeps of a job is in it. The plain stream's fields are job, data and, where it is \
         not 5, priority.",
    );
    table
}

struct Start {
    until_ping_ms: f64,
    until_job_ms: f64,
    gap_us: f64,
    work_us: f64,
    tick_us: f64,
}

fn of_starts(starts: &[Start]) -> Table {
    let mut table = Table::new(
        "A server with a million waiting jobs is started again",
        &[
            "until it answers PING, ms",
            "from then to the first job of a worker, ms",
            "longest gap of a PING meanwhile, µs",
            "server's CPU in it, most µs",
            "longest tick's CPU, µs",
        ],
    );
    let of = |figure: fn(&Start) -> f64| median(&starts.iter().map(figure).collect::<Vec<_>>());
    table.row(vec![
        count(of(|start| start.until_ping_ms)),
        count(of(|start| start.until_job_ms)),
        count(of(|start| start.gap_us)),
        count(of(|start| start.work_us)),
        count(of(|start| start.tick_us)),
    ]);
    table.note(format!(
        "Medians of {} rounds. Until PING: Redis loads its append-only file of plain commands.",
        starts.len()
    ));
    table
}

/// Adds jobs with priorities from 1 to 10.
fn add(wire: &mut Wire, jobs: usize, random: &mut Random) {
    pipelined(wire, jobs, |_| {
        let priority = (1 + random.below(10)).to_string();
        words(&["BEAR.ENQUEUE", "bare", "RUN", PAYLOAD, "PRIORITY", &priority])
    });
}

fn measure(redis: &Redis, random: &mut Random) -> Pairs {
    let (mut worker, mut producer) = (redis.wire(), redis.wire());
    worker.run("CONFIG RESETSTAT");
    let mut times_us = Vec::with_capacity(PAIRS);
    for _ in 0..PAIRS {
        let begun = Instant::now();
        worker.send(&["BEAR.CLAIM", "bare"]);
        let reply = worker.receive();
        let claimed_in = begun.elapsed();
        let ack = ack("bare", &claimed(&reply));
        let begun = Instant::now();
        let accepted = worker.call(&ack);
        times_us.push((claimed_in + begun.elapsed()).as_secs_f64() * 1e6);
        assert_eq!(accepted.int(), 1);
        add(&mut producer, 1, random);
    }
    let stats = redis.info("commandstats");
    let of = |command: &str| -> f64 {
        let text = stats.text(&format!("cmdstat_{command}"));
        let text = text.split("usec_per_call=").nth(1).and_then(|text| text.split(',').next()).expect("a figure");
        text.parse().expect("a number")
    };
    Pairs { times_us, in_commands_us: of("bear.claim") + of("bear.ack") }
}

/// Bytes of a job in a stream.
fn plain_bytes() -> f64 {
    let redis = redis();
    let mut random = Random::new(7);
    let mut xadd = |wire: &mut Wire, jobs: usize| {
        pipelined(wire, jobs, |_| {
            let priority = (1 + random.below(10)).to_string();
            let fields = ["XADD", "plain", "*", "job", "RUN", "data", PAYLOAD, "priority", &priority];
            words(if priority == "5" { &fields[..7] } else { &fields })
        });
    };
    grown(&redis, SIZES[1], &mut xadd);
    grown(&redis, SIZES[2] - SIZES[1], &mut xadd)
}

/// By how many bytes each of so many jobs makes memory grow.
fn grown(redis: &Redis, jobs: usize, add: impl FnOnce(&mut Wire, usize)) -> f64 {
    // What the append-only file has yet to write counts as memory.
    let written = || {
        let info = redis.info("all");
        info.int("aof_buffer_length") == 0 && info.int("aof_pending_bio_fsync") == 0
    };
    eventually("the file is written", written);
    let before = used(redis);
    add(&mut redis.wire(), jobs);
    eventually("the file is written", written);
    (used(redis) - before) as f64 / jobs as f64
}

fn start_again(redis: &mut Redis) -> Start {
    redis.shutdown();
    let begun = Instant::now();
    redis.start_again();
    let until_ping = begun.elapsed();
    raise_priority(redis);
    let probe = Probe::start(redis);
    let begun = Instant::now();
    let jobs = claimed(&redis.wire().run("BEAR.CLAIM bare BLOCK 60000"));
    let until_job = begun.elapsed();
    assert_eq!(redis.wire().call(&ack("bare", &jobs)).int(), 1);
    let gaps = probe.stop();
    eprintln!(
        "  started: {} ms, first job: {} ms",
        ms(until_ping.as_secs_f64() * 1e6),
        ms(until_job.as_secs_f64() * 1e6)
    );
    Start {
        until_ping_ms: until_ping.as_secs_f64() * 1e3,
        until_job_ms: until_job.as_secs_f64() * 1e3,
        gap_us: gaps.max_us(),
        work_us: gaps.max_work_us(),
        tick_us: bear(&redis.info("bear"), "longest_tick_cpu_us") as f64,
    }
}

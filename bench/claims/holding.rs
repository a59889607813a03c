//! Does what workers ask for, or time brings about, hold Redis' thread? Gaps that a second connection sees meanwhile.

use std::time::{Duration, Instant};

use super::{ack, claimed, enqueue, pipelined, redis, stream, words, PAYLOAD};
use crate::figures::{count, median, quantile, Table};
use crate::probe::{Gaps, Probe};
use crate::setup::{bear, raise_priority, Servers};
use crate::support::{eventually, Redis, Wire};

const MANY: usize = 10_000;
const AT_ONCE: usize = 1_000;

/// So long the leases are that end together: all must be claimed by then.
const LEASES: Duration = Duration::from_millis(4_000);

type Pairs = Vec<(String, String)>;

struct Case {
    name: &'static str,
    /// What has to stand before; gives what `run` is for.
    prepare: fn(&Redis) -> Vec<Pairs>,
    run: fn(&Redis, Vec<Pairs>),
}

const CASES: [Case; 7] = [
    Case { name: "nothing", prepare: |_| Vec::new(), run: |_, _| std::thread::sleep(Duration::from_millis(500)) },
    Case { name: "10,000 leases end at once", prepare: hold_leases, run: |redis, _| await_waiting(redis) },
    Case { name: "10,000 delayed jobs fall due at once", prepare: delay, run: |redis, _| await_due(redis) },
    Case {
        name: "10 times CLAIM COUNT 1000",
        prepare: |redis| {
            enqueue(redis, "bare", MANY);
            Vec::new()
        },
        run: |redis, _| drop(claim_all(redis, "bare", None)),
    },
    Case {
        name: "10 times ACK of 1,000 jobs",
        prepare: |redis| {
            enqueue(redis, "bare", MANY);
            claim_all(redis, "bare", None)
        },
        run: |redis, jobs| ack_all(redis, "bare", &jobs),
    },
    Case {
        name: "10 times ACK of 1,000 jobs, kept",
        prepare: |redis| {
            enqueue(redis, "kept", MANY);
            claim_all(redis, "kept", None)
        },
        run: |redis, jobs| ack_all(redis, "kept", &jobs),
    },
    Case {
        name: "10,000 tenants' jobs claimed by the section",
        prepare: |redis| {
            let enqueue = |at| words(&["BEAR.ENQUEUE", &format!("{{t{at}}}:many"), "RUN", PAYLOAD]);
            pipelined(&mut redis.wire(), MANY, enqueue);
            Vec::new()
        },
        run: |redis, _| drop(claim_all(redis, "many", None)),
    },
];

const WOKEN: &str = "1,000 claimers wait, 1,000 jobs are enqueued";

struct Measured {
    gaps: Gaps,
    tick_us: f64,
    tick_cpu_us: f64,
    took_ms: f64,
    is_raised: bool,
}

pub fn run(_: &Servers, rounds: usize) -> Vec<Table> {
    let rounds = rounds.clamp(1, 5);
    let names = CASES.iter().map(|case| case.name).chain([WOKEN]);
    let mut results: Vec<Vec<Measured>> = names.clone().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (case, results) in CASES.iter().zip(&mut results) {
            let redis = redis();
            let prepared = (case.prepare)(&redis);
            results.push(measure(&redis, || (case.run)(&redis, prepared)));
        }
        results[CASES.len()].push(woken());
    }
    let mut table = Table::new(
        "A second connection's PING while workers claim",
        &[
            "meanwhile",
            "took ms: median",
            "longest gap µs: median",
            "server's CPU in a gap, most µs: median",
            "most of all",
            "longest tick µs: median",
            "its CPU, most µs: median",
        ],
    );
    for (name, results) in names.zip(&results) {
        let of = |figure: &dyn Fn(&Measured) -> f64| results.iter().map(figure).collect::<Vec<_>>();
        let work = of(&|one| one.gaps.max_work_us());
        table.row(vec![
            name.to_owned(),
            count(median(&of(&|one| one.took_ms))),
            count(median(&of(&|one| one.gaps.max_us()))),
            count(median(&work)),
            count(quantile(&work, 1.0)),
            count(median(&of(&|one| one.tick_us))),
            count(median(&of(&|one| one.tick_cpu_us))),
        ]);
    }
    let is_raised = results.iter().flatten().all(|one| one.is_raised);
    table.note(format!(
        "{rounds} runs of each, in turn, a new server each. A hold is at most as long as the gap, and at most what the server's \
         thread worked in it. Ticks are pieces of the module's own work by the clock (bear_longest_tick_us) and by its \
         processor time, those before the measurement among them.{}",
        if is_raised { " Server and probe ran at a raised priority." } else { "" }
    ));
    vec![table]
}

fn measure(redis: &Redis, run: impl FnOnce()) -> Measured {
    let is_raised = raise_priority(redis);
    let probe = Probe::start(redis);
    let begun = Instant::now();
    run();
    let took_ms = begun.elapsed().as_secs_f64() * 1e3;
    let gaps = probe.stop();
    let info = redis.info("bear");
    let of = |name: &str| bear(&info, name) as f64;
    Measured { gaps, tick_us: of("longest_tick_us"), tick_cpu_us: of("longest_tick_cpu_us"), took_ms, is_raised }
}

/// Claims all that there is, 1,000 at a time; leases end together, or are as by default.
fn claim_all(redis: &Redis, space: &str, end: Option<Instant>) -> Vec<Pairs> {
    let mut wire = redis.wire();
    let at_once = AT_ONCE.to_string();
    let mut all = Vec::new();
    let mut claimed_jobs = 0;
    // Of a section, a space that is still being read gives its job a little later.
    for _ in 0..10 * MANY / AT_ONCE {
        let mut call = words(&["BEAR.CLAIM", space, "COUNT", &at_once]);
        if let Some(end) = end {
            let left = end.saturating_duration_since(Instant::now()).as_millis();
            call.extend(["LEASE".to_owned(), left.max(1_000).to_string()]);
        }
        let jobs = claimed(&wire.call(&call));
        claimed_jobs += jobs.len();
        all.push(jobs);
        if claimed_jobs == MANY {
            break;
        }
    }
    assert_eq!(claimed_jobs, MANY, "jobs claimed");
    all
}

fn ack_all(redis: &Redis, space: &str, jobs: &[Pairs]) {
    let mut wire = redis.wire();
    for pairs in jobs {
        let reply = wire.call(&ack(space, pairs));
        assert_eq!(reply.list()[0].int(), pairs.len() as i64, "jobs accepted");
    }
    assert_eq!(wire.call(&["XLEN", &stream(space)]).int(), 0);
}

fn hold_leases(redis: &Redis) -> Vec<Pairs> {
    enqueue(redis, "bare", MANY);
    claim_all(redis, "bare", Some(Instant::now() + LEASES))
}

fn await_waiting(redis: &Redis) {
    let mut wire = redis.wire();
    eventually("all leases have ended", || wire.run("HLEN bare:queue:work:claims").int() == 0);
}

fn delay(redis: &Redis) -> Vec<Pairs> {
    let mut wire = redis.wire();
    let due = (now_ms(&mut wire) + LEASES.as_millis() as u64).to_string();
    pipelined(&mut wire, MANY, |_| words(&["BEAR.ENQUEUE", "bare", "RUN", PAYLOAD, "AT", &due]));
    assert_eq!(wire.run("ZCARD bare:queue:work:delayed").int(), MANY as i64, "all wait at first");
    Vec::new()
}

fn await_due(redis: &Redis) {
    let mut wire = redis.wire();
    eventually("all are due", || wire.run("ZCARD bare:queue:work:delayed").int() == 0);
}

/// By the server's clock.
fn now_ms(wire: &mut Wire) -> u64 {
    let time = wire.run("TIME");
    let part = |at: usize| time.list()[at].text().parse::<u64>().expect("a number");
    part(0) * 1_000 + part(1) / 1_000
}

fn woken() -> Measured {
    let redis = redis();
    let mut claimers: Vec<Wire> = (0..AT_ONCE).map(|_| redis.wire()).collect();
    claimers.iter_mut().for_each(|wire| wire.begin("BEAR.CLAIM bare BLOCK 0"));
    redis.wait_blocked(AT_ONCE as i64);
    measure(&redis, || {
        enqueue(&redis, "bare", AT_ONCE);
        for claimer in &mut claimers {
            assert_eq!(claimed(&claimer.receive()).len(), 1);
        }
    })
}

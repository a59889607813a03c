//! What events cost: jobs that are enqueued, claimed and acknowledged while nobody is told, while all is published, and while
//! somebody listens; and whether the outcomes of a batch of 1,000 SQL jobs hold Redis' thread.

use std::time::Instant;

use crate::figures::{count, median, quantile, Table};
use crate::queue::SETTINGS;
use crate::setup::Servers;
use crate::support::wire::packed;
use crate::support::{bears, eventually, Redis, Wire};

const CATALOG: &str = "[work.job.RUN]\ndata = { to = \"text\", subject = \"text\" }\nclaim = { keep = 0 }\n";
const PAYLOAD: &str = r#"{"to":"someone@example.org","subject":"Welcome to the bears"}"#;

const JOBS: usize = 100_000;
/// Enqueued, claimed or acknowledged at once: a pipeline, a COUNT.
const AT_ONCE: usize = 50;

const BATCHES: usize = 10;
const BATCH: usize = 1_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Off,
    Published,
    Heard,
}

const MODES: [(&str, Mode); 3] =
    [("off", Mode::Off), ("published, nobody listens", Mode::Published), ("published, one listens", Mode::Heard)];

/// Of a job: on the clock, and on Redis' main thread.
struct Cost {
    per_second: f64,
    main_us: f64,
}

pub fn run(_: &Servers, rounds: usize) -> Vec<Table> {
    vec![rates(rounds), ticks(rounds)]
}

fn rates(rounds: usize) -> Table {
    let mut table = Table::new(
        format!("Jobs that are enqueued, claimed and acknowledged, {AT_ONCE} at a time, AOF everysec, by events"),
        &["events", "jobs a second", "Redis' main thread, µs a job"],
    );
    let mut results: [Vec<Cost>; 3] = Default::default();
    for _ in 0..rounds {
        for ((_, mode), results) in MODES.iter().zip(&mut results) {
            results.extend(work(*mode));
        }
    }
    for ((name, _), results) in MODES.iter().zip(&results) {
        if results.is_empty() {
            continue;
        }
        let of = |figure: fn(&Cost) -> f64| median(&results.iter().map(figure).collect::<Vec<_>>());
        table.row(vec![
            (*name).to_owned(),
            count(of(|cost| cost.per_second)),
            format!("{:.2}", of(|cost| cost.main_us)),
        ]);
    }
    table.note(format!(
        "Medians of {rounds} rounds in turn, each on a new server: {} jobs by one connection. Three events a job, each by PUBLISH and \
         SPUBLISH.",
        count(JOBS as f64)
    ));
    table
}

/// A server that tells of everything, or of nothing; None where it cannot.
fn redis(mode: Mode) -> Option<(Redis, Option<Wire>)> {
    let builder = Redis::builder().catalog(CATALOG).append_only().config("appendfsync", "everysec");
    let redis = SETTINGS.iter().fold(builder, |builder, (name, value)| builder.config(name, value)).start();
    // A build of before there were any.
    if mode != Mode::Off && redis.run("CONFIG SET bear.events all").is_error() {
        return None;
    }
    let listener = (mode == Mode::Heard).then(|| listen(&redis));
    Some((redis, listener))
}

fn listen(redis: &Redis) -> Wire {
    let mut wire = redis.wire();
    wire.run("PSUBSCRIBE bear:events:*");
    wire
}

fn work(mode: Mode) -> Option<Cost> {
    let (redis, listener) = redis(mode)?;
    // What it is told is read, or the server would keep it.
    let reading = listener.map(|mut wire| std::thread::spawn(move || (0..3 * JOBS).for_each(|_| drop(wire.receive()))));
    let mut wire = redis.wire();
    let before = main_us(&redis);
    let begun = Instant::now();
    for _ in 0..JOBS / AT_ONCE {
        let enqueue = packed(&["BEAR.ENQUEUE", "work", "RUN", PAYLOAD]);
        wire.send_bytes(&enqueue.repeat(AT_ONCE));
        (0..AT_ONCE).for_each(|_| drop(wire.receive()));
        let claimed = wire.run(&format!("BEAR.CLAIM work COUNT {AT_ONCE}"));
        let mut ack = vec!["BEAR.ACK".to_owned(), "work".to_owned()];
        for job in claimed.list() {
            let job = job.map();
            ack.extend([job["id"].text(), job["token"].int().to_string()]);
        }
        assert_eq!(ack.len(), 2 + 2 * AT_ONCE);
        assert_eq!(wire.call(&ack).list()[0].int(), AT_ONCE as i64);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let spent = main_us(&redis) - before;
    if let Some(reading) = reading {
        reading.join().expect("all messages come");
    }
    Some(Cost { per_second: JOBS as f64 / seconds, main_us: spent / JOBS as f64 })
}

fn main_us(redis: &Redis) -> f64 {
    let info = redis.info("cpu");
    let of = |name: &str| info.get(name).and_then(|value| value.parse::<f64>().ok()).unwrap_or(f64::NAN) * 1e6;
    of("used_cpu_sys_main_thread") + of("used_cpu_user_main_thread")
}

/// Batches of 1,000 SQL jobs.
fn ticks(rounds: usize) -> Table {
    let mut table = Table::new(
        format!("Batches of {} SQL jobs: the longest tick, µs, by events", count(BATCH as f64)),
        &["events", "on a processor: median", "most of all", "by the clock: median"],
    );
    let mut results: [Vec<(f64, f64)>; 3] = Default::default();
    for _ in 0..rounds {
        for ((_, mode), results) in MODES.iter().zip(&mut results) {
            results.extend(drain(*mode));
        }
    }
    for ((name, _), results) in MODES.iter().zip(&results) {
        if results.is_empty() {
            continue;
        }
        let (cpu, clock): (Vec<f64>, Vec<f64>) = results.iter().copied().unzip();
        table.row(vec![(*name).to_owned(), count(median(&cpu)), count(quantile(&cpu, 1.0)), count(median(&clock))]);
    }
    table.note(format!("{BATCHES} batches of one space, each on a new server, {rounds} rounds in turn; `bear_longest_tick_cpu_us` and `_us` afterwards."));
    table
}

fn drain(mode: Mode) -> Option<(f64, f64)> {
    let database = bears::database();
    let redis = Redis::builder()
        .postgres(&database)
        .configs(&[("bear.drain", "no"), ("bear.apply-batch-jobs", "1000"), ("bear.feed", "off")])
        .start();
    if mode != Mode::Off && redis.run("CONFIG SET bear.events all").is_error() {
        return None;
    }
    let listener = (mode == Mode::Heard).then(|| listen(&redis));
    let jobs = BATCHES * BATCH;
    let reading = listener.map(|mut wire| std::thread::spawn(move || (0..2 * jobs).for_each(|_| drop(wire.receive()))));
    let mut wire = redis.wire();
    for n in 0..jobs {
        wire.begin(&format!(r#"BEAR.ENQUEUE bear UPDATE_BEAR_SIZE {{"id":{},"size":{}}}"#, 1 + n % 8, 1 + n));
        if n % AT_ONCE == AT_ONCE - 1 {
            (0..AT_ONCE).for_each(|_| drop(wire.receive()));
        }
    }
    assert!(wire.run("CONFIG SET bear.drain yes").is_ok());
    eventually("the queue is empty", || wire.run("XLEN bear:queue").int() == 0);
    if let Some(reading) = reading {
        reading.join().expect("all messages come");
    }
    eventually("all is told", || redis.info("bear").get("bear_events_waiting").is_none_or(|left| left == "0"));
    let info = redis.info("bear");
    Some((info.int("bear_longest_tick_cpu_us") as f64, info.int("bear_longest_tick_us") as f64))
}

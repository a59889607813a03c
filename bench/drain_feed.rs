//! What following the changes costs a drain, and how much of that any reader of the same stream costs: processor time by
//! who takes it, which a busy machine changes less than the rate.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::drain::{JOBS, SPREAD};
use crate::figures::{count, median, Table};
use crate::followed::{self, Feed};
use crate::jobs::{bears_for, mixed, Job};
use crate::plain_client::PlainClient;
use crate::queue::{self, Durable, BATCH_SETTING};
use crate::setup::Servers;
use crate::support::postgres::{program, SUPERUSER};
use crate::support::process::Process;
use crate::support::{eventually, Database, Redis};

/// Jobs of a batch.
const BATCHES: [usize; 2] = [500, 2_000];

const SLOT: &str = "bench_reader";

/// Who works, as the columns have them.
const WORKERS: [&str; 6] = ["client, or Redis' thread", "applier", "feed", "other threads", "backends", "walsender"];

/// Nanoseconds of processor time by worker.
type Work = BTreeMap<&'static str, u64>;

#[derive(Clone, Copy, PartialEq)]
enum Case {
    Plain,
    /// While somebody reads the same stream, and throws it away.
    PlainRead,
    Bear(Feed),
}

struct Drained {
    rate: f64,
    work: Work,
}

pub fn run(_: &Servers, rounds: usize) -> Vec<Table> {
    let jobs = mixed(JOBS, SPREAD);
    let logical = Durable::start_logical(bears_for(&jobs));
    BATCHES.map(|batch| table(&logical, &jobs, batch, rounds)).into()
}

fn table(logical: &Durable, jobs: &[Job], batch: usize, rounds: usize) -> Table {
    let cases = [
        ("plain client", Case::Plain),
        ("plain client, pg_recvlogical reads", Case::PlainRead),
        ("bear", Case::Bear(Feed::Off)),
        ("bear, `bear.feed wal`", Case::Bear(Feed::Wal)),
    ];
    let mut results: [Vec<Drained>; 4] = Default::default();
    for _ in 0..rounds {
        for ((_, case), results) in cases.iter().zip(&mut results) {
            results.push(drained(logical, jobs, batch, *case));
        }
    }
    let of =
        |results: &[Drained], figure: &dyn Fn(&Drained) -> f64| median(&results.iter().map(figure).collect::<Vec<_>>());
    let ratio = |case: usize, to: usize| {
        let pairs = results[case].iter().zip(&results[to]);
        format!("{:.2}", median(&pairs.map(|(case, to)| case.rate / to.rate).collect::<Vec<_>>()))
    };
    let heads = ["", "jobs a second", "to plain", "to plain read"].into_iter().chain(WORKERS);
    let mut table = Table::new(
        format!("Drain in batches of {}: rates, and µs of processor time a job", count(batch as f64)),
        &heads.collect::<Vec<_>>(),
    );
    for (at, (name, _)) in cases.iter().enumerate() {
        let mut row =
            vec![(*name).to_owned(), count(of(&results[at], &|drained| drained.rate)), ratio(at, 0), ratio(at, 1)];
        row.extend(WORKERS.map(|worker| {
            let micros = |drained: &Drained| drained.work.get(worker).copied().unwrap_or(0) as f64 / 1e3 / JOBS as f64;
            format!("{:.1}", of(&results[at], &micros))
        }));
        table.row(row);
    }
    table.note(format!("Medians of {rounds} rounds in turn; ratios are those of a round's runs."));
    table
}

fn drained(durable: &Durable, jobs: &[Job], batch: usize, case: Case) -> Drained {
    durable.with_fresh_tables(|database| {
        let drained = match case {
            Case::Plain | Case::PlainRead => plain(database, jobs, batch, case == Case::PlainRead),
            Case::Bear(feed) => bear(database, jobs, batch, feed),
        };
        durable.check(database, jobs);
        drained
    })
}

fn plain(database: &Database, jobs: &[Job], batch: usize, is_read: bool) -> Drained {
    let reader = is_read.then(|| Reader::start(database));
    let mut client = PlainClient::connect(database);
    let before = work(None, database);
    let begun = std::time::Instant::now();
    for jobs in jobs.chunks(batch) {
        client.apply(jobs);
    }
    let took = begun.elapsed();
    let work = difference(work(None, database), &before);
    drop(reader);
    Drained { rate: jobs.len() as f64 / took.as_secs_f64(), work }
}

fn bear(database: &Database, jobs: &[Job], batch: usize, feed: Feed) -> Drained {
    let redis = queue::redis(database);
    let begun = std::time::Instant::now();
    queue::set(&mut redis.wire(), "bear.feed", feed.name());
    if feed != Feed::Off {
        eventually("the feed follows", || followed::has_told(&redis, begun));
    }
    queue::set(&mut redis.wire(), BATCH_SETTING, &batch.to_string());
    queue::enqueue(&redis, jobs);
    let before = work(Some(&redis), database);
    let took = queue::drain(&redis);
    let work = difference(work(Some(&redis), database), &before);
    followed::end(&redis, database);
    Drained { rate: jobs.len() as f64 / took.as_secs_f64(), work }
}

/// A client that reads what the feed reads, and does nothing with it.
struct Reader<'a> {
    process: Option<Process>,
    database: &'a Database,
}

impl Reader<'_> {
    fn start(database: &Database) -> Reader<'_> {
        let mut command = Command::new(program("pg_recvlogical"));
        command.args(["--host=127.0.0.1", "--create-slot", "--start", "--plugin=test_decoding", "--file=/dev/null"]);
        command.args([
            "--no-loop",
            "--fsync-interval=0",
            "--option=include-timestamp=on",
            "--option=skip-empty-xacts=off",
        ]);
        command.arg(format!("--port={}", database.postgres().port())).arg(format!("--username={SUPERUSER}"));
        command.arg(format!("--dbname={}", database.name())).arg(format!("--slot={SLOT}"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = Some(Process::spawn(&mut command, "KILL"));
        let mut client = database.client();
        eventually("the reader reads", || {
            client.query("SELECT FROM pg_replication_slots WHERE active", &[]).expect("pg_replication_slots").len() == 1
        });
        Reader { process, database }
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.process.take().and_then(|process| process.end(Signal::INT));
        let mut client = self.database.client();
        eventually("the slot is gone", || client.execute("SELECT pg_drop_replication_slot($1)", &[&SLOT]).is_ok());
    }
}

/// What each has worked so far. Of processes that live throughout.
fn work(redis: Option<&Redis>, database: &Database) -> Work {
    let mut work = Work::new();
    let mut add = |worker, nanos: Option<u64>| *work.entry(worker).or_default() += nanos.unwrap_or(0);
    match redis {
        None => add(WORKERS[0], nanos(Path::new("/proc/thread-self"))),
        Some(redis) => {
            let tasks = format!("/proc/{}/task", redis.pid());
            for task in std::fs::read_dir(&tasks).into_iter().flatten().flatten() {
                let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
                let worker = match name.trim() {
                    _ if *task.file_name() == *redis.pid().to_string() => WORKERS[0],
                    name if name.starts_with("bear-apply") => WORKERS[1],
                    "bear-feed" => WORKERS[2],
                    _ => WORKERS[3],
                };
                add(worker, nanos(&task.path()));
            }
        }
    }
    for process in children(database.postgres().pid()) {
        let path = Path::new("/proc").join(process.to_string());
        let title = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let title = String::from_utf8_lossy(&title);
        let worker = if title.contains("walsender") { WORKERS[5] } else { WORKERS[4] };
        add(worker, nanos(&path));
    }
    work
}

fn difference(after: Work, before: &Work) -> Work {
    after.into_iter().map(|(name, nanos)| (name, nanos - before.get(name).copied().unwrap_or(0).min(nanos))).collect()
}

/// Processes that this one has begun.
pub fn children(of: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    let parent = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // After the name, which may hold anything: its state, and its parent.
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
    };
    pids.filter(|pid| parent(pid) == Some(of)).collect()
}

/// Nanoseconds on a processor.
pub fn nanos(process: &Path) -> Option<u64> {
    std::fs::read_to_string(process.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
}

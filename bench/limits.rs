//! Limits and locks: BEAR.LIMIT against INCR, and BEAR.LOCK with BEAR.UNLOCK against SET NX PX with a script that deletes what is
//! one's own, in turn.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::figures::{count, median, Table};
use crate::generator::{benchmark, cpu_seconds, Run, CLIENTS};
use crate::setup::Servers;
use crate::support::{Redis, Reply, Wire};

const PIPELINES: [usize; 2] = [1, 64];

/// How long one run should last at least, and requests of a short one, to see how many that takes.
const RUN_SECS: f64 = 2.0;
const TRIAL: usize = 50_000;

const CATALOG: &str =
    "[api]\n[api.limit.calls]\nburst = 1000000\nrate = \"1/s\"\n[api.limit.none]\nburst = 0\nrate = \"1/d\"\n";

const UNLOCK: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

pub fn run(_: &Servers, rounds: usize) -> Vec<Table> {
    vec![limits(rounds), locks(rounds)]
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn redis() -> Redis {
    Redis::builder().catalog(CATALOG).start()
}

fn limits(rounds: usize) -> Table {
    let mut table = Table::new(
        format!("Limits: commands a second, {CLIENTS} connections, 100,000 keys"),
        &[
            "pipeline",
            "INCR",
            "BEAR.LIMIT, numbers",
            "ratio",
            "ratio by server CPU",
            "named",
            "ratio",
            "limited",
            "ratio",
        ],
    );
    let incr = words(&["INCR", "count:__rand_int__"]);
    let asked = [
        words(&["BEAR.LIMIT", "api", "user:__rand_int__", "1000000", "1", "1000"]),
        words(&["BEAR.LIMIT", "api", "calls", "user:__rand_int__"]),
        // One a day of one key, asked by all: a reply that writes nothing.
        words(&["BEAR.LIMIT", "api", "none", "all"]),
    ];
    for pipeline in PIPELINES {
        let redis = redis();
        let mut requests = TRIAL;
        let mut plain = Vec::new();
        let mut limited: [Vec<Run>; 3] = Default::default();
        // The first one is a trial.
        for round in 0..=rounds {
            let base = benchmark(&redis, pipeline, requests, &incr);
            if round == 0 {
                requests = (base.per_second * RUN_SECS * 1.1) as usize;
                continue;
            }
            plain.push(base);
            for (runs, command) in limited.iter_mut().zip(&asked) {
                runs.push(benchmark(&redis, pipeline, requests, command));
            }
        }
        let rate = |runs: &[Run]| count(median(&runs.iter().map(|run| run.per_second).collect::<Vec<_>>()));
        let pairs = |runs: &[Run], of: &dyn Fn(&Run, &Run) -> f64| {
            format!("{:.2}", median(&runs.iter().zip(&plain).map(|(run, plain)| of(run, plain)).collect::<Vec<_>>()))
        };
        let ratio = |runs: &[Run]| pairs(runs, &|run, plain| run.per_second / plain.per_second);
        table.row(vec![
            pipeline.to_string(),
            rate(&plain),
            rate(&limited[0]),
            ratio(&limited[0]),
            pairs(&limited[0], &|run, plain| plain.cpu_us / run.cpu_us),
            rate(&limited[1]),
            ratio(&limited[1]),
            rate(&limited[2]),
            ratio(&limited[2]),
        ]);
    }
    table.note(format!(
        "Medians of {rounds} rounds in turn, {RUN_SECS} s and more each; ratios are those of the pairs. \"Limited\" is of one key, \
         whose answers write nothing."
    ));
    table
}

/// A client's turn: takes a lock of its own and gives it back.
type Turn = fn(&mut Wire, client: usize, sha: &str);

fn by_commands(wire: &mut Wire, client: usize, _: &str) {
    let name = client.to_string();
    let Reply::Int(token) = wire.call(&["BEAR.LOCK", "api", &name, "30000"]) else { panic!("it is free") };
    assert_eq!(wire.call(&["BEAR.UNLOCK", "api", &name, &token.to_string()]), Reply::Int(1));
}

fn by_script(wire: &mut Wire, client: usize, sha: &str) {
    let name = format!("lock:{client}");
    // A value of one's own, as long as a token.
    let value = format!("17958441346{client:05}");
    assert!(wire.call(&["SET", &name, &value, "NX", "PX", "30000"]).is_ok());
    assert_eq!(wire.call(&["EVALSHA", sha, "1", &name, &value]), Reply::Int(1));
}

fn locks(rounds: usize) -> Table {
    let redis = redis();
    let sha = redis.wire().call(&["SCRIPT", "LOAD", UNLOCK]).text();
    let run = |turn: Turn| {
        let (turns, wires) = (AtomicUsize::new(0), (0..CLIENTS).map(|_| redis.wire()).collect::<Vec<_>>());
        let (before, begun) = (cpu_seconds(&redis), Instant::now());
        std::thread::scope(|scope| {
            for (client, mut wire) in wires.into_iter().enumerate() {
                let (turns, sha) = (&turns, &sha);
                scope.spawn(move || {
                    while begun.elapsed() < Duration::from_secs_f64(RUN_SECS) {
                        turn(&mut wire, client, sha);
                        turns.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let (took, turns) = (begun.elapsed(), turns.into_inner() as f64);
        let cpu_us = (cpu_seconds(&redis) - before) * 1e6 / turns;
        Run { per_second: turns / took.as_secs_f64(), p99_ms: f64::NAN, cpu_us }
    };
    let (mut scripts, mut commands) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        scripts.push(run(by_script));
        commands.push(run(by_commands));
    }
    let of =
        |figure: &dyn Fn((&Run, &Run)) -> f64| median(&commands.iter().zip(&scripts).map(figure).collect::<Vec<_>>());
    let mut table = Table::new(
        format!("Locks taken and given back a second, {CLIENTS} connections, pipeline 1"),
        &["SET NX PX and a script", "BEAR.LOCK and UNLOCK", "ratio", "ratio by server CPU"],
    );
    table.row(vec![
        count(of(&|(_, script)| script.per_second)),
        count(of(&|(command, _)| command.per_second)),
        format!("{:.2}", of(&|(command, script)| command.per_second / script.per_second)),
        format!("{:.2}", of(&|(command, script)| script.cpu_us / command.cpu_us)),
    ]);
    table.note(format!("Medians of {rounds} rounds in turn, {RUN_SECS} s each; each client has a lock of its own."));
    table
}

//! The sweep of claimed jobs: workers claim, and do what workers do, or die, stand still, or are cut off; servers are killed,
//! promoted, paused, and an operator cancels, promotes, updates, retries, limits. Whatever happens, each job that was accepted ends once, nobody's word counts who holds a job no more, and
//! in the end nothing is left.
//!
//! ```text
//! clients ──ENQUEUE──┐                        a round: strikes under load; then workers are honest, the queues drain, and
//! workers ──CLAIM…───┴─> Proxy ──> Redis      everything is checked: the append-only file is what happened (`history`), and
//!  (threads, processes)              └> replica    what clients were told must fit it (`check`)
//! ```
//!
//! `BEAR_TEST_KILLS` says how many processes are killed, `BEAR_TEST_SEED` repeats the choices of a run (not its moments).

mod check;
pub mod event;
mod history;
mod load;
mod operator;
mod rules;
mod site;
pub mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::faults::sweep::{draw, number_of_env};
use crate::support::{Random, Redis, Reply, Wire};

use check::Seen;
use history::History;
use load::{Enqueued, Load, Sent};
use rules::End;
use site::{pause, Site, Strike, STRIKES};
use worker::Sign;

/// Kills of one pair of servers, whose append-only files grow with them.
const KILLS_OF_A_SITE: usize = 40;

/// Rounds of one pair, at least.
const ROUNDS: usize = 3;

/// How long the queues may take to drain once all is well.
const DRAINED_WITHIN: Duration = Duration::from_secs(20);

/// The same with a fault in the module, of which some let a job wait for ever. The rate of `tight` alone takes some five seconds.
const MUTATED_DRAINED_WITHIN: Duration = Duration::from_secs(12);

const SPACES: [&str; 6] = ["work", "lane", "tight", "{t1}:mail", "{t2}:mail", "{t3}:mail"];

#[derive(Default)]
struct Tally {
    jobs: usize,
    claims: usize,
    expired: usize,
    cancelled: usize,
}

#[test]
fn each_job_ends_once_whatever_happens_to_servers_and_workers() {
    let kills = number_of_env("BEAR_TEST_KILLS").unwrap_or(2) as usize;
    let seed = number_of_env("BEAR_TEST_SEED").unwrap_or(1);
    let mut random = Random::new(seed);
    let mut strikes = Vec::new();
    let (mut killed, mut tally) = (0, Tally::default());
    let begun = Instant::now();
    for number in 0.. {
        let limit = KILLS_OF_A_SITE.min(kills - killed);
        let mut site = Site::start(&mut random);
        let mut round = 0;
        while site.kills < limit || round < ROUNDS {
            let name = format!("s{number}r{round}");
            // The longer a run, the more happens between two looks.
            let count = 3 + random.below(1 + (kills / 20).min(6));
            let drawn: Vec<Strike> = (0..count).map(|_| draw(&mut strikes, &STRIKES, &mut random)).collect();
            eprintln!("seed {seed}, {name}: {drawn:?}");
            let of_round = run_round(&mut site, &name, &drawn, &mut random);
            let of_round = of_round.unwrap_or_else(|fault| panic!("seed {seed}, {name}, {drawn:?}: {fault}"));
            tally.jobs += of_round.jobs;
            tally.claims += of_round.claims;
            tally.expired += of_round.expired;
            tally.cancelled += of_round.cancelled;
            round += 1;
        }
        killed += site.kills;
        let Tally { jobs, claims, expired, cancelled } = tally;
        eprintln!(
            "seed {seed}: {killed} of {kills} kills, {jobs} jobs, {claims} claims, {expired} expired, {cancelled} cancelled, {:?}",
            begun.elapsed()
        );
        if killed >= kills {
            break;
        }
    }
}

/// What the checker says of a module with a fault in it, None where it has found none in some rounds.
fn fault_with(mutation: &str, strikes: &[Strike]) -> Option<String> {
    let mut random = Random::new(1);
    for round in 0..4 {
        let mut site = Site::start_mutated(mutation);
        let name = format!("m{round}");
        assert!(site.master.run(&format!("SET sweep {name}")).is_ok());
        let mut load = Load::start(site.proxy.port(), &name, &site.control, &mut random);
        // As many as limits let through, from the beginning.
        let mut sent = enqueue_at_once(&site.master, &name, 100);
        for strike in strikes {
            std::thread::sleep(Duration::from_millis(500));
            site.strike(*strike, &mut load, &mut random);
        }
        std::thread::sleep(Duration::from_millis(500));
        sent.extend(load.calm_down());
        end_operations(&site.master);
        let drained = wait_drained(&site.master, MUTATED_DRAINED_WITHIN);
        if let Err(fault) = look(&site, &name, load.end(sent), drained) {
            return Some(fault);
        }
    }
    None
}

fn enqueue_at_once(redis: &Redis, name: &str, count: usize) -> BTreeMap<String, Sent> {
    let mut wire = redis.wire();
    let marks: Vec<String> = (0..count).map(|number| format!("{name}.first{number}")).collect();
    for mark in &marks {
        wire.send(&["BEAR.ENQUEUE", "tight", "CALL", &format!(r#"{{"mark":"{mark}"}}"#)]);
    }
    let accepted = |mark: String| {
        let answer = Enqueued::Accepted(wire.receive().text());
        (mark, Sent { space: "tight".into(), answer })
    };
    marks.into_iter().map(accepted).collect()
}

#[track_caller]
fn assert_is_caught(mutation: &str, strikes: &[Strike], words: &[&str]) {
    let fault = fault_with(mutation, strikes).unwrap_or_else(|| panic!("nobody has noticed {mutation}"));
    eprintln!("{mutation}: {}", fault.lines().next().unwrap_or_default());
    assert!(words.iter().any(|words| fault.contains(words)), "{fault}");
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn a_word_that_counts_whatever_its_token_is_caught() {
    assert_is_caught(
        "ack-any-token",
        &[Strike::StopWorker, Strike::StopWorker],
        &["accepted", "its last claim was", "settled by this token"],
    );
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn a_claim_that_outlives_its_lease_is_caught() {
    assert_is_caught(
        "ended-claim-stays",
        &[Strike::KillWorker, Strike::StopWorker],
        &["is held by token", "delayed and claimed"],
    );
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn a_job_that_two_are_given_is_caught() {
    assert_is_caught("handed-out-twice", &[], &["is held by token"]);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn a_claim_that_is_not_written_is_caught() {
    assert_is_caught("no-claim-record", &[], &["nobody held it", "its last claim was", "not in the append-only file"]);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn a_limit_that_lets_one_more_through_is_caught() {
    assert_is_caught("one-claim-more", &[], &["are claimed at the same time", "four are claimed where three may be"]);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn a_lease_that_ends_early_is_caught() {
    assert_is_caught("half-lease", &[Strike::KillWorker, Strike::StopWorker], &["has ended early"]);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn tokens_that_begin_with_the_clock_are_caught() {
    assert_is_caught("tokens-by-clock", &[Strike::KillAndStepBack], &["is given token"]);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn a_rate_that_begins_anew_with_a_process_is_caught() {
    assert_is_caught("starts-forgotten", &[Strike::Kill, Strike::Kill, Strike::Kill], &["were begun within"]);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn an_order_that_is_not_kept_is_caught() {
    assert_is_caught("no-order", &[], &["of its order"]);
}

/// Strikes under load, and then a look at everything. What changes the master comes first, and once.
fn run_round(site: &mut Site, name: &str, drawn: &[Strike], random: &mut Random) -> Result<Tally, String> {
    let mut strikes: Vec<Strike> = drawn.iter().copied().filter(|strike| !strike.changes_master()).collect();
    if let Some(change) = drawn.iter().find(|strike| strike.changes_master()) {
        strikes.insert(0, *change);
        site.add_replica();
    }
    // An operator retries what has failed: in this round.
    for space in SPACES {
        while site.master.run(&format!("BEAR.CLEAN {space} failed")).int() > 0 {}
    }
    assert!(site.master.run(&format!("SET sweep {name}")).is_ok());
    site.wait_replica();
    let mut load = Load::start(site.proxy.port(), name, &site.control, random);
    for strike in strikes {
        pause(random, 400);
        site.strike(strike, &mut load, random);
    }
    pause(random, 300);
    let sent = load.calm_down();
    end_operations(&site.master);
    let drained = wait_drained(&site.master, DRAINED_WITHIN);
    site.control.set(Sign::Replicated, false);
    look(site, name, load.end(sent), drained)
}

fn look(site: &Site, name: &str, mut seen: Seen, drained: Result<(), String>) -> Result<Tally, String> {
    if drained.is_ok() {
        check_slots(&site.master, name, &mut seen)?;
    }
    let history = History::read(&site.master.aof(), name)?;
    // What is wrong says more than that something has not ended.
    if drained.is_err() {
        check::check_told(&history, &seen)?;
    }
    drained?;
    check::check(&history, &seen)?;
    check_nothing_left(&site.master)?;
    let jobs = history.spaces.values().map(|space| space.ended.len()).sum();
    let ended = history.spaces.values().flat_map(|space| space.ended.values());
    let cancelled = ended.filter(|job| job.end == Some(End::Cancelled)).count();
    Ok(Tally { jobs, claims: history.claims, expired: history.expired, cancelled })
}

/// No queue is paused, and the limits are the catalog's.
fn end_operations(master: &Redis) {
    let mut wire = master.wire();
    for space in SPACES {
        assert!(!wire.run(&format!("BEAR.RESUME {space}")).is_error());
    }
    assert!(wire.run("BEAR.LIMITQUEUE tight DEFAULT").is_ok());
}

fn wait_drained(master: &Redis, within: Duration) -> Result<(), String> {
    let begun = Instant::now();
    let mut wire = master.wire();
    loop {
        let open: Vec<(&str, i64)> = SPACES
            .iter()
            .map(|space| (*space, wire.run(&format!("XLEN {space}:queue:work")).int()))
            .filter(|(_, open)| *open > 0)
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > within {
            let claims: Vec<String> = open
                .iter()
                .flat_map(|(space, _)| {
                    ["work", "work:claims", "work:delayed", "work:attempts"].map(|part| match part {
                        "work" => format!("{:?}", wire.run(&format!("XRANGE {space}:queue:work - + COUNT 3"))),
                        "work:delayed" => format!("{:?}", wire.run(&format!("ZRANGE {space}:queue:{part} 0 3"))),
                        _ => format!("{:?}", wire.run(&format!("HKEYS {space}:queue:{part}"))),
                    })
                })
                .collect();
            return Err(format!("stuck after {within:?}: {open:?}; {claims:#?}"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Nothing is kept of jobs that are no more, and nobody waits.
fn check_nothing_left(master: &Redis) -> Result<(), String> {
    let mut wire = master.wire();
    for space in SPACES {
        for part in ["claims", "delayed", "attempts", "progress", "data"] {
            let key = format!("{space}:queue:work:{part}");
            if wire.run(&format!("EXISTS {key}")) != Reply::Int(0) {
                let content = if part == "delayed" { format!("ZRANGE {key} 0 -1") } else { format!("HGETALL {key}") };
                return Err(format!("{key} is left: {:?}", wire.run(&content)));
            }
        }
    }
    check_logs(&mut wire)?;
    let held = wire.run("ZCOUNT work:queue:unique +inf +inf");
    if held != Reply::Int(0) {
        return Err(format!("UNIQUE keys are held for ever: {held:?}"));
    }
    let begun = Instant::now();
    while master.info("clients").int("blocked_clients") > 0 {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err("clients wait that have gone".into());
        }
    }
    Ok(())
}

/// Logs are kept as long as the record of the job.
fn check_logs(wire: &mut Wire) -> Result<(), String> {
    for space in SPACES {
        let mut kept: BTreeSet<String> = BTreeSet::new();
        for part in ["completed", "failed"] {
            let reply = wire.run(&format!("XRANGE {space}:queue:work:{part} - +"));
            for entry in reply.list() {
                let fields = entry.list()[1].list();
                kept.extend(fields.iter().map(Reply::text));
            }
        }
        let pattern = format!("{space}:queue:work:log:*").replace('{', "[{]").replace('}', "[}]");
        for key in wire.call(&["KEYS", &pattern]).list().iter().map(Reply::text) {
            let id = key.rsplit(':').next().unwrap_or_default();
            if !kept.contains(id) {
                return Err(format!("{key} is left, and no record of its job"));
            }
        }
    }
    Ok(())
}

/// The section with limits gives as many as it may, at once, and no more.
fn check_slots(master: &Redis, name: &str, seen: &mut Seen) -> Result<(), String> {
    use event::{now_us, Answer, Event, Verb, What};
    let mut wire = master.wire();
    let mut held = Vec::new();
    let claim = |wire: &mut Wire, seen: &mut Seen, block_ms: u32| -> Vec<(String, u64)> {
        let reply = wire.run(&format!("BEAR.CLAIM tight COUNT 10 LEASE 60000 BLOCK {block_ms}"));
        let jobs: Vec<(String, u64)> =
            reply.list().iter().map(|job| (job.map()["id"].text(), job.map()["token"].int() as u64)).collect();
        let claimed = |(id, token): &(String, u64)| Event {
            at_us: now_us(),
            space: "tight".into(),
            id: id.clone(),
            token: *token,
            what: What::Claimed(false),
            text: String::new(),
        };
        seen.events.extend(jobs.iter().map(claimed));
        jobs
    };
    for number in 0..4 {
        let mark = format!("{name}.slot{number}");
        let id = wire.call(&["BEAR.ENQUEUE", "tight", "CALL", &format!(r#"{{"mark":"{mark}"}}"#)]).text();
        seen.sent.insert(mark, Sent { space: "tight".into(), answer: Enqueued::Accepted(id) });
    }
    let begun = Instant::now();
    while held.len() < 3 {
        held.extend(claim(&mut wire, seen, 2000));
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(format!("of three slots {} are free", held.len()));
        }
    }
    if held.len() > 3 || !claim(&mut wire, seen, 30).is_empty() {
        return Err("four are claimed where three may be".into());
    }
    for number in 0..4 {
        let Some((id, token)) = held.pop() else { return Err("the fourth is not given when one has ended".into()) };
        for what in [What::Sends(Verb::Ack), What::Got(Verb::Ack, Answer::Done)] {
            let (id, text) = (id.clone(), String::new());
            seen.events.push(Event { at_us: now_us(), space: "tight".into(), id, token, what, text });
        }
        assert_eq!(wire.run(&format!("BEAR.ACK tight {id} {token}")), Reply::Int(1));
        if number == 2 {
            held.extend(claim(&mut wire, seen, 5000));
        }
    }
    Ok(())
}

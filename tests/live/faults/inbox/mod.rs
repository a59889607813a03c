//! The sweep of the inbox: applications enqueue in their own transactions, of which some are rolled back; bear applies, workers
//! claim and complete in theirs, or die, stand still, are cut off; servers are killed, promoted, flushed, restored from earlier, or lose
//! all they had. Whatever happens, what was committed has its effect: exactly once where bear applies it and where `bear.complete` is
//! part of it, at least once where it is only acknowledged; what was rolled back has none; and in the end nothing is left.
//!
//! ```text
//! applications ──bear.enqueue──> Postgres <──────effects, bear.complete──── workers (threads, processes)
//!                                   ^                                          │
//!                                   └──inner Proxy── bear in Redis <──outer Proxy──BEAR.CLAIM…
//! ```
//! An effect is a row of a table that has no uniqueness, so that a second one shows. What is to be done is in a table that the same
//! transactions write.
//!
//! `BEAR_TEST_KILLS` says how many processes are killed, `BEAR_TEST_SEED` repeats the choices of a run (not its moments).

mod check;
mod history;
mod load;
mod site;
mod worker;

use std::time::{Duration, Instant};

use crate::faults::sweep::{draw, number_of_env};
use crate::support::Random;

use check::Counts;
use load::Load;
use site::{pause, Site, Strike, STRIKES};

/// Kills of one set of servers, whose files grow with them.
const KILLS_OF_A_SITE: usize = 40;

/// How long it may take until nothing is left once all is well: where Redis has died right after FLUSHALL, before its number was
/// written again, it waits for 30 s until nobody else can be there.
const DRAINED_WITHIN: Duration = Duration::from_secs(75);

#[test]
fn what_was_committed_is_done_whatever_happens_to_servers_and_workers() {
    let kills = number_of_env("BEAR_TEST_KILLS").unwrap_or(2) as usize;
    let seed = number_of_env("BEAR_TEST_SEED").unwrap_or(1);
    let mut random = Random::new(seed);
    let mut strikes = Vec::new();
    let (mut killed, mut total) = (0, Counts::default());
    let begun = Instant::now();
    for number in 0.. {
        let limit = KILLS_OF_A_SITE.min(kills - killed);
        let mut site = Site::start(None);
        let mut round = 0;
        while site.kills < limit {
            let name = format!("s{number}r{round}");
            let count = 3 + random.below(1 + (kills / 20).min(6));
            let drawn: Vec<Strike> = (0..count).map(|_| draw(&mut strikes, &STRIKES, &mut random)).collect();
            eprintln!("seed {seed}, {name}: {drawn:?}");
            let of_round = run_round(&mut site, &name, &drawn, DRAINED_WITHIN, &mut random)
                .unwrap_or_else(|fault| panic!("seed {seed}, {name}, {drawn:?}: {fault}"));
            total.committed += of_round.committed;
            total.failed += of_round.failed;
            total.fenced += of_round.fenced;
            total.repeated += of_round.repeated;
            round += 1;
        }
        killed += site.kills;
        eprintln!("seed {seed}: {killed} of {kills} kills, {total:?}, {:?}", begun.elapsed());
        if killed >= kills {
            break;
        }
    }
    assert!(total.committed > 100, "{total:?}");
}

/// Strikes under load, and then a look at everything. What changes the master comes first, and once.
fn run_round(
    site: &mut Site,
    name: &str,
    drawn: &[Strike],
    within: Duration,
    random: &mut Random,
) -> Result<Counts, String> {
    let mut strikes: Vec<Strike> = drawn.iter().copied().filter(|strike| !strike.changes_master()).collect();
    if let Some(change) = drawn.iter().find(|strike| strike.changes_master()) {
        strikes.insert(0, *change);
        site.add_replica();
    }
    site.database.run("TRUNCATE public.mark, public.sent; DELETE FROM bear.inbox");
    assert!(site.master.run(&format!("SET sweep {name}")).is_ok());
    site.schedule(name);
    let mut load = Load::start(&site.place(), name, random);
    // They are at work.
    std::thread::sleep(Duration::from_millis(200));
    for strike in &strikes {
        pause(random, 400);
        site.strike(*strike, &mut load, random);
    }
    pause(random, 300);
    load.calm_down();
    site.unschedule(name);
    let drained = check::wait_drained(site, within);
    let events = load.end();
    let forgot = strikes.iter().any(|strike| strike.forgets());
    let told = check::check_events(&events, forgot)?;
    let taken = history::check(&site.master.aof(), name);
    // What is wrong says more than that something has not ended.
    taken?;
    drained?;
    if !forgot {
        check::check_ticks(site, name)?;
    }
    check::check(site, told)
}

/// What the checker says of a module with a fault in it, None where it has found none in some rounds.
fn fault_with(mutation: &str, strikes: &[Strike]) -> Option<String> {
    let mut random = Random::new(1);
    let mut site = Site::start(Some(mutation));
    (0..4).find_map(|round| {
        // Of a busy machine: what has not ended in time hides what else is wrong.
        let within = Duration::from_secs(25);
        run_round(&mut site, &format!("m{round}"), strikes, within, &mut random).err()
    })
}

#[track_caller]
fn assert_is_caught(mutation: &str, strikes: &[Strike], words: &[&str]) {
    let fault = fault_with(mutation, strikes).unwrap_or_else(|| panic!("nobody has noticed {mutation}"));
    eprintln!("{mutation}: {}", fault.lines().next().unwrap_or_default());
    assert!(words.iter().any(|words| fault.contains(words)), "{fault}");
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn a_row_that_becomes_two_jobs_is_caught() {
    assert_is_caught("inbox-taken-twice", &[Strike::Kill, Strike::Kill], &["has become another job"]);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn a_row_that_goes_before_its_job_is_done_is_caught() {
    assert_is_caught("inbox-told-early", &[Strike::FlushAll], &["exactly once", "at least once"]);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn a_claim_that_is_over_and_still_counts_is_caught() {
    let stalls = [Strike::StopWorker, Strike::StopWorker, Strike::StopWorker];
    assert_is_caught("inbox-no-fence", &stalls, &["was accepted after token"]);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn a_row_that_stays_when_its_job_is_applied_is_caught() {
    assert_is_caught("inbox-row-stays", &[Strike::FlushAll, Strike::Kill], &["rows are open", "exactly once"]);
}

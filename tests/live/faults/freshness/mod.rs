//! The freshness checker: many clients ask while others write by jobs and past the module, servers fail, and no answer is
//! older than what the client that asked could know to be seen.
//!
//! ```text
//! Writer ──job, or SQL and BEAR.INVALIDATE──┐      begin: version n + 1 may be seen
//!    │                                      ▼      seen:  version n + 1 must be seen
//! History <──floors, versions── Reader ──BEAR.QUERY──> Redis ──Proxy──> Postgres
//!                            Computer ──BEAR.GET, PUT──> Redis; reads Postgres by himself
//! ```
//!
//! `BEAR_TEST_READS` says how many answers are checked, `BEAR_TEST_SEED` repeats the choices of a run (not its moments).

mod answer;
mod computer;
mod exact;
mod history;
mod load;
mod model;
mod reader;
mod run;
mod site;
mod writer;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::faults::sweep::{draw, number_of_env};
use crate::support::{Random, Redis};

use exact::Exactness;
use load::under_load;
use run::Run;
use site::{pause, Fault, Site, FAULTS};

/// Of the feed: enough for it to be in time mostly, and to be late when it is cut.
const GRACE: Duration = Duration::from_millis(300);

/// Faults between two looks at exactness.
const FAULTS_OF_A_ROUND: usize = 9;

/// Reads without a fault, at the end of a round.
const READS_OF_A_ROUND: u64 = 400_000;

/// The longest that a writer waits between two writes: the more is written, the less is answered from the cache.
const PAUSES_MS: [usize; 4] = [4, 10, 40, 100];

#[test]
fn no_answer_is_older_than_what_was_seen_before_and_no_entry_goes_in_vain() {
    let exactness = check_rounds(&Run::new(seed()), reads());
    assert_eq!(exactness.excess, 0, "entries dropped that need not have been: {exactness:?}");
}

/// Most writes are told by nobody. Exactness is not looked at: what the feed tells may come when the entry is new already.
#[test]
fn no_answer_is_older_than_what_the_change_feed_has_told_in_time() {
    if !Redis::builder().start().run("CONFIG GET bear.feed").list().is_empty() {
        check_rounds(&Run::with_feed(seed(), GRACE), reads() / 2);
    } else {
        eprintln!("not checked: this module has no change feed");
    }
}

fn reads() -> u64 {
    number_of_env("BEAR_TEST_READS").unwrap_or(20_000)
}

fn seed() -> u64 {
    number_of_env("BEAR_TEST_SEED").unwrap_or(1)
}

/// Rounds of load and faults until so many answers are checked.
fn check_rounds(run: &Run, reads: u64) -> Exactness {
    let seed = run.seed;
    let mut random = Random::new(seed);
    let mut site = Site::start(run, None);
    let (mut faults, mut exactness, mut left) = (0, Exactness::default(), Vec::new());
    let begun = Instant::now();
    while run.reads() < reads && !run.has_failed() {
        let database = site.database.clone();
        let pause_ms = PAUSES_MS[random.below(PAUSES_MS.len())];
        under_load(run, &database, &mut random, pause_ms, |random| {
            for _ in 0..FAULTS_OF_A_ROUND {
                pause(random, 300);
                let fault = draw(&mut left, &FAULTS, random);
                site.strike(fault, run, random);
                faults += 1;
                if run.has_failed() {
                    return;
                }
            }
            let so_far = run.reads();
            run.wait_reads(so_far + (reads / 4).min(READS_OF_A_ROUND), Duration::from_secs(10));
        });
        run.check();
        if run.feed_grace.is_none() {
            exactness.add(exact::measure(run, &site, &mut random, 6));
        }
        eprintln!(
            "seed {seed}: {} reads checked, {} writes, {faults} faults; {} entries dropped rightly, {} in excess; {:?}",
            run.reads(),
            run.writes.load(Ordering::Relaxed),
            exactness.due,
            exactness.excess,
            begun.elapsed()
        );
    }
    run.check();
    exactness
}

/// What the checker says of a module with a fault in it, None where it has found none in so many reads.
fn failure_with(mutation: &str, run: &Run, fault: Option<Fault>) -> Option<String> {
    let mut random = Random::new(1);
    let mut site = Site::start(run, Some(mutation));
    let database = site.database.clone();
    if fault.is_none() {
        // More happens while a fetch is under way: what the checker is to find happens sooner.
        database.run("UPDATE napping SET share = 0.5, seconds = 0.03");
    }
    under_load(run, &database, &mut random, 4, |random| {
        // It ends as soon as the fault is seen, which takes its time on a busy machine.
        for _ in 0..60 {
            let so_far = run.reads();
            run.wait_reads(so_far + 5_000, Duration::from_secs(2));
            if run.has_failed() {
                return;
            }
            if let Some(fault) = fault {
                site.strike(fault, run, random);
            }
        }
    });
    eprintln!("{mutation}: {} reads, {} writes", run.reads(), run.writes.load(Ordering::Relaxed));
    run.failure()
}

#[track_caller]
fn assert_is_caught(mutation: &str, run: &Run, fault: Option<Fault>) {
    let failure = failure_with(mutation, run, fault).unwrap_or_else(|| panic!("nobody has noticed {mutation}"));
    assert!(failure.contains("floor") || failure.contains("must be from"), "{failure}");
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn storing_struck_fills_is_caught() {
    assert_is_caught("no-strike-check", &Run::new(1), None);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn storing_before_tracking_is_caught() {
    assert_is_caught("publish-before-tracking", &Run::new(1), None);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn an_index_that_finds_nothing_is_caught() {
    assert_is_caught("no-predicate-index", &Run::new(1), None);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn joining_a_struck_fill_is_caught() {
    assert_is_caught("join-struck", &Run::new(1), None);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn storing_what_was_computed_under_a_struck_lease_is_caught() {
    assert_is_caught("lease-no-strike", &Run::new(1), None);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn storing_what_comes_when_its_lease_is_over_is_caught() {
    assert_is_caught("lease-late-put", &Run::new(1), None);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn serving_what_an_earlier_process_stored_is_caught() {
    assert_is_caught("no-cold-start", &Run::new(1), Some(Fault::Kill));
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn leaving_out_what_no_job_has_told_of_is_caught() {
    if !Redis::builder().start().run("CONFIG GET bear.feed").list().is_empty() {
        assert_is_caught("own-transactions-whole", &Run::with_feed(1, GRACE), None);
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn forgetting_rows_by_which_a_select_found_others_is_caught() {
    if !Redis::builder().start().run("CONFIG GET bear.feed").list().is_empty() {
        assert_is_caught("no-link-moves", &Run::with_feed(1, GRACE), None);
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn passing_over_changes_of_a_column_that_is_read_is_caught() {
    if !Redis::builder().start().run("CONFIG GET bear.feed").list().is_empty() {
        assert_is_caught("ignore-a-column", &Run::with_feed(1, GRACE), None);
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn passing_over_what_ddl_changes_is_caught() {
    if !Redis::builder().start().run("CONFIG GET bear.feed").list().is_empty() {
        assert_is_caught("no-answers-digest", &Run::with_feed(1, GRACE), None);
    }
}

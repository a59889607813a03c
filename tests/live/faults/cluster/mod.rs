//! The checker of a cluster: three masters with a replica each under load, while slots move, masters end, stand still and are cut off,
//! and replicas take over. No answer is older than what the client that asked could know to be seen, no job is applied twice or out of
//! order, and none is lost that a replica had.
//!
//! ```text
//! Writer ──job, or SQL and BEAR.INVALIDATE──┐             begin: version n + 1 may be seen
//!    │                                      ▼             seen:  version n + 1 must be seen
//!   Run <──floors, versions── Reader ──BEAR.QUERY──> 6 nodes ──socket──> Postgres: effect(row, version, job)
//!                                                      ▲
//!                              Site ──Kill, HandOver, Move, Stall, Cut
//! ```
//! Nodes are in network namespaces where the machine allows that; elsewhere none is cut off. `BEAR_TEST_FAULTS` says how many faults,
//! `BEAR_TEST_SEED` repeats the choices of a run (not its moments).

mod client;
mod load;
mod model;
mod run;
mod site;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::faults::sweep::{draw, number_of_env};
use crate::support::{wait_at_most, Random};

use load::{under_load, Doubtful, Place};
use run::Run;
use site::Site;

#[test]
fn a_cluster_loses_repeats_and_forgets_nothing_whatever_happens_to_its_nodes() {
    let faults = number_of_env("BEAR_TEST_FAULTS").unwrap_or(4);
    let seed = number_of_env("BEAR_TEST_SEED").unwrap_or(1);
    let (run, mut random, begun) = (Run::new(), Random::new(seed), Instant::now());
    let database = site::database();
    let mut site = Site::start(&database, None);
    let (addresses, all) = (site.addresses(), site.faults());
    let doubtful = Doubtful::default();
    let place = Place { run: &run, database: &database, nodes: &addresses, doubtful: &doubtful };
    under_load(&place, &mut random, |random| {
        let mut left = Vec::new();
        for _ in 0..faults {
            std::thread::sleep(Duration::from_millis(random.below(400) as u64));
            site.strike(draw(&mut left, all, random), &run, &doubtful, random);
            if run.has_failed() {
                return;
            }
        }
    });
    let slowest = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
    println!(
        "seed {seed}: {faults} faults, {} reads checked, {} left out, {} writes, {} jobs that must be applied; \
         others took over within {:?}; who was cut off noticed within {:?}; {:?}",
        run.reads.load(Ordering::Relaxed),
        run.left_out.load(Ordering::Relaxed),
        run.writes.load(Ordering::Relaxed),
        run.safe_jobs(),
        slowest(&site.takeovers),
        slowest(&site.answered_alone),
        begun.elapsed()
    );
    assert_eq!(run.failure(), None);
    assert!(site.hits() > 0, "nothing was answered from the cache");
    site.wait_settled();
    assert_eq!(run.fault_of_effects(&database), None);
}

/// What a tenant's result takes from a section that tenants share is in another slot, and its node is not told.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn storing_what_is_told_in_another_slot_is_caught() {
    let (run, mut random) = (Run::new(), Random::new(1));
    let database = site::database();
    let site = Site::start(&database, Some("over-slots"));
    let addresses = site.addresses();
    let doubtful = Doubtful::default();
    let place = Place { run: &run, database: &database, nodes: &addresses, doubtful: &doubtful };
    under_load(&place, &mut random, |_| {
        wait_at_most(Duration::from_secs(30), || run.has_failed().then_some(()));
    });
    let failure = run.failure().expect("somebody has noticed");
    assert!(failure.contains("rated: rate"), "{failure}");
}

//! The crash sweep: servers are killed at random and at every named step of the drain, under load, and each job that was
//! accepted has its effect exactly once, in its order.
//!
//! ```text
//! Load ──ENQUEUE, QUERY──> Redis ──Proxy──> Postgres        a round: strikes under load, then the load stops,
//!   │                        ^       ^          ^           the queue drains, and everything is checked
//!   └ what was accepted,     └───────┴──────────┴─ strikes
//!     refused, in doubt
//! ```
//!
//! `BEAR_TEST_KILLS` says how many processes are killed, `BEAR_TEST_SEED` repeats the choices of a run (not its moments).

mod check;
mod load;
mod model;
mod site;

use std::time::Instant;

use crate::faults::sweep::{draw, number_of_env};
use crate::support::Random;

use check::Checker;
use load::Load;
use site::{all_strikes, pause, Site};

/// Kills of one pair of servers, whose append-only file and tables grow with them.
const KILLS_OF_A_SITE: usize = 25;

#[test]
fn each_accepted_job_is_applied_once_through_kills() {
    let kills = number_of_env("BEAR_TEST_KILLS").unwrap_or(15) as usize;
    let seed = number_of_env("BEAR_TEST_SEED").unwrap_or(1);
    let mut random = Random::new(seed);
    let mut strikes = Vec::new();
    let (mut killed, mut jobs) = (0, 0);
    let begun = Instant::now();
    for number in 0.. {
        let limit = KILLS_OF_A_SITE.min(kills - killed);
        let mut site = Site::start(&mut random);
        let mut checker = Checker::new(&site);
        let mut round = 0;
        while site.kills < limit {
            let name = format!("s{number}r{round}");
            let load = Load::start(site.redis.port(), &name, &mut random);
            for _ in 0..=random.below(3) {
                let strike = draw(&mut strikes, &all_strikes(), &mut random);
                eprintln!("seed {seed}, {name}: {strike:?}");
                pause(&mut random, 100);
                site.strike(strike, &mut random);
            }
            pause(&mut random, 100);
            let sent = load.stop();
            site.settle();
            checker.check(&site, &sent);
            round += 1;
        }
        killed += site.kills;
        jobs += checker.jobs;
        eprintln!("seed {seed}: {killed} of {kills} kills, {jobs} jobs, {:?}", begun.elapsed());
        if killed >= kills {
            break;
        }
    }
}

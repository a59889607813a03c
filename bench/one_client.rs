//! Does anything that one client can ask for hold Redis' thread? Gaps that a second connection sees meanwhile, case by case.

use crate::figures::{count, median, Table};
use crate::probe::Probe;
use crate::setup;
use crate::support::one_client::{start, Sizes, CASES};

const SIZES: Sizes = Sizes {
    jobs: 1_000,
    payload: 100_000,
    result: 50_000_000,
    waiters: 20,
    rows: 70_000,
    ids: 200_000,
    sections: 3_000,
    calls: 20_000,
    clients: 2_000,
};

pub fn run(rounds: usize) -> Table {
    let mut results: Vec<Vec<(f64, f64)>> = CASES.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds.clamp(1, 3) {
        let (_database, redis) = start();
        setup::raise_priority(&redis);
        for (case, results) in CASES.iter().zip(&mut results) {
            (case.prepare)(&redis, &SIZES);
            setup::wait_idle(&redis);
            let probe = Probe::start(&redis);
            (case.ask)(&redis, &SIZES);
            let gaps = probe.stop();
            results.push((gaps.max_us(), gaps.max_work_us()));
        }
    }
    let mut table = Table::new(
        "The longest gap of a second connection's PING, by what another client asks for".to_owned(),
        &["asked for", "longest gap µs: median", "server's CPU in it, most µs: median"],
    );
    for (case, results) in CASES.iter().zip(&results) {
        let of = |figure: fn(&(f64, f64)) -> f64| median(&results.iter().map(figure).collect::<Vec<_>>());
        table.row(vec![(case.name)(&SIZES), count(of(|(gap, _)| *gap)), count(of(|(_, work)| *work))]);
    }
    table.note(
        "Reading a command's words, copying a reply to the socket and blocking a client are Redis' own and are in it; the DEL \
         shows the first of them."
            .to_owned(),
    );
    table
}

//! A million waiting jobs do not make a step much dearer.

use std::time::{Duration, Instant};

use super::*;

const JOBS: u64 = 1_000_000;
const STEPS: u64 = 2_000;

/// Mixed priorities, 20 types, 1,000 groups; each eighth job is in an order that some hundred share.
fn job(n: u64) -> Facts {
    let orders = if n.is_multiple_of(8) { [n % 10_007].into_iter().collect() } else { Orders::new() };
    let (name, priority, group) = (format!("TYPE{}", n % 20).into(), (n * 7 % 10 + 1) as u32, Some(n % 1_000));
    Facts { id: id(n), name, priority, orders, group, due_ms: None }
}

/// What is measured is the time of picking, holding, and settling, giving back or delaying, with adding another, among a million
/// of jobs. Even a bare look at each of them would take milliseconds, and so much more than what is allowed for each step.
#[test]
fn steps_among_a_million_jobs_look_at_few_of_them() {
    let by = limit(Some(2), Some((50, 60_000)));
    let limits = Limits { all: limit(Some(100_000), None), by: Some(("customer".into(), by)) };
    let mut queue = Queue::new(limits);
    (1..=JOBS).for_each(|n| queue.add(job(n)));
    assert_eq!(queue.counts().waiting, JOBS);
    let begun = Instant::now();
    for n in 1..=STEPS {
        let names: [Arc<str>; 2] = [format!("TYPE{}", n % 20).into(), format!("TYPE{}", n % 7).into()];
        let wanted = if n.is_multiple_of(3) { Wanted::Any } else { Wanted::Types(&names) };
        let pick = queue.pick(wanted, n).expect("there are more groups than are full");
        let id = pick.facts().id;
        let (token, deadline_ms) = (n, n + 30_000);
        let (attempt, worker, started_ms, lease_ms, cancelled) = (1, 0, n, 30_000, false);
        queue.hold(pick, Claim { token, attempt, worker, started_ms, lease_ms, deadline_ms, cancelled }, n);
        match n % 5 {
            0 => queue.give_back(id, n),
            1 => queue.delay(id, UNIX_MS + n + 1_000, n),
            2 => None,
            _ => queue.settle(id, n),
        };
        queue.add(job(JOBS + n));
        queue.next_ms(n);
        queue.take_opened();
    }
    let each = begun.elapsed() / STEPS as u32;
    eprintln!("{each:?} a step");
    assert!(each < Duration::from_millis(2), "{each:?} a step");
}

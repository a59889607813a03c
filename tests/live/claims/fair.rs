//! Fairness: tenants of a section take turns, whatever each has waiting; and what strict priorities mean for the last of them.

use std::collections::BTreeSet;

use crate::support::claims::{ack, claim, claim_one, enqueue};
use crate::support::{eventually, Redis, Reply, Wire};

const CATALOG: &str = r#"
[mail]
open = true
tenant = "text"
claim = { lease = "60s" }
[work.job.A]
data = { n = "int" }
claim = { lease = "60s" }
"#;

const TENANTS: usize = if cfg!(debug_assertions) { 1_000 } else { 10_000 };
const OF_ONE: usize = if cfg!(debug_assertions) { 3_000 } else { 100_000 };

fn enqueue_all(wire: &mut Wire, jobs: impl Iterator<Item = (String, String)> + Clone) {
    for (space, job) in jobs.clone() {
        wire.send(&["BEAR.ENQUEUE", &space, &job, "{}"]);
    }
    jobs.for_each(|_| assert!(!wire.receive().is_error()));
}

/// The spaces of the next jobs that are claimed from the section.
fn next_spaces(wire: &mut Wire, words: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|_| {
            let job = claim_one(wire, words);
            ack(wire, &job);
            job.space
        })
        .collect()
}

#[test]
fn the_one_job_of_a_new_tenant_is_claimed_within_a_round() {
    let mut redis = Redis::builder().catalog(CATALOG).append_only().start();
    let mut wire = redis.wire();
    for chunk in (0..OF_ONE).collect::<Vec<_>>().chunks(1000) {
        enqueue_all(&mut wire, chunk.iter().map(|_| ("{big}:mail".to_owned(), "x".to_owned())));
    }
    for chunk in (0..TENANTS).collect::<Vec<_>>().chunks(1000) {
        enqueue_all(&mut wire, chunk.iter().map(|at| (format!("{{t{at}}}:mail"), "x".to_owned())));
    }
    // While all of them wait: it is last in the round.
    enqueue(&mut wire, "{new}:mail x {}");
    let round = next_spaces(&mut wire, "mail", TENANTS + 2);
    let mut once = round.clone();
    once.sort();
    once.dedup();
    let missing: Vec<String> =
        (0..TENANTS).map(|at| format!("{{t{at}}}:mail")).filter(|space| !once.contains(space)).collect();
    assert_eq!((round.len(), missing), (once.len(), Vec::new()), "each is once in a round");
    assert!(once.contains(&"{new}:mail".to_owned()));
    // Beside the one that has thousands: it is the next but one, at the latest.
    enqueue(&mut wire, "{newer}:mail x {}");
    let next = next_spaces(&mut wire, "mail", 2);
    assert!(next.contains(&"{newer}:mail".to_owned()), "{next:?}");
    // The same of one type, and several at a time.
    let of_y = |space: &str, count| (0..count).map(move |_| (space.to_owned(), "y".to_owned())).collect::<Vec<_>>();
    let jobs = [of_y("{a}:mail", 40), of_y("{b}:mail", 1), of_y("{c}:mail", 2)].concat();
    enqueue_all(&mut wire, jobs.into_iter());
    let got: Vec<String> = claim(&mut wire, "mail JOB y COUNT 6").into_iter().map(|job| job.space).collect();
    assert_eq!(got, ["a", "b", "c", "a", "c", "a"].map(|tenant| format!("{{{tenant}}}:mail")));
    // After a restart spaces are found one after the other; then they take turns as before.
    enqueue_all(&mut wire, [of_y("{b}:mail", 20), of_y("{c}:mail", 20)].concat().into_iter());
    redis.restart();
    let mut wire = redis.wire();
    let mut found = BTreeSet::new();
    eventually("all three are found again", || {
        found.extend(claim(&mut wire, "mail JOB y COUNT 1").into_iter().map(|job| job.space));
        found.len() == 3
    });
}

#[test]
fn who_names_several_types_goes_round_all_tenants() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let mut wire = redis.wire();
    let jobs = (0..10).map(|_| ("{big}:mail".to_owned(), "x".to_owned()));
    enqueue_all(&mut wire, jobs.chain([("{big}:mail".to_owned(), "y".to_owned())]));
    let first = enqueue(&mut wire, "{big}:mail y {} PRIORITY 10");
    let only = enqueue(&mut wire, "{small}:mail y {}");
    assert_eq!(claim_one(&mut wire, "mail JOB x y").id, first, "within a tenant the greatest priority is first");
    assert_eq!(claim_one(&mut wire, "mail JOB x y").id, only, "one tenant's jobs of x do not delay another's one of y");
    assert_eq!(claim(&mut wire, "mail JOB x y COUNT 20").len(), 11);
    assert_eq!(claim(&mut wire, "mail JOB x y").len(), 0);
}

#[test]
fn the_last_priority_waits_as_long_as_there_is_a_greater_one() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let mut wire = redis.wire();
    let last = enqueue(&mut wire, r#"work A {"n":1} PRIORITY 1"#);
    for n in 0..100 {
        let id = enqueue(&mut wire, &format!(r#"work A {{"n":{n}}} PRIORITY 10"#));
        let job = claim_one(&mut wire, "work");
        assert_eq!(job.id, id);
        ack(&mut wire, &job);
    }
    assert_eq!(claim_one(&mut wire, "work").id, last, "nothing else is left");
    assert_eq!(wire.run("XLEN work:queue:work"), Reply::Int(1));
}

/// More different ones than have a place of their own in memory, before and after a crash.
#[test]
fn there_are_as_many_priorities_as_somebody_wants() {
    let mut redis = Redis::builder().catalog(CATALOG).append_only().start();
    let mut wire = redis.wire();
    let priorities =
        [7, 2_147_483_647, 1, 300, 11, 2_147_483_646, 65_536, 12, 299, 10, 6, 1_000_000, 4, 2, 65_535, 13, 301];
    let ids =
        priorities.map(|priority| enqueue(&mut wire, &format!("work A {{\"n\":{priority}}} PRIORITY {priority}")));
    let mut expected: Vec<_> = priorities.into_iter().zip(ids).collect();
    expected.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
    let (before, after) = expected.split_at(5);
    let assert_next = |wire: &mut _, (priority, id): &(u32, String)| {
        let job = claim_one(wire, "work");
        assert_eq!((&job.id, job.data.as_str()), (id, format!("{{\"n\":{priority}}}").as_str()));
        ack(wire, &job);
    };
    before.iter().for_each(|next| assert_next(&mut wire, next));
    redis.kill9();
    redis.start_again();
    let mut wire = redis.wire();
    after.iter().for_each(|next| assert_next(&mut wire, next));
}

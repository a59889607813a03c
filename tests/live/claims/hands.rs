//! What other hands write into the keys of claimed jobs, and take out of them.

use crate::support::claims::{ack, claim_one, enqueue};
use crate::support::Redis;

const CATALOG: &str = "[mail]\nopen = true";

#[test]
fn after_the_last_id_that_there_can_be_nothing_is_enqueued() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let mut wire = redis.wire();
    let id = enqueue(&mut wire, "mail A {}");
    let last = format!("{}-{}", u64::MAX, u64::MAX);
    assert_eq!(wire.run(&format!("XADD mail:queue:work {last} v 1 job A data {{}}")).text(), last);
    let refused = wire.run("BEAR.ENQUEUE mail A {}");
    assert_eq!(refused.error(), "ERR the stream of the queue has the last id that there can be");
    let job = claim_one(&mut wire, "mail");
    assert_eq!(job.id, id);
    ack(&mut wire, &job);
}

#[test]
fn who_waits_for_a_job_is_told_that_another_hand_took_them_all_away() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let mut waiting = redis.wire();
    waiting.begin("BEAR.ENQUEUE mail A {} BLOCK 0");
    redis.wait_blocked(1);
    assert_eq!(redis.run("DEL mail:queue:work").int(), 1);
    let told = waiting.receive();
    assert!(told.error().starts_with("ERR the queue was replaced; ask BEAR.JOB for job "), "{told:?}");
    // It is a queue as any other.
    let mut wire = redis.wire();
    enqueue(&mut wire, "mail A {}");
    let job = claim_one(&mut wire, "mail");
    ack(&mut wire, &job);
}

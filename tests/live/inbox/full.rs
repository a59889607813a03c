//! A queue that is full keeps its rows waiting in Postgres, in their order; other spaces go on.

use crate::support::claims::{ack, claim};
use crate::support::eventually;
use crate::support::inbox::{builder, database, effects, enqueue, wait_empty, wait_ours};
use crate::support::jobs::stat;

#[test]
fn rows_wait_for_room_and_others_go_on() {
    let database = database();
    let redis = builder(&database).config("bear.queue-max-jobs", 10).start();
    wait_ours(&redis);
    let (mut client, mut wire) = (database.client(), redis.wire());
    for v in 0..50 {
        enqueue(&mut client, "mail", "SEND", v);
    }
    enqueue(&mut client, "note", "ADD", 1);
    eventually("the other space goes on", || effects(&mut client) == [1]);
    eventually("it is full", || stat(&mut wire, "mail", "waiting") == 10);
    let mut seen = Vec::new();
    eventually("all have come", || {
        for job in claim(&mut wire, "mail COUNT 3") {
            seen.push(job.data.clone());
            ack(&mut wire, &job);
        }
        seen.len() == 50
    });
    assert_eq!(seen, (0..50).map(|v| format!(r#"{{"v":{v}}}"#)).collect::<Vec<_>>());
    wait_empty(&mut client);
}

#[test]
fn rows_wait_while_the_server_may_evict_jobs_and_while_it_has_no_memory() {
    let database = database();
    let redis = crate::support::inbox::server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    for (name, bad, good) in [("maxmemory-policy", "allkeys-lru", "noeviction"), ("maxmemory", "1mb", "0")] {
        assert!(wire.run(&format!("CONFIG SET {name} {bad}")).is_ok());
        let before = stat(&mut wire, "mail", "waiting");
        enqueue(&mut client, "mail", "SEND", 1);
        eventually("its space is passed over", || redis.info("bear").int("bear_inbox_spaces_passed_over") == 1);
        assert_eq!(stat(&mut wire, "mail", "waiting"), before);
        assert!(wire.run(&format!("CONFIG SET {name} {good}")).is_ok());
        eventually("it has come", || stat(&mut wire, "mail", "waiting") == before + 1);
    }
}

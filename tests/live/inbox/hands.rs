//! Other hands in the keys of the inbox, and in the streams of its jobs.

use crate::support::claims::{ack, claim, claim_one};
use crate::support::inbox::{database, effects, enqueue, server, wait_empty};
use crate::support::jobs::{ids_in, stat};
use crate::support::{eventually, Reply};

#[test]
fn jobs_that_another_hand_took_away_come_again() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    assert!(wire.run("CONFIG SET bear.drain no").is_ok());
    for v in 0..5 {
        enqueue(&mut client, "mail", "SEND", v);
        enqueue(&mut client, "note", "ADD", v);
    }
    eventually("all are there", || stat(&mut wire, "mail", "inbox") == 5 && stat(&mut wire, "note", "inbox") == 5);
    assert_eq!(wire.run("DEL mail:queue:work note:queue"), Reply::Int(2));
    eventually("they come again", || {
        stat(&mut wire, "mail", "waiting") == 5 && stat(&mut wire, "note", "waiting") == 5
    });
    let id = ids_in(&mut wire, "mail", "waiting").remove(2);
    assert_eq!(wire.run(&format!("XDEL mail:queue:work {id}")), Reply::Int(1));
    eventually("it comes again", || {
        let ids = ids_in(&mut wire, "mail", "waiting");
        ids.len() == 5 && !ids.contains(&id)
    });
    assert!(wire.run("CONFIG SET bear.drain yes").is_ok());
    eventually("all are applied", || effects(&mut client).len() == 5);
    let mut count = 0;
    eventually("all are handed out", || {
        for job in claim(&mut wire, "mail COUNT 5") {
            ack(&mut wire, &job);
            count += 1;
        }
        count == 5
    });
    wait_empty(&mut client);
}

#[test]
fn what_is_known_of_rows_is_written_again() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    for v in 0..3 {
        enqueue(&mut client, "mail", "SEND", v);
    }
    eventually("all are there", || stat(&mut wire, "mail", "inbox") == 3);
    let job = claim_one(&mut wire, "mail");
    assert_eq!(wire.run("DEL mail:queue:inbox"), Reply::Int(1));
    eventually("it is written again", || stat(&mut wire, "mail", "inbox") == 3);
    ack(&mut wire, &job);
    assert_eq!(claim(&mut wire, "mail COUNT 5").iter().map(|job| ack(&mut redis.wire(), job)).count(), 2);
    wait_empty(&mut client);
}

#[test]
fn a_key_of_somebody_is_not_written_to() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    assert!(wire.run("SET mail:queue:inbox mine").is_ok());
    enqueue(&mut client, "mail", "SEND", 1);
    enqueue(&mut client, "note", "ADD", 1);
    eventually("others go on", || effects(&mut client) == [1]);
    eventually("its space is passed over", || redis.info("bear").int("bear_inbox_spaces_passed_over") == 1);
    assert_eq!(wire.run("GET mail:queue:inbox").text(), "mine");
    assert!(wire.run("DEL mail:queue:inbox").int() == 1);
    let mut seen = Vec::new();
    eventually("it comes", || {
        seen.extend(claim(&mut wire, "mail"));
        !seen.is_empty()
    });
}

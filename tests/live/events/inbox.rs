//! Jobs that applications enqueue in Postgres are told as others are; so is a row that can be no job.

use super::listener::Listener;
use crate::support::inbox::{builder, database, enqueue, enqueue_with, row_of, wait_ours};

#[test]
fn jobs_of_the_inbox_are_told_and_rows_that_can_be_none() {
    let database = database();
    let redis = builder(&database).config("bear.events", "all").start();
    wait_ours(&redis);
    let (mut client, mut wire) = (database.client(), redis.wire());
    let mut mail = Listener::new(redis.wire(), "SUBSCRIBE bear:events:mail");
    let mut note = Listener::new(redis.wire(), "SUBSCRIBE bear:events:note");
    let row = enqueue(&mut client, "note", "ADD", 7);
    for event in ["enqueued", "completed"] {
        let told = note.next();
        assert_eq!((told["event"].as_str(), row_of(told["id"].as_str().expect("an id"))), (Some(event), row), "{told}");
    }
    let row = enqueue(&mut client, "mail", "SEND", 7);
    assert_eq!(mail.names(1), ["enqueued"]);
    let job = crate::support::claims::claim_one(&mut wire, "mail");
    assert_eq!(mail.names(1), ["claimed"]);
    client
        .execute("SELECT bear.complete('mail', $1, $2, '{\"sent\": 1}')", &[&job.id, &(job.token as i64)])
        .expect("completed");
    let told = mail.next();
    assert_eq!(
        (told["event"].as_str(), row_of(told["id"].as_str().expect("an id"))),
        (Some("completed"), row),
        "{told}"
    );
    assert_eq!(told["result"]["sent"], 1, "{told}");
    let row = enqueue_with(&mut client, "mail", "SEND", r#"{"v": "x"}"#, "");
    let told = mail.next();
    assert_eq!((told["event"].as_str(), row_of(told["id"].as_str().expect("an id"))), (Some("failed"), row), "{told}");
    assert_eq!(told["job"], "SEND");
    mail.assert_no_more();
    note.assert_no_more();
}

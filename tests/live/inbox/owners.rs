//! Two servers on one database: one takes the rows of a section over.

use crate::support::claims::{ack, claim};
use crate::support::eventually;
use crate::support::inbox::{builder, database, effects, enqueue, server, wait_empty, wait_ours};
use crate::support::jobs::stat;

#[test]
fn one_of_two_servers_takes_the_rows_over() {
    let database = database();
    let one = server(&database);
    let two = builder(&database).start();
    let mut client = database.client();
    eventually("the other knows whose they are", || {
        let info = two.info("bear");
        info.text("bear_inbox_state") == "up" && info.int("bear_inbox_sections_of_others") > 0
    });
    for v in 0..20 {
        enqueue(&mut client, "note", "ADD", v);
        enqueue(&mut client, "mail", "SEND", v);
    }
    eventually("all are applied", || effects(&mut client).len() == 20);
    let mut wire = one.wire();
    eventually("all are there", || stat(&mut wire, "mail", "waiting") == 20);
    assert_eq!(stat(&mut two.wire(), "mail", "waiting"), 0);
    assert_eq!(two.info("bear").int("bear_inbox_taken"), 0);
    // The first one goes, and is silent for half a minute.
    drop(one);
    database.run("UPDATE bear.inbox_owner SET seen = seen - interval '1 minute'");
    wait_ours(&two);
    let mut wire = two.wire();
    let mut count = 0;
    eventually("they come to the other one", || {
        for job in claim(&mut wire, "mail COUNT 10") {
            ack(&mut wire, &job);
            count += 1;
        }
        count == 20
    });
    wait_empty(&mut client);
    assert_eq!(effects(&mut client).len(), 20);
}

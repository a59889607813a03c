//! Rows become jobs in the order of commits, whatever the order in which they were written.

use crate::support::claims::claim;
use crate::support::eventually;
use crate::support::inbox::{database, effects, enqueue, server};
use crate::support::jobs::ids_in;

fn values(wire: &mut crate::support::Wire, space: &str, count: usize) -> Vec<String> {
    claim(wire, &format!("{space} COUNT {count}")).into_iter().map(|job| job.data).collect()
}

#[test]
fn the_later_commit_is_the_later_job() {
    let database = database();
    let redis = server(&database);
    let (mut one, mut two, mut wire) = (database.client(), database.client(), redis.wire());
    let mut early = one.transaction().expect("a transaction");
    let of = |v: i64| format!("SELECT bear.enqueue('mail', 'SEND', '{{\"v\": {v}}}')");
    early.execute(&of(1), &[]).expect("enqueued");
    enqueue(&mut two, "mail", "SEND", 2);
    // It stays open beside many others, and none of them is missed.
    eventually("the second is there", || ids_in(&mut wire, "mail", "waiting").len() == 1);
    early.execute(&of(3), &[]).expect("enqueued");
    enqueue(&mut two, "mail", "SEND", 4);
    early.commit().expect("committed");
    eventually("all are there", || ids_in(&mut wire, "mail", "waiting").len() == 4);
    assert_eq!(values(&mut wire, "mail", 10), [2, 4, 1, 3].map(|v| format!(r#"{{"v":{v}}}"#)));
}

#[test]
fn many_rows_of_many_transactions_come_in_the_order_of_each_client() {
    let database = database();
    let _redis = server(&database);
    const EACH: i64 = 400;
    std::thread::scope(|scope| {
        for client in 0..4_i64 {
            let mut postgres = database.client();
            scope.spawn(move || {
                for v in 0..EACH {
                    enqueue(&mut postgres, "note", "ADD", client * 10_000 + v);
                }
            });
        }
    });
    let mut client = database.client();
    eventually("all are applied", || effects(&mut client).len() as i64 >= 4 * EACH);
    let effects = effects(&mut client);
    assert_eq!(effects.len() as i64, 4 * EACH, "each once");
    for client in 0..4 {
        let of: Vec<i64> = effects.iter().copied().filter(|v| v / 10_000 == client).collect();
        assert!(of.is_sorted(), "of client {client}: {of:?}");
    }
}

/// More rows than are read at once: as they stand, and as a backlog that was there before the server.
#[test]
fn a_large_transaction_and_a_backlog_come_in_their_order() {
    let database = database();
    let mut client = database.client();
    let redis = server(&database);
    let many = |from: i64| {
        format!(
            "SELECT count(bear.enqueue('mail', 'SEND', jsonb_build_object('v', v))) FROM generate_series({from}, {}) v",
            from + 2_999
        )
    };
    client.execute(&many(0), &[]).expect("enqueued");
    drop(redis);
    client.execute(&many(3_000), &[]).expect("enqueued");
    // Another data set waits until nobody has been heard of for a while.
    database.run("UPDATE bear.inbox_owner SET seen = seen - interval '1 minute'");
    let redis = crate::support::inbox::builder(&database).start();
    let mut wire = redis.wire();
    eventually("all are there", || crate::support::jobs::stat(&mut wire, "mail", "waiting") == 6_000);
    let mut seen = Vec::new();
    while seen.len() < 6_000 {
        seen.extend(values(&mut wire, "mail", 100));
    }
    let expected: Vec<String> = (0..6_000).map(|v| format!(r#"{{"v":{v}}}"#)).collect();
    assert_eq!(seen, expected);
}

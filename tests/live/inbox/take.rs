//! A committed row becomes a job, once; one that was rolled back never was. What is written of it is one unit.

use crate::support::claims::{ack, claim_one};
use crate::support::inbox::{database, durable, effects, enqueue, row_of, rows, server, wait_empty};
use crate::support::jobs::{ids_in, stat, wait_state};
use crate::support::{eventually, Reply};

#[test]
fn a_committed_row_becomes_an_sql_job_and_goes_with_its_effect() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    let row = enqueue(&mut client, "note", "ADD", 7);
    eventually("it is applied", || effects(&mut client) == [7]);
    assert_eq!(rows(&mut client), 0, "in the transaction of its effect");
    eventually("it is recorded", || ids_in(&mut wire, "note", "completed").len() == 1);
    let id = ids_in(&mut wire, "note", "completed").remove(0);
    assert_eq!(row_of(&id), row);
    assert_eq!(wire.run("EXISTS note:queue:inbox note:queue:inbox:tell"), Reply::Int(0));
    assert_eq!(stat(&mut wire, "note", "inbox"), 0);
}

#[test]
fn a_committed_row_becomes_a_claimed_job_and_goes_once_it_is_acknowledged() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    let mut worker = redis.wire();
    worker.begin("BEAR.CLAIM mail BLOCK 0");
    redis.wait_blocked(1);
    let row = enqueue(&mut client, "mail", "SEND", 7);
    let job = crate::support::claims::claimed(&worker.receive()).remove(0);
    assert_eq!((row_of(&job.id), job.data.as_str(), job.attempt), (row, r#"{"v":7}"#, 1));
    assert_eq!(wire.run(&format!("HGET mail:queue:inbox {row}")).text(), job.id);
    assert_eq!(stat(&mut wire, "mail", "inbox"), 1);
    assert_eq!(rows(&mut client), 1, "until it has settled");
    ack(&mut wire, &job);
    wait_empty(&mut client);
    eventually("nothing is left of it", || wire.run("EXISTS mail:queue:inbox mail:queue:inbox:tell") == Reply::Int(0));
    wait_state(&mut wire, "mail", &job.id, "completed");
}

#[test]
fn what_was_rolled_back_never_was() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    let mut transaction = client.transaction().expect("a transaction");
    transaction.execute("SELECT bear.enqueue('mail', 'SEND', '{\"v\": 1}')", &[]).expect("enqueued");
    transaction.execute("SELECT bear.enqueue('note', 'ADD', '{\"v\": 1}')", &[]).expect("enqueued");
    transaction.rollback().expect("rolled back");
    enqueue(&mut client, "mail", "SEND", 2);
    enqueue(&mut client, "note", "ADD", 2);
    eventually("the later ones are there", || {
        effects(&mut client) == [2] && ids_in(&mut wire, "mail", "waiting").len() == 1
    });
    assert_eq!(claim_one(&mut wire, "mail").data, r#"{"v":2}"#);
}

#[test]
fn each_step_is_one_unit() {
    let database = database();
    let redis = durable(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    let row = enqueue(&mut client, "mail", "SEND", 1).to_string();
    eventually("it is a job", || ids_in(&mut wire, "mail", "waiting").len() == 1);
    let job = claim_one(&mut wire, "mail");
    ack(&mut wire, &job);
    wait_empty(&mut client);
    eventually("it is told", || wire.run("EXISTS mail:queue:inbox:tell") == Reply::Int(0));
    let units = redis.aof();
    let with = |name: &str, key: &str| {
        let has = |command: &crate::support::Command| command.name() == name && command.text(1) == key;
        let found: Vec<_> = units.iter().filter(|unit| unit.iter().any(has)).collect();
        assert_eq!(found.len(), 1, "{name} {key}: {found:?}");
        found[0].iter().map(|command| format!("{} {}", command.name(), command.text(1))).collect::<Vec<_>>()
    };
    let taken = with("XADD", "mail:queue:work");
    assert!(taken.contains(&"HSET mail:queue:inbox".to_owned()), "{taken:?}");
    let settled = with("XDEL", "mail:queue:work");
    for step in ["HDEL mail:queue:inbox", "HSET mail:queue:inbox:tell", "XADD mail:queue:work:completed"] {
        assert!(settled.contains(&step.to_owned()), "{step}: {settled:?}");
    }
    let told = with("HDEL", "mail:queue:inbox:tell");
    assert_eq!(told, ["HDEL mail:queue:inbox:tell"]);
    let tell = units.iter().flatten().find(|command| command.text(1) == "mail:queue:inbox:tell").expect("a telling");
    assert_eq!((tell.text(2), tell.text(3)), (row, "done".into()));
}

#[test]
fn plain_jobs_look_like_no_rows() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    for v in 0..30 {
        enqueue(&mut client, "both", "SEND", v);
        enqueue(&mut client, "both", "ADD", v);
        for job in ["SEND", "ADD"] {
            let id = crate::support::jobs::enqueue(&mut wire, &format!(r#"both {job} {{"v":{v}}}"#));
            assert!(crate::support::jobs::parse_id(&id).1 < 1_000_000_000_000, "{id}");
        }
    }
    eventually("all are there", || {
        effects(&mut client).len() == 60 && ids_in(&mut wire, "both", "waiting").len() == 60
    });
    let mut ids = ids_in(&mut wire, "both", "waiting");
    ids.extend(ids_in(&mut wire, "both", "completed"));
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "each has an id of its own");
}

//! `bear.complete`: a job settles with the transaction of its worker's effect, or that transaction fails.

use crate::support::claims::{claim_one, tell};
use crate::support::inbox::{database, effects, enqueue, enqueue_with, rows, server, wait_empty};
use crate::support::jobs::{find, ids_in, wait_state};
use crate::support::{eventually, stays, Reply};
use std::time::Duration;

fn complete(space: &str, id: &str, token: u64) -> String {
    format!("SELECT bear.complete('{space}', '{id}', {token}, '{{\"by\": \"worker\"}}')")
}

#[test]
fn the_job_settles_with_the_commit_though_its_worker_dies_right_after() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    enqueue(&mut client, "mail", "SEND", 1);
    eventually("it is there", || ids_in(&mut wire, "mail", "waiting").len() == 1);
    let job = claim_one(&mut wire, "mail");
    let mut transaction = client.transaction().expect("a transaction");
    transaction.execute("INSERT INTO effect(v) VALUES (1)", &[]).expect("inserted");
    transaction.execute(&complete("mail", &job.id, job.token), &[]).expect("completed");
    transaction.commit().expect("committed");
    // Nobody says anything to Redis.
    let settled = wait_state(&mut wire, "mail", &job.id, "completed");
    assert_eq!(settled["result"].json()["by"], "worker");
    assert_eq!(settled["token"].int() as u64, job.token);
    wait_empty(&mut client);
    assert!(tell(&mut wire, "ACK", &job, "").error().starts_with("LOST "));
    assert_eq!(effects(&mut client), [1]);
}

#[test]
fn what_is_rolled_back_is_not_completed() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    enqueue(&mut client, "mail", "SEND", 1);
    eventually("it is there", || ids_in(&mut wire, "mail", "waiting").len() == 1);
    let job = claim_one(&mut wire, "mail");
    let mut transaction = client.transaction().expect("a transaction");
    transaction.execute(&complete("mail", &job.id, job.token), &[]).expect("completed");
    transaction.rollback().expect("rolled back");
    // It is as before; and acknowledged after its transaction it is completed at once.
    client.execute(&complete("mail", &job.id, job.token), &[]).expect("completed");
    let told = tell(&mut wire, "ACK", &job, "");
    assert!(told == Reply::Int(1) || told.error().contains("it is completed"), "{told:?}");
    wait_state(&mut wire, "mail", &job.id, "completed");
    wait_empty(&mut client);
}

#[test]
fn a_token_that_is_not_in_force_fails_the_transaction() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    enqueue(&mut client, "mail", "SEND", 1);
    eventually("it is there", || ids_in(&mut wire, "mail", "waiting").len() == 1);
    let stale = claim_one(&mut wire, "mail");
    assert_eq!(tell(&mut wire, "RELEASE", &stale, "").text(), "waiting");
    // It is handed out once Postgres knows that the claim has ended.
    let mut again = Vec::new();
    eventually("it is handed out again", || {
        again.extend(crate::support::claims::claim(&mut wire, "mail"));
        !again.is_empty()
    });
    let mut transaction = client.transaction().expect("a transaction");
    transaction.execute("INSERT INTO effect(v) VALUES (1)", &[]).expect("inserted");
    let refused = transaction.execute(&complete("mail", &stale.id, stale.token), &[]).expect_err("it is refused");
    assert_eq!(refused.code().map(|code| code.code()), Some("BE001"));
    drop(transaction);
    client.execute(&complete("mail", &again[0].id, again[0].token), &[]).expect("completed");
    wait_state(&mut wire, "mail", &stale.id, "completed");
    assert!(effects(&mut client).is_empty());
    let twice = client.execute(&complete("mail", &again[0].id, again[0].token), &[]);
    assert_eq!(twice.expect_err("refused").code().map(|code| code.code()), Some("BE001"));
}

/// The lease ends while the worker's transaction is open: nobody else has the job until that has ended.
#[test]
fn a_job_is_withheld_while_a_transaction_that_completes_it_is_open() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    for commits in [true, false] {
        enqueue(&mut client, "mail", "SHORT", 1);
        eventually("it is there", || ids_in(&mut wire, "mail", "waiting").len() == 1);
        let job = claim_one(&mut wire, "mail");
        let mut transaction = client.transaction().expect("a transaction");
        transaction.execute(&complete("mail", &job.id, job.token), &[]).expect("completed");
        eventually("its lease has ended", || wire.run("HLEN mail:queue:work:claims") == Reply::Int(0));
        stays("it is withheld", Duration::from_millis(300), || {
            find(&mut wire, "mail", &job.id).expect("a job")["state"].text() == "waiting"
                && crate::support::claims::claim(&mut wire, "mail").is_empty()
        });
        assert!(wire.run(&format!("BEAR.PROMOTE mail {}", job.id)).error().contains("waiting already"));
        if commits {
            transaction.commit().expect("committed");
            let settled = wait_state(&mut wire, "mail", &job.id, "completed");
            assert_eq!(settled["result"].json()["by"], "worker");
        } else {
            transaction.rollback().expect("rolled back");
            let mut again = Vec::new();
            eventually("it is handed out again", || {
                again.extend(crate::support::claims::claim(&mut wire, "mail"));
                !again.is_empty()
            });
            assert_eq!((again[0].id.as_str(), again[0].attempt), (job.id.as_str(), 2));
            crate::support::claims::ack(&mut wire, &again[0]);
        }
        wait_empty(&mut client);
    }
    assert_eq!(rows(&mut client), 0);
}

/// No attempt is left, or the job is cancelled: it has failed only if nobody has completed it.
#[test]
fn a_job_fails_for_good_only_if_its_worker_has_not_completed_it() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    for how in ["lease", "fail", "cancel"] {
        for commits in [true, false] {
            enqueue_with(&mut client, "mail", "SHORT", r#"{"v": 1}"#, ", attempts => 1");
            eventually("it is there", || ids_in(&mut wire, "mail", "waiting").len() == 1);
            let job = claim_one(&mut wire, "mail");
            let mut transaction = client.transaction().expect("a transaction");
            transaction.execute(&complete("mail", &job.id, job.token), &[]).expect("completed");
            match how {
                "lease" => {
                    eventually("its lease has ended", || wire.run("HLEN mail:queue:work:claims") == Reply::Int(0));
                }
                "fail" => assert_eq!(tell(&mut wire, "FAIL", &job, "no-answer").text(), "failed"),
                _ => {
                    assert_eq!(tell(&mut wire, "RELEASE", &job, "").text(), "waiting");
                    assert_eq!(wire.run(&format!("BEAR.CANCEL mail {} enough", job.id)).text(), "failed");
                }
            }
            stays("nobody knows yet", Duration::from_millis(100), || {
                find(&mut wire, "mail", &job.id).expect("a job")["state"].text() == "waiting"
            });
            if commits {
                transaction.commit().expect("committed");
                wait_state(&mut wire, "mail", &job.id, "completed");
                wait_empty(&mut client);
            } else {
                transaction.rollback().expect("rolled back");
                let failed = wait_state(&mut wire, "mail", &job.id, "failed");
                let (message, _) = crate::support::jobs::error_of(&failed);
                let expected = match how {
                    "lease" => "the lease of worker",
                    "fail" => "no-answer",
                    _ => "enough",
                };
                assert!(message.contains(expected), "{message}");
                assert_eq!(failed["attempts"].int(), i64::from(how != "cancel"));
                let sql = "SELECT failed->>'message' FROM bear.inbox";
                eventually("Postgres knows", || {
                    client.query_one(sql, &[]).expect("a row").get::<_, Option<String>>(0).as_ref() == Some(&message)
                });
                client.execute("DELETE FROM bear.inbox", &[]).expect("deleted");
            }
        }
    }
}

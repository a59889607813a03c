//! How jobs of the inbox end and go on by commands: what Postgres knows of it then.

use crate::support::claims::{ack, claim, claim_one, tell, Claimed};
use crate::support::inbox::{database, enqueue, row_of, rows, server, wait_empty};
use crate::support::jobs::{find, ids_in, wait_state};
use crate::support::{eventually, Database, Proxy, Redis, Reply, Wire};

fn begin(database: &Database, redis: &Redis, job: &str) -> (Wire, Claimed) {
    let mut wire = redis.wire();
    enqueue(&mut database.client(), "mail", job, 1);
    eventually("it is there", || ids_in(&mut wire, "mail", "waiting").len() == 1);
    let claimed = claim_one(&mut wire, "mail");
    (wire, claimed)
}

fn claim_again(wire: &mut Wire) -> Claimed {
    let mut again = Vec::new();
    eventually("it is handed out again", || {
        again.extend(claim(wire, "mail"));
        !again.is_empty()
    });
    again.remove(0)
}

#[test]
fn a_failed_attempt_is_fenced_and_tried_again() {
    let database = database();
    let redis = server(&database);
    let (mut wire, job) = begin(&database, &redis, "SEND");
    let mut client = database.client();
    assert_eq!(tell(&mut wire, "FAIL", &job, "no").text(), "delayed");
    let again = claim_again(&mut wire);
    let fence: i64 = client.query_one("SELECT fence FROM bear.inbox", &[]).expect("a row").get(0);
    assert_eq!((again.id.as_str(), again.attempt, fence as u64), (job.id.as_str(), 2, job.token));
    ack(&mut wire, &again);
    wait_empty(&mut client);
}

#[test]
fn one_that_has_failed_for_good_stays_and_is_tried_again_as_the_same_row() {
    let database = database();
    let redis = server(&database);
    let (mut wire, job) = begin(&database, &redis, "SEND");
    let mut client = database.client();
    assert_eq!(tell(&mut wire, "FAIL", &job, "no-way FINAL").text(), "failed");
    let sql = "SELECT failed->>'message' FROM bear.inbox";
    eventually("Postgres knows", || {
        client.query_one(sql, &[]).expect("a row").get::<_, Option<String>>(0).as_deref() == Some("no-way")
    });
    let again = wire.run(&format!("BEAR.RETRY mail {}", job.id)).list()[0].text();
    assert_eq!(row_of(&again), row_of(&job.id));
    let claimed = claim_again(&mut wire);
    assert_eq!(claimed.id, again);
    assert_eq!(client.query_one(sql, &[]).expect("a row").get::<_, Option<String>>(0), None, "it is open again");
    let complete = format!("SELECT bear.complete('mail', '{}', {})", claimed.id, claimed.token);
    client.execute(&complete, &[]).expect("completed");
    wait_state(&mut wire, "mail", &again, "completed");
    wait_empty(&mut client);
}

/// Its row went with time: what is tried again is a job as any other.
#[test]
fn one_whose_row_is_gone_is_tried_again_without_it() {
    let database = database();
    let redis = server(&database);
    let (mut wire, job) = begin(&database, &redis, "SEND");
    let mut client = database.client();
    assert_eq!(tell(&mut wire, "FAIL", &job, "no FINAL").text(), "failed");
    eventually("Postgres knows", || {
        client.execute("DELETE FROM bear.inbox WHERE failed IS NOT NULL", &[]).expect("deleted") == 1
    });
    let again = wire.run(&format!("BEAR.RETRY mail {}", job.id)).list()[0].text();
    let claimed = claim_again(&mut wire);
    assert_eq!(claimed.data, r#"{"v":1}"#);
    assert_ne!(claimed.id, again, "its id tells no row that is not there");
    ack(&mut wire, &claimed);
    eventually("nothing is left of it", || wire.run("EXISTS mail:queue:inbox mail:queue:inbox:tell") == Reply::Int(0));
}

#[test]
fn removed_and_cancelled_jobs_are_told() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    assert!(wire.run("CONFIG SET bear.drain no").is_ok());
    for (space, job) in [("mail", "SEND"), ("note", "ADD")] {
        let removed = enqueue(&mut client, space, job, 1);
        let cancelled = enqueue(&mut client, space, job, 2);
        eventually("they are there", || ids_in(&mut wire, space, "waiting").len() == 2);
        let ids = ids_in(&mut wire, space, "waiting");
        assert_eq!(ids.iter().map(|id| row_of(id)).collect::<Vec<_>>(), [removed, cancelled]);
        assert_eq!(wire.run(&format!("BEAR.REMOVE {space} {}", ids[0])), Reply::Int(1));
        assert_eq!(wire.run(&format!("BEAR.CANCEL {space} {} why-not", ids[1])).text(), "failed");
        let left = "SELECT id, failed->>'message' FROM bear.inbox WHERE space = $1";
        eventually("Postgres knows", || {
            let left = client.query(left, &[&space]).expect("rows");
            left.len() == 1 && left[0].get::<_, Option<String>>(1).is_some()
        });
        let left = client.query_one(left, &[&space]).expect("a row");
        assert_eq!((left.get::<_, i64>(0), left.get::<_, String>(1).as_str()), (cancelled, "why-not"));
    }
    // One that is withheld is removed as any other.
    let (mut wire, job) = begin(&database, &redis, "SEND");
    let mut transaction = client.transaction().expect("a transaction");
    transaction.execute("SELECT FROM bear.inbox WHERE failed IS NULL FOR UPDATE", &[]).expect("locked");
    assert_eq!(tell(&mut wire, "RELEASE", &job, "").text(), "waiting");
    assert_eq!(wire.run(&format!("BEAR.REMOVE mail {}", job.id)), Reply::Int(1));
    transaction.rollback().expect("rolled back");
    eventually("its row is gone", || rows(&mut client) == 2);
}

/// Postgres is away: what has been acknowledged is, and what goes on waits for it.
#[test]
fn claims_end_while_postgres_is_away() {
    let database = database();
    let proxy = Proxy::to(database.postgres().port());
    let redis = crate::support::inbox::builder(&database)
        .config("bear.postgres-url", database.url_through(proxy.port()))
        .start();
    crate::support::inbox::wait_ours(&redis);
    let (mut client, mut wire) = (database.client(), redis.wire());
    for v in 0..3 {
        enqueue(&mut client, "mail", "SEND", v);
    }
    eventually("they are there", || ids_in(&mut wire, "mail", "waiting").len() == 3);
    let jobs = claim(&mut wire, "mail COUNT 3");
    proxy.cut();
    eventually("it is known", || redis.info("bear").text("bear_inbox_state") == "down");
    ack(&mut wire, &jobs[0]);
    assert_eq!(tell(&mut wire, "RELEASE", &jobs[1], "").text(), "waiting");
    // The third is completed in Postgres, by a worker that reaches it.
    let complete = format!("SELECT bear.complete('mail', '{}', {})", jobs[2].id, jobs[2].token);
    client.execute(&complete, &[]).expect("completed");
    assert_eq!(tell(&mut wire, "FAIL", &jobs[2], "no-answer BACKOFF 0").text(), "waiting");
    assert_eq!(find(&mut wire, "mail", &jobs[0].id).expect("a job")["state"].text(), "completed");
    assert!(claim(&mut wire, "mail COUNT 3").is_empty(), "nobody knows what their workers have done");
    proxy.resume();
    let again = claim_again(&mut wire);
    assert_eq!(again.id, jobs[1].id);
    wait_state(&mut wire, "mail", &jobs[2].id, "completed");
    ack(&mut wire, &again);
    wait_empty(&mut client);
}

/// A reload takes the job's type away, and brings it back; or makes it one for Postgres.
#[test]
fn a_job_that_the_catalog_has_no_more_waits_until_it_has_it_again() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    enqueue(&mut client, "mail", "SEND", 1);
    eventually("it is there", || ids_in(&mut wire, "mail", "waiting").len() == 1);
    let catalog = crate::support::inbox::CATALOG;
    let send =
        "[mail.job.SEND]\ndata = { v = \"int\" }\nclaim = { lease = \"60s\", attempts = 5, backoff = \"1ms\" }\n";
    let sql = "[mail.job.SEND]\ndata = { v = \"int\" }\nsql = \"WITH i AS (INSERT INTO effect(v) SELECT v FROM {jobs} job) SELECT n, v AS id FROM {jobs} job\"\n";
    for other in ["", sql] {
        let changed = catalog.replacen(send, other, 1);
        assert_ne!(changed, catalog);
        std::fs::write(redis.catalog_path(), changed).expect("written");
        assert!(wire.run("BEAR.RELOAD").is_ok());
        assert!(claim(&mut wire, "mail").is_empty());
        assert_eq!(ids_in(&mut wire, "mail", "waiting").len(), 1);
        assert_eq!(rows(&mut client), 1);
    }
    let kind = "SELECT count(*) FROM bear.inbox_job WHERE section = 'mail' AND job = 'SEND' AND kind = 'sql mail'";
    eventually("Postgres knows of the catalog", || client.query_one(kind, &[]).expect("a count").get::<_, i64>(0) == 1);
    enqueue(&mut client, "mail", "SEND", 2);
    eventually("what comes now is for Postgres", || crate::support::inbox::effects(&mut client) == [2]);
    std::fs::write(redis.catalog_path(), catalog).expect("written");
    assert!(wire.run("BEAR.RELOAD").is_ok());
    let job = claim_again(&mut wire);
    ack(&mut wire, &job);
    wait_empty(&mut client);
}

//! Redis, or Postgres, loses what it knew: SQL jobs are applied exactly once all the same; claimed ones are taken again where there
//! is no outcome, and not where there is one.

use crate::support::claims::{ack, claim, claim_one, Claimed};
use crate::support::inbox::{
    builder, database, durable, effects, enqueue, rows, server, wait_empty, wait_ours, SCHEMA,
};
use crate::support::jobs::{ids_in, stat, wait_state};
use crate::support::{eventually, stays, Database, Postgres, Redis, Reply, Wire};
use std::time::Duration;

/// What stands where when the loss comes.
struct Before {
    /// Acknowledged and told, acknowledged, completed in Postgres, held, waiting.
    settled: Vec<Claimed>,
    held: Claimed,
    waiting: String,
}

/// SQL jobs that wait and some that were applied, claimed jobs in each state.
fn prepare(database: &Database, redis: &Redis) -> Before {
    let (mut client, mut wire) = (database.client(), redis.wire());
    for v in 0..20 {
        enqueue(&mut client, "note", "ADD", v);
    }
    eventually("they are applied", || effects(&mut client).len() == 20);
    assert!(wire.run("CONFIG SET bear.drain no").is_ok());
    for v in 20..40 {
        enqueue(&mut client, "note", "ADD", v);
    }
    for v in 0..4 {
        enqueue(&mut client, "mail", "SEND", v);
    }
    eventually("all are there", || stat(&mut wire, "note", "waiting") == 20 && stat(&mut wire, "mail", "waiting") == 4);
    let jobs = claim(&mut wire, "mail COUNT 3");
    ack(&mut wire, &jobs[0]);
    let complete = format!("SELECT bear.complete('mail', '{}', {})", jobs[1].id, jobs[1].token);
    client.execute(&complete, &[]).expect("completed");
    wait_state(&mut wire, "mail", &jobs[1].id, "completed");
    eventually("their rows are gone", || rows(&mut client) == 22);
    let waiting = ids_in(&mut wire, "mail", "waiting").remove(0);
    Before { settled: jobs[..2].to_vec(), held: jobs[2].clone(), waiting }
}

fn drain(wire: &mut Wire) {
    assert!(wire.run("CONFIG SET bear.drain yes").is_ok());
}

fn check_sql_jobs(database: &Database) {
    let mut client = database.client();
    eventually("all are applied", || effects(&mut client).len() >= 40);
    let mut all = effects(&mut client);
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<_>>(), "each once");
}

/// Those without an outcome come again, and no others.
fn check_claimed_jobs(database: &Database, wire: &mut Wire, values: &[i64]) {
    let mut client = database.client();
    let mut seen = Vec::new();
    eventually("they come again", || {
        for job in claim(wire, "mail COUNT 5") {
            seen.push(job.data.clone());
            ack(wire, &job);
        }
        seen.len() >= values.len()
    });
    seen.sort_unstable();
    assert_eq!(seen, values.iter().map(|v| format!(r#"{{"v":{v}}}"#)).collect::<Vec<_>>());
    wait_empty(&mut client);
    stays("nothing comes any more", Duration::from_millis(200), || claim(wire, "mail").is_empty());
    eventually("nothing is left to tell", || {
        wire.run("EXISTS mail:queue:inbox:tell note:queue:inbox:tell") == Reply::Int(0)
    });
    eventually("nothing is taken any more", || wire.run("EXISTS mail:queue:inbox note:queue:inbox") == Reply::Int(0));
}

#[test]
fn after_a_flush() {
    let database = database();
    let redis = server(&database);
    let before = prepare(&database, &redis);
    let mut wire = redis.wire();
    let owner = wire.run("GET bear.module:inbox").text();
    assert!(wire.run("FLUSHALL").is_ok());
    // The worker that held one completes it: there is one who does so, whoever it is.
    let mut client = database.client();
    let complete = format!("SELECT bear.complete('mail', '{}', {})", before.held.id, before.held.token);
    client.execute(&complete, &[]).expect("completed");
    drain(&mut wire);
    check_sql_jobs(&database);
    eventually("it is the same data set", || wire.run("GET bear.module:inbox") == Reply::Bulk(owner.clone().into()));
    check_claimed_jobs(&database, &mut wire, &[3]);
    assert_eq!(before.settled.len(), 2);
}

#[test]
fn after_a_start_without_any_data() {
    let database = database();
    let mut redis = server(&database);
    prepare(&database, &redis);
    redis.kill9();
    // Nobody else takes over for half a minute what this one was seen to take.
    database.run("UPDATE bear.inbox_owner SET seen = seen - interval '1 minute'");
    redis.start_again();
    check_sql_jobs(&database);
    check_claimed_jobs(&database, &mut redis.wire(), &[2, 3]);
}

#[test]
fn after_a_crash_with_an_append_only_file() {
    let database = database();
    let mut redis = durable(&database);
    let before = prepare(&database, &redis);
    redis.kill9();
    redis.start_again();
    let mut wire = redis.wire();
    check_sql_jobs(&database);
    assert_eq!(crate::support::claims::tell(&mut wire, "ACK", &before.held, ""), Reply::Int(1));
    let mut again = Vec::new();
    eventually("the other is handed out", || {
        again.extend(claim(&mut wire, "mail"));
        !again.is_empty()
    });
    assert_eq!(again[0].id, before.waiting);
    ack(&mut wire, &again[0]);
    check_claimed_jobs(&database, &mut wire, &[]);
}

/// Of each space whose jobs were read from the keys, however many there are, Postgres is asked.
#[test]
fn after_a_crash_of_many_spaces_with_many_jobs() {
    const JOBS: usize = 150;

    let database = database();
    let mut redis = durable(&database);
    let mut client = database.client();
    let spaces = ["mail", "both", "open", "{1}:shop", "{2}:shop"];
    for space in spaces {
        let some =
            format!("SELECT count(bear.enqueue('{space}', 'SEND', '{{\"v\": 1}}')) FROM generate_series(1, {JOBS})");
        client.execute(&some, &[]).expect("jobs");
    }
    let mut wire = redis.wire();
    let all_wait =
        |wire: &mut crate::support::Wire| spaces.iter().all(|space| stat(wire, space, "waiting") == JOBS as i64);
    eventually("all are there", || all_wait(&mut wire));
    redis.kill9();
    redis.start_again();
    let mut wire = redis.wire();
    eventually("all are there again", || all_wait(&mut wire));
    for space in spaces {
        let mut left = JOBS;
        eventually("each is handed out", || {
            for job in claim(&mut wire, &format!("{space} COUNT 100")) {
                ack(&mut wire, &job);
                left -= 1;
            }
            left == 0
        });
    }
    eventually("no row is left", || rows(&mut client) == 0);
}

/// The jobs that had an outcome since are not handed out again.
#[test]
fn after_an_older_dump() {
    let database = database();
    let mut redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    assert!(wire.run("CONFIG SET bear.drain no").is_ok());
    for v in 0..40 {
        enqueue(&mut client, "note", "ADD", v);
    }
    for v in 0..4 {
        enqueue(&mut client, "mail", "SEND", v);
    }
    eventually("all are there", || stat(&mut wire, "note", "waiting") == 40 && stat(&mut wire, "mail", "waiting") == 4);
    let early = claim_one(&mut wire, "mail");
    assert!(wire.run("SAVE").is_ok());
    ack(&mut wire, &early);
    let jobs = claim(&mut wire, "mail COUNT 2");
    ack(&mut wire, &jobs[0]);
    let complete = format!("SELECT bear.complete('mail', '{}', {})", jobs[1].id, jobs[1].token);
    client.execute(&complete, &[]).expect("completed");
    wait_state(&mut wire, "mail", &jobs[1].id, "completed");
    drain(&mut wire);
    check_sql_jobs(&database);
    eventually("their rows are gone", || rows(&mut client) == 1);
    redis.kill9();
    redis.start_again();
    let mut wire = redis.wire();
    check_claimed_jobs(&database, &mut wire, &[3]);
    check_sql_jobs(&database);
    wait_state(&mut wire, "mail", &jobs[0].id, "completed");
}

#[test]
fn after_the_promotion_of_a_replica_that_lags() {
    let database = database();
    let master = server(&database);
    let replica = builder(&database).replica_of(&master).start();
    replica.wait_in_sync(&master);
    let (mut client, mut wire) = (database.client(), master.wire());
    assert!(wire.run("CONFIG SET bear.drain no").is_ok());
    for v in 0..20 {
        enqueue(&mut client, "note", "ADD", v);
    }
    for v in 0..3 {
        enqueue(&mut client, "mail", "SEND", v);
    }
    eventually("all are there", || stat(&mut wire, "note", "waiting") == 20 && stat(&mut wire, "mail", "waiting") == 3);
    replica.wait_in_sync(&master);
    let mut on_replica = replica.wire();
    assert!(on_replica.run("REPLICAOF 127.0.0.1 1").is_ok());
    // From here on the replica hears nothing.
    let job = claim_one(&mut wire, "mail");
    ack(&mut wire, &job);
    for v in 20..40 {
        enqueue(&mut client, "note", "ADD", v);
    }
    drain(&mut wire);
    check_sql_jobs(&database);
    eventually("its row is gone", || rows(&mut client) == 2);
    drop(master);
    assert!(on_replica.run("REPLICAOF NO ONE").is_ok());
    wait_ours(&replica);
    check_claimed_jobs(&database, &mut on_replica, &[1, 2]);
    check_sql_jobs(&database);
}

/// Postgres is an earlier one: what it has forgotten never was, and what it remembers as open is done again.
#[test]
fn after_postgres_was_restored() {
    let postgres = Postgres::start();
    let database = postgres.database(SCHEMA);
    let redis = server(&database);
    let mut wire = redis.wire();
    {
        let mut client = database.client();
        assert!(wire.run("CONFIG SET bear.drain no").is_ok());
        for v in 0..10 {
            enqueue(&mut client, "note", "ADD", v);
        }
        for v in 0..2 {
            enqueue(&mut client, "mail", "SEND", v);
        }
        eventually("all are there", || {
            stat(&mut wire, "note", "waiting") == 10 && stat(&mut wire, "mail", "waiting") == 2
        });
    }
    postgres.stop_fast();
    let copied = postgres.copy_data();
    postgres.start_again();
    {
        let mut client = database.client();
        eventually("it is read again", || redis.info("bear").text("bear_inbox_state") == "up");
        drain(&mut wire);
        eventually("they are applied", || effects(&mut client).len() == 10);
        let job = claim_one(&mut wire, "mail");
        ack(&mut wire, &job);
        eventually("its row is gone", || rows(&mut client) == 1);
        enqueue(&mut client, "mail", "SEND", 2);
        eventually("it is there", || stat(&mut wire, "mail", "waiting") == 2);
    }
    postgres.stop_fast();
    postgres.restore_data(&copied);
    postgres.start_again();
    let mut client = database.client();
    // Its ledger is older than what Redis knows of it, too.
    eventually("the queue rests", || {
        crate::support::jobs::figure(&mut wire, "note", "ledger").text().starts_with("LEDGER ")
    });
    assert!(wire.run("BEAR.RESUME note").is_ok());
    eventually("they are applied once more", || effects(&mut client).len() >= 10);
    let mut all = effects(&mut client);
    all.sort_unstable();
    assert_eq!(all, (0..10).collect::<Vec<_>>(), "each once in this database");
    // The one that Postgres has never seen is none, and the acknowledged one comes again.
    check_claimed_jobs(&database, &mut wire, &[0, 1]);
}

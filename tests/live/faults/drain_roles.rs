//! Who drains: only a master. A promoted replica takes over what it had received, a demoted master lets go at once, and
//! neither repeats anything; where writes are paused, outcomes wait, and the server lives.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::marked::{self, assert_applied_once, assert_each_once, enqueue_many, wait_drained, Job};
use crate::support::{eventually, stays, Database, Proxy, Redis, Reply, StopAtEnd, Verdict, Wire};

/// A master and its replica, each with a wire of its own to Postgres. Tests name every part: what they leave out would end.
struct Group {
    database: Database,
    to_master: Proxy,
    to_replica: Proxy,
    master: Redis,
    replica: Redis,
}

fn start() -> Group {
    let database = marked::database();
    let port = database.postgres().port();
    let (to_master, to_replica) = (Proxy::to(port), Proxy::to(port));
    let master = marked::redis(&database, &to_master).append_only().start();
    let replica = marked::redis(&database, &to_replica).append_only().replica_of(&master).start();
    replica.wait_in_sync(&master);
    Group { database, to_master, to_replica, master, replica }
}

/// What a master wrote outside commands reached its replica, and the replica wrote nothing of its own.
#[track_caller]
fn assert_same_data(master: &Redis, replica: &Redis) {
    eventually("both have the same data", || {
        replica.wait_in_sync(master);
        master.run("DEBUG DIGEST") == replica.run("DEBUG DIGEST")
    });
}

#[test]
fn a_replica_applies_nothing_and_has_the_queue() {
    let Group { database, to_master, master, replica, to_replica: _to_replica } = start();
    to_master.cut();
    let marks = enqueue_many(&master, "job", 10);
    replica.wait_in_sync(&master);
    assert_eq!(replica.run("XLEN bear:queue"), Reply::Int(10));
    stays("a replica leaves Postgres alone", Duration::from_millis(300), || marked::applied(&database).is_empty());
    to_master.resume();
    wait_drained(&master);
    replica.wait_in_sync(&master);
    assert_eq!(replica.run("XLEN bear:queue"), Reply::Int(0));
    assert_applied_once(&database, &marks);
}

#[test]
fn a_promoted_replica_applies_what_it_had_received() {
    let Group { database, to_master, mut master, replica, to_replica: _to_replica } = start();
    let mut marks = enqueue_many(&master, "before", 10);
    wait_drained(&master);
    to_master.cut();
    marks.extend(enqueue_many(&master, "waiting", 10));
    replica.wait_in_sync(&master);
    master.kill9();
    assert!(replica.run("REPLICAOF NO ONE").is_ok());
    marks.extend(enqueue_many(&replica, "after", 10));
    wait_drained(&replica);
    assert_applied_once(&database, &marks);
}

/// The master had committed a batch, and died before it could say so.
#[test]
fn a_promoted_replica_repeats_nothing_that_was_committed() {
    let Group { database, to_master, mut master, replica, to_replica: _to_replica } = start();
    let mut gate = database.close_gate();
    Job::Hold { id: 1 }.enqueue(&master, "held");
    gate.wait(1);
    let mut marks = vec!["held".to_owned()];
    marks.extend(enqueue_many(&master, "waiting", 10));
    replica.wait_in_sync(&master);
    to_master.hold("; COMMIT", "bear.ledger");
    gate.open();
    eventually("the batch commits", || to_master.is_holding());
    master.kill9();
    assert!(replica.run("REPLICAOF NO ONE").is_ok());
    to_master.release(Verdict::Pass);
    wait_drained(&replica);
    assert_applied_once(&database, &marks);
}

#[test]
fn a_demoted_master_leaves_postgres_alone() {
    let Group { database, to_master, to_replica, master, replica } = start();
    to_master.cut();
    to_replica.cut();
    let mut marks = enqueue_many(&master, "waiting", 10);
    replica.wait_in_sync(&master);
    assert!(replica.run("REPLICAOF NO ONE").is_ok());
    assert!(master.run(&format!("REPLICAOF 127.0.0.1 {}", replica.port())).is_ok());
    to_master.resume();
    master.wait_in_sync(&replica);
    assert_eq!(master.run("XLEN bear:queue"), Reply::Int(10));
    stays("it leaves Postgres alone", Duration::from_millis(500), || marked::applied(&database).is_empty());
    to_replica.resume();
    marks.extend(enqueue_many(&replica, "after", 10));
    wait_drained(&replica);
    assert_applied_once(&database, &marks);
}

/// A batch is in hand when it is demoted: it ends with it, one way or the other, and the successor knows which.
#[test]
fn a_master_demoted_amid_a_batch_repeats_nothing() {
    let Group { database, master, replica, to_master: _to_master, to_replica: _to_replica } = start();
    let mut gate = database.close_gate();
    Job::Hold { id: 1 }.enqueue(&master, "held");
    gate.wait(1);
    let mut marks = vec!["held".to_owned()];
    marks.extend(enqueue_many(&master, "waiting", 10));
    replica.wait_in_sync(&master);
    assert!(replica.run("REPLICAOF NO ONE").is_ok());
    assert!(master.run(&format!("REPLICAOF 127.0.0.1 {}", replica.port())).is_ok());
    gate.open();
    marks.extend(enqueue_many(&replica, "after", 10));
    wait_drained(&replica);
    assert_applied_once(&database, &marks);
    assert_same_data(&replica, &master);
}

#[test]
fn a_client_that_waits_is_told_when_its_master_is_demoted() {
    let Group { database, master, replica, to_master: _to_master, to_replica: _to_replica } = start();
    let mut gate = database.close_gate();
    let mut waiter = master.wire();
    let mut command = Job::Hold { id: 1 }.command("held");
    command.extend(["BLOCK", "0"].map(str::to_owned));
    waiter.send(&command);
    gate.wait(1);
    replica.wait_in_sync(&master);
    assert!(replica.run("REPLICAOF NO ONE").is_ok());
    assert!(master.run(&format!("REPLICAOF 127.0.0.1 {}", replica.port())).is_ok());
    assert!(waiter.receive().is_error());
    gate.open();
    wait_drained(&replica);
    assert_applied_once(&database, &["held"]);
}

#[test]
fn failovers_under_load_lose_and_repeat_nothing() {
    let Group { database, master, replica, to_master: _to_master, to_replica: _to_replica } = start();
    let stop = AtomicBool::new(false);
    let taken = AtomicUsize::new(0);
    let nodes = [&master, &replica];
    let ports = nodes.map(Redis::port);
    let accepted: Vec<Vec<String>> = thread::scope(|scope| {
        let (stop, taken) = (&stop, &taken);
        let clients: Vec<_> = (0..3).map(|number| scope.spawn(move || client(number, ports, stop, taken))).collect();
        let end = StopAtEnd(stop);
        for round in 0..6 {
            let (from, to) = (nodes[round % 2], nodes[(round + 1) % 2]);
            let before = taken.load(Ordering::Relaxed);
            eventually("jobs are enqueued", || taken.load(Ordering::Relaxed) > before + 30);
            // The replica may not be in line yet after the round before.
            eventually("a failover begins", || from.run(&format!("FAILOVER TO 127.0.0.1 {}", to.port())).is_ok());
            eventually("the roles have changed", || {
                to.info("replication").text("role") == "master" && from.info("replication").text("role") == "slave"
            });
            eventually("the new replica follows", || from.info("replication").text("master_link_status") == "up");
        }
        drop(end);
        clients.into_iter().map(|client| client.join().expect("a client does not fail")).collect()
    });
    // After an even number of failovers the first is the master again.
    wait_drained(&master);
    assert_each_once(&database, &accepted.concat());
    assert_same_data(&master, &replica);
}

/// Enqueues at whoever takes it, and returns the marks of what was accepted. A connection is never lost: no answer is.
fn client(number: usize, ports: [u16; 2], stop: &AtomicBool, taken: &AtomicUsize) -> Vec<String> {
    let mut wires = ports.map(Wire::connect);
    let mut accepted = Vec::new();
    for count in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mark = format!("client{number}.{count}");
        let id = 1 + (count % 8) as i64;
        match wires[count % 2].call(&Job::Grow { id, by: 1 }.command(&mark)) {
            Reply::Bulk(_) => {
                accepted.push(mark);
                taken.fetch_add(1, Ordering::Relaxed);
            }
            Reply::Error(line) => {
                let is_known = ["READONLY ", "LOADING ", "MASTERDOWN "].iter().any(|code| line.starts_with(code));
                assert!(is_known, "{line}");
            }
            other => panic!("{other:?}"),
        }
        thread::sleep(Duration::from_millis(2));
    }
    accepted
}

#[test]
fn while_writes_are_paused_outcomes_wait() {
    let Group { database, master, replica, to_master: _to_master, to_replica: _to_replica } = start();
    let mut gate = database.close_gate();
    Job::Hold { id: 1 }.enqueue(&master, "held");
    gate.wait(1);
    let mut marks = vec!["held".to_owned()];
    marks.extend(enqueue_many(&master, "waiting", 10));
    assert!(master.run("CLIENT PAUSE 100000 WRITE").is_ok());
    let queued = master.run("XLEN bear:queue");
    gate.open();
    eventually("the batch is committed", || marked::applied(&database).contains(&marks[0]));
    stays("nothing is written", Duration::from_millis(200), || master.run("XLEN bear:queue") == queued);
    assert!(master.run("CLIENT UNPAUSE").is_ok());
    wait_drained(&master);
    assert_applied_once(&database, &marks);
    assert_same_data(&master, &replica);
}

#[test]
fn a_shutdown_amid_a_batch_ends_in_time_and_repeats_nothing() {
    let Group { database, mut master, to_master: _to_master, to_replica: _to_replica, replica: _replica } = start();
    let mut gate = database.close_gate();
    Job::Hold { id: 1 }.enqueue(&master, "held");
    gate.wait(1);
    let mut marks = vec!["held".to_owned()];
    marks.extend(enqueue_many(&master, "waiting", 10));
    master.shutdown();
    gate.open();
    master.start_again();
    wait_drained(&master);
    assert_applied_once(&database, &marks);
}

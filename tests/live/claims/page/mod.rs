//! The two workers of `docs/guides/workers.md`, each as it stands there: started as a process against a live Redis, given jobs of
//! every fate, killed, halted, asked to end.
//!
//! Their jobs tell webhooks of events, so that the test sees what a worker does and when: it is the webhook, and may keep a
//! worker waiting (`receiver`). `language` says how each is run.

mod language;
mod receiver;
mod stage;

use rustix::process::Signal;

use crate::support::eventually;

use language::{Language, Node, Python};
use stage::Stage;

#[test]
fn the_python_worker_does_as_the_page_says() {
    does_as_the_page_says(&Python);
}

#[test]
fn the_node_worker_does_as_the_page_says() {
    does_as_the_page_says(&Node);
}

fn does_as_the_page_says(language: &dyn Language) {
    let mut stage = Stage::set(language);
    each_fate(&mut stage);
    a_cancelled_job_is_ended(&mut stage);
    no_more_than_five_at_once(&mut stage);
    a_failover_and_a_crash_of_redis_lose_no_claim(&mut stage);
    what_a_killed_worker_held_is_taken_over(&mut stage);
    a_worker_that_wakes_too_late_changes_nothing(&mut stage);
    shutting_down_finishes_what_it_can(&mut stage);
}

fn each_fate(stage: &mut Stage) {
    let worker = stage.start_worker();
    let fine = stage.enqueue(&["fine", "fine/too"]);
    let broken = stage.enqueue(&["broken"]);
    let gone = stage.enqueue(&["gone"]);
    let slow = stage.enqueue(&["hold/slow"]);

    let record = stage.completed(&fine);
    assert_eq!(record["result"]["told"], 2);
    assert_eq!(record["attempts"], 1);
    assert!(record["worker"].as_str().is_some_and(|name| name.ends_with(&worker.id().to_string())), "{record}");
    assert_eq!(stage.receiver.keys("/fine/too"), [format!("{fine}/2")]);

    let record = stage.failed(&broken);
    assert_eq!(record["attempts"], 3);
    assert!(record["error"]["message"].as_str().is_some_and(|text| text.contains("500")), "{record}");
    assert!(record["error"]["stack"].as_str().is_some_and(|text| text.contains("deliver")), "{record}");
    let tokens = stage.receiver.tokens("/broken");
    assert!(tokens.len() == 3 && tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");

    assert_eq!(stage.failed(&gone)["attempts"], 1, "no use to try again");

    // Four heartbeats, a third of the lease apart.
    let before = stage.extended();
    eventually("the slow job outlasts its lease", || stage.extended() >= before + 4);
    stage.receiver.open("/hold/slow");
    assert_eq!(stage.completed(&slow)["attempts"], 1);
    assert_eq!(stage.receiver.tokens("/hold/slow").len(), 1);
    stage.workers.push(worker);
}

fn a_cancelled_job_is_ended(stage: &mut Stage) {
    let job = stage.enqueue(&["hold/cancelled", "after"]);
    stage.receiver.wait_for("/hold/cancelled", 1);
    assert_eq!(stage.redis.run(&format!("BEAR.CANCEL webhook {job} unwanted")).text(), "active");
    if stage.language.ends_requests() {
        eventually("the request is given up", || stage.receiver.gave_up("/hold/cancelled"));
    } else {
        let refused = stage.refused_extends();
        eventually("the worker has been told", || stage.refused_extends() > refused);
        stage.receiver.open("/hold/cancelled");
    }
    let record = stage.failed(&job);
    assert!(record["error"]["message"].as_str().is_some_and(|text| text.contains("unwanted")), "{record}");
    assert!(stage.receiver.tokens("/after").is_empty(), "it went on after it was cancelled");
}

fn no_more_than_five_at_once(stage: &mut Stage) {
    let jobs: Vec<String> = (0..7).map(|_| stage.enqueue(&["hold/five"])).collect();
    stage.receiver.wait_for("/hold/five", 5);
    assert_eq!(stage.redis.run("HLEN webhook:queue:work:claims").int(), 5);
    assert_eq!(stage.receiver.held("/hold/five"), 5);
    stage.receiver.open("/hold/five");
    for job in jobs {
        assert_eq!(stage.completed(&job)["attempts"], 1);
    }
}

fn a_failover_and_a_crash_of_redis_lose_no_claim(stage: &mut Stage) {
    let job = stage.enqueue(&["hold/failover"]);
    stage.receiver.wait_for("/hold/failover", 1);
    // As if another node were the master for a while: those that wait are told UNBLOCKED.
    stage.redis.run("REPLICAOF 127.0.0.1 1");
    eventually("it was refused a claim", || stage.worker().output().contains("again in a second"));
    stage.redis.run("REPLICAOF NO ONE");
    stage.receiver.open("/hold/failover");
    assert_eq!(stage.completed(&job)["attempts"], 1);

    let job = stage.enqueue(&["hold/crash"]);
    stage.receiver.wait_for("/hold/crash", 1);
    stage.redis.kill9();
    stage.redis.start_again();
    stage.receiver.open("/hold/crash");
    assert_eq!(stage.completed(&job)["attempts"], 1);
    assert_eq!(stage.receiver.tokens("/hold/crash").len(), 1);
}

fn what_a_killed_worker_held_is_taken_over(stage: &mut Stage) {
    let job = stage.enqueue(&["hold/killed"]);
    stage.receiver.wait_for("/hold/killed", 1);
    stage.workers.remove(0).end(Signal::KILL);
    let next = stage.start_worker();
    stage.workers.push(next);
    stage.receiver.wait_for("/hold/killed", 2);
    let tokens = stage.receiver.tokens("/hold/killed");
    assert!(tokens[0] < tokens[1], "{tokens:?}");
    stage.receiver.open("/hold/killed");
    let record = stage.completed(&job);
    assert_eq!(record["attempts"], 2);
    assert_eq!(record["token"], tokens[1]);
    assert!(
        record["errors"][0]["message"].as_str().is_some_and(|text| text.contains("the lease of worker")),
        "{record}"
    );
}

fn a_worker_that_wakes_too_late_changes_nothing(stage: &mut Stage) {
    let job = stage.enqueue(&["hold/halted"]);
    stage.receiver.wait_for("/hold/halted", 1);
    stage.worker().signal(Signal::STOP);
    let next = stage.start_worker();
    stage.receiver.wait_for("/hold/halted", 2);
    let tokens = stage.receiver.tokens("/hold/halted");
    stage.receiver.open("/hold/halted");
    let record = stage.completed(&job);
    assert_eq!(record["token"], tokens[1]);
    stage.worker().signal(Signal::CONT);
    eventually("the first worker is told", || stage.worker().output().contains("LOST"));
    assert_eq!(stage.completed(&job), record);
    stage.workers.push(next);
}

fn shutting_down_finishes_what_it_can(stage: &mut Stage) {
    stage.workers.remove(0).end(Signal::KILL);
    let soon = stage.enqueue(&["hold/soon"]);
    let late = stage.enqueue(&["hold/late"]);
    stage.receiver.wait_for("/hold/soon", 1);
    stage.receiver.wait_for("/hold/late", 1);
    stage.worker().signal(Signal::TERM);
    stage.receiver.open("/hold/soon");
    assert_eq!(stage.completed(&soon)["attempts"], 1);
    let not_begun = stage.enqueue(&["fine/later"]);
    let worker = stage.workers.remove(0);
    assert!(worker.ended_well(), "it ends by itself");
    assert_eq!(stage.redis.run("HLEN webhook:queue:work:claims").int(), 0, "what was not done is given back");
    assert!(stage.receiver.tokens("/fine/later").is_empty(), "it begins nothing more");

    let worker = stage.start_worker();
    assert_eq!(stage.completed(&not_begun)["attempts"], 1);
    stage.receiver.wait_for("/hold/late", 2);
    stage.receiver.open("/hold/late");
    assert_eq!(stage.completed(&late)["attempts"], 1, "a job that was given back has lost no attempt");
    drop(worker);
}

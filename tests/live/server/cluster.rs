//! In a cluster: a space is one slot, and keys of several slots never go in one command. One node that has all slots.

use std::time::Duration;

use crate::support::bears;
use crate::support::process::free_port;
use crate::support::{eventually, stays, Database, Redis, Reply};

#[track_caller]
fn wait_ready(redis: &Redis) {
    eventually("the cluster is ready", || redis.run("CLUSTER INFO").text().contains("cluster_state:ok"));
}

fn start(database: &Database) -> Redis {
    let redis = Redis::builder()
        .postgres(database)
        .catalog(bears::WITH_DENS)
        .append_only()
        .config("cluster-enabled", "yes")
        // By itself it takes the port plus 10000, which not every free port leaves room for.
        .config("cluster-port", free_port())
        .start();
    assert!(redis.run("CLUSTER ADDSLOTSRANGE 0 16383").is_ok());
    wait_ready(&redis);
    redis
}

/// Has one entry of each section, both of bear 5.
fn fill(redis: &Redis) {
    assert_eq!(redis.run("BEAR.QUERY bear all").json().as_array().unwrap().len(), 8);
    assert_eq!(redis.run("BEAR.QUERY den x 1").text(), r#"[{"id":1}]"#);
    redis.wait_stored();
    assert_eq!(redis.run("SMEMBERS {bear}:meta:5:caches").sorted_texts(), ["{bear}:all", "{den}:x:1"]);
}

/// The channel is in the space's slot: there its client listens and asks.
#[test]
fn the_end_of_a_fetch_is_told_by_the_slots_node() {
    let database = bears::database();
    let redis = start(&database);
    let mut wire = redis.resp3_wire();
    let refused = wire.run("BEAR.QUERY bear NOBLOCK web-1 all");
    assert!(refused.error().starts_with("ERR in a cluster the name after NOBLOCK bears the space's hash tag, {bear}"));
    wire.begin("SSUBSCRIBE bear:fill:{bear}:web-1");
    assert!(matches!(wire.receive(), Reply::Push(_)));
    assert_eq!(wire.run("BEAR.QUERY bear NOBLOCK {bear}:web-1 all"), Reply::Nil);
    let Reply::Push(parts) = wire.receive() else { panic!("a push") };
    assert_eq!([parts[0].text(), parts[1].text()], ["smessage", "bear:fill:{bear}:web-1"]);
    let begins = r#"{"space":"bear","call":["all"],"key":"{bear}:all","status":"stored","result":[{"id":1}"#;
    assert!(parts[2].text().starts_with(begins), "{parts:?}");
}

/// Its keys are in one slot, and only the node of that slot carries it out.
#[test]
fn a_schedule_is_its_slots_nodes() {
    let redis = Redis::builder()
        .catalog("[mail]\n[mail.job.SEND]\nclaim = {}\n[mail.schedule.own]\nevery = \"100ms\"\njob = \"SEND\"\n")
        .append_only()
        .config("appendfsync", "always")
        .config("cluster-enabled", "yes")
        .config("cluster-port", free_port())
        .config("cluster-require-full-coverage", "no")
        .start();
    let slot = redis.run("CLUSTER KEYSLOT {mail}").int();
    assert!(redis.run("CLUSTER ADDSLOTSRANGE 0 16383").is_ok());
    wait_ready(&redis);
    let ticks = || redis.run("XLEN {mail}:queue:work");
    eventually("it ticks", || ticks().int() > 2);
    assert!(redis.run("EXISTS {mail}:queue:schedules:state").int() == 1);
    assert!(redis.run(&format!("CLUSTER DELSLOTS {slot}")).is_ok());
    assert!(ticks().is_error());
    // What was under way when the slot went is in the file by now.
    let written = redis.aof().len();
    stays("it rests", Duration::from_millis(500), || redis.aof().len() == written);
    assert!(redis.run(&format!("CLUSTER ADDSLOTS {slot}")).is_ok());
    eventually("it is taken up again", || redis.aof().len() > written);
}

/// In a cluster, Valkey 9 refuses a module's UNLINK and DEL outside commands: what is removed is not served, and its keys
/// stay until their TTL. So far that is all that can be asserted there.
fn removes_no_keys(redis: &Redis) -> bool {
    redis.run("INFO server").text().contains("valkey_version:9")
}

#[test]
fn a_row_drops_entries_of_all_sections_whatever_their_slots() {
    let database = bears::database();
    let redis = start(&database);
    fill(&redis);
    let slots = ["{bear}:all", "{den}:x:1"].map(|key| redis.run(&format!("CLUSTER KEYSLOT {key}")).int());
    assert_ne!(slots[0], slots[1]);
    let removed = redis.run("BEAR.INVALIDATE bear ROW 5");
    for call in ["bear CACHED all", "den CACHED x 1"] {
        assert_eq!(redis.run(&format!("BEAR.QUERY {call}")), Reply::Nil, "{call}");
    }
    if removes_no_keys(&redis) {
        return;
    }
    assert_eq!(removed, Reply::Int(2));
    eventually("no key is left in any slot", || redis.keys().is_empty());
    fill(&redis);
    assert!(!redis.run("DEL {bear}:meta:5:caches").is_error());
    eventually("the other section's entry goes, too", || redis.run("BEAR.QUERY den CACHED x 1").is_nil());
}

#[test]
fn a_node_of_a_cluster_starts_cold() {
    let database = bears::database();
    let mut redis = start(&database);
    fill(&redis);
    redis.restart();
    wait_ready(&redis);
    for call in ["bear CACHED all", "den CACHED x 1"] {
        assert_eq!(redis.run(&format!("BEAR.QUERY {call}")), Reply::Nil, "{call}");
    }
    if removes_no_keys(&redis) {
        return;
    }
    eventually("what was stored before is swept", || redis.keys().is_empty());
    fill(&redis);
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(2));
}

#[test]
fn keys_of_others_are_left_alone_and_its_own_known_again() {
    let database = bears::database();
    let mut redis = start(&database);
    fill(&redis);
    assert!(redis.run("SET {den}:x:7 mine").is_ok());
    assert_eq!(redis.run("BEAR.QUERY den x 7").text(), r#"[{"id":7}]"#);
    redis.wait_stored();
    assert_eq!(redis.run("GET {den}:x:7").text(), "mine");
    redis.kill9();
    redis.start_again();
    wait_ready(&redis);
    eventually("it has looked around", || redis.info("bear").int("bear_sweeping_all") == 0);
    assert_eq!(redis.info("bear").int("bear_foreign_sections"), 0);
    fill(&redis);
    assert_eq!(redis.run("GET {den}:x:7").text(), "mine");
    // A dataset that has not been bear's.
    assert!(redis.run("FLUSHALL").is_ok());
    assert!(redis.run("SET {bear}:all mine").is_ok());
    redis.kill9();
    redis.start_again();
    wait_ready(&redis);
    eventually("it is refused", || redis.run("BEAR.QUERY bear all").is_error());
    assert!(redis.run("BEAR.QUERY bear all").error().starts_with("FOREIGN "));
    assert_eq!(redis.run("BEAR.QUERY den x 1").text(), r#"[{"id":1}]"#);
    assert_eq!(redis.run("GET {bear}:all").text(), "mine");
}

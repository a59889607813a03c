//! What the append-only file and replicas see of locks and limits: plain commands, a step a unit.

use super::append_only;
use crate::support::locks::{limit, lock, lock_waiter, token};
use crate::support::{eventually, Unit};

/// `SET door PXAT, DEL door`: the commands of each unit, with the last part of their keys.
fn shape(units: &[Unit]) -> Vec<String> {
    let of = |unit: &Unit| {
        let each = unit.iter().map(|command| {
            let key = command.text(1);
            let option = if command.name() == "SET" { command.text(3) } else { String::new() };
            format!("{} {} {option}", command.name(), key.rsplit(':').next().unwrap_or_default()).trim().to_owned()
        });
        each.collect::<Vec<_>>().join(", ")
    };
    units.iter().map(of).collect()
}

#[test]
fn each_step_is_one_unit_of_plain_commands() {
    let redis = append_only();
    let mut wire = redis.wire();
    // The section's mark, and the space's token, are written with the first one.
    let first = lock(&mut wire, "api door 60000");
    let units = redis.aof();
    assert_eq!(shape(&units).last().map(String::as_str), Some("SET @token, SADD sections, SET door PXAT"));
    wire.run(&format!("BEAR.UNLOCK api door {first}"));
    let mut stream = redis.replication_stream();
    let from = redis.aof().len();
    let mut expected: Vec<String> = Vec::new();
    let mut saw = |what: &str, shapes: &[&str]| {
        let mut all = Vec::new();
        // What happens by time comes a little later.
        eventually(what, || {
            all.extend(shape(&stream.units()));
            all.len() >= shapes.len()
        });
        assert_eq!(all, shapes, "{what}");
        expected.extend(shapes.iter().map(|shape| (*shape).to_owned()));
    };
    let held = lock(&mut wire, "api door 60000");
    saw("it is taken", &["SET door PXAT"]);
    let mut waiter = lock_waiter(&redis, "api door 3000 WAIT 60000", 0);
    wire.run("BEAR.LOCK api door 1000");
    wire.run("BEAR.UNLOCK api door 7");
    wire.run("BEAR.EXTENDLOCK api door 7 1000");
    saw("others change nothing", &[]);
    wire.run(&format!("BEAR.EXTENDLOCK api door {held} 50000"));
    saw("it is extended", &["SET door PXAT"]);
    wire.run(&format!("BEAR.UNLOCK api door {held}"));
    token(&waiter.receive());
    saw("it is given back, and who waits has it", &["DEL door", "SET door PXAT"]);
    limit(&mut wire, "api search 42 5");
    saw("a limit lets through", &["SET 42 PXAT"]);
    limit(&mut wire, "api search 42 5");
    limit(&mut wire, "api search 42 0");
    saw("it lets nothing through", &[]);
    assert_eq!(shape(&redis.aof()[from..]), expected, "the append-only file");
    // Redis itself may have taken the key away by then, in a unit of its own.
    lock(&mut wire, "api door 60000 WAIT 20000");
    let commands: Vec<String> = stream
        .units()
        .into_iter()
        .flatten()
        .filter(|command| command.text(1) == "api:@lock:door")
        .map(|command| shape(&[vec![command]]).remove(0))
        .collect();
    // Valkey has keys taken away by UNLINK.
    let is_taken_away = ["DEL door", "UNLINK door"].contains(&commands[0].as_str());
    assert!(is_taken_away && commands[1..] == ["SET door PXAT"], "its time is over: {commands:?}");
}

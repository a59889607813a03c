//! BEAR.MQUERY: many calls in one command, each answered as BEAR.QUERY would, all misses fetched at the same time.

use crate::support::bears::{self, selects};
use crate::support::{eventually, Database, Redis, Reply, Wire};

fn gated(database: &Database) -> Redis {
    Redis::builder().postgres(database).catalog(bears::gated_catalog()).config("bear.query-timeout-ms", 30_000).start()
}

/// The command's words: each call after the number of its own.
fn words(space: &str, option: &str, calls: &[&str]) -> Vec<String> {
    let mut words: Vec<String> = ["BEAR.MQUERY", space].map(Into::into).into();
    words.extend(option.split_whitespace().map(Into::into));
    for call in calls {
        let call: Vec<&str> = call.split(' ').collect();
        words.push(call.len().to_string());
        words.extend(call.into_iter().map(Into::into));
    }
    words
}

fn mquery(wire: &mut Wire, option: &str, calls: &[&str]) -> Vec<Reply> {
    wire.call(&words("bear", option, calls)).list().to_vec()
}

fn texts(reply: &Reply) -> Vec<String> {
    reply.list().iter().map(Reply::text).collect()
}

fn size(from: u32) -> String {
    format!("size {from} {from}")
}

fn info(redis: &Redis, name: &str) -> i64 {
    redis.info("bear").int(&format!("bear_{name}"))
}

#[test]
fn each_call_is_answered_in_its_place() {
    let database = bears::database();
    let redis = Redis::with(&database);
    redis.run("BEAR.QUERY bear colors white");
    let (mut two, mut three) = (redis.wire(), redis.resp3_wire());
    let calls = ["size 90 90", "colors white", "sizes", "size 1 many", "size 0090 90", "all"];
    for _ in 0..2 {
        for wire in [&mut two, &mut three] {
            let replies = mquery(wire, "", &calls);
            assert_eq!(replies.len(), 6);
            assert_eq!(replies[0].text(), bears::json(&[8]));
            assert_eq!(replies[1].text(), bears::json(&[3, 4]));
            assert!(replies[2].error().starts_with("ERR no query of 'bear' matches 'sizes'"), "{:?}", replies[2]);
            assert!(replies[3].error().starts_with("ERR end must be an integer"), "{:?}", replies[3]);
            assert_eq!(replies[4], replies[0]);
            assert_eq!(replies[5].text(), bears::json(&[1, 2, 3, 4, 5, 6, 7, 8]));
        }
        redis.wait_stored();
    }
    assert_eq!(selects(&database), 3);
    assert_eq!(redis.run("GET bear:size:90:90").text(), bears::json(&[8]));
}

#[test]
fn all_misses_are_fetched_at_the_same_time_and_a_call_twice_once() {
    let database = bears::database();
    let redis = gated(&database);
    for option in ["", "FRESH"] {
        let before = selects(&database);
        let mut gate = database.close_gate();
        let mut wire = redis.wire();
        let calls = ["size 90 90", "size 100 100", "size 90 90", "size 120 120", "size 090 90"];
        wire.send(&words("bear", option, &calls));
        gate.wait(3);
        gate.open();
        let replies = wire.receive().list().to_vec();
        let expected = [8, 4, 8, 2, 8].map(|id| bears::json(&[id]));
        assert_eq!(replies.iter().map(Reply::text).collect::<Vec<_>>(), expected);
        redis.wait_stored();
        assert_eq!(mquery(&mut wire, "", &calls).iter().map(Reply::text).collect::<Vec<_>>(), expected);
        assert_eq!(selects(&database), before + 3, "{option}");
    }
}

#[test]
fn cached_never_waits() {
    let database = bears::database();
    let redis = Redis::with(&database);
    redis.run("BEAR.QUERY bear all");
    redis.wait_stored();
    let replies = mquery(&mut redis.wire(), "CACHED", &["size 90 90", "all", "nothing"]);
    assert_eq!(replies[0], Reply::Nil);
    assert_eq!(replies[1].text(), bears::json(&[1, 2, 3, 4, 5, 6, 7, 8]));
    assert!(replies[2].is_error());
    assert_eq!(selects(&database), 1);
}

#[test]
fn others_wait_for_the_same_fetch() {
    let database = bears::database();
    let redis = gated(&database);
    let mut gate = database.close_gate();
    let (mut one, mut many, mut others) = (redis.wire(), redis.wire(), redis.wire());
    one.begin("BEAR.QUERY bear size 90 90");
    gate.wait(1);
    many.send(&words("bear", "", &["size 90 90", "size 100 100"]));
    gate.wait(2);
    others.send(&words("bear", "", &["size 100 100", "size 90 90"]));
    redis.wait_blocked(3);
    gate.open();
    assert_eq!(one.receive().text(), bears::json(&[8]));
    assert_eq!(texts(&many.receive()), [bears::json(&[8]), bears::json(&[4])]);
    assert_eq!(texts(&others.receive()), [bears::json(&[4]), bears::json(&[8])]);
    assert_eq!(selects(&database), 2);
}

#[test]
fn a_struck_fetch_answers_who_came_before_and_is_fetched_again_for_who_came_later() {
    let database = bears::database();
    let redis = gated(&database);
    let mut first_gate = database.close_gate();
    let (mut early, mut late) = (redis.wire(), redis.wire());
    early.send(&words("bear", "", &["size 150 150"]));
    first_gate.wait(1);
    database.run("UPDATE bear SET name = 'Boo-Boo' WHERE id = 5");
    let mut second_gate = database.close_gate();
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(0));
    late.send(&words("bear", "", &["size 150 150", "nothing"]));
    redis.wait_blocked(2);
    first_gate.open();
    assert_eq!(texts(&early.receive()), [bears::json(&[5])]);
    second_gate.wait(1);
    second_gate.open();
    let replies = late.receive().list().to_vec();
    assert_eq!(replies[0].text(), bears::json(&[5]).replace("Yogi", "Boo-Boo"));
    assert!(replies[1].is_error());
    assert_eq!(selects(&database), 2);
}

#[test]
fn what_fails_leaves_an_error_in_its_place() {
    let database = bears::database();
    let catalog = "[bear]\nid = \"int\"\ntables = { bear = \"id\" }\n\
                   [[bear.query]]\ncall = \"all\"\nsql = \"SELECT id FROM bear b ORDER BY id LIMIT 1\"\n\
                   [[bear.query]]\ncall = \"divide {by:int}\"\nsql = \"SELECT 1 / {by}::int8 AS id FROM bear b LIMIT 1\"\n\
                   [[bear.query]]\ncall = \"slow\"\nsql = \"SELECT id FROM bear b, pg_sleep(30)\"\n";
    let redis = Redis::builder().postgres(&database).catalog(catalog).config("bear.query-timeout-ms", 500).start();
    let replies = mquery(&mut redis.wire(), "", &["all", "divide 0", "slow", "divide 1"]);
    assert_eq!(replies[0].text(), r#"[{"id":1}]"#);
    assert!(replies[1].error().starts_with("QUERY 'divide {by:int}' of 'bear': division by zero"), "{replies:?}");
    assert!(replies[2].error().starts_with("TIMEOUT "), "{replies:?}");
    assert_eq!(replies[3].text(), r#"[{"id":1}]"#);
    redis.wait_blocked(0);
    eventually("no fetch runs", || info(&redis, "fills_running") == 0);
    assert_eq!(info(&redis, "clients_waiting"), 0);
}

#[test]
fn without_postgres_hits_are_answered_beside_errors() {
    let redis = Redis::builder().start();
    let replies = mquery(&mut redis.wire(), "", &["all", "size 1 2"]);
    assert!(replies.iter().all(|reply| reply.error().starts_with("POSTGRES no URL is configured")), "{replies:?}");
}

#[test]
fn over_the_limit_of_fetches_the_rest_is_refused() {
    let database = bears::database();
    let redis = Redis::builder()
        .postgres(&database)
        .catalog(bears::gated_catalog())
        .config("bear.max-fills", 2)
        .config("bear.query-timeout-ms", 30_000)
        .start();
    let mut gate = database.close_gate();
    let mut wire = redis.wire();
    wire.send(&words("bear", "", &["size 90 90", "size 100 100", "size 120 120", "size 90 90"]));
    gate.wait(2);
    gate.open();
    let replies = wire.receive().list().to_vec();
    assert_eq!([&replies[0], &replies[1], &replies[3]].map(Reply::text), [8, 4, 8].map(|id| bears::json(&[id])));
    assert!(replies[2].error().starts_with("OVERLOADED 2 fetches"), "{replies:?}");
}

#[test]
fn in_a_transaction_and_in_a_script_nothing_waits() {
    let database = bears::database();
    let redis = Redis::with(&database);
    redis.run("BEAR.QUERY bear all");
    redis.wait_stored();
    let mut wire = redis.wire();
    assert!(wire.run("MULTI").is_ok());
    wire.run("BEAR.MQUERY bear 1 all 3 size 90 90");
    wire.run("BEAR.MQUERY bear CACHED 3 size 90 90 1 all");
    let replies = wire.run("EXEC").list().to_vec();
    let all = bears::json(&[1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(replies[0].list()[0].text(), all);
    assert!(replies[0].list()[1].error().starts_with("NOWAIT "));
    assert_eq!(replies[1].list(), [Reply::Nil, Reply::Bulk(all.clone().into())]);
    let script =
        "local r = redis.call('BEAR.MQUERY', KEYS[1], '1', 'all', '3', 'size', '90', '90'); return {r[1], r[2].err}";
    let replies = wire.call(&["EVAL", script, "1", "bear"]).list().to_vec();
    assert_eq!(replies[0].text(), all);
    assert!(replies[1].text().starts_with("NOWAIT "), "{replies:?}");
    assert_eq!(selects(&database), 1);
}

#[test]
fn a_wrong_command_is_refused_as_a_whole() {
    let redis = Redis::builder().start();
    let mut wire = redis.wire();
    let too_many = format!("bear{}", " 1 all".repeat(1_001));
    let too_many_words = format!("bear{}", format!(" 1999{}", " x".repeat(1999)).repeat(11));
    for (line, error) in [
        ("bear all 1", "ERR each call comes after the number of its words, from 1 to 2000; got 'all' before call 1"),
        ("bear 0 all", "ERR each call comes after the number of its words, from 1 to 2000; got '0' before call 1"),
        (
            "bear 2001 all",
            "ERR each call comes after the number of its words, from 1 to 2000; got '2001' before call 1",
        ),
        ("bear 3 size 90", "ERR word 3 of 3 of call 1 is missing"),
        ("bear 1 all 3 size", "ERR word 2 of 3 of call 2 is missing"),
        (
            "bear 1 all all",
            "ERR each call comes after the number of its words, from 1 to 2000; got 'all' before call 2",
        ),
        ("bears 1 all", "ERR no section is called 'bears'"),
        ("bear CACHED FRESH 1", "ERR each call comes after"),
        ("bear FRESH 1", "ERR word 1 of 1 of call 1 is missing"),
        (&too_many, "ERR a command takes at most 1000 calls; send them in several"),
        (&too_many_words, "TOOLARGE the calls of one command may have 20000 words"),
    ] {
        let reply = wire.run(&format!("BEAR.MQUERY {line}"));
        assert!(reply.error().starts_with(error), "{:?}", reply);
    }
    assert!(wire.run("BEAR.MQUERY bear 1").error().contains("wrong number of arguments"));
}

/// More than a slice takes: hits, misses, errors and a call that is there again, in their places.
#[test]
fn a_thousand_calls_are_one_reply() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    let calls: Vec<String> = (0..1_000)
        .map(|n| match n % 5 {
            0 => size(90),
            1 => size(n),
            2 => format!("nothing {n}"),
            _ => format!("size {n} {}", n + 10),
        })
        .collect();
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let first = mquery(&mut wire, "", &calls);
    redis.wait_stored();
    let hits = info(&redis, "hits");
    let second = mquery(&mut wire, "", &calls);
    assert_eq!(first, second);
    assert_eq!(info(&redis, "hits") - hits, 800);
    for (n, reply) in second.iter().enumerate() {
        match n % 5 {
            0 => assert_eq!(reply.text(), bears::json(&[8]), "{n}"),
            2 => assert!(reply.error().contains(&format!("matches 'nothing {n}'")), "{n}: {reply:?}"),
            _ => assert_eq!(reply, &wire.run(&format!("BEAR.QUERY bear {}", calls[n])), "{n}"),
        }
    }
    // As for BEAR.QUERY, whoever wrote them.
    assert!(redis.info("errorstats").text("errorstat_ERR").contains("count=400"));
}

/// Who hangs up while he waits leaves nothing behind, and the fetches go on for others.
#[test]
fn a_client_that_has_gone_is_forgotten() {
    let database = bears::database();
    let redis = gated(&database);
    let mut gate = database.close_gate();
    let mut gone = redis.wire();
    gone.send(&words("bear", "", &["size 90 90", "size 100 100"]));
    gate.wait(2);
    drop(gone);
    eventually("it is noticed", || info(&redis, "clients_waiting") == 0);
    gate.open();
    redis.wait_stored();
    eventually("no fetch runs", || info(&redis, "fills_running") == 0);
    assert_eq!(mquery(&mut redis.wire(), "CACHED", &["size 90 90"])[0].text(), bears::json(&[8]));
    assert_eq!(selects(&database), 2);
}

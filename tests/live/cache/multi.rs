//! In MULTI and in scripts nothing can wait: hits are answered, misses say so.

use crate::support::bears::{self, selects};
use crate::support::{Redis, Reply};

fn transaction(redis: &Redis, lines: &[&str]) -> Vec<Reply> {
    let mut wire = redis.wire();
    assert!(wire.run("MULTI").is_ok());
    for line in lines {
        assert_eq!(wire.run(line).text(), "QUEUED");
    }
    wire.run("EXEC").list().to_vec()
}

#[test]
fn in_a_transaction_hits_answer_and_misses_do_not_wait() {
    let database = bears::database();
    let redis = Redis::with(&database);
    redis.run("BEAR.QUERY bear colors white");
    redis.wait_stored();
    let replies = transaction(
        &redis,
        &[
            "SET x 1",
            "BEAR.QUERY bear colors white",
            "BEAR.QUERY bear all",
            "BEAR.QUERY bear FRESH colors white",
            "BEAR.QUERY bear CACHED all",
            "BEAR.QUERY bear sizes",
            "GET x",
        ],
    );
    assert_eq!(replies[1].text(), bears::json(&[3, 4]));
    for miss in [2, 3] {
        assert!(replies[miss].error().starts_with("NOWAIT "), "{:?}", replies[miss]);
    }
    assert_eq!(replies[4], Reply::Nil);
    assert!(replies[5].error().starts_with("ERR no query of 'bear' matches"));
    assert_eq!(replies[6].text(), "1");
    assert_eq!(selects(&database), 1);
    assert_eq!(redis.run("EXISTS bear:all"), Reply::Int(0));
}

#[test]
fn in_a_script_hits_answer_and_misses_do_not_wait() {
    let database = bears::database();
    let redis = Redis::with(&database);
    redis.run("BEAR.QUERY bear colors white");
    redis.wait_stored();
    let mut wire = redis.wire();
    let mut eval = |script: &str| wire.call(&["EVAL", script, "1", "bear"]);
    let hit = eval("return redis.call('BEAR.QUERY', KEYS[1], 'colors', 'white')");
    assert_eq!(hit.text(), bears::json(&[3, 4]));
    let miss = eval("return redis.pcall('BEAR.QUERY', KEYS[1], 'all')['err']");
    assert!(miss.text().starts_with("NOWAIT "), "{miss:?}");
    let miss = eval("return redis.call('BEAR.QUERY', KEYS[1], 'all')");
    assert!(miss.error().contains("NOWAIT "), "{miss:?}");
    let nothing = eval("return redis.call('BEAR.QUERY', KEYS[1], 'CACHED', 'all') == false");
    assert_eq!(nothing, Reply::Int(1));
    assert_eq!(selects(&database), 1);
    assert_eq!(redis.run("EXISTS bear:all"), Reply::Int(0));
}

#[test]
fn in_a_function_and_a_read_only_script_hits_answer() {
    let database = bears::database();
    let redis = Redis::with(&database);
    redis.run("BEAR.QUERY bear colors white");
    redis.wait_stored();
    let mut wire = redis.wire();
    let hit = wire.call(&["EVAL_RO", "return redis.call('BEAR.QUERY', KEYS[1], 'colors', 'white')", "1", "bear"]);
    assert_eq!(hit.text(), bears::json(&[3, 4]));
    let library = "#!lua name=lib\nredis.register_function('ask', function(keys) return redis.call('BEAR.QUERY', keys[1], 'colors', 'white') end)";
    assert!(!wire.call(&["FUNCTION", "LOAD", library]).is_error());
    assert_eq!(wire.run("FCALL ask 1 bear").text(), bears::json(&[3, 4]));
}

#[test]
fn a_miss_in_a_transaction_does_not_end_a_fetch_of_others() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(bears::gated_catalog()).start();
    let mut gate = database.close_gate();
    let mut client = redis.wire();
    client.begin("BEAR.QUERY bear colors white");
    gate.wait(1);
    let replies = transaction(&redis, &["BEAR.QUERY bear colors white", "BEAR.INVALIDATE bear ROW 8"]);
    assert!(replies[0].error().starts_with("NOWAIT "));
    assert_eq!(replies[1], Reply::Int(0));
    gate.open();
    assert_eq!(client.receive().text(), bears::json(&[3, 4]));
    redis.wait_stored();
    assert_eq!(transaction(&redis, &["BEAR.QUERY bear colors white"])[0].text(), bears::json(&[3, 4]));
}

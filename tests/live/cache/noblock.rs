//! BEAR.QUERY … NOBLOCK: nobody waits for a miss; how its fetch ended is told on the same connection.

use crate::support::bears::{self, selects};
use crate::support::{eventually, Database, Redis, Reply, Wire};

fn gated(database: &Database) -> Redis {
    Redis::builder().postgres(database).catalog(bears::gated_catalog()).config("bear.query-timeout-ms", 30_000).start()
}

/// A connection that listens and asks.
fn listener(redis: &Redis) -> Wire {
    let mut wire = redis.resp3_wire();
    wire.begin("SUBSCRIBE bear:fill:web-1");
    assert!(matches!(wire.receive(), Reply::Push(_)));
    wire
}

/// How messages about a call begin, of which the words are those of its key.
fn about(key: &str) -> String {
    let words = key.strip_prefix("bear:").expect("a key of bears").replace(':', r#"",""#);
    format!(r#"{{"space":"bear","call":["{words}"],"key":"{key}","#)
}

/// The next message; it comes as a push, and as what it is named.
#[track_caller]
fn message(wire: &mut Wire) -> String {
    let pushed = wire.receive();
    let Reply::Push(parts) = &pushed else { panic!("{pushed:?}") };
    assert_eq!([parts[0].text(), parts[1].text()], ["message", "bear:fill:web-1"]);
    parts[2].text()
}

fn stored(key: &str, json: &str) -> String {
    about(key) + &format!(r#""status":"stored","result":{json}}}"#)
}

fn info(redis: &Redis, name: &str) -> i64 {
    redis.info("bear").int(&format!("bear_{name}"))
}

const MISS: &str = "BEAR.QUERY bear NOBLOCK web-1 size 150 150";
const KEY: &str = "bear:size:150:150";

#[test]
fn a_miss_is_nil_at_once_and_its_result_comes_as_a_message() {
    let database = bears::database();
    let redis = gated(&database);
    let mut gate = database.close_gate();
    let mut wire = listener(&redis);
    assert_eq!(wire.run(MISS), Reply::Nil);
    gate.wait(1);
    // Nothing is held up.
    assert_eq!(wire.run("PING").text(), "PONG");
    assert_eq!(info(&redis, "fill_messages_waiting"), 1);
    gate.open();
    assert_eq!(message(&mut wire), stored(KEY, &bears::json(&[5])));
    assert_eq!(wire.run(MISS).text(), bears::json(&[5]), "a hit is answered as ever");
    // The call as it was typed, and the key of its entry.
    assert_eq!(wire.run("BEAR.QUERY bear NOBLOCK web-1 colors white,black,white"), Reply::Nil);
    let told = message(&mut wire);
    let begins =
        r#"{"space":"bear","call":["colors","white,black,white"],"key":"bear:colors:black,white","status":"stored","#;
    assert!(told.starts_with(begins), "{told}");
    assert_eq!((selects(&database), info(&redis, "fill_messages_sent")), (2, 2));
    assert_eq!(info(&redis, "fill_messages_waiting"), 0);
}

#[test]
fn who_waits_and_who_does_not_share_a_fetch() {
    let database = bears::database();
    let redis = gated(&database);
    let mut gate = database.close_gate();
    let (mut wire, mut waits) = (listener(&redis), redis.wire());
    waits.begin("BEAR.QUERY bear size 150 150");
    gate.wait(1);
    assert_eq!(wire.run(MISS), Reply::Nil);
    assert_eq!(wire.run(MISS), Reply::Nil);
    gate.open();
    // As often as it was asked.
    for _ in 0..2 {
        assert_eq!(message(&mut wire), stored(KEY, &bears::json(&[5])));
    }
    assert_eq!(waits.receive().text(), bears::json(&[5]));
    assert_eq!(selects(&database), 1);
}

#[test]
fn a_struck_fetch_tells_who_asked_before_the_strike_and_is_sent_again_for_who_asked_later() {
    let database = bears::database();
    let redis = gated(&database);
    let mut first_gate = database.close_gate();
    let mut wire = listener(&redis);
    assert_eq!(wire.run(MISS), Reply::Nil);
    first_gate.wait(1);
    database.run("UPDATE bear SET name = 'Boo-Boo' WHERE id = 5");
    let mut second_gate = database.close_gate();
    redis.run("BEAR.INVALIDATE bear ROW 5");
    assert_eq!(wire.run(MISS), Reply::Nil);
    first_gate.open();
    let old = bears::json(&[5]);
    assert_eq!(message(&mut wire), stored(KEY, &old).replace("stored", "struck"));
    second_gate.wait(1);
    assert_eq!(redis.run("BEAR.QUERY bear CACHED size 150 150"), Reply::Nil);
    second_gate.open();
    let new = old.replace("Yogi", "Boo-Boo");
    assert_eq!(message(&mut wire), stored(KEY, &new));
    assert_eq!(wire.run(MISS).text(), new);
    assert_eq!(selects(&database), 2);
}

const CATALOG: &str = "[bear]\nid = \"int\"\ntables = { bear = \"id\" }\n\
    [[bear.query]]\ncall = \"text {n:int}\"\nsql = \"SELECT id, repeat('x', {n}::int) AS t FROM bear b WHERE id = 1\"\n\
    [[bear.query]]\ncall = \"divide {by:int}\"\nsql = \"SELECT 1 / {by}::int8 AS id FROM bear b LIMIT 1\"\n\
    [[bear.query]]\ncall = \"slow\"\nsql = \"SELECT id FROM bear b, pg_sleep(30)\"\n";

#[test]
fn each_end_of_a_fetch_is_told() {
    let database = bears::database();
    let redis = Redis::builder()
        .postgres(&database)
        .catalog(CATALOG)
        .config("bear.query-timeout-ms", 500)
        .config("bear.max-entry-bytes", 20_000)
        .start();
    let mut wire = listener(&redis);
    let mut ask = |call: &str| {
        assert_eq!(wire.run(&format!("BEAR.QUERY bear NOBLOCK web-1 {call}")), Reply::Nil);
        message(&mut wire)
    };
    let text = |n: usize| format!(r#"[{{"id":1,"t":"{}"}}]"#, "x".repeat(n));
    assert_eq!(ask("text 10"), stored("bear:text:10", &text(10)));
    // 16 KB, and one byte more.
    let most = (16 << 10) - text(0).len();
    assert_eq!(ask(&format!("text {most}")), stored(&format!("bear:text:{most}"), &text(most)));
    assert_eq!(ask(&format!("text {}", most + 1)), about(&format!("bear:text:{}", most + 1)) + r#""status":"stored"}"#);
    assert_eq!(ask("text 30000"), about("bear:text:30000") + r#""status":"discarded"}"#);
    let failed = ask("divide 0");
    let begins = r#""status":"failed","error":"QUERY 'divide {by:int}' of 'bear': division by zero"#;
    assert!(failed.starts_with(&(about("bear:divide:0") + begins)), "{failed}");
    let late = ask("slow");
    assert!(late.starts_with(&(about("bear:slow") + r#""status":"failed","error":"TIMEOUT "#)), "{late}");
    eventually("no fetch runs", || info(&redis, "fills_running") == 0);
    assert_eq!(info(&redis, "fill_messages_waiting"), 0);
    assert_eq!(redis.run(&format!("BEAR.QUERY bear CACHED text {}", most + 1)).text(), text(most + 1));
}

#[test]
fn what_is_wrong_is_answered_at_once() {
    let redis = Redis::builder().start();
    let mut wire = redis.wire();
    let long = format!("bear NOBLOCK {} all", "x".repeat(65));
    for (line, error) in [
        ("bear NOBLOCK web-1 sizes", "ERR no query of 'bear' matches 'sizes'"),
        ("bear NOBLOCK all", "ERR the call is missing"),
        ("bear NOBLOCK w*b all", "ERR the name after NOBLOCK is 1 to 64 of A-Z a-z 0-9 _ . : - { }"),
        (&long, "ERR the name after NOBLOCK"),
        ("bear NOBLOCK web-1 all", "POSTGRES no URL is configured"),
        ("bears NOBLOCK web-1 all", "ERR no section is called 'bears'"),
    ] {
        let reply = wire.run(&format!("BEAR.QUERY {line}"));
        assert!(reply.error().starts_with(error), "{reply:?}");
    }
    assert_eq!(info(&redis, "fill_messages_waiting"), 0);
}

#[test]
fn in_a_transaction_and_in_a_script_nothing_waits_either() {
    let database = bears::database();
    let redis = gated(&database);
    let mut wire = listener(&redis);
    assert!(wire.run("MULTI").is_ok());
    wire.run(MISS);
    assert_eq!(wire.run("EXEC").list(), [Reply::Nil]);
    assert_eq!(message(&mut wire), stored(KEY, &bears::json(&[5])));
    let ask = "return redis.call('BEAR.QUERY', KEYS[1], 'NOBLOCK', 'web-1', 'size', '90', '90')";
    assert_eq!(wire.call(&["EVAL", ask, "1", "bear"]), Reply::Nil);
    assert_eq!(message(&mut wire), stored("bear:size:90:90", &bears::json(&[8])));
}

#[test]
fn a_user_needs_the_channel() {
    let database = bears::database();
    let redis = Redis::builder()
        .postgres(&database)
        .acl_file(
            "user default on nopass ~* &* +@all\n\
             user web on >x ~bear resetchannels &bear:fill:web-* -@all +bear.query +eval\n\
             user none on >x ~bear resetchannels -@all +bear.query\n",
        )
        .start();
    redis.run("BEAR.QUERY bear all");
    redis.wait_stored();
    let user = |name: &str| {
        let mut wire = redis.wire();
        assert!(wire.run(&format!("AUTH {name} x")).is_ok());
        wire
    };
    let (mut web, mut none) = (user("web"), user("none"));
    assert_eq!(web.run(MISS), Reply::Nil);
    let script = |name: &str| format!("return redis.pcall('BEAR.QUERY', KEYS[1], 'NOBLOCK', '{name}', 'all')");
    assert!(!web.call(&["EVAL", &script("web-2"), "1", "bear"]).is_error());
    let denied = "NOPERM this user has no permissions to access the channel bear:fill:app (NOBLOCK)";
    assert_eq!(web.call(&["EVAL", &script("app"), "1", "bear"]), Reply::Error(denied.into()));
    for (wire, line) in [(&mut web, "bear NOBLOCK app all"), (&mut none, "bear NOBLOCK app all")] {
        assert_eq!(wire.run(&format!("BEAR.QUERY {line}")), Reply::Error(denied.into()));
        assert!(!wire.run("BEAR.QUERY bear all").is_error());
    }
    assert!(none.run(MISS).error().starts_with("NOPERM "));
}

#[test]
fn messages_that_wait_are_bounded() {
    let database = bears::database();
    let redis =
        Redis::builder().postgres(&database).catalog(bears::gated_catalog()).config("bear.max-fills", 1).start();
    let gate = database.close_gate();
    let mut wire = redis.wire();
    for _ in 0..4 {
        assert_eq!(wire.run(MISS), Reply::Nil);
    }
    assert!(wire.run(MISS).error().starts_with("OVERLOADED 4 messages wait for fetches"));
    assert!(wire.run("BEAR.QUERY bear NOBLOCK web-1 all").error().starts_with("OVERLOADED "));
    gate.open();
    eventually("all are told", || info(&redis, "fill_messages_sent") == 4);
    assert!(!wire.run(MISS).is_error());
}

#[test]
fn a_replica_tells_its_own_subscribers() {
    let database = bears::database();
    let master = gated(&database);
    let replica = Redis::builder().postgres(&database).catalog(bears::gated_catalog()).replica_of(&master).start();
    replica.wait_in_sync(&master);
    let (mut wire, mut at_master) = (listener(&replica), listener(&master));
    assert_eq!(wire.run(MISS), Reply::Nil);
    assert_eq!(message(&mut wire), stored(KEY, &bears::json(&[5])).replace("stored", "discarded"));
    // What is asked of the master is told there.
    assert_eq!(at_master.run(MISS), Reply::Nil);
    assert_eq!(message(&mut at_master), stored(KEY, &bears::json(&[5])));
    master.wait_stored();
    replica.wait_in_sync(&master);
    assert_eq!(wire.run(MISS).text(), bears::json(&[5]));
}

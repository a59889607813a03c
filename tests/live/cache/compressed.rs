//! Results that are kept compressed: what stands in the key, and that nobody who asks by BEAR.QUERY sees a difference.

use crate::support::{bears, burst, eventually, Database, Redis, Reply, Wire};

/// Plain bytes from which on a hit is decompressed aside.
const AT_ONCE: usize = 128 << 10;

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Texts of so many bears, each some twenty bytes long.
const SMALL: usize = 10;
const MIDDLE: usize = 500;
const LARGE: usize = 20_000;

fn catalog(compress: &str) -> String {
    let query = |call: &str, more: &str| {
        format!(
            "[[text.query]]\ncall = \"{call}\"\nsingle = true\nrows = false\ntrust = \"a gate holds it\"\n{more}\
             sql = \"SELECT string_agg('{{\\\"bear\\\":' || i || '}}', gap.text) AS text FROM gate(), gap, generate_series(1, {{n}}) AS i\"\n"
        )
    };
    let queries = [
        query("of {n:int}", ""),
        query("never {n:int}", "compress = \"off\"\n"),
        query("early {n:int}", "compress = \"64b\"\n"),
    ];
    format!("[text]\n{compress}{}", queries.concat())
}

const ON: &str = "compress = \"4kb\"\n";

fn database() -> Database {
    bears::database_with("CREATE TABLE gap (text text); INSERT INTO gap VALUES (' ');")
}

fn start(database: &Database) -> Redis {
    Redis::builder().postgres(database).catalog(catalog(ON)).start()
}

fn text(bears: usize) -> String {
    let all: Vec<String> = (1..=bears).map(|i| format!(r#"{{\"bear\":{i}}}"#)).collect();
    format!(r#"{{"text":"{}"}}"#, all.join(" "))
}

fn fill(redis: &Redis, calls: &[String]) {
    for call in calls {
        assert!(!redis.run(&format!("BEAR.QUERY text {call}")).is_error(), "{call}");
    }
    redis.wait_stored();
}

fn stored(redis: &Redis, key: &str) -> Vec<u8> {
    redis.wire().call(&["GET", key]).bulk().to_vec()
}

fn decompress(frame: &[u8]) -> String {
    assert!(frame.starts_with(&MAGIC));
    String::from_utf8(zstd::stream::decode_all(frame).expect("a frame")).expect("JSON")
}

/// Texts of half a megabyte are not to be read in a log.
#[track_caller]
fn assert_text(found: &str, bears: usize, what: &str) {
    let expected = text(bears);
    assert!(found == expected, "{what}: {} bytes, not these {}: {:.100}", found.len(), expected.len(), found);
}

/// What RAW replies, as it is.
fn raw(reply: &Reply) -> (String, Vec<u8>) {
    let [encoding, bytes] = reply.list() else { panic!("{reply:?}") };
    (encoding.text(), bytes.bulk().to_vec())
}

fn figure(redis: &Redis, name: &str) -> i64 {
    redis.info("bear").int(&format!("bear_{name}"))
}

fn fetches(database: &Database) -> usize {
    database.executions("gate(), gap,")
}

#[test]
fn large_results_are_kept_compressed_and_sent_as_they_were() {
    let database = database();
    let redis = start(&database);
    fill(&redis, &[SMALL, MIDDLE, LARGE].map(|n| format!("of {n}")));
    assert_eq!(stored(&redis, &format!("text:of:{SMALL}")), text(SMALL).as_bytes(), "too small");
    for n in [MIDDLE, LARGE] {
        let frame = stored(&redis, &format!("text:of:{n}"));
        assert!(frame.len() * 3 < text(n).len(), "{} of {}", frame.len(), text(n).len());
        assert_text(&decompress(&frame), n, "");
    }
    assert!(text(MIDDLE).len() < AT_ONCE && text(LARGE).len() > AT_ONCE);
    for mut wire in [redis.wire(), redis.resp3_wire()] {
        for n in [SMALL, MIDDLE, LARGE, MIDDLE] {
            assert_text(&wire.run(&format!("BEAR.QUERY text of {n}")).text(), n, "");
            assert_text(&wire.run(&format!("BEAR.QUERY text CACHED of {n}")).text(), n, "");
        }
    }
    assert_eq!(fetches(&database), 3);
    assert_eq!(figure(&redis, "hits"), 16);
    assert_eq!(figure(&redis, "decompressed_aside"), 4, "the large ones");
    assert_eq!(figure(&redis, "compressed"), 2);
    assert_eq!(figure(&redis, "compressed_plain_bytes"), (text(MIDDLE).len() + text(LARGE).len()) as i64);
    let kept: usize = [MIDDLE, LARGE].map(|n| stored(&redis, &format!("text:of:{n}")).len()).iter().sum();
    assert_eq!(figure(&redis, "compressed_stored_bytes"), kept as i64);
}

#[test]
fn a_query_may_say_otherwise_than_its_section() {
    let database = database();
    let redis = start(&database);
    fill(&redis, &[format!("never {MIDDLE}"), format!("early {SMALL}")]);
    assert_eq!(stored(&redis, &format!("text:never:{MIDDLE}")), text(MIDDLE).as_bytes());
    assert_text(&decompress(&stored(&redis, &format!("text:early:{SMALL}"))), SMALL, "");
    let shown = redis.run("BEAR.CATALOG text").map();
    let bytes: Vec<Reply> = shown["queries"].list().iter().map(|query| query.map()["compress_bytes"].clone()).collect();
    assert_eq!(bytes, [Reply::Int(4096), Reply::Nil, Reply::Int(64)]);
}

#[test]
fn raw_names_the_encoding_on_hits_and_misses() {
    let database = database();
    let redis = start(&database);
    let (small, middle) = (format!("of {SMALL}"), format!("of {MIDDLE}"));
    for (resp, mut wire) in [(2, redis.wire()), (3, redis.resp3_wire())] {
        assert!(wire.run("FLUSHALL").is_ok());
        assert!(wire.run(&format!("BEAR.QUERY text CACHED RAW {middle}")).is_nil());
        // A miss, hits while it is stored and after it, one that is fetched in any case.
        for words in ["RAW", "raw", "CACHED RAW", "RAW", "FRESH RAW", "fresh raw"] {
            let (encoding, bytes) = raw(&wire.run(&format!("BEAR.QUERY text {words} {middle}")));
            assert_eq!((encoding.as_str(), decompress(&bytes)), ("zstd", text(MIDDLE)), "{words}, RESP{resp}");
            let (encoding, bytes) =
                raw(&wire.run(&format!("BEAR.QUERY text {} {small}", words.replace("CACHED ", ""))));
            assert_eq!(
                (encoding.as_str(), bytes.as_slice()),
                ("identity", text(SMALL).as_bytes()),
                "{words}, RESP{resp}"
            );
        }
        redis.wait_stored();
        let (_, bytes) = raw(&wire.run(&format!("BEAR.QUERY text CACHED RAW of {MIDDLE}")));
        assert_eq!(bytes, stored(&redis, &format!("text:of:{MIDDLE}")), "as it is stored");
    }
    assert_eq!(figure(&redis, "decompressed_aside"), 0);
}

#[test]
fn those_who_wait_for_one_fetch_each_get_what_they_asked_for() {
    let database = database();
    let redis = start(&database);
    let mut gate = database.close_gate();
    let mut clients: Vec<Wire> = (0..6).map(|_| redis.wire()).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        client.begin(&format!("BEAR.QUERY text {}of {LARGE}", if i % 2 == 0 { "RAW " } else { "" }));
    }
    redis.wait_blocked(6);
    gate.wait(1);
    gate.open();
    for (i, client) in clients.iter_mut().enumerate() {
        let reply = client.receive();
        match i % 2 {
            0 => assert_text(&decompress(&raw(&reply).1), LARGE, ""),
            _ => assert_text(&reply.text(), LARGE, ""),
        }
    }
    assert_eq!(fetches(&database), 1);
}

#[test]
fn in_a_transaction_or_a_script_hits_are_decompressed_at_once() {
    let database = database();
    let redis = start(&database);
    fill(&redis, &[MIDDLE, LARGE].map(|n| format!("of {n}")));
    let mut wire = redis.wire();
    assert!(wire.run("MULTI").is_ok());
    for line in
        ["SET x 1", "BEAR.QUERY text of 500", "BEAR.QUERY text of 20000", "BEAR.QUERY text RAW of 20000", "GET x"]
    {
        assert_eq!(wire.run(line).text(), "QUEUED");
    }
    let replies = wire.run("EXEC");
    let replies = replies.list();
    assert_text(&replies[1].text(), MIDDLE, "");
    assert_text(&replies[2].text(), LARGE, "");
    assert_text(&decompress(&raw(&replies[3]).1), LARGE, "");
    assert_eq!(replies[4].text(), "1");
    for n in [MIDDLE, LARGE] {
        let script = "return redis.call('BEAR.QUERY', 'text', 'of', ARGV[1])";
        assert_text(&wire.call(&["EVAL", script, "0", &n.to_string()]).text(), n, "");
    }
    assert_eq!(figure(&redis, "decompressed_aside"), 0);
}

#[test]
fn many_at_once_are_decompressed_too() {
    let database = database();
    let redis = start(&database);
    fill(&redis, &[SMALL, MIDDLE, LARGE].map(|n| format!("of {n}")));
    let line = "BEAR.MQUERY text 2 of 500 2 of 10 2 of 20000 2 of 11 2 of 20000 1 of";
    for mut wire in [redis.wire(), redis.resp3_wire()] {
        let reply = wire.run(line);
        for (found, n) in reply.list().iter().zip([MIDDLE, SMALL, LARGE, 11, LARGE]) {
            assert_text(&found.text(), n, "");
        }
        assert!(reply.list()[5].is_error());
        let reply = wire.run("BEAR.MQUERY text CACHED 2 of 500 2 of 12");
        assert_text(&reply.list()[0].text(), MIDDLE, "");
        assert!(reply.list()[1].is_nil());
        assert!(wire.run("MULTI").is_ok());
        wire.run("BEAR.MQUERY text 2 of 20000 2 of 500");
        let reply = wire.run("EXEC");
        let found = reply.list()[0].list();
        assert_text(&found[0].text(), LARGE, "");
        assert_text(&found[1].text(), MIDDLE, "");
    }
    assert_eq!(fetches(&database), 4);
}

#[test]
fn a_pipeline_is_answered_in_its_order() {
    let database = database();
    let redis = start(&database);
    fill(&redis, &[SMALL, MIDDLE, LARGE].map(|n| format!("of {n}")));
    let sizes = [LARGE, SMALL, LARGE, MIDDLE, SMALL, LARGE];
    let mut wires: Vec<Wire> = (0..8).map(|_| redis.wire()).collect();
    for wire in &mut wires {
        sizes.iter().for_each(|n| wire.begin(&format!("BEAR.QUERY text of {n}")));
        wire.begin("PING");
    }
    for wire in &mut wires {
        for n in sizes {
            assert_text(&wire.receive().text(), n, "");
        }
        assert_eq!(wire.receive().text(), "PONG");
    }
    assert_eq!(figure(&redis, "decompressed_aside"), 24);
    assert_eq!(fetches(&database), 3);
}

#[test]
fn an_invalidation_drops_them_and_a_client_that_hangs_up_harms_nothing() {
    let database = database();
    let redis = start(&database);
    fill(&redis, &[MIDDLE, LARGE].map(|n| format!("of {n}")));
    for _ in 0..20 {
        redis.wire().begin(&format!("BEAR.QUERY text of {LARGE}"));
    }
    assert_eq!(redis.run("BEAR.INVALIDATE text ALL"), Reply::Int(2));
    for n in [MIDDLE, LARGE] {
        assert!(redis.run(&format!("BEAR.QUERY text CACHED of {n}")).is_nil());
        assert_text(&redis.run(&format!("BEAR.QUERY text of {n}")).text(), n, "");
    }
    assert_eq!(fetches(&database), 4);
}

#[test]
fn explain_tells_both_sizes() {
    let database = database();
    let redis = start(&database);
    fill(&redis, &[SMALL, LARGE].map(|n| format!("of {n}")));
    for n in [SMALL, LARGE] {
        let shown = redis.run(&format!("BEAR.EXPLAIN text of {n}")).map();
        assert_eq!(shown["bytes"], Reply::Int(text(n).len() as i64));
        assert_eq!(shown["stored_bytes"], Reply::Int(stored(&redis, &format!("text:of:{n}")).len() as i64));
    }
    let shown = redis.run("BEAR.EXPLAIN text of 7").map();
    assert_eq!((&shown["bytes"], &shown["stored_bytes"]), (&Reply::Nil, &Reply::Nil));
}

#[test]
fn verify_compares_what_they_hold() {
    let database = database();
    let redis = start(&database);
    let counts = || {
        let found = redis.run("BEAR.VERIFY text").map();
        let stored = found["calls"].list().iter().map(|call| call.map()["stored_bytes"].int());
        (found["checked"].int(), found["different"].int(), stored.collect::<Vec<_>>())
    };
    fill(&redis, &[SMALL, MIDDLE, LARGE].map(|n| format!("of {n}")));
    assert_eq!(counts(), (3, 0, vec![]));
    // Others of the same length.
    database.run("UPDATE gap SET text = '-'");
    let plain = [SMALL, MIDDLE, LARGE].map(|n| text(n).len() as i64);
    let (checked, different, mut stored) = counts();
    stored.sort_unstable();
    assert_eq!((checked, different, stored), (3, 3, plain.to_vec()));
    redis.run("BEAR.INVALIDATE text ALL");
    fill(&redis, &[SMALL, MIDDLE, LARGE].map(|n| format!("of {n}")));
    assert_eq!(counts(), (3, 0, vec![]));
}

#[test]
fn a_refresh_that_finds_the_same_writes_no_result_again() {
    let database = database();
    let redis = start(&database);
    fill(&redis, &[format!("of {LARGE}")]);
    let sets = || redis.info("commandstats").get("cmdstat_set").map(str::to_owned);
    let before = sets();
    for _ in 0..5 {
        redis.run(&format!("BEAR.QUERY text FRESH of {LARGE}"));
        redis.wait_stored();
    }
    assert_eq!(sets(), before);
    assert_text(&redis.run(&format!("BEAR.QUERY text CACHED of {LARGE}")).text(), LARGE, "");
}

#[test]
fn after_a_restart_the_old_ones_are_not_served_and_go() {
    let database = database();
    let mut redis = Redis::builder().postgres(&database).catalog(catalog(ON)).append_only().start();
    fill(&redis, &[SMALL, MIDDLE, LARGE].map(|n| format!("of {n}")));
    redis.restart();
    assert!(redis.run(&format!("BEAR.QUERY text CACHED of {LARGE}")).is_nil());
    eventually("the old ones have gone", || {
        redis.run(&format!("EXISTS text:of:{MIDDLE} text:of:{LARGE}")) == Reply::Int(0)
    });
    assert_eq!(figure(&redis, "foreign_keys"), 0, "they were bear's");
    fill(&redis, &[LARGE].map(|n| format!("of {n}")));
    assert_text(&redis.run(&format!("BEAR.QUERY text CACHED of {LARGE}")).text(), LARGE, "");
    assert_eq!(redis.run("BEAR.INVALIDATE text ALL"), Reply::Int(1));
}

#[test]
fn a_replica_serves_them_and_takes_no_foreign_bytes_for_them() {
    let database = database();
    let master = start(&database);
    let replica = Redis::builder()
        .postgres(&database)
        .catalog(catalog(ON))
        .replica_of(&master)
        .config("replica-read-only", "no")
        .start();
    fill(&master, &[SMALL, MIDDLE, LARGE].map(|n| format!("of {n}")));
    replica.wait_in_sync(&master);
    for mut wire in [replica.wire(), replica.resp3_wire()] {
        for n in [SMALL, MIDDLE, LARGE] {
            assert_text(&wire.run(&format!("BEAR.QUERY text CACHED of {n}")).text(), n, "");
        }
        let (encoding, bytes) = raw(&wire.run(&format!("BEAR.QUERY text RAW of {LARGE}")));
        assert_eq!(encoding, "zstd");
        assert_text(&decompress(&bytes), LARGE, "");
    }
    assert_eq!(fetches(&database), 3);

    // Somebody writes there what looks like a result, and is none.
    let large = stored(&master, &format!("text:of:{LARGE}"));
    let mut broken = large.clone();
    broken[100..200].fill(0xff);
    let bomb = zstd::bulk::compress(&vec![b' '; 256 << 20], 1).expect("in memory");
    let fakes: [(&str, &[u8]); 5] = [
        ("the head of one", &MAGIC),
        ("a part of one", &large[..large.len() / 2]),
        ("one with a hole", &broken),
        ("a bomb", &bomb),
        ("no size in it", &zstd::stream::encode_all(text(LARGE).as_bytes(), 1).expect("in memory")),
    ];
    let mut wire = replica.wire();
    let key = format!("text:of:{LARGE}");
    for (nth, (what, bytes)) in fakes.into_iter().enumerate() {
        assert!(wire.call(&[b"SET", key.as_bytes(), bytes]).is_ok());
        assert_text(&wire.run(&format!("BEAR.QUERY text of {LARGE}")).text(), LARGE, "{what}");
        assert!(wire.run(&format!("BEAR.QUERY text CACHED of {LARGE}")).is_nil(), "{what}");
        assert_eq!(fetches(&database), 4 + nth, "{what}: fetched");
        let many = wire.run(&format!("BEAR.MQUERY text CACHED 2 of {LARGE} 2 of {SMALL}"));
        assert!(many.list()[0].is_nil() || many.list()[0].is_error(), "{what}");
        assert_text(&many.list()[1].text(), SMALL, what);
        assert_eq!(wire.run("PING").text(), "PONG");
    }
    // A small one.
    assert!(wire.call(&[&b"SET"[..], format!("text:of:{MIDDLE}").as_bytes(), &broken[..60]]).is_ok());
    assert_text(&wire.run(&format!("BEAR.QUERY text of {MIDDLE}")).text(), MIDDLE, "");
}

#[test]
fn a_frame_that_another_hand_writes_on_the_master_is_left_alone() {
    let database = database();
    let redis = start(&database);
    fill(&redis, &[format!("of {MIDDLE}")]);
    let fake = zstd::bulk::compress(&vec![b'x'; 10_000], 1).expect("in memory");
    let key = format!("text:of:{MIDDLE}");
    assert!(redis.wire().call(&[b"SET", key.as_bytes(), &fake]).is_ok());
    assert_text(&redis.run(&format!("BEAR.QUERY text of {MIDDLE}")).text(), MIDDLE, "");
    assert_eq!(fetches(&database), 2);
}

#[test]
fn a_reload_switches_it_on_and_off() {
    let database = database();
    let redis = start(&database);
    for (nth, (compress, is_on)) in [("", false), (ON, true), ("compress = \"off\"\n", false)].into_iter().enumerate() {
        fill(&redis, &[MIDDLE, LARGE].map(|n| format!("of {n}")));
        std::fs::write(redis.catalog_path(), catalog(compress)).expect("the catalog");
        assert!(redis.run("BEAR.RELOAD").is_ok());
        assert!(redis.run(&format!("BEAR.QUERY text CACHED of {LARGE}")).is_nil(), "{nth}: cold");
        fill(&redis, &[MIDDLE, LARGE].map(|n| format!("of {n}")));
        for n in [MIDDLE, LARGE] {
            assert_eq!(stored(&redis, &format!("text:of:{n}")).starts_with(&MAGIC), is_on, "{nth}");
            assert_text(&redis.run(&format!("BEAR.QUERY text CACHED of {n}")).text(), n, "{nth}");
        }
    }
    std::fs::write(redis.catalog_path(), catalog("compress = \"4KB\"\n")).expect("the catalog");
    let refused = redis.run("BEAR.RELOAD");
    assert!(refused.error().contains("compress: a size is"), "{refused:?}");
}

#[test]
fn a_crowd_that_hits_a_large_one_is_answered() {
    let database = database();
    let redis = start(&database);
    fill(&redis, &[format!("of {LARGE}")]);
    let lines: Vec<String> = (0..300).map(|_| format!("BEAR.QUERY text of {LARGE}")).collect();
    let replies = burst(&redis, &lines);
    assert!(replies.iter().all(|reply| reply.text() == text(LARGE)));
    assert_eq!(fetches(&database), 1);
}

const VALUES: &str = "[page]\ncompress = \"4kb\"\n[[page.value]]\ncall = \"json {n:int}\"\n\
                      [[page.value]]\ncall = \"bytes {n:int}\"\ntype = \"bytes\"\n\
                      [[page.value]]\ncall = \"plain {n:int}\"\ntype = \"bytes\"\ncompress = \"off\"\n";

fn put(wire: &mut Wire, call: &str, n: usize, value: &[u8]) -> Reply {
    wire.call(&[b"BEAR.PUT", &b"page"[..], b"2", call.as_bytes(), n.to_string().as_bytes(), value])
}

fn get(wire: &mut Wire, call: &str, n: usize) -> Vec<u8> {
    let reply = wire.run(&format!("BEAR.GET page WAIT 0 {call} {n}"));
    assert!(reply.list()[1].is_nil(), "a hit has no token");
    reply.list()[0].bulk().to_vec()
}

#[test]
fn values_are_compressed_too() {
    let database = database();
    let mut redis = Redis::builder().postgres(&database).catalog(VALUES).append_only().start();
    let frame = zstd::bulk::compress(&vec![b'x'; 10_000], 1).expect("in memory");
    let sizes = [SMALL, MIDDLE, LARGE];
    for (mut wire, resp) in [(redis.wire(), 2), (redis.resp3_wire(), 3)] {
        for n in sizes {
            for call in ["json", "bytes", "plain"] {
                assert_eq!(put(&mut wire, call, n, text(n).as_bytes()), Reply::Int(1), "{call} {n}, RESP{resp}");
                assert!(get(&mut wire, call, n) == text(n).as_bytes(), "{call} {n}: as it is being stored");
                redis.wait_stored();
                assert!(get(&mut wire, call, n) == text(n).as_bytes(), "{call} {n}: as it is stored");
                let is_compressed = stored(&redis, &format!("page:{call}:{n}")).starts_with(&MAGIC);
                assert_eq!(is_compressed, call != "plain" && n != SMALL, "{call} {n}");
            }
        }
        // What the application has compressed itself.
        for (call, is_as_it_was) in [("bytes", false), ("plain", true)] {
            assert_eq!(put(&mut wire, call, 1, &frame), Reply::Int(1));
            assert_eq!(get(&mut wire, call, 1), frame, "{call}");
            redis.wait_stored();
            assert_eq!(get(&mut wire, call, 1), frame, "{call}");
            assert_eq!(stored(&redis, &format!("page:{call}:1")) == frame, is_as_it_was, "{call}");
        }
        assert!(wire.run("MULTI").is_ok());
        put(&mut wire, "json", 2, text(LARGE).as_bytes());
        wire.run(&format!("BEAR.GET page json {LARGE}"));
        let replies = wire.run("EXEC");
        assert_eq!(replies.list()[0], Reply::Int(1));
        assert_text(&replies.list()[1].list()[0].text(), LARGE, "in MULTI");
        redis.wait_stored();
        assert!(stored(&redis, "page:json:2").starts_with(&MAGIC));
    }
    let shown = redis.run(&format!("BEAR.EXPLAIN page json {LARGE}")).map();
    assert_eq!(shown["bytes"], Reply::Int(text(LARGE).len() as i64));
    assert!(shown["stored_bytes"].int() * 3 < shown["bytes"].int());
    assert!(figure(&redis, "decompressed_aside") > 0);
    let many = redis.run(&format!("BEAR.MGET page 2 json {LARGE} 2 bytes {MIDDLE} 2 plain {SMALL}"));
    for (found, n) in many.list().iter().zip([LARGE, MIDDLE, SMALL]) {
        assert_text(&found.list()[0].text(), n, "of many");
    }
    // A waiter gets it as it was.
    let mut first = redis.wire();
    let token = first.run("BEAR.GET page json 7").list()[1].text();
    let mut waiter = redis.wire();
    waiter.begin("BEAR.GET page json 7");
    redis.wait_blocked(1);
    let value = text(LARGE);
    assert_eq!(first.call(&["BEAR.PUT", "page", "2", "json", "7", &value, "TOKEN", &token]), Reply::Int(1));
    assert_text(&waiter.receive().list()[0].text(), LARGE, "a waiter");
    redis.restart();
    assert!(redis.run(&format!("BEAR.GET page WAIT 0 json {LARGE}")).list()[0].is_nil());
    eventually("compressed ones have gone", || {
        redis.run(&format!("EXISTS page:json:{LARGE} page:bytes:{LARGE} page:json:{MIDDLE}")) == Reply::Int(0)
    });
}

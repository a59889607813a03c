//! What is not bear's is never destroyed: keys of others under the names of its sections, before it comes and after.

use crate::support::{bears, eventually, Database, Redis, Reply, Wire};

const QUERY: &str = "BEAR.QUERY bear size 100 200";

/// Keys of somebody's, each with the section that it is in the way of.
const KEYS: [(&str, &str, &str); 15] = [
    ("SET bear:size:100:200 mine", "bear:size:100:200", "bear"),
    // As an application caches by itself.
    (r#"SET bear:size:100:200 [{"id":5}] EX 3000"#, "bear:size:100:200", "bear"),
    ("RPUSH bear:all a b", "bear:all", "bear"),
    ("HSET bear:colors:brown a b", "bear:colors:brown", "bear"),
    ("SADD color:all red green", "color:all", "color"),
    ("SADD bear:tag:color:brown 1 2 3", "bear:tag:color:brown", "bear"),
    ("SADD bear:tag:color:brown bear:1 bear:2", "bear:tag:color:brown", "bear"),
    ("SADD bear:meta:1:caches x", "bear:meta:1:caches", "bear"),
    ("XADD bear:queue 1-1 task mail", "bear:queue", "bear"),
    ("LPUSH bear:queue mail", "bear:queue", "bear"),
    ("INCR bear:queue:id", "bear:queue:id", "bear"),
    ("ZADD bear:queue:delayed 1 mail", "bear:queue:delayed", "bear"),
    ("XADD bear:queue:work 1-1 task mail", "bear:queue:work", "bear"),
    ("HSET bear:queue:work:claims mail 1", "bear:queue:work:claims", "bear"),
    ("SET bear:queue:work:log:1-0 mail", "bear:queue:work:log:1-0", "bear"),
];

fn plain_with(lines: &[&str]) -> Redis {
    let plain = Redis::builder().plain().append_only().start();
    for line in lines {
        assert!(!plain.run(line).is_error(), "{line}");
    }
    plain
}

/// The module over the dataset of another server, which has ended.
fn over(database: &Database, mut plain: Redis) -> Redis {
    plain.shutdown();
    Redis::builder().postgres(database).append_only().data_of(&plain).start()
}

fn dumps(redis: &Redis) -> Vec<(String, Reply)> {
    let mut wire = redis.wire();
    redis.keys().into_iter().map(|key| (key.clone(), wire.call(&["DUMP", &key]))).collect()
}

fn wait_looked(redis: &Redis) {
    eventually("it has looked around", || redis.info("bear").int("bear_sweeping_all") == 0);
}

#[track_caller]
fn assert_refused(wire: &mut Wire, line: &str, key: &str) {
    let reply = wire.run(line);
    let error = reply.error();
    assert!(error.starts_with("FOREIGN section ") && error.contains(key), "{line}: {error}");
    assert!(error.contains("BEAR.ADOPT") && error.contains("bear.db"), "{line}: {error}");
}

#[test]
fn a_section_whose_names_are_somebodys_is_refused_and_the_others_are_served() {
    let database = bears::database();
    for (line, key, section) in KEYS {
        let redis = over(&database, plain_with(&[line, "SET other 1"]));
        wait_looked(&redis);
        let before = dumps(&redis);
        let mut wire = redis.wire();
        let (query, job, other) = match section {
            "bear" => (QUERY, r#"BEAR.ENQUEUE bear UPDATE_BEAR_NAME {"id":5,"name":"K"}"#, "BEAR.QUERY color all"),
            _ => ("BEAR.QUERY color all", r##"BEAR.ENQUEUE color CREATE_COLOR {"name":"a","hex":"#ffc0cb"}"##, QUERY),
        };
        assert_refused(&mut wire, query, key);
        assert_refused(&mut wire, job, key);
        assert_refused(&mut wire, &format!("BEAR.INVALIDATE {section} ALL"), key);
        assert_refused(&mut wire, &format!("BEAR.VERIFY {section}"), key);
        assert!(wire.run(&format!("BEAR.STATS {section}")).map()["keys"].text().starts_with("FOREIGN "), "{line}");
        assert!(!wire.run(other).is_error(), "{line}");
        redis.wait_stored();
        assert!(
            !wire.run(&other.replacen("color ", "color CACHED ", 1).replacen("bear ", "bear CACHED ", 1)).is_nil(),
            "{line}: the other section stores"
        );
        assert_eq!(wire.run("BEAR.INVALIDATE bear ALL").is_error(), section == "bear");
        let after: Vec<_> =
            dumps(&redis).into_iter().filter(|(key, _)| before.iter().any(|(known, _)| known == key)).collect();
        assert_eq!(after.len(), before.len(), "{line}: nothing has gone");
        for (before, after) in before.iter().zip(&after) {
            // A TTL is not in it.
            assert_eq!(before, after, "{line}");
        }
        assert!(redis.log().contains("'") && redis.info("bear").int("bear_foreign_sections") == 1, "{line}");
    }
}

#[test]
fn a_refused_section_is_served_once_the_keys_have_gone() {
    let database = bears::database();
    let redis = over(&database, plain_with(&["SET bear:size:1:2 mine", "SADD bear:tag:color:pink 1"]));
    let mut wire = redis.wire();
    wait_looked(&redis);
    assert_refused(&mut wire, QUERY, "bear:tag:color:pink");
    assert_eq!(wire.run("RENAME bear:size:1:2 elsewhere"), Reply::Simple("OK".into()));
    wait_looked(&redis);
    assert_refused(&mut wire, QUERY, "bear:tag:color:pink");
    assert_eq!(wire.run("DEL bear:tag:color:pink"), Reply::Int(1));
    eventually("it is served", || !wire.run(QUERY).is_error());
    redis.wait_stored();
    assert_eq!(wire.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(1));
}

#[test]
fn adopt_removes_whatever_stands_under_a_sections_names_and_nothing_else() {
    let database = bears::database();
    let lines: Vec<&str> =
        KEYS.iter().map(|(line, ..)| *line).chain(["SET bear:nonsense x", "SET bears:all x"]).collect();
    let plain = Redis::builder().plain().append_only().start();
    for line in &lines {
        // Some are of one name: the first one's.
        plain.run(line);
    }
    let redis = over(&database, plain);
    let replica = Redis::builder().postgres(&database).replica_of(&redis).start();
    wait_looked(&redis);
    let mut wire = redis.wire();
    assert!(wire.run("BEAR.ADOPT beer").error().starts_with("ERR no section 'beer'"));
    assert!(replica.run("BEAR.ADOPT bear").error().starts_with("READONLY"));
    assert!(wire.run("BEAR.ADOPT bear").is_ok());
    assert_eq!(wire.run(QUERY).text(), bears::json(&[1, 2, 4, 5, 6]));
    redis.wait_stored();
    assert_eq!(wire.run("BEAR.INVALIDATE bear ALL"), Reply::Int(1));
    let of_queue =
        ["", ":delayed", ":id", ":work", ":work:claims", ":work:log:1-0"].map(|part| format!("bear:queue{part}"));
    let left = [&["bear:nonsense".into()], &of_queue[..], &["bears:all".into(), "color:all".into()]].concat();
    eventually("the section's are gone", || redis.keys() == left);
    assert_refused(&mut wire, "BEAR.QUERY color all", "color:all");
    // Keys of queues are not bear's to take.
    let job = r#"BEAR.ENQUEUE bear UPDATE_BEAR_NAME {"id":5,"name":"K"}"#;
    let error = wire.run(job);
    assert!(error.error().starts_with("FOREIGN ") && error.error().contains("bear:queue"), "{error:?}");
    assert_eq!(wire.run("DEL bear:queue bear:queue:delayed bear:queue:id"), Reply::Int(3));
    eventually("jobs are taken", || !wire.run(job).is_error());
    replica.wait_in_sync(&redis);
    assert_eq!(replica.run("TYPE color:all").text(), "set");
}

/// What others write while bear runs, where a result or a set would be stored.
const LATE: [&str; 6] = [
    "SET bear:size:300:400 mine",
    r#"SET bear:size:300:400 [{"id":3}] EX 3000"#,
    "RPUSH bear:size:300:400 a",
    "HSET bear:size:300:400 a b",
    "SADD bear:meta:3:caches x",
    "RPUSH bear:meta:3:caches x",
];

#[test]
fn a_foreign_key_that_comes_later_is_left_alone_and_its_call_answered() {
    let database = bears::database();
    for line in LATE {
        let mut redis = Redis::builder().postgres(&database).append_only().start();
        let replica = Redis::builder().postgres(&database).replica_of(&redis).start();
        let mut wire = redis.wire();
        wire.run(QUERY);
        redis.wait_stored();
        assert!(!wire.run(line).is_error(), "{line}");
        let key = line.split(' ').nth(1).expect("a key").to_owned();
        let before = wire.call(&["DUMP", &key]);
        let unharmed = |redis: &Redis, when: &str| {
            for _ in 0..3 {
                assert_eq!(redis.run("BEAR.QUERY bear size 300 400").text(), bears::json(&[3]), "{line} {when}");
                redis.wait_stored();
            }
            assert!(redis.run("BEAR.QUERY bear CACHED size 300 400").is_nil(), "{line} {when}: it is not stored");
            redis.run("BEAR.INVALIDATE bear ROW 3");
            redis.run("BEAR.INVALIDATE bear ALL");
            assert_eq!(redis.wire().call(&["DUMP", &key]), before, "{line} {when}");
            // The others are.
            redis.run(QUERY);
            redis.wait_stored();
            assert!(!redis.run("BEAR.QUERY bear CACHED size 100 200").is_nil(), "{line} {when}");
            assert_eq!(redis.info("bear").int("bear_foreign_keys"), 1, "{line} {when}");
        };
        unharmed(&redis, "at once");
        replica.wait_in_sync(&redis);
        assert_eq!(replica.run("BEAR.QUERY bear size 300 400").text(), bears::json(&[3]), "{line} on a replica");
        redis.kill9();
        redis.start_again();
        wait_looked(&redis);
        unharmed(&redis, "after a restart");
        assert!(redis.run("DEBUG RELOAD").is_ok());
        wait_looked(&redis);
        unharmed(&redis, "after DEBUG RELOAD");
        replica.wait_in_sync(&redis);
        assert!(replica.run("REPLICAOF NO ONE").is_ok());
        wait_looked(&replica);
        replica.wait_checked();
        unharmed(&replica, "after a promotion");
        assert_eq!(redis.run(&format!("DEL {key}")), Reply::Int(1));
        redis.run("BEAR.QUERY bear size 300 400");
        redis.wait_stored();
        assert!(!redis.run("BEAR.QUERY bear CACHED size 300 400").is_nil(), "{line}: the way is free");
    }
}

#[test]
fn another_postgres_makes_cold_and_takes_nothing_of_others() {
    let database = bears::database();
    let other = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    wire.run(QUERY);
    redis.wait_stored();
    assert!(wire.run(r#"SET bear:size:300:400 [{"id":3}] EX 3000"#).is_ok());
    assert!(wire.call(&["CONFIG", "SET", "bear.postgres-url", &other.url()]).is_ok());
    assert!(wire.run("BEAR.QUERY bear CACHED size 100 200").is_nil());
    eventually("what is cold is gone", || redis.keys() == ["bear:size:300:400"]);
}

#[test]
fn a_dataset_of_bears_own_is_never_refused() {
    let database = bears::database();
    let mut redis = Redis::builder().postgres(&database).append_only().start();
    let mut wire = redis.wire();
    for line in [QUERY, "BEAR.QUERY bear size 1 2", "BEAR.QUERY color all"] {
        assert!(!wire.run(line).is_error(), "{line}");
    }
    assert!(!wire.run(r#"BEAR.ENQUEUE bear UPDATE_BEAR_NAME {"id":5,"name":"Kodiak"} BLOCK 0"#).is_error());
    wire.run(QUERY);
    redis.wait_stored();
    // As the version before left it: without marks.
    for marks in [true, false] {
        if !marks {
            assert_eq!(redis.run("DEL bear.module:sections"), Reply::Int(1));
        }
        redis.shutdown();
        redis.start_again();
        wait_looked(&redis);
        let mut wire = redis.wire();
        assert_eq!(redis.info("bear").int("bear_foreign_sections"), 0, "marks {marks}");
        assert!(wire.run("BEAR.QUERY bear CACHED size 100 200").is_nil());
        assert!(wire.run(QUERY).text().contains("Kodiak"));
        redis.wait_stored();
        assert_eq!(wire.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(1));
        wire.run("BEAR.QUERY bear all");
        redis.wait_stored();
        eventually("what an earlier life left is gone", || {
            redis.keys().iter().all(|key| {
                key.contains(":queue") || key == "bear:all" || key.contains("bear:meta") || key.contains("bear:tag")
            })
        });
        assert!(!wire.run(r#"BEAR.ENQUEUE bear UPDATE_BEAR_NAME {"id":5,"name":"Kodiak"} BLOCK 0"#).is_error());
    }
    assert!(redis.run("FLUSHALL").is_ok());
    redis.run(QUERY);
    redis.wait_stored();
    assert!(!redis.run("BEAR.QUERY bear CACHED size 100 200").is_nil());
    assert_eq!(redis.run("SISMEMBER bear.module:sections bear"), Reply::Int(1));
}

#[test]
fn an_entry_that_is_taken_elsewhere_is_gone_and_nobodys() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    for taken in ["RENAME bear:size:100:200 elsewhere", "MOVE bear:size:100:200 1"] {
        wire.run(QUERY);
        redis.wait_stored();
        assert!(!wire.run(taken).is_error(), "{taken}");
        assert_eq!(redis.info("bear").int("bear_foreign_keys"), 0, "{taken}");
        wire.run(QUERY);
        redis.wait_stored();
        assert!(!wire.run("BEAR.QUERY bear CACHED size 100 200").is_nil(), "{taken}");
        assert!(!redis.log().contains("written by others"), "{taken}");
    }
    // A copy under another entry's name is somebody's.
    assert_eq!(wire.run("COPY bear:size:100:200 bear:size:300:400"), Reply::Int(1));
    assert_eq!(redis.info("bear").int("bear_foreign_keys"), 1);
    assert!(wire.run("BEAR.QUERY bear size 300 400").text().contains("Iorek"));
}

const TENANTS: &str = r#"
[note]
id = "int"
tenant = "int"
[[note.query]]
call = "{id:int}"
sql = "SELECT {id}::bigint AS id, {tenant}::bigint AS of"
[user]
id = "int"
[[user.query]]
call = "{id:int}"
sql = "SELECT {id}::bigint AS id"
"#;

#[test]
fn tenants_and_calls_of_one_number_are_told_apart() {
    let database = bears::database();
    let mut plain = plain_with(&["SET {7}:note:1 mine", "SET user:x 1", "SET {x}:note:1 1", "SET user:42 mine"]);
    plain.shutdown();
    let redis = Redis::builder().postgres(&database).catalog(TENANTS).append_only().data_of(&plain).start();
    wait_looked(&redis);
    let mut wire = redis.wire();
    assert_refused(&mut wire, "BEAR.QUERY {7}:note 1", "{7}:note:1");
    // Another tenant learns nothing of it.
    assert_refused(&mut wire, "BEAR.QUERY {8}:note 1", "the server's log names some");
    assert!(!wire.run("BEAR.QUERY {8}:note 1").error().contains("{7}"));
    assert_refused(&mut wire, "BEAR.QUERY user 7", "user:42");
    assert!(wire.run("BEAR.ADOPT note").is_ok());
    assert_eq!(wire.run("BEAR.QUERY {7}:note 1").text(), r#"[{"id":1,"of":7}]"#);
    redis.wait_stored();
    assert_eq!(wire.run("BEAR.QUERY {7}:note CACHED 1").text(), r#"[{"id":1,"of":7}]"#);
    assert_eq!(wire.run("GET user:42").text(), "mine");
}

#[test]
fn a_section_that_comes_by_reload_over_keys_of_others_is_refused() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(bears::WITH_DENS).append_only().start();
    let mut wire = redis.wire();
    wire.run("BEAR.QUERY bear all");
    redis.wait_stored();
    assert!(wire.run("SET cave:1 mine").is_ok());
    let more = "\n[cave]\nid = \"int\"\n[[cave.query]]\ncall = \"{id:int}\"\nsql = \"SELECT {id}::bigint AS id\"\n";
    std::fs::write(redis.catalog_path(), format!("{}{more}", bears::WITH_DENS)).expect("the catalog");
    assert!(wire.run("BEAR.RELOAD").is_ok());
    eventually("it is refused", || wire.run("BEAR.QUERY cave 2").is_error());
    assert_refused(&mut wire, "BEAR.QUERY cave 2", "cave:1");
    assert!(!wire.run("BEAR.QUERY bear CACHED all").is_nil(), "the others go on");
    assert_eq!(wire.run("GET cave:1").text(), "mine");
}

/// A key that was no call's when the database was looked through, for the catalog had no such query: what somebody wrote, and what
/// an earlier life left.
#[test]
fn what_stood_under_the_name_of_a_call_that_comes_by_reload_is_no_entry() {
    const QUERY: &str = "[bear]\nid = \"int\"\n[[bear.query]]\ncall = \"of {id:int}\"\nsql = \"SELECT id, name FROM bear WHERE id = {id}\"\n";
    const OTHER: &str = "[bear]\nid = \"int\"\n[[bear.query]]\ncall = \"all\"\nsql = \"SELECT id FROM bear\"\n";
    let database = bears::database();
    let mut redis =
        Redis::builder().postgres(&database).catalog(QUERY).config("bear.feed", "off").append_only().start();
    redis.wait_checked();
    assert_eq!(redis.run("BEAR.QUERY bear of 5").text(), r#"[{"id":5,"name":"Yogi"}]"#);
    redis.wait_stored();
    std::fs::write(redis.catalog_path(), OTHER).unwrap();
    redis.restart();
    wait_looked(&redis);
    assert!(redis.run(r#"SET bear:of:6 [{"id":6,"name":"mine"}] EX 3000"#).is_ok());
    database.run("UPDATE bear SET name = 'new' WHERE id = 5");
    std::fs::write(redis.catalog_path(), QUERY).unwrap();
    assert!(redis.run("BEAR.RELOAD").is_ok());
    for (id, name) in [(5, "new"), (6, "Kumamon")] {
        assert!(redis.run(&format!("BEAR.QUERY bear CACHED of {id}")).is_nil(), "{id}");
        let row = format!(r#"[{{"id":{id},"name":"{name}"}}]"#);
        assert_eq!(redis.run(&format!("BEAR.QUERY bear of {id}")).text(), row);
    }
    wait_looked(&redis);
    assert_eq!(redis.run("BEAR.QUERY bear of 6").text(), r#"[{"id":6,"name":"Kumamon"}]"#);
    assert_eq!(redis.run("GET bear:of:6").text(), r#"[{"id":6,"name":"mine"}]"#, "it is left alone");
    assert_eq!(redis.run("BEAR.QUERY bear of 7").text(), r#"[{"id":7,"name":"Smokey"}]"#);
    redis.wait_stored();
    assert!(!redis.run("BEAR.QUERY bear CACHED of 7").is_nil());
}

#[test]
fn a_survey_of_many_keys_is_in_slices_and_nothing_is_stored_meanwhile() {
    let database = bears::database();
    let plain = Redis::builder().plain().append_only().start();
    assert_eq!(plain.run("DEBUG POPULATE 300000 other"), Reply::Simple("OK".into()));
    assert!(plain.run("SET bear:all mine").is_ok());
    plain.run("SAVE");
    assert!(!plain.run("BGREWRITEAOF").is_error());
    eventually("it is rewritten", || plain.info("persistence").int("aof_rewrite_in_progress") == 0);
    let redis = over(&database, plain);
    let mut wire = redis.wire();
    let mut seen = 0;
    while redis.info("bear").int("bear_sweeping_all") == 1 {
        let reply = wire.run("BEAR.QUERY bear size 300 400");
        assert!(reply.is_error() || reply.text() == bears::json(&[3]), "{reply:?}");
        assert_eq!(wire.run("EXISTS bear:size:300:400"), Reply::Int(0));
        seen += 1;
    }
    println!("{seen} queries while it looked around");
    assert_refused(&mut wire, QUERY, "bear:all");
    assert_eq!(wire.run("GET bear:all").text(), "mine");
}

#[test]
fn a_swapped_database_is_looked_at_like_a_new_one() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).append_only().start();
    let mut wire = redis.wire();
    wire.run(QUERY);
    redis.wait_stored();
    for line in ["SELECT 1", "SET bear:size:1:2 mine", "SELECT 0"] {
        assert!(wire.run(line).is_ok());
    }
    assert!(wire.run("SWAPDB 0 1").is_ok());
    wait_looked(&redis);
    assert_refused(&mut wire, QUERY, "bear:size:1:2");
    assert!(wire.run("SWAPDB 0 1").is_ok());
    wait_looked(&redis);
    assert_eq!(wire.run(QUERY).text(), bears::json(&[1, 2, 4, 5, 6]));
    assert!(wire.run("SELECT 1").is_ok());
    assert_eq!(wire.run("GET bear:size:1:2").text(), "mine");
}

#[test]
fn a_foreign_queue_key_that_comes_later_is_not_touched() {
    let database = bears::database();
    for line in [
        "XADD bear:queue 1-1 task mail",
        "SET bear:queue:id mine",
        "SET bear:queue:id 17",
        "XADD bear:queue:completed 1-1 task mail",
        "HSET bear:queue:ledger a b",
        "ZADD bear:queue:delayed 1 mail",
        "HSET bear:queue:unique:jobs a b",
    ] {
        let redis = Redis::builder().postgres(&database).append_only().start();
        let mut wire = redis.wire();
        wire.run(QUERY);
        assert!(!wire.run(line).is_error(), "{line}");
        let key = line.split(' ').nth(1).expect("a key").to_owned();
        let before = wire.call(&["DUMP", &key]);
        for _ in 0..2 {
            let reply = wire.run(r#"BEAR.ENQUEUE bear UPDATE_BEAR_NAME {"id":5,"name":"Kodiak"}"#);
            let error = reply.error();
            assert!(error.starts_with("FOREIGN ") && error.contains(&key), "{line}: {error}");
        }
        assert!(wire.run("BEAR.STATS bear").map()["keys"].text().starts_with("FOREIGN "), "{line}");
        assert_eq!(wire.call(&["DUMP", &key]), before, "{line}");
        assert_eq!(wire.run(&format!("DEL {key}")), Reply::Int(1));
        assert!(
            !wire.run(r#"BEAR.ENQUEUE bear UPDATE_BEAR_NAME {"id":5,"name":"Kodiak"} BLOCK 0"#).is_error(),
            "{line}"
        );
    }
}

#[test]
fn records_and_a_pause_of_others_are_left_alone() {
    let database = bears::database();
    for line in ["XADD bear:queue:completed 1-1 task mail", "XADD bear:queue:failed 1-1 task mail"] {
        let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
        let mut wire = redis.wire();
        let job = r#"BEAR.ENQUEUE bear UPDATE_BEAR_NAME {"id":5,"name":"Kodiak"}"#;
        assert!(!wire.run(job).is_error());
        assert!(!wire.run(line).is_error());
        let key = line.split(' ').nth(1).expect("a key").to_owned();
        assert!(wire.run(job).error().starts_with("FOREIGN "), "{line}");
        assert!(wire.run("CONFIG SET bear.drain yes").is_ok());
        assert_eq!(wire.run(&format!("XLEN {key}")), Reply::Int(1));
        assert_eq!(wire.run(&format!("DEL {key}")), Reply::Int(1));
        eventually("the job is applied", || wire.run("BEAR.STATS bear").map()["completed"] == Reply::Int(1));
    }
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    for line in ["SET bear:queue:paused mine", "RPUSH bear:queue:paused mine"] {
        assert!(!wire.run(line).is_error());
        let before = wire.run("DUMP bear:queue:paused");
        for command in ["PAUSE", "RESUME"] {
            let error = wire.run(&format!("BEAR.{command} bear"));
            assert!(error.error().starts_with("FOREIGN ") && error.error().contains("bear:queue:paused"), "{error:?}");
        }
        assert_eq!(wire.run("DUMP bear:queue:paused"), before);
        wire.run("DEL bear:queue:paused");
    }
    assert!(
        wire.run("BEAR.PAUSE bear").is_ok()
            && wire.run("BEAR.PAUSE bear").is_ok()
            && wire.run("BEAR.RESUME bear").is_ok()
    );
    assert_eq!(wire.run("EXISTS bear:queue:paused"), Reply::Int(0));
}

#[test]
fn a_replica_serves_nothing_of_a_section_that_its_master_does_not_own() {
    let database = bears::database();
    let redis = over(&database, plain_with(&[r#"SET bear:size:300:400 [{"id":99}] EX 3000"#]));
    let replica = Redis::builder().postgres(&database).replica_of(&redis).start();
    wait_looked(&redis);
    assert_refused(&mut redis.wire(), QUERY, "bear:size:300:400");
    redis.run("BEAR.QUERY color all");
    redis.wait_stored();
    replica.wait_in_sync(&redis);
    assert_eq!(replica.run("BEAR.QUERY bear size 300 400").text(), bears::json(&[3]));
    assert!(replica.run("BEAR.QUERY bear CACHED size 300 400").is_nil());
    assert!(!replica.run("BEAR.QUERY color CACHED all").is_nil());
}

//! Memory policies: under `allkeys-*` nothing is stored, a full server answers without storing, and where entries are
//! evicted no other entry is ever without its metadata.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::bears::{self, selects};
use crate::support::{burst, eventually, Database, KeyspaceModel, Redis, Reply};

const QUERY: &str = "BEAR.QUERY bear size 100 200";
const CACHED: &str = "BEAR.QUERY bear CACHED size 100 200";

fn yogi_and_others() -> String {
    bears::json(&[1, 2, 4, 5, 6])
}

/// Each query is answered, by a fetch of its own, and nothing is written.
fn assert_nothing_is_stored(redis: &Redis, database: &Database) {
    let before = selects(database);
    for fetched in 1..=3 {
        assert_eq!(redis.run(QUERY).text(), yogi_and_others());
        assert_eq!(redis.run("BEAR.QUERY bear FRESH colors white").text(), bears::json(&[3, 4]));
        assert_eq!(selects(database), before + 2 * fetched);
    }
    redis.wait_stored();
    assert_eq!(redis.run(CACHED), Reply::Nil);
    assert_eq!(redis.run("BEAR.INVALIDATE bear ALL"), Reply::Int(0));
    assert_eq!(redis.info("bear").int("bear_stores"), 0);
}

#[test]
fn under_allkeys_policies_queries_are_answered_and_nothing_is_stored() {
    for (policy, maxmemory) in
        [("allkeys-lru", "0"), ("allkeys-lru", "1gb"), ("allkeys-random", "0"), ("allkeys-lfu", "0")]
    {
        let database = bears::database();
        let redis = Redis::builder()
            .postgres(&database)
            .append_only()
            .config("maxmemory-policy", policy)
            .config("maxmemory", maxmemory)
            .start();
        assert_nothing_is_stored(&redis, &database);
        assert!(redis.keys().is_empty(), "{policy} {maxmemory}: {:?}", redis.keys());
        assert!(redis.aof().is_empty(), "{policy} {maxmemory}: {:?}", redis.aof());
    }
}

#[test]
fn a_policy_chosen_while_running_removes_what_is_stored_and_back_stores_again() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).append_only().start();
    let replica = Redis::builder().plain().replica_of(&redis).start();
    replica.wait_in_sync(&redis);
    redis.run("SET foreign 1");
    for policy in ["allkeys-lru", "allkeys-random"] {
        for line in [QUERY, "BEAR.QUERY bear all", "BEAR.QUERY color all"] {
            assert!(!redis.run(line).is_error());
        }
        redis.wait_stored();
        assert_eq!(redis.run(CACHED).text(), yogi_and_others());
        assert!(redis.run(&format!("CONFIG SET maxmemory-policy {policy}")).is_ok());
        // At once, though the keys go in slices.
        assert_eq!(redis.run(CACHED), Reply::Nil, "{policy}");
        eventually("what was stored is gone", || redis.keys() == ["foreign"]);
        assert_nothing_is_stored(&redis, &database);
        assert_eq!(redis.keys(), ["foreign"], "{policy}");
        replica.wait_in_sync(&redis);
        assert_eq!(replica.keys(), ["foreign"], "{policy}");

        assert!(redis.run("CONFIG SET maxmemory-policy volatile-lru").is_ok());
        assert_eq!(redis.run(CACHED), Reply::Nil, "{policy}");
        assert_eq!(redis.run(QUERY).text(), yogi_and_others());
        redis.wait_stored();
        let fetched = selects(&database);
        assert_eq!(redis.run(QUERY).text(), yogi_and_others());
        assert_eq!(selects(&database), fetched, "{policy}");
        assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(1), "{policy}");
    }
}

#[test]
fn a_fetch_under_way_when_the_policy_changes_is_not_stored() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(bears::gated_catalog()).append_only().start();
    let mut gate = database.close_gate();
    let mut client = redis.wire();
    client.begin(QUERY);
    gate.wait(1);
    assert!(redis.run("CONFIG SET maxmemory-policy allkeys-lru").is_ok());
    gate.open();
    assert_eq!(client.receive().text(), yogi_and_others());
    assert_eq!(redis.run(CACHED), Reply::Nil);
    let set = redis
        .aof()
        .into_iter()
        .flatten()
        .find(|command| command.name() == "SET" && command.text(1).starts_with("bear:"));
    assert!(set.is_none(), "{set:?}");
    eventually("no key is left", || redis.keys().is_empty());
}

#[test]
fn a_full_server_answers_without_storing_and_its_hits_go_on() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("maxmemory-policy", "noeviction").start();
    for line in [QUERY, "BEAR.QUERY bear size 300 400", "BEAR.QUERY bear colors brown"] {
        redis.run(line);
    }
    redis.wait_stored();
    let fetched = selects(&database);
    let keys = redis.keys();
    assert!(redis.run("CONFIG SET maxmemory 1mb").is_ok());
    assert!(redis.run("SET foreign 1").error().starts_with("OOM "), "it is full");

    assert_eq!(redis.run(QUERY).text(), yogi_and_others());
    assert_eq!(selects(&database), fetched);
    for more in 1..=3 {
        assert_eq!(redis.run("BEAR.QUERY bear colors white").text(), bears::json(&[3, 4]));
        assert_eq!(selects(&database), fetched + more);
    }
    redis.wait_stored();
    assert_eq!(redis.keys(), keys);
    // Invalidations only free memory: they are not refused.
    database.run("UPDATE bear SET name = 'Boo-Boo' WHERE id = 5");
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(2));
    assert!(redis.run(QUERY).text().contains("Boo-Boo"));
    assert_eq!(redis.run("BEAR.QUERY bear CACHED size 300 400").text(), bears::json(&[3]));

    assert!(redis.run("CONFIG SET maxmemory 0").is_ok());
    assert_eq!(redis.run("BEAR.QUERY bear colors white").text(), bears::json(&[3, 4]));
    redis.wait_stored();
    assert_eq!(redis.run("EXISTS bear:colors:white"), Reply::Int(1));
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 3"), Reply::Int(2));
}

/// What was answered last must not be followed by what was stored before it.
#[test]
fn a_full_server_serves_no_entry_that_is_older_than_an_answer() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("maxmemory-policy", "noeviction").start();
    redis.run(QUERY);
    redis.wait_stored();
    assert!(redis.run("CONFIG SET maxmemory 1mb").is_ok());
    database.run("UPDATE bear SET name = 'Boo-Boo' WHERE id = 5");
    assert!(redis.run("BEAR.QUERY bear FRESH size 100 200").text().contains("Boo-Boo"));
    assert!(redis.run(QUERY).text().contains("Boo-Boo"));
}

/// Looks at everything at one moment: entries that are missing in a set they belong to, members of sets whose entry is
/// gone, and entries.
const LOOK: &str = r#"
local listed, missing, dead, entries = {}, {}, 0, 0
for _, key in ipairs(redis.call('KEYS', 'bear:*')) do
    if string.match(key, '^bear:meta:') or string.match(key, '^bear:tag:') then
        for _, member in ipairs(redis.call('SMEMBERS', key)) do
            listed[key .. ' ' .. member] = true
            if redis.call('EXISTS', member) == 0 then dead = dead + 1 end
        end
    end
end
for _, key in ipairs(redis.call('KEYS', 'bear:size:*')) do
    local json = redis.call('GET', key)
    if json then
        entries = entries + 1
        for _, row in ipairs(cjson.decode(json)) do
            local sets = {'bear:meta:' .. string.format('%d', row.id) .. ':caches'}
            for _, color in ipairs(row.colors) do table.insert(sets, 'bear:tag:color:' .. color) end
            for _, set in ipairs(sets) do
                if not listed[set .. ' ' .. key] then table.insert(missing, set .. ' ' .. key) end
            end
        end
    end
end
return {missing, dead, entries}
"#;

pub(super) fn look(redis: &Redis) -> (Vec<String>, i64, i64) {
    let reply = redis.wire().call(&["EVAL", LOOK, "0"]);
    let parts = reply.list();
    (parts[0].list().iter().map(Reply::text).collect(), parts[1].int(), parts[2].int())
}

#[test]
fn entries_are_evicted_and_none_is_ever_without_its_metadata() {
    let database = bears::database();
    database.run(
        "INSERT INTO bear (id, name, size) SELECT i, repeat('x', 1000), 1000 + i FROM generate_series(10, 1200) i;
         INSERT INTO bear_colors SELECT i, 1 + i % 4 FROM generate_series(10, 1200) i",
    );
    database.log_errors_only();
    let redis = Redis::builder().postgres(&database).append_only().config("maxmemory-policy", "volatile-lru").start();
    burst(&redis, &vec![QUERY; 64]);
    redis.wait_stored();
    let limit = redis.info("memory").int("used_memory") + (3 << 20);
    assert!(redis.run(&format!("CONFIG SET maxmemory {limit}")).is_ok());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut looks = 0;
            while !is_over.load(Ordering::SeqCst) {
                let (missing, ..) = look(&redis);
                assert!(missing.is_empty(), "{missing:?}");
                looks += 1;
            }
            looks
        });
        // Ends the other even where an assertion fails here.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let over = Over(&is_over);
        // Five rows of a kilobyte each: some 6 MB, twice what there is room for.
        for batch in (0..1180).collect::<Vec<i64>>().chunks(295) {
            let lines: Vec<String> =
                batch.iter().map(|low| format!("BEAR.QUERY bear size {} {}", 1010 + low, 1014 + low)).collect();
            for (line, reply) in lines.iter().zip(burst(&redis, &lines)) {
                assert_eq!(reply.json().as_array().map(Vec::len), Some(5), "{line}");
            }
            redis.run(&format!("BEAR.INVALIDATE bear ROW {}", 12 + batch[0]));
        }
        drop(over);
        assert!(looker.join().expect("nothing was ever missing") > 0);
    });
    redis.wait_stored();
    let evicted = redis.info("bear").int("bear_entries_evicted");
    assert!(evicted > 100, "{evicted} entries were evicted");
    eventually("metadata of evicted entries is swept", || {
        let (missing, dead, entries) = look(&redis);
        assert!(missing.is_empty(), "{missing:?}");
        dead == 0 && entries > 0
    });
    // The append-only file tells the same story.
    let mut model = KeyspaceModel::default();
    for unit in redis.aof() {
        model.apply(&unit);
    }
    model.assert_entries_have_metadata("bear", bears::metadata_of);
    model.assert_metadata_is_swept("bear", bears::metadata_of);
    let (_, _, entries) = look(&redis);
    assert_eq!(redis.run("BEAR.INVALIDATE bear ALL"), Reply::Int(entries));
    eventually("no key is left", || redis.keys().is_empty());
}

#[test]
fn the_policy_is_known_where_config_has_no_name() {
    let database = bears::database();
    let builder = || Redis::builder().postgres(&database).config("rename-command", "CONFIG \"\"");
    let redis = builder().config("maxmemory-policy", "allkeys-lru").start();
    assert!(redis.run("CONFIG GET maxmemory-policy").is_error(), "it is renamed");
    assert_nothing_is_stored(&redis, &database);
    assert!(redis.keys().is_empty());
    drop(redis);
    let redis = builder().start();
    assert_eq!(redis.run(QUERY).text(), yogi_and_others());
    redis.wait_stored();
    assert_eq!(redis.run(CACHED).text(), yogi_and_others());
}

//! What Redis' users may do: the space is the key, so that key patterns, permissions and routing work as for GET.

use crate::support::bears;
use crate::support::{Database, Redis, Reply, Wire};

fn start() -> (Database, Redis) {
    let database = bears::database();
    let redis = Redis::builder()
        .postgres(&database)
        .acl_file(
            "user default on nopass ~* &* +@all\n\
             user bears on >x ~bear* -@all +bear.query +get\n\
             user colors on >x ~color* -@all +bear.query +get\n\
             user reader on >x %R~bear -@all +bear.query +bear.explain +bear.invalidate +set\n\
             user writer on >x %W~bear -@all +bear.query +bear.invalidate +set\n\
             user both on >x %RW~bear -@all +bear.query +bear.invalidate\n\
             user class on >x ~* -@all +@read\n\
             user nothing on >x ~* -@all +ping\n",
        )
        .start();
    (database, redis)
}

fn user(redis: &Redis, name: &str) -> Wire {
    let mut wire = redis.wire();
    assert!(wire.run(&format!("AUTH {name} x")).is_ok());
    wire
}

#[test]
fn a_user_asks_only_the_spaces_of_its_key_patterns() {
    let (_database, redis) = start();
    for (name, allowed, denied) in
        [("bears", "bear size 90 90", "color all"), ("colors", "color all", "bear size 90 90")]
    {
        let mut wire = user(&redis, name);
        for state in ["missing", "cached"] {
            assert!(!wire.run(&format!("BEAR.QUERY {allowed}")).is_error(), "{name}, {state}");
            let reply = wire.run(&format!("BEAR.QUERY {denied}"));
            // The very words that Redis has for its own commands.
            let key = denied.split(' ').next().unwrap();
            assert_eq!(reply, wire.run(&format!("GET {key}")), "{name}");
            assert!(reply.error().starts_with("NOPERM "), "{reply:?}");
            redis.wait_stored();
        }
    }
}

#[test]
fn what_a_limited_user_misses_is_stored_for_all() {
    let (database, redis) = start();
    assert_eq!(user(&redis, "reader").run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
    redis.wait_stored();
    assert_eq!(redis.run("BEAR.QUERY bear CACHED size 90 90").text(), bears::json(&[8]));
    assert_eq!(bears::selects(&database), 1);
}

#[test]
fn reading_needs_read_access_and_invalidating_both() {
    let (_database, redis) = start();
    redis.run("BEAR.QUERY bear size 90 90");
    redis.wait_stored();
    let query = "BEAR.QUERY bear size 90 90";
    let invalidate = "BEAR.INVALIDATE bear ROW 8";

    let mut reader = user(&redis, "reader");
    assert_eq!(reader.run(query).text(), bears::json(&[8]));
    assert!(!reader.run("BEAR.EXPLAIN bear all").is_error());
    assert_eq!(reader.run(invalidate), reader.run("SET bear x"));
    assert!(reader.run(invalidate).error().starts_with("NOPERM "));

    let mut writer = user(&redis, "writer");
    assert!(writer.run(query).error().starts_with("NOPERM "));
    assert!(writer.run(invalidate).error().starts_with("NOPERM "), "it tells how many entries there were");
    assert_eq!(redis.run("BEAR.QUERY bear CACHED size 90 90").text(), bears::json(&[8]), "nothing was removed");

    let mut both = user(&redis, "both");
    assert_eq!(both.run(invalidate), Reply::Int(1));
    assert!(both.run("BEAR.INVALIDATE color ALL").error().starts_with("NOPERM "));
}

#[test]
fn a_command_that_is_not_allowed_is_refused_as_redis_does() {
    let (_database, redis) = start();
    let mut wire = user(&redis, "nothing");
    for (line, name) in [
        ("BEAR.QUERY bear all", "bear.query"),
        ("BEAR.INVALIDATE bear ALL", "bear.invalidate"),
        ("BEAR.EXPLAIN bear all", "bear.explain"),
        ("BEAR.CATALOG", "bear.catalog"),
        ("BEAR.RELOAD", "bear.reload"),
    ] {
        let reply = wire.run(line);
        assert!(reply.error().starts_with("NOPERM ") && reply.error().contains(name), "{reply:?}");
    }
    let line = redis.run("ACL DRYRUN nothing BEAR.QUERY bear all").text();
    assert!(line.contains("bear.query"), "{line}");
    assert!(redis.run("ACL DRYRUN bears BEAR.QUERY bear all").is_ok());
}

#[test]
fn what_is_denied_in_a_script_or_transaction_stays_denied() {
    let (_database, redis) = start();
    redis.run("BEAR.QUERY bear size 90 90");
    redis.run("BEAR.QUERY color all");
    redis.wait_stored();
    assert!(redis.run("ACL SETUSER colors +eval +multi +exec").is_ok());
    let mut wire = user(&redis, "colors");
    let script = |space: &str, call: &str| format!("return redis.call('BEAR.QUERY', '{space}', {call})");
    let reply = wire.call(&["EVAL", &script("color", "'all'"), "0"]);
    assert_eq!(reply.json()[0]["name"], "black");
    let reply = wire.call(&["EVAL", &script("bear", "'size', '90', '90'"), "0"]);
    assert!(reply.is_error() && !reply.error().contains("Paddington"), "{reply:?}");
    assert!(wire.run("MULTI").is_ok());
    assert!(wire.run("BEAR.QUERY bear size 90 90").error().starts_with("NOPERM "));
    assert!(wire.run("EXEC").error().starts_with("EXECABORT "));
}

#[test]
fn commands_are_in_no_category_that_users_have_for_other_reasons() {
    let (_database, redis) = start();
    let mut wire = user(&redis, "class");
    // @read and @write are Redis' own, from the flags; where a server does not know them of modules, it denies.
    let query = wire.run("BEAR.QUERY bear size 90 90");
    assert!(!query.is_error() || query.error().starts_with("NOPERM "), "{query:?}");
    for line in ["BEAR.INVALIDATE bear ALL", "BEAR.RELOAD"] {
        assert!(wire.run(line).error().starts_with("NOPERM "), "{line}");
    }
    let dangerous = redis.run("ACL CAT dangerous").sorted_texts();
    assert!(!dangerous.contains(&"bear.query".to_owned()));
}

#[test]
fn the_space_is_the_key() {
    let (_database, redis) = start();
    let mut wire = redis.wire();
    for (line, key) in [
        ("BEAR.QUERY bear size 90 90", "bear"),
        ("BEAR.QUERY bear FRESH all", "bear"),
        ("BEAR.QUERY {5a1}:booking between 1 2", "{5a1}:booking"),
        ("BEAR.INVALIDATE bear ROW 1 2 3", "bear"),
        ("BEAR.INVALIDATE color ALL", "color"),
        ("BEAR.EXPLAIN color all", "color"),
    ] {
        assert_eq!(wire.run(&format!("COMMAND GETKEYS {line}")).sorted_texts(), [key], "{line}");
    }
    for (line, key, flags) in [
        ("BEAR.QUERY bear all", "bear", &["RO", "access"][..]),
        ("BEAR.EXPLAIN bear all", "bear", &["RO", "access"]),
        ("BEAR.INVALIDATE bear ALL", "bear", &["RW", "access", "delete"]),
    ] {
        let reply = wire.run(&format!("COMMAND GETKEYSANDFLAGS {line}"));
        let [found] = reply.list() else { panic!("{reply:?}") };
        assert_eq!(found.list()[0].text(), key);
        assert_eq!(found.list()[1].sorted_texts(), flags, "{line}");
    }
    let reply = wire.run("COMMAND GETKEYS BEAR.CATALOG bear");
    assert!(reply.error().contains("no key arguments"), "{reply:?}");
}

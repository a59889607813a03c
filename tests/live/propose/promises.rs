//! What Postgres does by itself, and what nobody tells of it: defaults, rules, triggers, tables without an identity, time zones.

use super::beside::Beside;
use super::{loaded, proposed};
use crate::support::feed::wait_told;
use crate::support::{Database, Postgres, Redis, Reply, Wire};

#[track_caller]
fn outcome(wire: &mut Wire, space: &str, job: &str, json: &str) -> std::collections::BTreeMap<String, Reply> {
    let reply = wire.call(&["BEAR.ENQUEUE", space, job, json, "ATTEMPTS", "1", "BLOCK", "20000"]);
    reply.map().into_iter().collect()
}

#[track_caller]
fn completed(wire: &mut Wire, space: &str, job: &str, json: &str) -> String {
    let outcome = outcome(wire, space, job, json);
    assert_eq!(outcome["state"].text(), "completed", "{space} {job} {json}: {outcome:?}");
    match &outcome["result"] {
        Reply::Nil => String::new(),
        result => result.text(),
    }
}

#[track_caller]
fn failed(wire: &mut Wire, space: &str, job: &str, json: &str, why: &str) {
    let outcome = outcome(wire, space, job, json);
    assert_ne!(outcome["state"].text(), "completed", "{space} {job} {json}: {outcome:?}");
    let error = outcome["error"].map();
    let error = format!("{} {}", error["message"].text(), error["sqlstate"].text());
    assert!(error.contains(why), "{space} {job} {json}: {error}");
}

fn value(database: &Database, sql: &str) -> Option<String> {
    database.client().query_one(sql, &[]).unwrap().get(0)
}

const DEFAULTS: &str = "
    CREATE TYPE e1 AS ENUM ('a', 'b'); CREATE DOMAIN de AS e1 DEFAULT 'a'; CREATE DOMAIN seven AS int DEFAULT 7 NOT NULL;
    CREATE DOMAIN above AS seven; CREATE DOMAIN needed AS text NOT NULL;
    CREATE TABLE d (id serial PRIMARY KEY, t text DEFAULT 5, v varchar(3) NOT NULL DEFAULT 0, m money DEFAULT 5, n numeric DEFAULT 1,
        s smallint DEFAULT 2, c char(4) DEFAULT 3, b bit(3) DEFAULT B'101', ts timestamp(0) DEFAULT '2026-05-01 10:00Z'::timestamptz,
        de de, s7 seven, ab above, own de DEFAULT 'b', arr int[] DEFAULT '{1}', j jsonb DEFAULT '{}', i interval DEFAULT '1 day', x needed)";

/// An INSERT of nothing writes what psql's writes.
#[test]
fn each_default_is_what_postgres_would_write() {
    let database = Postgres::shared().database(DEFAULTS);
    let redis = loaded(&database, &proposed(&database, ""));
    let mut wire = redis.wire();
    database.run("INSERT INTO d (x) VALUES ('x')");
    completed(&mut wire, "d", "INSERT", r#"{"x":"x"}"#);
    let rows = "SELECT count(DISTINCT to_jsonb(d) - 'id')::text || ' ' || count(*) FROM d";
    assert_eq!(
        value(&database, rows).as_deref(),
        Some("1 2"),
        "{:?}",
        value(&database, "SELECT string_agg(d::text, ' ') FROM d")
    );
    completed(&mut wire, "d", "INSERT", r#"{"x":"x","t":null,"v":"abc","m":"2","s":3,"de":"b"}"#);
    let row = "SELECT concat_ws('|', coalesce(t, 'NULL'), v, m::numeric, s, de) FROM d WHERE id = 3";
    assert_eq!(value(&database, row).as_deref(), Some("NULL|abc|2.00|3|b"));
    failed(&mut wire, "d", "INSERT", r#"{"x":"x","v":null}"#, "23502");
    failed(&mut wire, "d", "UPDATE", r#"{"id":3,"v":null}"#, "23502");
    failed(&mut wire, "d", "UPDATE", r#"{"id":3,"s7":null}"#, "23502");
    completed(&mut wire, "d", "UPDATE", r#"{"id":3,"t":"t"}"#);
    assert_eq!(value(&database, "SELECT v FROM d WHERE id = 3").as_deref(), Some("abc"), "absent is unchanged");
}

#[test]
fn a_key_that_is_drawn_in_part_is_the_jobs_result() {
    let database = Postgres::shared().database(
        "CREATE TABLE move (id serial, warehouse int, n int, PRIMARY KEY (warehouse, id)); CREATE INDEX ON move (id);
         CREATE TABLE event (id serial, at timestamptz DEFAULT '2026-05-01T10:00Z', PRIMARY KEY (id, at))",
    );
    let redis = loaded(&database, &proposed(&database, ""));
    let mut wire = redis.wire();
    assert_eq!(completed(&mut wire, "move", "INSERT", r#"{"warehouse":7,"n_value":1}"#), "1");
    let event = completed(&mut wire, "event", "INSERT", "{}");
    assert!(event.starts_with(r#"{"id":1,"at":"2026-05-01T10:00"#), "{event}");
}

/// What is made of a sequence's values is the key, and not these themselves.
#[test]
fn a_key_that_is_made_of_a_sequence_is_what_postgres_would_make() {
    let database = Postgres::shared().database(
        "CREATE SEQUENCE sq; CREATE FUNCTION mk(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT $1 * 10';
         CREATE TABLE plain (id smallserial PRIMARY KEY, v int);
         CREATE TABLE shifted (id bigint PRIMARY KEY DEFAULT 1000000 + nextval('sq'), v int);
         CREATE TABLE negative (id int PRIMARY KEY DEFAULT -nextval('sq'), v int);
         CREATE TABLE made (id bigint PRIMARY KEY DEFAULT mk(nextval('sq')), v int);
         CREATE TABLE word (id text PRIMARY KEY DEFAULT 'o' || nextval('sq'), v int);
         CREATE TABLE digits (id varchar(9) PRIMARY KEY DEFAULT nextval('sq'), v int)",
    );
    let redis = loaded(&database, &proposed(&database, ""));
    let mut wire = redis.wire();
    for (table, expected) in [
        ("plain", "1"),
        ("shifted", "1000007"),
        ("negative", "-7"),
        ("made", "70"),
        ("word", "\"o7\""),
        ("digits", "\"7\""),
    ] {
        database.run("SELECT setval('sq', 6)");
        assert_eq!(completed(&mut wire, table, "INSERT", r#"{"v":1}"#), expected, "{table}");
        let stored = value(&database, &format!("SELECT id::text FROM {table}"));
        assert_eq!(stored.as_deref(), Some(expected.trim_matches('"')), "{table}");
    }
}

#[test]
fn bytes_are_sent_in_hex_and_not_in_base64() {
    let database = Postgres::shared().database("CREATE TABLE doc (id int PRIMARY KEY, pdf bytea)");
    let redis = loaded(&database, &proposed(&database, ""));
    let mut wire = redis.wire();
    completed(&mut wire, "doc", "INSERT", r#"{"id":1,"pdf":"\\x68656c6c6f"}"#);
    completed(&mut wire, "doc", "INSERT", r#"{"id":2,"pdf":"68656c6c6f"}"#);
    assert_eq!(
        value(&database, "SELECT string_agg(encode(pdf, 'escape'), ' ') FROM doc").as_deref(),
        Some("hello hello")
    );
    failed(&mut wire, "doc", "INSERT", r#"{"id":3,"pdf":"aGVsbG8="}"#, "hexadecimal");
    completed(&mut wire, "doc", "UPDATE", r#"{"id":2,"pdf":null}"#);
    assert_eq!(value(&database, "SELECT encode(pdf, 'hex') FROM doc WHERE id = 2"), None);
}

/// A rule answers another statement, or none; what a trigger writes is not in what a job returns.
#[test]
fn what_rules_and_triggers_do_is_said() {
    let database = Postgres::shared().database(
        "CREATE TABLE soft (id int PRIMARY KEY, gone bool); CREATE RULE soft_delete AS ON DELETE TO soft DO INSTEAD UPDATE soft SET gone = true WHERE id = old.id;
         CREATE TABLE total (id int PRIMARY KEY, n int); CREATE TABLE part (id int PRIMARY KEY, total_id int REFERENCES total);
         CREATE FUNCTION sum_up() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE total SET n = n + 1; RETURN new; END';
         CREATE TRIGGER adds AFTER INSERT ON part FOR EACH ROW EXECUTE FUNCTION sum_up()",
    );
    let text = proposed(&database, "");
    let redis = loaded(&database, &text);
    assert!(text.contains("# - soft: DELETE: the rule soft_delete answers it"), "{text}");
    assert!(
        text.contains(
            "# With bear.feed off nobody tells what triggers write in other tables meanwhile: adds\n[part.job.INSERT]"
        ),
        "{text}"
    );
    completed(&mut redis.wire(), "soft", "INSERT", r#"{"id":1}"#);
    // Bear's own triggers are none of these.
    let followed = Redis::builder().postgres(&database).catalog(text).config("bear.feed", "outbox").start();
    wait_told(&followed);
    let text = followed.run("BEAR.PROPOSE").text();
    assert!(
        text.contains(
            "# The change feed alone tells what triggers write in other tables meanwhile: adds\n[part.job.INSERT]"
        ),
        "{text}"
    );
    assert_eq!(text.matches("what triggers write").count(), 1, "{text}");
}

/// Whose changes the WAL does not tell row by row: with the outbox there is nothing to say.
#[test]
fn what_the_feed_does_not_follow_is_said_beside_its_queries() {
    let database = Postgres::shared_logical().database(
        "CREATE TABLE nokey (a int, b int); CREATE TABLE animal (id int PRIMARY KEY, name text); CREATE TABLE dog () INHERITS (animal);
         CREATE TABLE by_unique (code int NOT NULL UNIQUE, x int); CREATE TABLE plain (id int PRIMARY KEY, nokey_a int)",
    );
    let start = |feed| {
        let redis = Redis::builder().postgres(&database).catalog("[plain]\n").config("bear.feed", feed).start();
        wait_told(&redis);
        redis
    };
    let untold = "is not followed with bear.feed wal: ";
    for (feed, is_said) in [("wal", true), ("outbox", false)] {
        let redis = start(feed);
        let mut wire = redis.wire();
        for (sql, why) in [
            ("SELECT a, b FROM nokey WHERE a = $1", "public.nokey has no replica identity"),
            (
                "SELECT p.id, n.b FROM plain p JOIN nokey n ON n.a = p.nokey_a WHERE p.id = $1",
                "public.nokey has no replica identity",
            ),
            ("SELECT id, name FROM animal WHERE id = $1", "other tables inherit from it"),
            ("SELECT id FROM plain WHERE id = $1", ""),
        ] {
            let reply = wire.call(&["BEAR.PROPOSE", "SQL", sql]);
            let is_expected = is_said && !why.is_empty();
            assert_eq!(reply.text().contains(&format!("{untold}{why}")), is_expected, "{feed} {sql}: {reply:?}");
        }
        let text = wire.run("BEAR.PROPOSE").text();
        assert_eq!(text.contains(untold), is_said, "{text}");
        assert!(!is_said || text.contains("# what others change in by_unique is not followed"), "{text}");
    }
}

#[test]
fn a_time_zone_that_is_not_utc_is_said() {
    let database =
        Postgres::shared().database("CREATE TABLE t (id serial PRIMARY KEY, at timestamp NOT NULL DEFAULT now())");
    let both =
        |redis: &mut Beside| (redis.proposed(&[]), redis.proposed(&["SQL", "SELECT at::date FROM t WHERE id = $1"]));
    for (zone, is_said) in [("America/New_York", true), ("Etc/UTC", false)] {
        database.run(&format!("ALTER DATABASE {} SET TimeZone = '{zone}'", database.name()));
        let (tables, statement) = both(&mut Beside::start(&database, "[t]\n"));
        let line = format!("# TimeZone is {zone} in this database, and UTC in bear's sessions");
        assert_eq!((tables.contains(&line), statement.contains(&line)), (is_said, is_said), "{tables}{statement}");
    }
}

#[test]
fn a_clock_is_proposed_with_a_ttl() {
    let database = Postgres::shared().database("CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL)");
    let mut beside = Beside::start(&database, "[t]\n");
    let lines = beside.proposed(&["SQL", "SELECT id FROM t WHERE at < now() AND id > $1"]);
    assert!(lines.contains("\nttl  = \"1m\"\n") && lines.contains("choose it"), "{lines}");
    beside.append(&lines);
    for (sql, parameter) in
        [("SELECT id FROM t WHERE ($1 IS NULL OR id >= $2)", "$1"), ("SELECT id FROM t WHERE {a} IS NULL", "{a}")]
    {
        let reply = beside.propose(&["SQL", sql]);
        assert!(reply.error().contains(&format!("such as {parameter}::int IS NULL")), "{reply:?}");
    }
}

#[test]
fn letters_of_either_case_are_found() {
    let database = Postgres::shared()
        .database("CREATE EXTENSION citext; CREATE TABLE u (id serial PRIMARY KEY, email citext UNIQUE)");
    let redis = loaded(&database, &proposed(&database, ""));
    let mut wire = redis.wire();
    assert_eq!(redis.run("BEAR.QUERY u email A@x").text(), "null");
    completed(&mut wire, "u", "INSERT", r#"{"email":"a@X"}"#);
    assert!(redis.run("BEAR.QUERY u email A@x").text().contains("a@X"));
}

/// Keys that an extension's equality tells apart, wherever the extension is: each job tells what it changed.
#[test]
fn jobs_of_an_extensions_keys_tell_what_they_change() {
    for (schema, path) in [("public", ""), ("apart", "apart.")] {
        let database = Postgres::shared().database(&format!(
            "CREATE SCHEMA apart; CREATE EXTENSION citext SCHEMA {schema}; CREATE EXTENSION ltree SCHEMA {schema};
             CREATE DOMAIN word AS {path}citext; CREATE TABLE tag (name {path}citext PRIMARY KEY, v int);
             CREATE TABLE branch (k {path}ltree PRIMARY KEY, v int); CREATE TABLE said (w word PRIMARY KEY, v int);
             CREATE TABLE child (id int PRIMARY KEY, tag {path}citext REFERENCES tag ON DELETE CASCADE, k {path}ltree REFERENCES branch ON DELETE SET NULL);
             CREATE TABLE both_of (tag {path}citext REFERENCES tag ON DELETE CASCADE, k {path}ltree REFERENCES branch ON DELETE CASCADE, PRIMARY KEY (tag, k));
             CREATE TABLE tree (name {path}citext PRIMARY KEY, up {path}citext REFERENCES tree ON DELETE CASCADE)"
        ));
        let text = proposed(&database, "");
        let redis = loaded(&database, &text);
        let mut wire = redis.wire();
        let ask = |call: &str| redis.run(&format!("BEAR.QUERY {call}")).text();
        for (section, key, sent, asked) in
            [("tag_rows", "name", "Ann", "ann"), ("branch", "k", "a.b", "a.b"), ("said", "w", "Ann", "ANN")]
        {
            let call = format!("{section} {key} {asked}");
            assert_eq!(ask(&call), "null", "{call}");
            completed(&mut wire, section, "INSERT", &format!(r#"{{"{key}":"{sent}","v":1}}"#));
            assert!(ask(&call).contains(r#""v":1"#), "{schema} {call}: {}\n{text}", ask(&call));
            completed(&mut wire, section, "UPDATE", &format!(r#"{{"{key}":"{asked}","v":2}}"#));
            assert!(ask(&call).contains(r#""v":2"#), "{schema} {call}: {}\n{text}", ask(&call));
        }
        database.run(
            "INSERT INTO child VALUES (1, 'ANN', 'a.b'); INSERT INTO both_of VALUES ('aNN', 'a.b');
             INSERT INTO tree VALUES ('A', NULL), ('B', 'a'), ('C', 'b')",
        );
        let calls = ["child 1", "both_of tag_rows ann k a.b", "tree name c", "tag_rows name ANN"];
        assert!(calls.iter().all(|call| ask(call) != "null"), "{text}");
        completed(&mut wire, "tree", "DELETE", r#"{"name":"a"}"#);
        completed(&mut wire, "tag_rows", "DELETE", r#"{"name":"ann"}"#);
        for call in calls {
            assert_eq!(ask(call), "null", "{schema} {call}\n{text}");
        }
        let followed = Redis::builder().postgres(&database).catalog(text).config("bear.feed", "outbox").start();
        wait_told(&followed);
        let mut wire = followed.wire();
        assert_eq!(wire.run("BEAR.QUERY tag_rows name ann").text(), "null");
        for (sql, expected) in [
            ("INSERT INTO tag VALUES ('Ann', 3)", r#""v":3"#),
            ("UPDATE tag SET name = 'ANN', v = 4", r#""v":4"#),
            ("DELETE FROM tag", "null"),
        ] {
            database.run(sql);
            wait_told(&followed);
            let found = wire.run("BEAR.QUERY tag_rows name ann").text();
            assert!(found.contains(expected), "{schema} {sql}: {found}");
        }
    }
}

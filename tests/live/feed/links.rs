//! Rows that a SELECT of `tables` finds by others: what is gone or has moved leaves nothing stale, in either feed.

use crate::support::feed::wait_told;
use crate::support::jobs::complete;
use crate::support::{eventually, Database, Postgres, Redis, Wire};

const SCHEMA: &str = "CREATE TABLE person (id int PRIMARY KEY); CREATE TABLE team (id int PRIMARY KEY, name text); \
    CREATE TABLE member (id int PRIMARY KEY, person_id int REFERENCES person, team_id int REFERENCES team ON DELETE CASCADE)";

const ROWS: &str = "INSERT INTO person VALUES (1), (2); INSERT INTO team VALUES (7, 'red'), (8, 'blue'); \
    INSERT INTO member VALUES (1, 1, 7), (2, 2, 8)";

/// The teams of a person.
const CATALOG: &str = r#"
[person]
id = "int"
row = "SELECT id FROM person WHERE id = ANY({ids})"
[person.tables]
person = "id"
member = "SELECT person_id FROM member WHERE id = ANY({ids})"
team = "SELECT m.person_id FROM member m JOIN team t ON t.id = m.team_id WHERE t.id = ANY({ids})"
[[person.query]]
call = "{id:int}"
single = true
match = "id = {id}"
sql = """SELECT p.id, ARRAY(SELECT t.name FROM member m JOIN team t ON t.id = m.team_id WHERE m.person_id = p.id ORDER BY 1) AS teams
 FROM person p WHERE p.id = {id}"""

[person.job.TAKE_OVER]
data = { id = "int", member = "int" }
sql = "UPDATE member SET person_id = job.id FROM {jobs} job WHERE member.id = job.member RETURNING job.n, member.person_id AS id"

[team]
id = "int"
tables = { team = "id" }
[[team.query]]
call = "all"
sql = "SELECT id, name FROM team"
[team.job.DISBAND]
data = { id = "int" }
sql = "DELETE FROM team USING {jobs} job WHERE team.id = job.id RETURNING job.n, team.id"
"#;

fn database() -> Database {
    Postgres::shared_logical().database(&format!("{SCHEMA}; {ROWS}"))
}

fn following(database: &Database, feed: &str, catalog: &str) -> Redis {
    let redis = Redis::builder().postgres(database).catalog(catalog).config("bear.feed", feed).prompt_feed().start();
    wait_told(&redis);
    redis
}

fn teams(wire: &mut Wire, person: u32) -> String {
    wire.run(&format!("BEAR.QUERY person {person}")).text()
}

#[test]
fn what_a_select_found_by_rows_that_are_gone_is_not_stale() {
    for feed in ["wal", "outbox"] {
        let database = database();
        let redis = following(&database, feed, CATALOG);
        let mut wire = redis.wire();
        for (sql, expected) in [
            ("DELETE FROM member WHERE id = 1", [r#"[]"#, r#"["blue"]"#]),
            ("UPDATE member SET person_id = 2 WHERE id = 1", [r#"[]"#, r#"["blue","red"]"#]),
            ("UPDATE member SET team_id = 8 WHERE id = 1", [r#"["blue"]"#, r#"["blue"]"#]),
            ("DELETE FROM team WHERE id = 7", [r#"[]"#, r#"["blue"]"#]),
            ("UPDATE team SET name = 'green' WHERE id = 7", [r#"["green"]"#, r#"["blue"]"#]),
            ("UPDATE member SET person_id = 3 - person_id", [r#"["blue"]"#, r#"["red"]"#]),
            ("INSERT INTO member VALUES (3, 2, 7)", [r#"["red"]"#, r#"["blue","red"]"#]),
            ("BEGIN; INSERT INTO person VALUES (3); UPDATE team SET name = 'gold'; DELETE FROM member WHERE id = 2; COMMIT", [r#"["gold"]"#, r#"[]"#]),
            ("TRUNCATE member", [r#"[]"#, r#"[]"#]),
            ("TRUNCATE team CASCADE", [r#"[]"#, r#"[]"#]),
        ] {
            database.run(&format!("TRUNCATE person, team, member; {ROWS}"));
            wait_told(&redis);
            for (person, expected) in [(1, r#"["red"]"#), (2, r#"["blue"]"#)] {
                assert!(teams(&mut wire, person).contains(expected));
            }
            redis.wait_stored();
            database.run(sql);
            wait_told(&redis);
            for (person, expected) in [1, 2].into_iter().zip(expected) {
                let found = teams(&mut wire, person);
                assert!(found.ends_with(&format!("\"teams\":{expected}}}")), "{feed} {sql}: {found}");
            }
        }
    }
}

#[test]
fn what_a_job_does_beside_what_it_tells_reaches_what_a_select_found() {
    for feed in ["wal", "outbox"] {
        let database = database();
        let redis = following(&database, feed, CATALOG);
        let mut wire = redis.wire();
        assert!(teams(&mut wire, 1).contains("red"));
        redis.wait_stored();
        assert!(teams(&mut wire, 2).contains("blue"));
        redis.wait_stored();
        // It returns who has it now, not who had it.
        complete(&mut wire, r#"person TAKE_OVER {"id":1,"member":2}"#);
        wait_told(&redis);
        assert!(teams(&mut wire, 1).contains("blue") && teams(&mut wire, 2).contains("[]"), "{feed}");
        redis.wait_stored();
        complete(&mut wire, r#"team DISBAND {"id":7}"#);
        wait_told(&redis);
        assert!(teams(&mut wire, 1).contains("[\"blue\"]"), "{feed}");
    }
}

#[test]
fn a_link_table_whose_rows_tell_the_id_leaves_the_others_cached() {
    for feed in ["wal", "outbox"] {
        let database = database();
        database.run("ALTER TABLE member REPLICA IDENTITY FULL");
        let redis = following(&database, feed, CATALOG);
        let mut wire = redis.wire();
        for (sql, kept) in [
            ("DELETE FROM member WHERE id = 1", 2),
            ("INSERT INTO member VALUES (1, 1, 7)", 2),
            ("UPDATE member SET team_id = 7 WHERE id = 2", 1),
            ("UPDATE team SET name = 'grey' WHERE id = 8", 1),
        ] {
            teams(&mut wire, 1);
            teams(&mut wire, 2);
            redis.wait_stored();
            database.run(sql);
            wait_told(&redis);
            assert!(!wire.run(&format!("BEAR.QUERY person CACHED {kept}")).is_nil(), "{feed} {sql}");
        }
    }
}

#[test]
fn loading_says_which_select_drops_all_and_what_would_be_better() {
    let database = database();
    let redis = following(&database, "wal", CATALOG);
    eventually("it is checked", || redis.run("BEAR.CATALOG").map()["checked"].text() == "yes");
    let warnings: Vec<String> =
        redis.run("BEAR.CATALOG").map()["warnings"].list().iter().map(|line| line.text()).collect();
    let has = |parts: [&str; 3]| warnings.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(
        has(["section 'person', table 'member'", "finds nothing by a row that is gone", "member = \"person_id\""]),
        "{warnings:?}"
    );
    assert!(has(["section 'person', table 'team'", "reads 'team'", "drops all of the section"]), "{warnings:?}");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let notes = redis.run("BEAR.FEED").map()["notes"].sorted_texts();
    assert!(notes.iter().any(|note| note.contains("ALTER TABLE public.member REPLICA IDENTITY FULL")), "{notes:?}");
    assert!(redis.run("BEAR.FEED").map()["unmapped"].list().is_empty());
}

#[test]
fn a_relation_is_mapped_however_its_name_is_spelled() {
    let database = Postgres::shared_logical().database(
        "CREATE SCHEMA app; CREATE TABLE app.\"User\" (\"User Id\" int PRIMARY KEY, name text); INSERT INTO app.\"User\" VALUES (1, 'a'); \
         CREATE VIEW app.seen AS SELECT * FROM app.\"User\"",
    );
    for (table, column) in [("app.User", "User Id"), (r#"app.\"User\""#, r#"\"User Id\""#)] {
        let catalog = format!(
            "[person]\nid = \"int\"\ntables = {{ \"{table}\" = \"{column}\" }}\n[[person.query]]\ncall = \"all\"\n\
             sql = 'SELECT \"User Id\" AS id, name FROM app.seen'\n"
        );
        for feed in ["wal", "outbox"] {
            let redis = following(&database, feed, &catalog);
            eventually("it is checked", || redis.run("BEAR.CATALOG").map()["checked"].text() == "yes");
            let overview = redis.run("BEAR.CATALOG").map();
            assert!(overview["warnings"].list().is_empty() && overview["errors"].list().is_empty(), "{overview:?}");
            let mut wire = redis.wire();
            wire.run("BEAR.QUERY person all");
            redis.wait_stored();
            database.run(&format!("UPDATE app.\"User\" SET name = name || '{}'", feed));
            wait_told(&redis);
            assert!(wire.run("BEAR.QUERY person all").text().contains(feed), "{table} {feed}");
        }
    }
}

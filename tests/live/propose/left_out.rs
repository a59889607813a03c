//! What has no section, and what of tables is left out: each is said, with its reason.

use super::{loaded, proposed, ODD};
use crate::support::{Postgres, Redis};

#[test]
fn what_is_left_out_is_said() {
    let database = Postgres::shared().database(ODD);
    let text = proposed(&database, "");
    let (_, end) = text.split_once("# Left out:\n").expect("something is left out");
    for (why, names) in [
        (
            "no primary key, and no unique one of columns that are NOT NULL",
            "child_of, closed_gate, deferred, empty, keyless",
        ),
        ("a view", "seen"),
        ("a materialized view", "kept"),
        ("unlogged", "fast"),
        ("others inherit from it", "parent_of"),
        ("a partition of a table", "measured_2026"),
        ("no call can name a value of its key's type", "arr, doc"),
    ] {
        let (_, after) = end.split_once(&format!("# - {why}")).unwrap_or_else(|| panic!("{why}: {end}"));
        assert_eq!(after.lines().nth(1), Some(&*format!("#   {names}")), "{why}");
    }
    for line in [
        r#"# - "user": encrypted_password: looks like a secret, and is not shown"#,
        "# - tag: the count of node by tag_id: no index begins with it",
    ] {
        assert!(end.contains(line), "{line}: {end}");
    }
    assert!(text.contains("# Two lines \"quoted\" {braces} \\ and more\n[order_item]"), "comments are kept");
}

#[test]
fn a_role_is_proposed_what_it_may_do() {
    let database = Postgres::shared().database(
        "CREATE SCHEMA closed; CREATE TABLE closed.here (id int PRIMARY KEY);
         CREATE TABLE open (id serial PRIMARY KEY, name text NOT NULL, salary int, boss int);
         CREATE TABLE hidden (id int PRIMARY KEY); CREATE TABLE half (id int PRIMARY KEY, seen text, unseen text NOT NULL);
         CREATE TABLE secured (id int PRIMARY KEY, owner text); ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
         ALTER TABLE open ADD FOREIGN KEY (boss) REFERENCES hidden",
    );
    let role = database.role("p");
    database.run(&format!(
        "REVOKE ALL ON open, hidden, half FROM {role}; REVOKE ALL ON SEQUENCE open_id_seq FROM {role};
         GRANT SELECT ON open TO {role}; GRANT UPDATE (name) ON open TO {role}; GRANT INSERT ON open TO {role};
         GRANT SELECT (id, seen), INSERT (id, seen), DELETE ON half TO {role}"
    ));
    let url = format!("postgres://{role}:p@127.0.0.1:{}/{}", database.postgres().port(), database.name());
    let builder = || Redis::builder().env("BEAR_POSTGRES_URL", &url).config("bear.feed", "off");
    let text = builder().start().run("BEAR.PROPOSE").text();
    let redis = super::seen(builder().catalog(text.clone()).start(), &text);
    let sections: Vec<String> =
        redis.run("BEAR.CATALOG").map()["sections"].list().iter().map(|name| name.text()).collect();
    assert_eq!(sections, ["half", "open"], "{text}");
    assert!(text.contains("SELECT h.id, h.seen FROM half h WHERE h.id = {id}"), "{text}");
    assert!(
        text.contains("SET name = CASE WHEN job.data ? 'name' THEN job.name ELSE o.name END\n          FROM"),
        "only what it may change: {text}"
    );
    for line in [
        "# - the role may not read its key:\n#   closed.here, hidden\n",
        "# - row security decides what the role sees of it: what is cached would be everybody's:\n#   secured\n",
        "# - half: INSERT: the role may not\n",
        "# - half: UPDATE: the role may not\n",
        "# - open: INSERT: the role may not draw from the sequence of its key\n",
        "# - open: DELETE: the role may not\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn tables_of_one_name_are_told_apart() {
    let database = Postgres::shared().database(
        "CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE item (id int PRIMARY KEY, x int); CREATE TABLE a.item (id int PRIMARY KEY, x int);
         CREATE TABLE b.item (id int PRIMARY KEY, x int); CREATE TABLE a.other (id int PRIMARY KEY); CREATE TABLE b_item (id int PRIMARY KEY);
         INSERT INTO item VALUES (1, 0); INSERT INTO a.item VALUES (1, 1); INSERT INTO b.item VALUES (1, 2)",
    );
    let text = proposed(&database, "TABLE item a.item b.item a.other b_item");
    let redis = loaded(&database, &text);
    for (section, expected) in [("item", 0), ("a_item", 1), ("b_item_2", 2)] {
        assert_eq!(
            redis.run(&format!("BEAR.QUERY {section} 1")).text(),
            format!(r#"{{"id":1,"x":{expected}}}"#),
            "{text}"
        );
    }
    assert!(text.contains("[other]\ntable = \"a.other\""), "{text}");
}

/// A type that the role may not name is cast to by no statement.
#[test]
fn what_is_of_a_type_in_a_closed_schema_is_left_out() {
    let database = Postgres::shared().database(
        "CREATE SCHEMA closed; CREATE EXTENSION ltree SCHEMA closed; CREATE DOMAIN closed.five AS int DEFAULT 5;
         CREATE TABLE by_path (k closed.ltree PRIMARY KEY, v int);
         CREATE TABLE t (id int PRIMARY KEY, k closed.ltree UNIQUE, ks closed.ltree[], f closed.five, v int)",
    );
    let role = database.role("p");
    let url = format!("postgres://{role}:p@127.0.0.1:{}/{}", database.postgres().port(), database.name());
    let builder = || Redis::builder().env("BEAR_POSTGRES_URL", &url).config("bear.feed", "off");
    let text = builder().start().run("BEAR.PROPOSE").text();
    super::seen(builder().catalog(text.clone()).start(), &text);
    assert!(text.contains("[t.job.INSERT]") && !text.contains("[by_path"), "{text}");
    assert!(
        text.contains("# - t: k: no job brings it, for the role may not use the schema of closed.ltree\n"),
        "{text}"
    );
}

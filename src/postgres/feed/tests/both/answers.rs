//! What changes answers and no row: the sections concerned go cold, and no others; the feed goes on.

use super::*;

const CATALOG: &str = r#"
[t]
id = "int"
tables = { t = "id" }
[[t.query]]
call = "all"
sql = '''SELECT v.*, outer_f(v.id), v.x <-> 1 AS far, (SELECT count(*) FROM m) AS n, (SELECT "Odd ""name""" FROM app."My Table" LIMIT 1) AS odd FROM v'''

[u]
id = "int"
tables = { u = "id" }
[[u.query]]
call = "all"
sql = "SELECT id FROM u"
"#;

const SCHEMA: &str = r#"
CREATE SCHEMA app; CREATE SCHEMA later;
CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN positive AS int; CREATE TYPE pair AS (a int, m mood);
CREATE TABLE t (id int PRIMARY KEY, x int, m mood, p positive, both_ pair[]);
CREATE TABLE u (id int PRIMARY KEY, x int); CREATE TABLE unnamed (id int); CREATE TABLE base (id int);
CREATE TABLE app."My Table" ("Odd ""name""" int);
CREATE VIEW inner_v AS SELECT t.*, 1 AS one FROM t; CREATE VIEW v AS SELECT * FROM inner_v;
CREATE MATERIALIZED VIEW m AS SELECT * FROM base;
CREATE FUNCTION inner_f(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1';
CREATE FUNCTION outer_f(i int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN Inner_F(i); END';
CREATE FUNCTION distance(int, int) RETURNS int LANGUAGE sql AS 'SELECT $1 - $2';
CREATE OPERATOR <-> (LEFTARG = int, RIGHTARG = int, FUNCTION = distance);
"#;

/// What happens, and whether it changes what `t` answers; nothing of it changes what `u` does, but for what no name tells.
const STATEMENTS: [(&str, &[&str]); 37] = [
    ("ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'", &["t"]),
    ("CREATE INDEX ON t (x) ;; CREATE INDEX ON u (x)", &[]),
    ("CREATE OR REPLACE VIEW inner_v AS SELECT t.*, 2 AS one FROM t", &["t"]),
    ("ANALYZE ;; VACUUM", &[]),
    ("CREATE OR REPLACE FUNCTION inner_f(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 2'", &["t"]),
    ("CREATE TEMP TABLE v (id int) ;; CREATE TEMP TABLE scratch (id int) ;; DROP TABLE v", &[]),
    (
        "CREATE OR REPLACE FUNCTION outer_f(i int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN inner_f(i) * 2; END'",
        &["t"],
    ),
    ("GRANT SELECT ON t, u, v TO PUBLIC ;; GRANT EXECUTE ON FUNCTION inner_f(int) TO PUBLIC", &[]),
    ("ALTER TABLE u ALTER x TYPE bigint", &["u"]),
    ("ALTER TABLE app.\"My Table\" ADD COLUMN more int", &["t"]),
    ("CREATE TABLE more (id int) ;; DROP TABLE more ;; ALTER TABLE unnamed ADD COLUMN y int", &[]),
    ("CREATE TABLE later.inner_v (id int)", &[]),
    ("CREATE TABLE later.m (id int)", &["t"]),
    ("CREATE FUNCTION later.inner_f(bigint) RETURNS int LANGUAGE sql AS 'SELECT 1'", &["t"]),
    ("INSERT INTO base VALUES (1) ;; REFRESH MATERIALIZED VIEW m", &["t"]),
    ("ALTER DOMAIN positive ADD CHECK (VALUE > 0)", &["t"]),
    ("ALTER TYPE pair ADD ATTRIBUTE b int", &["t"]),
    ("COMMENT ON TABLE t IS 'x' ;; ALTER TABLE t ALTER x SET STATISTICS 7", &[]),
    ("ALTER TABLE t ADD COLUMN y int DEFAULT 1", &["t"]),
    ("ALTER TABLE t ALTER y TYPE int USING y + 1", &["t"]),
    ("ALTER TABLE t DROP COLUMN y", &["t"]),
    ("ALTER TABLE t ENABLE ROW LEVEL SECURITY", &["t"]),
    ("CREATE POLICY some_of_it ON t USING (id > 0)", &["t"]),
    ("ALTER POLICY some_of_it ON t USING (id > 1)", &["t"]),
    ("DROP POLICY some_of_it ON t ;; ALTER TABLE t DISABLE ROW LEVEL SECURITY", &["t"]),
    ("CREATE OR REPLACE FUNCTION distance(int, int) RETURNS int LANGUAGE sql AS 'SELECT $2 - $1'", &["t", "u"]),
    ("CREATE CAST (mood AS int) WITH FUNCTION public.mood_int(mood) AS ASSIGNMENT", &["t", "u"]),
    ("DROP CAST (mood AS int)", &["t", "u"]),
    ("CREATE COLLATION mine FROM \"C\"", &["t", "u"]),
    ("ALTER SCHEMA app RENAME TO app2", &["t"]),
    ("ALTER SCHEMA app2 RENAME TO app", &["t"]),
    // What was fetched under the other name's meaning in between, and nobody saw, is not to stay.
    ("BEGIN ;; ALTER VIEW inner_v RENAME TO inner_z ;; ALTER VIEW inner_z RENAME TO inner_v ;; COMMIT", &["t"]),
    ("BEGIN ;; ALTER TABLE u RENAME TO z ;; ALTER TABLE z RENAME TO u ;; COMMIT", &["u"]),
    ("ALTER VIEW inner_v RENAME TO inner_w", &["t"]),
    ("CREATE STATISTICS s ON x, id FROM u ;; REINDEX TABLE u ;; CLUSTER u USING u_pkey", &["u"]),
    ("CREATE SEQUENCE v_seq ;; CREATE ROLE nobody_of_it ;; DROP ROLE nobody_of_it", &[]),
    ("DROP VIEW v", &["t"]),
];

/// The sections that go cold for what was done just now.
fn cold(followed: &Followed, begun: Instant) -> BTreeSet<String> {
    // By then it has looked, for it does so within the grace.
    let until = begun + Duration::from_millis(400);
    let mut cold = BTreeSet::new();
    loop {
        match followed.next() {
            FeedOutcome::CaughtUp { asked, .. } if asked >= until => return cold,
            FeedOutcome::Altered { sections, .. } => {
                cold.extend(sections.iter().map(|section| followed.sections[*section].name.to_string()));
            }
            FeedOutcome::Connected { .. } => {
                cold.extend(followed.sections.iter().map(|section| section.name.to_string()))
            }
            FeedOutcome::CaughtUp { .. }
            | FeedOutcome::Changed { .. }
            | FeedOutcome::AlteredBefore { .. }
            | FeedOutcome::Down { .. } => {}
        }
    }
}

for_both_kinds![
    what_changes_answers_makes_their_sections_cold_and_nothing_else_does,
    a_look_that_does_not_end_holds_up_nobody,
    what_was_altered_is_told_once_more,
    a_chain_of_many_new_functions_is_looked_at_in_time,
];

fn what_changes_answers_makes_their_sections_cold_and_nothing_else_does(kind: FeedKind) {
    let database = Database::new(kind, SCHEMA);
    let followed = database.follow(CATALOG);
    followed.connected();
    database.run("CREATE FUNCTION public.mood_int(mood) RETURNS int LANGUAGE sql AS 'SELECT 1'");
    let mut client = database.client();
    // The role's own schema is the outbox's.
    client.batch_execute("SET search_path = public").unwrap();
    cold(&followed, Instant::now());
    for (sql, expected) in STATEMENTS {
        let begun = Instant::now();
        for statement in sql.split(" ;; ") {
            client.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        let found = cold(&followed, begun.max(Instant::now()));
        let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        // The outbox looks at its triggers anew when a table of its own is altered, which makes all cold.
        let of_outbox = kind == FeedKind::Outbox && expected.is_subset(&found) && sql.starts_with("ALTER TABLE");
        assert!(found == expected || of_outbox, "{sql}: {found:?}");
    }
    // An outbox makes none.
    assert_eq!(database.slots(), i64::from(kind == FeedKind::Wal));
}

/// Whoever looks at what answers depend on waits for this, and nobody else.
fn stall(database: &Database) -> ::postgres::Client {
    let mut client = database.client();
    client.batch_execute("BEGIN; LOCK TABLE pg_catalog.pg_policy").unwrap();
    client
}

fn wait_for_look(database: &Database) {
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'pg_catalog.pg_policy'::regclass";
    eventually("a look that waits", || database.int(waiting) == 1);
}

/// Changes are told, and up to `until` at most all is said to be told, for a while; the feed does not begin anew.
fn follows_on(database: &Database, followed: &Followed, until: Instant) {
    let started = Instant::now();
    database.run("INSERT INTO u VALUES (7, 7) ON CONFLICT (id) DO UPDATE SET x = u.x + 1");
    let (mut is_told, mut caught_up) = (false, 0);
    while !is_told || caught_up < 10 {
        assert!(started.elapsed() < PATIENCE, "{is_told} {caught_up}");
        match followed.next() {
            FeedOutcome::Changed { changes, .. } => {
                is_told |= changes.iter().any(|change| followed.lines(change) == ["u 7"]);
            }
            FeedOutcome::CaughtUp { asked, .. } => {
                assert!(asked <= until);
                caught_up += 1;
            }
            FeedOutcome::AlteredBefore { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The grace of these feeds is 400 ms, and half of it may pass after the last look that ended.
const HALF: Duration = Duration::from_millis(200);

/// Waits for the end of a look that began after now; a first one that took long makes all cold as it ends.
fn known(followed: &Followed) {
    let begun = Instant::now();
    while !matches!(followed.next(), FeedOutcome::CaughtUp { asked, .. } if asked > begun + HALF) {
        assert!(begun.elapsed() < PATIENCE, "no look has ended");
    }
}

fn a_look_that_does_not_end_holds_up_nobody(kind: FeedKind) {
    let database = &Database::new(kind, SCHEMA);
    let followed = database.follow(CATALOG);
    // While it follows.
    followed.connected();
    known(&followed);
    let mut holder = stall(database);
    let stalled = Instant::now();
    wait_for_look(database);
    database.run("CREATE OR REPLACE VIEW public.inner_v AS SELECT t.*, 3 AS one FROM public.t t");
    follows_on(database, &followed, stalled + HALF);
    holder.batch_execute("ROLLBACK").unwrap();
    assert_eq!(followed.altered().1, ["t"]);
    followed.settled();
    // At the first look: once it ends it tells that nobody knows what was altered since.
    let mut holder = stall(database);
    let followed = match kind {
        // By another catalog, for a new slot would wait for the transaction that stalls.
        FeedKind::Wal => {
            followed.follow_instead(followed.sections.clone());
            followed
        }
        FeedKind::Outbox => {
            followed.end();
            database.follow(CATALOG)
        }
    };
    followed.connected();
    let connected = Instant::now();
    wait_for_look(database);
    follows_on(database, &followed, connected + HALF);
    holder.batch_execute("ROLLBACK").unwrap();
    assert_eq!(followed.altered().1, ["t", "u"]);
    followed.settled();
    // The end of its connection.
    database.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '-- What the words of%' AND datname = current_database()");
    database.run("CREATE OR REPLACE VIEW public.inner_v AS SELECT t.*, 4 AS one FROM public.t t");
    assert_eq!(followed.altered().1, ["t"]);
    // A stop ends it, too.
    let _holder = stall(database);
    wait_for_look(database);
    followed.end();
}

/// What was fetched by a session that had not learned of it yet is not to stay.
fn what_was_altered_is_told_once_more(kind: FeedKind) {
    let database = Database::new(kind, "CREATE TABLE t (id int PRIMARY KEY); CREATE VIEW v AS SELECT 1 AS id");
    let catalog =
        "[t]\nid = \"int\"\ntables = { t = \"id\" }\n[[t.query]]\ncall = \"all\"\nsql = \"SELECT id FROM v\"\n";
    let followed = database.follow(catalog);
    followed.connected();
    // The role's own schema is the outbox's.
    database.run("CREATE OR REPLACE VIEW public.v AS SELECT 2 AS id");
    assert_eq!(followed.altered().1, ["t"]);
    loop {
        match followed.next() {
            FeedOutcome::AlteredBefore { sections } => break assert_eq!(sections, [0]),
            FeedOutcome::Altered { .. } | FeedOutcome::Down { .. } => panic!("something else"),
            _ => {}
        }
    }
    followed.end();
}

/// Nobody has analyzed the catalogs yet: it took 57 s by a plan that held what is new for little.
fn a_chain_of_many_new_functions_is_looked_at_in_time(kind: FeedKind) {
    let database = Database::new(
        kind,
        "CREATE TABLE t (id int PRIMARY KEY);
         DO $$ BEGIN FOR i IN 1..2000 LOOP
             EXECUTE format('CREATE FUNCTION f%s(x int) RETURNS int LANGUAGE plpgsql AS $f$ BEGIN RETURN f%s(x); END $f$', i, i - 1);
         END LOOP; END $$",
    );
    let catalog =
        "[t]\nid = \"int\"\ntables = { t = \"id\" }\n[[t.query]]\ncall = \"all\"\nsql = \"SELECT f2000(id) FROM t\"\n";
    let followed = database.follow(catalog);
    followed.connected();
    known(&followed);
    database.run("CREATE FUNCTION f0(x int) RETURNS int LANGUAGE sql AS 'SELECT x'");
    assert_eq!(followed.altered().1, ["t"]);
}

//! Changes of columns that a query does not read drop nothing of it: by either kind of feed, where old rows are told, and only where its
//! catalog says what it reads.

use crate::support::feed::{is_cached, wait_told};
use crate::support::jobs::complete;
use crate::support::{eventually, Database, Postgres, Redis, Reply, Wire};

const SHOP: &str = "
CREATE TABLE category(id int PRIMARY KEY, name text NOT NULL, rank int NOT NULL DEFAULT 0);
CREATE TABLE product(id int PRIMARY KEY, category_id int NOT NULL REFERENCES category, name text NOT NULL, price numeric NOT NULL,
    last_seen int NOT NULL DEFAULT 0, notes text);
INSERT INTO category VALUES (1, 'chairs'), (2, 'lamps');
INSERT INTO product SELECT i, 1 + i % 2, 'p' || i, i, 0, repeat('x', 9000) FROM generate_series(1, 4) i;
ALTER TABLE product ALTER notes SET STORAGE EXTERNAL;
";

const FULL: &str = "ALTER TABLE product REPLICA IDENTITY FULL; ALTER TABLE category REPLICA IDENTITY FULL";

const CATALOG: &str = r#"
[category]
id = "int"
tables = { category = "id" }
row = "SELECT id, name FROM category WHERE id = ANY({ids})"
[product]
id = "int"
tables = { product = "id" }
row = "SELECT id, category_id, price FROM product WHERE id = ANY({ids})"
[product.job.SEE]
data = { id = "int" }
sql = "UPDATE product p SET last_seen = last_seen + 1 FROM {jobs} job WHERE p.id = job.id RETURNING job.n, p.id"
[[product.query]]
call = "of {category:int}"
sql = "SELECT id, name, price FROM product WHERE category_id = {category}"
match = "category_id = {category}"
reads = { product = "name, price, category_id" }
[[product.query]]
call = "{id:int}"
single = true
sql = "SELECT id, name, notes FROM product WHERE id = {id}"
match = "id = {id}"
reads = { product = "name, notes" }
[[product.query]]
call = "count"
single = true
rows = false
sql = "SELECT count(*) AS n FROM product"
reads = { product = "" }
[[product.query]]
call = "named {most:int}"
sql = "SELECT p.id, p.category_id AS _category, c.name FROM product p JOIN category c ON c.id = p.category_id WHERE p.id <= {most}"
match = "*"
reads = { product = "category_id", category = "name" }
[[product.query]]
call = "ranks"
rows = false
sql = "SELECT c.id, c.rank FROM category c ORDER BY c.rank"
on = { category = "*" }
reads = { product = "", category = "rank" }
[[product.query]]
call = "whole {id:int}"
single = true
sql = "SELECT * FROM product WHERE id = {id}"
match = "id = {id}"
"#;

const CALLS: [&str; 8] = [
    "product of 1",
    "product of 2",
    "product 1",
    "product 2",
    "product count",
    "product named 4",
    "product ranks",
    "product whole 1",
];

/// A change, and which of the calls it drops; products 1 and 3 are of category 2, 2 and 4 of 1.
fn changes() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        ("UPDATE product SET last_seen = last_seen + 1", vec!["product whole 1"]),
        ("UPDATE product SET last_seen = last_seen + 1 WHERE id <> 1", vec![]),
        ("UPDATE product SET price = 50 WHERE id = 1", vec!["product of 2", "product whole 1"]),
        ("UPDATE product SET price = price, name = name WHERE id = 1", vec!["product whole 1"]),
        ("UPDATE product SET name = 'q' WHERE id = 2", vec!["product of 1", "product 2"]),
        ("UPDATE product SET notes = 'short' WHERE id = 2", vec!["product 2"]),
        ("UPDATE product SET category_id = 1 WHERE id = 3", vec!["product of 1", "product of 2", "product named 4"]),
        ("UPDATE category SET rank = 5 WHERE id = 1", vec!["product ranks"]),
        ("UPDATE category SET name = 'seats' WHERE id = 1", vec!["product named 4"]),
        // What is read, and at once what is not.
        (
            "BEGIN; UPDATE product SET last_seen = 7; UPDATE product SET price = 60 WHERE id = 2; COMMIT",
            vec!["product of 1", "product whole 1"],
        ),
        (
            "INSERT INTO product VALUES (5, 2, 'p5', 5)",
            vec!["product of 2", "product count", "product named 4", "product ranks"],
        ),
        ("DELETE FROM product WHERE id = 5", vec!["product of 2", "product count", "product named 4", "product ranks"]),
        (
            "UPDATE product SET id = 6 WHERE id = 4",
            vec!["product of 1", "product count", "product named 4", "product ranks"],
        ),
    ]
}

fn start(feed: &str, more: &str) -> (Database, Redis) {
    let database = Postgres::shared_logical().database(&format!("{SHOP}{more}"));
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).config("bear.feed", feed).prompt_feed().start();
    wait_told(&redis);
    (database, redis)
}

/// What is fetched while the feed looks at what was altered is not stored.
fn warm(redis: &Redis, wire: &mut Wire) {
    eventually("all is cached", || {
        for call in CALLS {
            let reply = wire.run(&format!("BEAR.QUERY {call}"));
            assert!(!reply.is_error(), "{call}: {reply:?}");
        }
        redis.wait_stored();
        dropped(wire).is_empty()
    });
}

fn dropped(wire: &mut Wire) -> Vec<&'static str> {
    CALLS.into_iter().filter(|call| !is_cached(wire, call)).collect()
}

fn check(feed: &str, database: &Database, redis: &Redis, changes: Vec<(&'static str, Vec<&'static str>)>) {
    let mut wire = redis.wire();
    for (sql, expected) in changes {
        warm(redis, &mut wire);
        database.run(sql);
        wait_told(redis);
        assert_eq!(dropped(&mut wire), expected, "{feed}: {sql}");
    }
}

fn hints(redis: &Redis) -> Vec<String> {
    let section = redis.run("BEAR.CATALOG product").map();
    let queries = section["queries"].list();
    queries
        .iter()
        .flat_map(|query| query.map()["hints"].list().iter().map(|hint| hint.text()).collect::<Vec<_>>())
        .collect()
}

#[test]
fn a_change_of_what_a_query_does_not_read_drops_nothing_of_it() {
    for (feed, more) in [("wal", FULL), ("outbox", "")] {
        let (database, redis) = start(feed, more);
        eventually("the catalog is checked", || redis.run("BEAR.CATALOG").map()["checked"].text() == "yes");
        assert!(redis.run("BEAR.CATALOG").map()["errors"].list().is_empty(), "{:?}", redis.run("BEAR.CATALOG"));
        check(feed, &database, &redis, changes());
        assert_eq!(hints(&redis), [""; 0], "{feed}");
    }
}

/// The WAL tells no old row: each UPDATE counts as one of all columns, and BEAR.CATALOG says what to ALTER.
#[test]
fn without_old_rows_a_change_drops_as_it_did_and_the_catalog_says_what_tells_them() {
    let (database, redis) = start("wal", "");
    let of_row =
        vec!["product of 2", "product 1", "product count", "product named 4", "product ranks", "product whole 1"];
    check("wal", &database, &redis, vec![("UPDATE product SET last_seen = 1 WHERE id = 1", of_row)]);
    let alter = |table: &str| {
        format!("an UPDATE of '{table}' counts as one of all columns, read or not: ALTER TABLE public.{table} REPLICA IDENTITY FULL")
    };
    let hints_now = hints(&redis);
    assert_eq!(
        (hints_now.first(), hints_now.iter().filter(|hint| **hint == alter("category")).count()),
        (Some(&alter("product")), 2)
    );
    assert!(redis.run("BEAR.FEED").map()["notes"]
        .list()
        .iter()
        .any(|note| note.text().contains("REPLICA IDENTITY FULL tells which")));
    database.run(FULL);
    eventually("the feed has looked again", || hints(&redis).is_empty());
    wait_told(&redis);
    check("wal", &database, &redis, changes());
}

/// What the feed has said is of the catalog before: its sections had other places.
#[test]
fn hints_after_a_reload_are_those_of_the_section() {
    let names = ["a", "b", "c", "d"];
    let tables = names.map(|name| format!("CREATE TABLE {name}(id int PRIMARY KEY, n int, note text);"));
    let section = |name: &str| {
        format!(
            "[{name}]\nid = \"int\"\ntables = {{ {name} = \"id\" }}\n[[{name}.query]]\ncall = \"of {{n:int}}\"\n\
             sql = \"SELECT id, n FROM {name} WHERE n = {{n}}\"\n"
        )
    };
    let catalog = |names: &[&str]| names.iter().map(|name| section(name)).collect::<String>();
    let database = Postgres::shared_logical().database(&tables.concat());
    let builder = Redis::builder().postgres(&database).config("bear.feed", "wal");
    let redis = builder.catalog(catalog(&names[1..])).start();
    wait_told(&redis);
    let of = |name: &str| {
        let queries = redis.run(&format!("BEAR.CATALOG {name}")).map()["queries"].list()[0].map();
        queries["hints"].list().iter().map(Reply::text).collect::<Vec<_>>()
    };
    eventually("the feed has said it", || of("b").iter().any(|hint| hint.contains("public.b ")));
    std::fs::write(redis.catalog_path(), catalog(&names)).expect("the catalog");
    assert!(redis.run("BEAR.RELOAD").is_ok());
    for name in names {
        for hint in of(name) {
            assert!(hint.contains(&format!("public.{name} ")), "{name}: {hint}");
        }
    }
    eventually("the feed has looked again", || of("a").iter().any(|hint| hint.contains("public.a ")));
}

/// A job tells which rows, and so do commands, and not what they were.
#[test]
fn what_jobs_and_commands_tell_drops_whatever_has_changed() {
    let (_database, redis) = start("wal", FULL);
    let mut wire = redis.wire();
    let of_row = ["product of 2", "product 1", "product count", "product named 4", "product ranks", "product whole 1"];
    warm(&redis, &mut wire);
    complete(&mut wire, r#"product SEE {"id":1}"#);
    assert_eq!(dropped(&mut wire), of_row);
    for words in ["CHANGED 1", "ROW 1", r#"IMAGE {"id":1,"category_id":2,"price":1}"#] {
        warm(&redis, &mut wire);
        let words: Vec<&str> = ["BEAR.INVALIDATE", "product"].into_iter().chain(words.splitn(2, ' ')).collect();
        wire.call(&words);
        let gone = dropped(&mut wire);
        // ROW names no result in which the row only belongs.
        assert!(of_row.iter().all(|call| gone.contains(call) || words[2] == "ROW"), "{words:?}: {gone:?}");
        assert!(gone.contains(&"product 1") && gone.contains(&"product count"), "{words:?}: {gone:?}");
    }
}

/// A fetch under way that reads nothing of what has changed meanwhile is stored; another one is not.
#[test]
fn a_fetch_under_way_is_struck_by_what_it_reads_alone() {
    let catalog = CATALOG
        .replace("name, price FROM product", "name, price FROM gate(), product")
        .replace("[[product.query]]\n", "[[product.query]]\ntrust = \"a gate\"\n");
    for (feed, more) in [("wal", FULL), ("outbox", "")] {
        let database = Postgres::shared_logical().database(&format!("{SHOP}{more}"));
        let builder = Redis::builder().postgres(&database).catalog(&catalog).config("bear.feed", feed);
        let redis = builder.prompt_feed().config("bear.query-timeout-ms", 30_000).start();
        wait_told(&redis);
        for (sql, kept) in [
            ("UPDATE product SET last_seen = last_seen + 1", true),
            ("UPDATE product SET price = price + 1", false),
            ("BEGIN; UPDATE product SET last_seen = 9; UPDATE product SET name = 'n' WHERE id = 1; COMMIT", false),
        ] {
            redis.run("BEAR.INVALIDATE product ALL");
            let mut gate = database.close_gate();
            let mut asking = redis.wire();
            asking.begin("BEAR.QUERY product of 2");
            gate.wait(1);
            database.run(sql);
            wait_told(&redis);
            gate.open();
            let reply = asking.receive();
            assert!(!reply.is_error(), "{reply:?}");
            redis.wait_stored();
            assert_eq!(is_cached(&mut redis.wire(), "product of 2"), kept, "{feed}: {sql}");
        }
    }
}

/// More entries than go at once: those that read nothing of it stay, and what is told is what goes.
#[test]
fn of_many_entries_in_one_set_those_go_that_read_what_has_changed() {
    let (database, redis) = start("wal", FULL);
    let mut wire = redis.wire();
    let calls: Vec<String> = (1..=1_000)
        .flat_map(|most| [format!("product named {}", 10 + most), format!("product of {}", 10 + most)])
        .chain(["product of 2".to_owned()])
        .collect();
    let warm = |wire: &mut Wire| {
        calls.iter().for_each(|call| assert!(!wire.run(&format!("BEAR.QUERY {call}")).is_error()));
        redis.wait_stored();
    };
    let cached = |wire: &mut Wire| calls.iter().filter(|call| is_cached(wire, call)).count();
    for (sql, left) in [
        ("UPDATE product SET last_seen = 3 WHERE id = 1", 2_001),
        // In the set of the row, and named by their match alone.
        ("UPDATE product SET price = 3 WHERE id = 1", 2_000),
        ("UPDATE product SET category_id = 1 WHERE id = 1", 1_000),
    ] {
        warm(&mut wire);
        eventually("all is cached", || cached(&mut wire) == calls.len());
        database.run(sql);
        wait_told(&redis);
        eventually("what goes is gone", || cached(&mut wire) == left);
    }
}

/// A row of a tenant's is compared with that tenant's; one that becomes another's goes here and comes there.
#[test]
fn rows_of_tenants_are_compared_with_their_own() {
    const CATALOG: &str = r#"
        [booking]
        id = "int"
        tenant = "int"
        tenant_column = "shop"
        tables = { booking = "id" }
        row = "SELECT id, day FROM booking WHERE id = ANY({ids}) AND shop = {tenant}"
        [[booking.query]]
        call = "on {day:int}"
        sql = "SELECT id, who FROM booking WHERE day = {day} AND shop = {tenant}"
        match = "day = {day}"
        reads = { booking = "who, day" }
    "#;
    let schema = "CREATE TABLE booking(id int PRIMARY KEY, shop int, day int, who text, seen int); ALTER TABLE booking REPLICA IDENTITY FULL; \
        INSERT INTO booking VALUES (1, 1, 5, 'a', 0), (2, 2, 5, 'b', 0)";
    for feed in ["wal", "outbox"] {
        let database = Postgres::shared_logical().database(schema);
        let redis =
            Redis::builder().postgres(&database).catalog(CATALOG).config("bear.feed", feed).prompt_feed().start();
        wait_told(&redis);
        let mut wire = redis.wire();
        let calls = ["{1}:booking on 5", "{2}:booking on 5"];
        for (sql, gone) in [
            ("UPDATE booking SET seen = 1", vec![]),
            ("UPDATE booking SET who = 'c' WHERE id = 1", vec![calls[0]]),
            ("UPDATE booking SET shop = 2 WHERE id = 1", calls.to_vec()),
        ] {
            calls.iter().for_each(|call| assert!(!wire.run(&format!("BEAR.QUERY {call}")).is_error()));
            redis.wait_stored();
            database.run(sql);
            wait_told(&redis);
            let dropped: Vec<&str> = calls.into_iter().filter(|call| !is_cached(&mut wire, call)).collect();
            assert_eq!(dropped, gone, "{feed}: {sql}");
        }
    }
}

/// A table without a key is told by nobody, and each query that depends on it says so, and what to ALTER.
#[test]
fn a_query_says_which_of_its_tables_are_not_followed() {
    let database = Postgres::shared_logical().database(
        "CREATE TABLE whole(id int PRIMARY KEY, name text NOT NULL); CREATE TABLE part(whole_id int NOT NULL, n int NOT NULL)",
    );
    let catalog = "[whole]\n[[whole.query]]\ncall = \"{id:int}\"\n\
         sql = \"SELECT w.id, (SELECT count(*) FROM part p WHERE p.whole_id = w.id) AS parts FROM whole w WHERE w.id = {id}\"\n\
         [[whole.query]]\ncall = \"all\"\nsql = \"SELECT id, name FROM whole\"\n";
    let redis = Redis::builder().postgres(&database).catalog(catalog).config("bear.feed", "wal").start();
    wait_told(&redis);
    let hints = |at: usize| {
        let section = redis.run("BEAR.CATALOG whole").map();
        section["queries"].list()[at].map()["hints"].sorted_texts()
    };
    let is_said =
        || hints(0).iter().any(|hint| hint.starts_with("what others change in 'public.part' is not followed: "));
    eventually("it is said", is_said);
    assert!(hints(0).iter().any(|hint| hint.contains("ADD PRIMARY KEY")), "{:?}", hints(0));
    assert!(!hints(1).iter().any(|hint| hint.contains("part' is not followed")), "{:?}", hints(1));
    database.run("ALTER TABLE part REPLICA IDENTITY FULL");
    eventually("the feed has looked again", || !is_said());
}

/// Where the WAL does not tell whose a row was, each query that depends on it says what that costs, until it is told.
#[test]
fn a_query_says_where_a_row_that_moves_to_another_tenant_is_not_told_whole() {
    const CATALOG: &str = r#"
        [booking]
        id = "int"
        tenant = "int"
        tenant_column = "shop"
        tables = { booking = "id" }
        [[booking.query]]
        call = "count"
        sql = "SELECT count(*) AS n FROM booking WHERE shop = {tenant}"
        rows = false
    "#;
    let schema = "CREATE TABLE booking(id int PRIMARY KEY, shop int NOT NULL)";
    let database = Postgres::shared_logical().database(schema);
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).config("bear.feed", "wal").prompt_feed().start();
    wait_told(&redis);
    let is_said = || {
        let query = redis.run("BEAR.CATALOG booking").map()["queries"].list()[0].map();
        query["hints"].sorted_texts().iter().any(|hint| {
            hint.starts_with("booking: the replica identity has no 'shop'")
                && hint.contains("moves to another one leaves results of the first that do not list it stale")
                && hint.contains("ALTER TABLE public.booking REPLICA IDENTITY FULL")
        })
    };
    eventually("it is said", is_said);
    database.run("ALTER TABLE booking REPLICA IDENTITY FULL");
    eventually("the feed has looked again", || !is_said());
}

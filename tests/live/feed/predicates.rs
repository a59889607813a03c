//! Changes drop what contained a row and what its values belong in now, and nothing else.

use crate::support::bears;
use crate::support::jobs::complete;
use crate::support::{Database, Postgres, Proxy, Redis, Reply, Wire};

/// Bears with predicates of every kind, and queries that cannot have one.
const CATALOG: &str = r#"
[bear]
id = "int"
tables = { bear = "id", bear_colors = "bear_id" }
row = "SELECT b.id, b.name, b.size, ARRAY(SELECT c.name FROM bear_colors x JOIN color c ON c.id = x.color_id WHERE x.bear_id = b.id) AS colors FROM bear b WHERE b.id = ANY({ids})"
query = [
  { call = "{id:int}", sql = "SELECT id, name, size FROM bear WHERE id = {id}", single = true, match = "id = {id}" },
  { call = "size {start:int} {end:int}", sql = "SELECT id, name FROM bear WHERE size BETWEEN {start} AND {end} ORDER BY id", match = "size between {start} and {end}" },
  { call = "least {least:int} [below {most:int}]", sql = "SELECT id, name FROM bear WHERE size >= {least} AND ({most} IS NULL OR size < {most}) ORDER BY id", match = "size >= {least} and size < {most}" },
  { call = "colors {colors:text[]}", sql = "SELECT b.id FROM bear b WHERE EXISTS (SELECT FROM bear_colors x JOIN color c ON c.id = x.color_id WHERE x.bear_id = b.id AND c.name = ANY({colors})) ORDER BY id", match = "colors overlaps {colors}" },
  { call = "both {colors:text[]}", sql = "SELECT b.id FROM bear b WHERE {colors} <@ ARRAY(SELECT c.name::text FROM bear_colors x JOIN color c ON c.id = x.color_id WHERE x.bear_id = b.id) ORDER BY id", match = "colors contains {colors}" },
  { call = "named {names:text[]}", sql = "SELECT id FROM bear WHERE name = ANY({names}) ORDER BY id", match = "name in {names}" },
  { call = "all", sql = "SELECT id FROM bear ORDER BY id" },
  { call = "small", sql = "SELECT id, name FROM bear WHERE size < 100 ORDER BY id", match = "*" },
  { call = "count", sql = "SELECT count(*) AS n FROM bear WHERE size >= 200", rows = false },
  { call = "page {page:int}", sql = "SELECT id FROM bear ORDER BY size LIMIT 3 OFFSET 3 * {page}", rows = false },
  { call = "sum {start:int} {end:int}", sql = "SELECT sum(size) AS sum, array_agg(id) AS _bear FROM bear WHERE size BETWEEN {start} AND {end}", rows = false, match = "size between {start} and {end}" },
]
[bear.job.RENAME]
data = { id = "int", name = "text" }
sql = "UPDATE bear SET name = job.name FROM {jobs} job WHERE bear.id = job.id RETURNING job.n, bear.id"
[bear.job.GROW]
data = { id = "int", size = "int" }
sql = "UPDATE bear SET size = job.size FROM {jobs} job WHERE bear.id = job.id RETURNING job.n, bear.id"
[bear.job.RECOLOR]
data = { id = "int", color = "text" }
each = ["DELETE FROM bear_colors WHERE bear_id = {id}", "INSERT INTO bear_colors SELECT {id}, c.id FROM color c WHERE c.name = {color}"]
[bear.job.CREATE]
data = { name = "text", size = "int" }
sql = "WITH j AS MATERIALIZED (SELECT job.*, nextval('bear_id_seq') AS id FROM {jobs} job), i AS (INSERT INTO bear(id, name, size) SELECT id, name, size FROM j) SELECT n, id FROM j"
[bear.job.DELETE]
data = { id = "int" }
sql = "DELETE FROM bear USING {jobs} job WHERE bear.id = job.id RETURNING job.n, bear.id"
[den]
id = "int"
query = [
  { call = "around {size:int}", sql = "SELECT {size}::bigint AS id, (SELECT array_agg(b.id) FROM bear b WHERE b.size BETWEEN {size} - 10 AND {size} + 10) AS _bear", on = { bear = "size >= {size}" }, match = "id = {size}" },
  { call = "any", sql = "SELECT 1 AS id, (SELECT count(*) FROM bear) AS bears", on = { bear = "*" } },
]
row = "SELECT x AS id FROM unnest({ids}) x"
"#;

/// Calls that are cached before each change; bears 1 Baloo 180, 2 Bamse 120, 3 Iorek 320, 4 Ling-Ling 100, 5 Yogi 150,
/// 6 Kumamon 200, 7 Smokey 210, 8 Paddington 90; brown are 1, 2, 5, 7.
const CALLS: [&str; 21] = [
    "bear 5",
    "bear 9",
    "bear size 100 200",
    "bear size 300 400",
    "bear size 401 500",
    "bear least 300",
    "bear least 100 below 151",
    "bear colors brown",
    "bear colors white",
    "bear both black,white",
    "bear named Yogi",
    "bear named Boo-Boo,Ranger",
    "bear all",
    "bear small",
    "bear count",
    "bear page 0",
    "bear sum 100 200",
    "bear sum 300 400",
    "den around 320",
    "den around 1000",
    "den any",
];

/// What any change of a bear drops: queries without match, and those of rows that nobody lists.
const ANY: [&str; 5] = ["bear all", "bear small", "bear count", "bear page 0", "den any"];

fn warm(redis: &Redis, wire: &mut Wire) {
    for call in CALLS {
        let reply = wire.run(&format!("BEAR.QUERY {call}"));
        assert!(!reply.is_error(), "{call}: {reply:?}");
    }
    redis.wait_stored();
}

fn cached(wire: &mut Wire) -> Vec<&'static str> {
    let mut is_cached = |call: &str| {
        let (space, call) = call.split_once(' ').unwrap_or_default();
        !wire.run(&format!("BEAR.QUERY {space} CACHED {call}")).is_nil()
    };
    CALLS.into_iter().filter(|call| is_cached(call)).collect()
}

/// All cached calls are dropped by `change` that are of `ANY` or of `dropped`, and no other.
fn drops(redis: &Redis, wire: &mut Wire, change: &str, dropped: &[&str], run: impl FnOnce(&mut Wire)) {
    warm(redis, wire);
    assert_eq!(cached(wire), CALLS, "{change}");
    run(wire);
    let left: Vec<&str> = CALLS.into_iter().filter(|call| !ANY.contains(call) && !dropped.contains(call)).collect();
    assert_eq!(cached(wire), left, "{change}");
}

fn start() -> (Database, Redis) {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).start();
    (database, redis)
}

const YOGI_IN: [&str; 6] = [
    "bear 5",
    "bear size 100 200",
    "bear least 100 below 151",
    "bear colors brown",
    "bear named Yogi",
    "bear sum 100 200",
];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&YOGI_IN, more].concat()
}

/// What each job drops beside `ANY`; and the same change made in Postgres by hand, for CHANGED 5.
fn changes() -> Vec<(&'static str, &'static str, Vec<&'static str>)> {
    let moved = ["bear size 300 400", "bear least 300", "bear sum 300 400", "den around 320"];
    vec![
        (
            r#"RENAME {"id":5,"name":"Boo-Boo"}"#,
            "UPDATE bear SET name = 'Boo-Boo' WHERE id = 5",
            with(&["bear named Boo-Boo,Ranger"]),
        ),
        (r#"RENAME {"id":5,"name":"Nobody"}"#, "UPDATE bear SET name = 'Nobody' WHERE id = 5", with(&[])),
        (r#"GROW {"id":5,"size":160}"#, "UPDATE bear SET size = 160 WHERE id = 5", with(&[])),
        (r#"GROW {"id":5,"size":350}"#, "UPDATE bear SET size = 350 WHERE id = 5", with(&moved)),
        (
            r#"RECOLOR {"id":5,"color":"white"}"#,
            "DELETE FROM bear_colors WHERE bear_id = 5; INSERT INTO bear_colors SELECT 5, id FROM color WHERE name = 'white'",
            with(&["bear colors white"]),
        ),
        (r#"DELETE {"id":5}"#, "DELETE FROM bear WHERE id = 5", with(&[])),
    ]
}

#[test]
fn a_job_drops_what_the_row_was_in_and_what_it_belongs_in_now() {
    let (database, redis) = start();
    let mut wire = redis.wire();
    for (job, _, dropped) in changes() {
        reset(&database, &redis);
        drops(&redis, &mut wire, job, &dropped, |wire| drop(complete(wire, &format!("bear {job}"))));
    }
}

/// Yogi as he was; nothing cached.
fn reset(database: &Database, redis: &Redis) {
    database.run(
        "INSERT INTO bear(id, name, size) VALUES (5, 'Yogi', 150) ON CONFLICT (id) DO UPDATE SET name = 'Yogi', size = 150;
         DELETE FROM bear_colors WHERE bear_id = 5;
         INSERT INTO bear_colors SELECT 5, id FROM color WHERE name = 'brown'",
    );
    redis.run("BEAR.INVALIDATE bear ALL");
    redis.run("BEAR.INVALIDATE den ALL");
}

#[test]
fn changed_drops_the_same_for_who_wrote_past_the_module() {
    let (database, redis) = start();
    let mut wire = redis.wire();
    for (_, sql, dropped) in changes() {
        reset(&database, &redis);
        drops(&redis, &mut wire, sql, &dropped, |wire| {
            database.run(sql);
            let removed = wire.run("BEAR.INVALIDATE bear CHANGED 005").int();
            assert_eq!(removed as usize, ANY.len() + dropped.len(), "{sql}");
        });
    }
    drops(&redis, &mut wire, "nobody's row", &[], |wire| {
        assert_eq!(wire.run("BEAR.INVALIDATE bear CHANGED 99").int() as usize, ANY.len());
    });
}

#[test]
fn an_image_drops_the_same_without_postgres() {
    let (database, redis) = start();
    let mut wire = redis.wire();
    let whole =
        |size: &str, name: &str, colors: &str| format!(r#"{{"id":5,"name":{name},"size":{size},"colors":{colors}}}"#);
    let moved = ["bear size 300 400", "bear least 300", "bear sum 300 400", "den around 320"];
    let any_size = [&moved[..], &["bear size 401 500", "den around 1000"]].concat();
    let any_colors = ["bear colors white", "bear both black,white"];
    for (image, dropped) in [
        (whole("150", r#""Yogi""#, r#"["brown"]"#), with(&[])),
        (whole("150.0", r#""Boo-Boo""#, r#"["brown"]"#), with(&["bear named Boo-Boo,Ranger"])),
        (whole("350", r#""Yogi""#, r#"["brown"]"#), with(&moved)),
        (whole("350", r#""Yogi""#, r#"["white","black"]"#), with(&[&moved[..], &any_colors].concat())),
        // What is NULL, left out or of another type belongs anywhere.
        (whole("null", r#""Yogi""#, r#"["brown"]"#), with(&any_size)),
        (whole(r#""large""#, r#""Yogi""#, r#"["brown"]"#), with(&any_size)),
        (whole("[150]", r#""Yogi""#, r#"["brown"]"#), with(&any_size)),
        (r#"{"id":5,"size":150,"name":"Yogi"}"#.to_owned(), with(&any_colors)),
        // Another row, and one that nobody names.
        (
            r#"{"id":9,"size":450,"name":"New","colors":[]}"#.to_owned(),
            vec!["bear 9", "bear size 401 500", "bear least 300", "den around 320"],
        ),
    ] {
        reset(&database, &redis);
        drops(&redis, &mut wire, &image, &dropped, |wire| {
            let removed = wire.call(&["BEAR.INVALIDATE", "bear", "IMAGE", &image]).int();
            assert_eq!(removed as usize, ANY.len() + dropped.len(), "{image}");
        });
    }
    for (image, reason) in [
        ("5", "object"),
        ("{", "image"),
        (r#"{"id":[5]}"#, "single value"),
        (r#"{"id":"x"}"#, "an integer"),
        (r#"{"id":5,"id":6}"#, "id"),
    ] {
        let reply = wire.call(&["BEAR.INVALIDATE", "bear", "IMAGE", image]);
        assert!(reply.error().starts_with("ERR") && reply.error().contains(reason), "{image}: {reply:?}");
    }
}

#[test]
fn a_new_row_drops_where_it_belongs() {
    let (_database, redis) = start();
    let mut wire = redis.wire();
    let dropped = ["bear size 100 200", "bear least 100 below 151", "bear sum 100 200"];
    // Whatever id it gets.
    drops(&redis, &mut wire, "CREATE", &[&dropped[..], &["bear 9"]].concat(), |wire| {
        complete(wire, r#"bear CREATE {"name":"Newborn","size":150}"#);
        wire.run("BEAR.INVALIDATE bear QUERY 9");
    });
}

#[test]
fn where_postgres_does_not_answer_all_that_may_be_concerned_goes() {
    let database = bears::database();
    let proxy = Proxy::to(database.postgres().port());
    let redis = Redis::builder()
        .env("BEAR_POSTGRES_URL", database.url_through(proxy.port()))
        .catalog(CATALOG)
        .config("bear.query-timeout-ms", 300)
        .start();
    let mut wire = redis.wire();
    warm(&redis, &mut wire);
    proxy.stall();
    let removed = wire.run("BEAR.INVALIDATE bear CHANGED 5").int() as usize;
    assert_eq!((removed, cached(&mut wire)), (CALLS.len(), vec![]));
    proxy.resume();
}

#[test]
fn a_row_statement_that_fails_drops_the_section_and_fails_no_job() {
    let (database, redis) = start();
    let mut wire = redis.wire();
    warm(&redis, &mut wire);
    // Nothing else names the column.
    let catalog = CATALOG.replace("SELECT b.id, b.name, b.size", "SELECT b.id, b.note, b.name, b.size");
    database.run("ALTER TABLE bear ADD note text");
    let redis = Redis::builder().postgres(&database).catalog(&catalog).start();
    let mut wire = redis.wire();
    warm(&redis, &mut wire);
    database.run("ALTER TABLE bear DROP note");
    complete(&mut wire, r#"bear GROW {"id":5,"size":160}"#);
    assert_eq!(cached(&mut wire), Vec::<&str>::new());
    assert!(wire.run("BEAR.QUERY bear 5").text().contains("160"));
}

#[test]
fn many_rows_at_once_are_one_unit() {
    let (database, redis) = start();
    let mut wire = redis.wire();
    database.run("INSERT INTO bear(id, name, size) SELECT i, 'b' || i, 1000 + i FROM generate_series(1000, 2999) i");
    for at in (2000..4000).step_by(10) {
        wire.run(&format!("BEAR.QUERY bear size {at} {}", at + 9));
        wire.run(&format!("BEAR.QUERY bear size {} {}", at + 100_000, at + 100_009));
    }
    redis.wait_stored();
    let ids: Vec<String> = (1000..3000).map(|id| id.to_string()).collect();
    database.run("UPDATE bear SET size = size + 100000 WHERE id BETWEEN 1000 AND 2999");
    let removed = wire.run(&format!("BEAR.INVALIDATE bear CHANGED {}", ids.join(" "))).int();
    assert_eq!(removed, 400);
    for at in (2000..4000).step_by(10) {
        assert_eq!(wire.run(&format!("BEAR.QUERY bear size {at} {}", at + 9)).text(), "[]");
        assert!(wire.run(&format!("BEAR.QUERY bear CACHED size {} {}", at + 100_000, at + 100_009)).is_nil());
    }
}

#[test]
fn nothing_waits_in_multi() {
    let (_database, redis) = start();
    let mut wire = redis.wire();
    warm(&redis, &mut wire);
    wire.run("MULTI");
    wire.run("BEAR.INVALIDATE bear CHANGED 5");
    wire.call(&["BEAR.INVALIDATE", "bear", "IMAGE", r#"{"id":5,"size":350,"name":"x","colors":[]}"#]);
    let Reply::Array(replies) = wire.run("EXEC") else { panic!("EXEC") };
    assert!(replies[0].error().starts_with("NOWAIT"), "{replies:?}");
    assert!(replies[1].int() > 0);
    assert!(cached(&mut wire).contains(&"bear size 401 500") && !cached(&mut wire).contains(&"bear size 300 400"));
}

#[test]
fn a_fetch_under_way_that_a_changed_row_belongs_in_is_not_served_after_it() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(bears::gated_catalog()).start();
    let mut gate = database.close_gate();
    let calls = ["bear size 300 400", "bear size 401 500"];
    let mut early: Vec<Wire> = calls.iter().map(|_| redis.wire()).collect();
    for (wire, call) in early.iter_mut().zip(calls) {
        wire.begin(&format!("BEAR.QUERY {call}"));
    }
    gate.wait(2);
    complete(&mut redis.wire(), r#"bear UPDATE_BEAR_SIZE {"id":5,"size":350}"#);
    let mut late = redis.wire();
    late.begin("BEAR.QUERY bear size 300 400");
    redis.wait_blocked(3);
    gate.open();
    assert!(!early[0].receive().text().contains("Yogi") && !early[1].receive().is_error());
    assert!(late.receive().text().contains("Yogi"));
    redis.wait_stored();
    assert!(redis.run("BEAR.QUERY bear CACHED size 300 400").text().contains("Yogi"));
    assert!(!redis.run("BEAR.QUERY bear CACHED size 401 500").is_nil(), "it was none of its business");
}

/// How often the values of bears have been read, which nothing but the section's `row` statement does so.
fn reads(database: &Database) -> usize {
    database.executions("bear b WHERE b.id = ANY($1)")
}

#[test]
fn values_that_nobody_asks_for_are_not_read() {
    let (database, redis) = start();
    let mut wire = redis.wire();
    for call in ["bear all", "bear count", "den any"] {
        wire.run(&format!("BEAR.QUERY {call}"));
    }
    redis.wait_stored();
    complete(&mut wire, r#"bear GROW {"id":5,"size":160}"#);
    assert_eq!((reads(&database), cached(&mut wire)), (0, vec![]));

    // A fetch of another section's counts, and so does what is stored of it.
    wire.run("BEAR.QUERY den around 1000");
    redis.wait_stored();
    complete(&mut wire, r#"bear GROW {"id":5,"size":170}"#);
    assert_eq!((reads(&database), cached(&mut wire)), (1, vec!["den around 1000"]));
    wire.run("BEAR.INVALIDATE den ALL");
    complete(&mut wire, r#"bear GROW {"id":5,"size":180}"#);
    assert_eq!(reads(&database), 1, "nobody asks any more");
}

#[test]
fn what_another_catalog_has_cached_asks_for_values_after_a_reload() {
    let (database, redis) = start();
    let mut wire = redis.wire();
    wire.run("BEAR.QUERY bear size 300 400");
    redis.wait_stored();
    assert!(wire.run("BEAR.RELOAD").is_ok());
    assert_eq!(cached(&mut wire), ["bear size 300 400"], "its section has not changed");
    complete(&mut wire, r#"bear GROW {"id":5,"size":160}"#);
    assert_eq!((reads(&database), cached(&mut wire)), (1, vec!["bear size 300 400"]));
    complete(&mut wire, r#"bear GROW {"id":5,"size":350}"#);
    assert_eq!(cached(&mut wire), Vec::<&str>::new());
}

#[test]
fn a_tenants_row_concerns_that_tenants_calls() {
    let database = Postgres::shared()
        .database(concat!(include_str!("../../../schema/salon.sql"), include_str!("../../../schema/salon-data.sql")));
    let redis = Redis::builder().postgres(&database).catalog(include_str!("../../../catalogs/salon.toml")).start();
    let mut wire = redis.wire();
    let salon = |number: u32| format!("{{5a100000-0000-4000-8000-{number:012}}}:booking");
    let (one, other) = ("b0000000-0000-4000-8000-000000000001", "b0000000-0000-4000-8000-000000000099");
    let calls = [
        format!("{} CACHED {one}", salon(1)),
        format!("{} CACHED {other}", salon(1)),
        format!("{} CACHED {one}", salon(2)),
    ];
    for call in &calls {
        wire.run(&format!("BEAR.QUERY {}", call.replace(" CACHED", "")));
    }
    redis.wait_stored();
    complete(&mut wire, &format!(r#"{} SET_STATUS {{"id":"{one}","status":"DONE"}}"#, salon(1)));
    let cached: Vec<bool> = calls.iter().map(|call| !wire.run(&format!("BEAR.QUERY {call}")).is_nil()).collect();
    assert_eq!(cached, [false, true, true]);
}

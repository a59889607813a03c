//! Tables and columns of the application may be called whatever the module's own SQL calls things.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::support::feed::{is_cached, wait_told};
use crate::support::{wait_at_most, Database, Postgres, Redis, Wire};

/// What Postgres takes in quotes; the longest has 63 bytes.
const ODD: [&str; 19] = [
    "Mixed Case",
    "UPPER",
    "a.b",
    "%",
    "%I",
    "$1",
    "$$",
    "@x@",
    "{ids}",
    "{id}",
    "back\\slash",
    "qu\"ote",
    "qu'ote",
    "/*",
    "--",
    ";",
    "größe 🐻",
    "[]",
    "an_identifier_of_sixty_three_bytes_which_is_as_long_as_they_get",
];

/// Columns that every table has.
const SYSTEM: [&str; 6] = ["tableoid", "ctid", "xmin", "cmin", "xmax", "cmax"];

/// What the module's SQL calls tables, columns, CTEs and parameters, with some keywords, and odd names.
fn names() -> Vec<String> {
    const KEYWORDS: &str = "all analyse and any array as asc both case check collate column constraint create current_user data default \
        desc distinct do else end except false fetch for foreign from grant group having in initially into lateral leading limit \
        localtime new not null offset old on only or order placing primary references returning row rows select session_user some \
        table tenant then to true union unique user using values variadic when where window with jobs job n error result";

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut words: BTreeSet<String> = ODD.iter().map(|name| (*name).to_owned()).collect();
    words.extend(KEYWORDS.split_whitespace().map(str::to_owned));
    for text in sql_texts(&root.join("src")).into_iter().chain(sql_texts(&root.join("schema"))) {
        words.extend(called(&text));
    }
    // Columns of a result that begin with an underscore have a meaning, or are mistakes. What is called as Postgres' own
    // tables is found by nobody without its schema.
    let is_name = |word: &String| {
        word.len() <= 63 && !word.starts_with(|c: char| c == '_' || c.is_ascii_digit()) && !word.starts_with("pg_")
    };
    let is_free = |word: &String| !SYSTEM.contains(&&**word) && word != "id";
    words.into_iter().filter(is_name).filter(is_free).collect()
}

/// Words before a dot, behind AS, WITH and RECURSIVE, before AS, and in a list behind such a name.
fn called(text: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut tokens: Vec<String> = Vec::new();
    for c in text.chars() {
        match tokens.last_mut() {
            Some(last) if is_word(c) && last.ends_with(is_word) => last.push(c.to_ascii_lowercase()),
            _ if c.is_whitespace() => tokens.push(" ".to_owned()),
            _ => tokens.push(c.to_ascii_lowercase().to_string()),
        }
    }
    tokens.retain(|token| token != " ");
    let token = |at: usize| tokens.get(at).map_or("", |token| &**token);
    let mut called = BTreeSet::new();
    for at in 1..tokens.len() {
        let name = token(at);
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic());
        let is_meant = token(at + 1) == "."
            || ["as", "with", "recursive", "ordinality"].contains(&token(at - 1))
            || token(at + 1) == "as";
        if !is_name || !is_meant {
            continue;
        }
        called.insert(name.to_owned());
        if token(at + 1) == "(" {
            let list = tokens[at + 2..].iter().take_while(|token| *token != ")" && *token != "(");
            called.extend(list.filter(|token| token.starts_with(|c: char| c.is_ascii_alphabetic())).cloned());
        }
    }
    called
}

/// Files of SQL, and texts of Rust's that hold some.
fn sql_texts(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path()) {
        let name = entry.file_name().expect("a name").to_string_lossy().into_owned();
        if entry.is_dir() && !name.contains("tests") {
            texts.extend(sql_texts(&entry));
        }
        let is_ours = ["ledger.sql", "outbox.sql", "foreign.sql", "answers.sql"].contains(&&*name);
        if !is_ours && !name.ends_with(".rs") {
            continue;
        }
        let text = std::fs::read_to_string(&entry).expect("UTF-8");
        match is_ours {
            true => texts.push(text),
            false => texts.extend(
                literals(&text)
                    .filter(|text| ["SELECT ", " FROM ", "WITH "].iter().any(|word| text.contains(word)))
                    .map(str::to_owned),
            ),
        }
    }
    texts
}

fn literals(code: &str) -> impl Iterator<Item = &str> {
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.split('"').skip(1)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn toml(text: &str) -> String {
    format!("{text:?}")
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Half of the names are columns of `wide`; each is a table, with a column of its own name.
struct World {
    names: Vec<String>,
    database: Database,
    redis: Redis,
}

impl World {
    fn new(feed: &str) -> World {
        let names = names();
        assert!(names.iter().any(|name| name == "based") && names.len() > 150 && names.len() < 600, "{}", names.len());
        let mut schema = String::new();
        let columns: Vec<String> = names.iter().map(|name| format!("{} int", quoted(name))).collect();
        schema.push_str(&format!(
            "CREATE TABLE wide (id int PRIMARY KEY, {}); INSERT INTO wide (id) VALUES (1), (2);",
            columns.join(", ")
        ));
        for name in &names {
            let name = quoted(name);
            schema.push_str(&format!(
                "CREATE TABLE {name} (id int PRIMARY KEY, {name} int); INSERT INTO {name} VALUES (1, 1), (2, 2);"
            ));
        }
        let database = Postgres::shared_logical().database(&schema);
        let redis = Redis::builder().postgres(&database).catalog(catalog(&names)).config("bear.feed", feed).start();
        World { names, database, redis }
    }
}

fn catalog(names: &[String]) -> String {
    let mut text =
        "[wide]\nid = \"int\"\ntables = { wide = \"id\" }\nrow = \"SELECT * FROM wide WHERE id = ANY({ids})\"\n"
            .to_owned();
    text.push_str(
        "[[wide.query]]\ncall = \"all\"\nsql = \"SELECT * FROM wide WHERE id > 0 ORDER BY id\"\nmatch = \"id > 0\"\n",
    );
    let plain: Vec<&String> =
        names.iter().filter(|name| is_plain(name) && !["n", "data", "jobs", "tenant"].contains(&&***name)).collect();
    let data: Vec<String> = plain.iter().map(|name| format!("{name} = \"int\"")).collect();
    let set = |value: &dyn Fn(&str) -> String| {
        plain.iter().map(|name| format!("{} = {}", quoted(name), value(name))).collect::<Vec<_>>().join(", ")
    };
    let sql = format!("UPDATE wide SET {} FROM {{jobs}} bear_job WHERE wide.id = bear_job.id RETURNING bear_job.n, wide.id, to_json(1) AS result", set(&|name| format!("bear_job.{}", quoted(name))));
    text.push_str(&format!("[wide.job.SET]\ndata = {{ id = \"int\", {} }}\nsql = {}\n", data.join(", "), toml(&sql)));
    let sql = format!("UPDATE wide SET {} WHERE id = {{id}} RETURNING id", set(&|name| format!("{{{name}}}")));
    text.push_str(&format!(
        "[wide.job.EACH]\ndata = {{ id = \"int\", {} }}\neach = [{}]\n",
        data.join(", "),
        toml(&sql)
    ));
    for (at, name) in names.iter().enumerate() {
        let name = quoted(name);
        let table = match at % 3 {
            0 => "\"id\"".to_owned(),
            1 => toml(&quoted(&names[at])),
            _ => toml(&format!("SELECT {name} FROM {name} WHERE id = ANY({{ids}})")),
        };
        text.push_str(&format!(
            "[s{at}]\nid = \"int\"\ntables = {{ {} = {table} }}\nrow = {}\n",
            toml(&name),
            toml(&format!("SELECT * FROM {name} WHERE id = ANY({{ids}})"))
        ));
        text.push_str(&format!(
            "[[s{at}.query]]\ncall = \"all\"\ntrust = \"both columns hold the id\"\nsql = {}\nmatch = \"id = 1\"\n",
            toml(&format!("SELECT * FROM {name} WHERE id = 1"))
        ));
        text.push_str(&format!(
            "[[s{at}.query]]\ncall = \"cte\"\ntrust = \"both columns hold the id\"\nsql = {}\n",
            toml(&format!("WITH {name} AS (SELECT * FROM {name}) SELECT *, id AS _wide FROM {name} ORDER BY id"))
        ));
        let set = format!("UPDATE {name} SET {name} = bear_job.bear_value FROM {{jobs}} bear_job WHERE {name}.id = bear_job.id RETURNING bear_job.n, {name}.id, row_to_json({name}.*) AS result");
        text.push_str(&format!(
            "[s{at}.job.SET]\ndata = {{ id = \"int\", bear_value = \"int\" }}\nsql = {}\n",
            toml(&set)
        ));
        let each = format!("UPDATE {name} SET {name} = {{bear_value}} WHERE id = {{id}} RETURNING id");
        text.push_str(&format!(
            "[s{at}.job.EACH]\ndata = {{ id = \"int\", bear_value = \"int\" }}\neach = [{}]\n",
            toml(&each)
        ));
    }
    text
}

fn shown(name: &str, value: i64) -> String {
    serde_json::json!({ "id": 1, name: value }).to_string()
}

fn same(found: &str, expected: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(found).ok() == serde_json::from_str::<serde_json::Value>(expected).ok()
}

#[track_caller]
fn query(wire: &mut Wire, call: &str) -> String {
    let reply = wire.run(&format!("BEAR.QUERY {call}"));
    assert!(!reply.is_error(), "{call}: {reply:?}");
    reply.text()
}

fn works(feed: &str) {
    let World { names, database, redis } = World::new(feed);
    // Some hundred sections, each with statements of every kind.
    let is_checked = || (redis.run("BEAR.CATALOG").map()["checked"].text() == "yes").then_some(());
    wait_at_most(Duration::from_secs(90), is_checked).expect("the catalog is checked");
    let found = redis.run("BEAR.CATALOG").map();
    assert!(found["errors"].list().is_empty(), "{:?}", found["errors"]);
    wait_told(&redis);
    let mut wire = redis.wire();
    let told = wire.run("BEAR.FEED");
    assert!(!format!("{told:?}").contains("not covered"), "{told:?}");
    for (at, name) in names.iter().enumerate() {
        for call in ["all", "cte"] {
            query(&mut wire, &format!("s{at} {call}"));
        }
        assert!(same(&query(&mut wire, &format!("s{at} all")), &format!("[{}]", shown(name, 1))), "{name}");
    }
    query(&mut wire, "wide all");
    redis.wait_stored();
    // By the feed.
    let changes: Vec<String> =
        names.iter().map(|name| format!("UPDATE {0} SET {0} = 7 WHERE id = 1", quoted(name))).collect();
    database.run(&changes.join("; "));
    database.run("UPDATE wide SET \"r\" = 1 WHERE id = 2");
    wait_told(&redis);
    for (at, name) in names.iter().enumerate() {
        for call in ["all", "cte"] {
            assert!(!is_cached(&mut wire, &format!("s{at} {call}")), "{name} {call}");
        }
        assert!(same(&query(&mut wire, &format!("s{at} all")), &format!("[{}]", shown(name, 7))), "{name}");
    }
    assert!(!is_cached(&mut wire, "wide all"));
    // By CHANGED, and by IMAGE.
    for (at, name) in names.iter().enumerate() {
        let reply = wire.run(&format!("BEAR.INVALIDATE s{at} CHANGED 1"));
        assert!(reply.int() >= 1, "{name}: {reply:?}");
        query(&mut wire, &format!("s{at} all"));
        let image = shown(name, 7);
        let reply = wire.call(&["BEAR.INVALIDATE", &format!("s{at}"), "IMAGE", &image]);
        assert!(!reply.is_error(), "{name}: {reply:?}");
        assert!(!is_cached(&mut wire, &format!("s{at} all")), "{name}");
    }
    // By jobs.
    for (job, value) in [("SET", 11), ("EACH", 12)] {
        for (at, name) in names.iter().enumerate() {
            query(&mut wire, &format!("s{at} all"));
            let reply = wire.run(&format!("BEAR.ENQUEUE s{at} {job} {{\"id\":1,\"bear_value\":{value}}} BLOCK 20000"));
            assert_eq!(reply.map()["state"].text(), "completed", "{name} {job}: {reply:?}");
            assert!(
                same(&query(&mut wire, &format!("s{at} all")), &format!("[{}]", shown(name, value))),
                "{name} {job}"
            );
        }
        let data: Vec<String> = names
            .iter()
            .filter(|name| is_plain(name) && !["n", "data", "jobs", "tenant"].contains(&&***name))
            .map(|name| format!("\"{name}\":{value}"))
            .collect();
        let reply = wire.run(&format!("BEAR.ENQUEUE wide {job} {{\"id\":1,{}}} BLOCK 20000", data.join(",")));
        assert_eq!(reply.map()["state"].text(), "completed", "{job}: {reply:?}");
    }
}

#[test]
fn tables_and_columns_may_be_called_as_the_modules_own_with_a_stream() {
    works("wal");
}

#[test]
fn tables_and_columns_may_be_called_as_the_modules_own_with_an_outbox() {
    works("outbox");
}

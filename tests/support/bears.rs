//! The bears that most tests are about: the repository's schema, few rows, and what the queries must return.

use super::{Database, Postgres};

const SCHEMA: &str = concat!(include_str!("../../schema/bear.sql"), include_str!("bears.sql"));

/// A catalog whose section `den` shows bears: its entry `x 1` belongs to bear 5 too, `x 2` to bear 6.
pub const WITH_DENS: &str = r#"
[bear]
id = "int"
tables = { bear = "id" }
[[bear.query]]
call = "all"
sql = "SELECT id FROM bear b ORDER BY id"
[den]
id = "int"
[[den.query]]
call = "x {x:int}"
sql = "SELECT {x}::bigint AS id, array[4 + {x}]::bigint[] AS _bear"
"#;

/// A database with the eight bears of `bears.sql`.
pub fn database() -> Database {
    Postgres::shared().database(SCHEMA)
}

/// The same, and `more` on top of its schema.
pub fn database_with(more: &str) -> Database {
    Postgres::shared().database(&[SCHEMA, more].concat())
}

/// The same in a cluster of the caller's own.
pub fn database_in(postgres: &Postgres) -> Database {
    postgres.database(SCHEMA)
}

/// The JSON of one bear of `bears.sql`.
fn bear(id: u32) -> &'static str {
    match id {
        1 => r#"{"id":1,"name":"Baloo","size":180,"colors":["brown"]}"#,
        2 => r#"{"id":2,"name":"Bamse","size":120,"colors":["brown"]}"#,
        3 => r#"{"id":3,"name":"Iorek","size":320,"colors":["white"]}"#,
        4 => r#"{"id":4,"name":"Ling-Ling","size":100,"colors":["black","white"]}"#,
        5 => r#"{"id":5,"name":"Yogi","size":150,"colors":["brown"]}"#,
        6 => r#"{"id":6,"name":"Kumamon","size":200,"colors":["black"]}"#,
        7 => r#"{"id":7,"name":"Smokey","size":210,"colors":["black","brown"]}"#,
        8 => r#"{"id":8,"name":"Paddington","size":90,"colors":[]}"#,
        _ => panic!("no bear {id} in bears.sql"),
    }
}

/// The JSON of a result with these bears.
pub fn json(ids: &[u32]) -> String {
    let bears: Vec<&str> = ids.iter().map(|id| bear(*id)).collect();
    format!("[{}]", bears.join(","))
}

/// The shipped catalog with its queries held by gates, see `Database::close_gate`: each SELECT reads first, as it
/// would, and then waits.
pub fn gated_catalog() -> String {
    let catalog = include_str!("../../catalogs/bear.toml");
    let gated = catalog
        .replace("FROM bear b ORDER BY", "FROM gate(), bear b ORDER BY")
        .replace("FROM bear b WHERE b.size", "FROM gate(), bear b WHERE b.size");
    // A function of the tests' own, of which nobody can see what it does.
    let gated = gated.replace("[[bear.query]]\n", "[[bear.query]]\ntrust = \"a gate holds it\"\n");
    let gated = gated.replace("FROM bear b WHERE EXISTS", "FROM gate(), bear b WHERE EXISTS");
    assert_eq!(gated.matches("gate()").count(), 4, "every query of section bear is gated");
    gated
}

/// Counts the SELECTs of queries of section `bear`.
pub fn selects(database: &Database) -> usize {
    database.executions("bear b ")
}

/// The metadata sets that an entry of section `bear` must be a member of, for the shipped catalog.
pub fn metadata_of(key: &str, json: &[u8]) -> Vec<String> {
    let rows: serde_json::Value = serde_json::from_slice(json).unwrap_or_else(|error| panic!("{error} in {key}"));
    let rows = rows.as_array().expect("an array of bears");
    let mut sets: Vec<String> = rows.iter().map(|row| format!("bear:meta:{}:caches", row["id"])).collect();
    let tag = |color: &str| format!("bear:tag:color:{color}");
    match key.strip_prefix("bear:colors:") {
        Some(rest) => {
            let colors = rest.split(':').next().expect("split has a first part");
            sets.extend(colors.split(',').filter(|color| !color.is_empty()).map(tag));
        }
        None => sets.extend(
            rows.iter()
                .flat_map(|row| row["colors"].as_array().expect("colors"))
                .map(|color| tag(color.as_str().expect("a text"))),
        ),
    }
    sets.sort();
    sets.dedup();
    sets
}

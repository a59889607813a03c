//! A server beside whose catalog queries are proposed, appended and loaded; and what Postgres answers by itself.

use std::fs;

use crate::support::feed::wait_told;
use crate::support::{Database, Redis, Reply, Wire};

pub const SCHEMA: &str = include_str!("../../../src/core/derive/tests/shop.sql");

/// Rows that each condition of the tests takes some of.
pub const ROWS: &str = "
    INSERT INTO category SELECT n, (ARRAY['red', 'blue', 'green'])[1 + n % 3], nullif(n - 1, 0), n FROM generate_series(1, 8) n;
    INSERT INTO product SELECT n, 1 + n % 8, (ARRAY['red', 'old', 'new'])[1 + n % 3], n % 12 + 0.5, n % 5 = 0, n FROM generate_series(1, 40) n;
    INSERT INTO tag SELECT n, (ARRAY['red', 'blue'])[1 + n % 2] FROM generate_series(1, 8) n;
    INSERT INTO product_tag SELECT n, 1 + n % 8, n % 4 FROM generate_series(1, 40) n;
    INSERT INTO author SELECT n, 'name', n % 2 = 0 FROM generate_series(1, 6) n;
    INSERT INTO review SELECT n, 1 + n % 40, 1 + n % 6, 1 + n % 5, 'text' FROM generate_series(1, 80) n;";

pub struct Beside {
    pub redis: Redis,
    pub wire: Wire,
}

impl Beside {
    /// With a feed, so that each relation is told of.
    pub fn start(database: &Database, catalog: &str) -> Beside {
        let redis = Redis::builder().postgres(database).catalog(catalog).config("bear.feed", "outbox").start();
        wait_told(&redis);
        let wire = redis.wire();
        Beside { redis, wire }
    }

    pub fn propose(&mut self, words: &[&str]) -> Reply {
        self.wire.call(&[&["BEAR.PROPOSE"], words].concat())
    }

    #[track_caller]
    pub fn proposed(&mut self, words: &[&str]) -> String {
        let reply = self.propose(words);
        assert!(!reply.is_error(), "{words:?}: {}", reply.error());
        reply.text()
    }

    /// Appends the lines to the catalog in use, which takes them without a warning.
    #[track_caller]
    pub fn append(&mut self, lines: &str) {
        let path = self.redis.catalog_path();
        let text = format!("{}\n{lines}", fs::read_to_string(&path).unwrap());
        fs::write(&path, text).unwrap();
        let reply = self.wire.run("BEAR.RELOAD");
        assert!(reply.is_ok(), "{reply:?}: {lines}");
        let found = self.wire.run("BEAR.CATALOG").map();
        for what in ["errors", "warnings"] {
            assert!(found[what].list().is_empty(), "{what}: {:?}: {lines}", found[what]);
        }
    }

    /// The values of each row, sorted.
    #[track_caller]
    pub fn rows(&mut self, section: &str, words: &[String]) -> Vec<Vec<String>> {
        let mut call = vec!["BEAR.QUERY".to_owned(), section.to_owned(), "FRESH".to_owned()];
        call.extend(words.iter().cloned());
        let reply = self.wire.call(&call);
        assert!(!reply.is_error(), "{call:?}: {}", reply.error());
        values(&reply.json())
    }
}

/// The same of what Postgres answers.
pub fn rows_of(database: &Database, sql: &str) -> Vec<Vec<String>> {
    let mut client = database.client();
    let count = client.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}")).columns().len();
    let names: Vec<String> = (0..count).map(|at| format!("c{at}")).collect();
    let json = format!("SELECT coalesce(json_agg(q), '[]')::text FROM ({sql}\n) q({})", names.join(", "));
    let row = client.query_one(&json, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
    values(&serde_json::from_str(row.get(0)).unwrap())
}

fn values(json: &serde_json::Value) -> Vec<Vec<String>> {
    let of = |row: &serde_json::Value| {
        let mut values: Vec<String> = row.as_object().unwrap().values().map(ToString::to_string).collect();
        values.sort_unstable();
        values
    };
    let mut rows: Vec<Vec<String>> = json.as_array().unwrap().iter().map(of).collect();
    rows.sort_unstable();
    rows
}

/// Section and call of each query of the lines.
pub fn calls(lines: &str) -> Vec<(String, String)> {
    let file: toml::Table = toml::from_str(lines).unwrap_or_else(|error| panic!("{error}: {lines}"));
    let of = |(section, keys): (&String, &toml::Value)| {
        let queries = keys.get("query").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        let section = section.clone();
        queries.into_iter().map(move |query| (section.clone(), query["call"].as_str().unwrap().to_owned()))
    };
    file.iter().flat_map(|of_section| of(of_section).collect::<Vec<_>>()).collect()
}

/// The words of a call, each argument by its type; what may be left out is left out.
pub fn words(call: &str, value: impl Fn(&str) -> String) -> Vec<String> {
    let required = call.split(" [").next().unwrap();
    required
        .split(' ')
        .map(|word| match word.strip_prefix('{') {
            Some(argument) => value(argument.trim_end_matches('}').split(':').next_back().unwrap()),
            None => word.to_owned(),
        })
        .collect()
}

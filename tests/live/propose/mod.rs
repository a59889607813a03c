//! Catalogs that are proposed for a database: whether they load without a warning, what their queries and jobs do, what is left out.

mod answers;
mod beside;
mod cascades;
mod jobs;
mod left_out;
mod loads;
mod many;
mod moment;
mod promises;
mod slow;
mod statements;

use crate::support::{eventually, Database, Redis, Reply};

/// Whatever names, keys and types a database may have.
const ODD: &str = include_str!("odd.sql");

/// The text for a database.
fn proposed(database: &Database, words: &str) -> String {
    Redis::builder().postgres(database).config("bear.feed", "off").start().run(&format!("BEAR.PROPOSE {words}")).text()
}

/// A server with this catalog, once Postgres has seen it and has found nothing to say.
fn loaded(database: &Database, catalog: &str) -> Redis {
    seen(Redis::builder().postgres(database).catalog(catalog).config("bear.feed", "off").start(), catalog)
}

fn seen(redis: Redis, catalog: &str) -> Redis {
    eventually("Postgres has seen the catalog", || redis.run("BEAR.CATALOG").map()["checked"].text() == "yes");
    let found = redis.run("BEAR.CATALOG").map();
    for what in ["errors", "warnings"] {
        let list: Vec<String> = found[what].list().iter().map(Reply::text).collect();
        assert!(list.is_empty(), "{what}: {list:#?}\n{catalog}");
    }
    redis
}

/// A query, what is proven of it, and why it is not more.
struct Proof {
    call: String,
    proof: String,
    reasons: Vec<String>,
}

/// Those of all sections, by their names.
fn proofs(redis: &Redis) -> Vec<(String, Proof)> {
    let mut all = Vec::new();
    for section in redis.run("BEAR.CATALOG").map()["sections"].list() {
        let section = section.text();
        let found = redis.wire().call(&["BEAR.CATALOG", &section]).map();
        for query in found["queries"].list() {
            let query = query.map();
            let reasons = query["reasons"].list().iter().map(Reply::text).collect();
            let proof = Proof { call: query["call"].text(), proof: query["proof"].text(), reasons };
            all.push((section.clone(), proof));
        }
    }
    all
}

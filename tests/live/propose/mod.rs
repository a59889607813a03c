//! Catalogs that are proposed for a database: whether they load without a warning, what their queries and jobs do, what is left out.

mod answers;

use crate::support::{eventually, Database, Redis, Reply};

/// The text for a database.
pub fn proposed(database: &Database, words: &str) -> String {
    Redis::builder().postgres(database).start().run(&format!("BEAR.PROPOSE {words}")).text()
}

/// A server with this catalog, once Postgres has seen it.
pub fn loaded(database: &Database, catalog: &str) -> Redis {
    let redis = Redis::builder().postgres(database).catalog(catalog).start();
    eventually("Postgres has seen the catalog", || redis.run("BEAR.CATALOG").map()["checked"].text() == "yes");
    let found = redis.run("BEAR.CATALOG").map();
    for what in ["errors", "warnings"] {
        let list: Vec<String> = found[what].list().iter().map(Reply::text).collect();
        assert!(list.is_empty(), "{what}: {list:#?}\n{catalog}");
    }
    redis
}

/// Queries of a section: by their calls, what is proven of each, and why it is not more.
pub fn proofs(redis: &Redis, section: &str) -> Vec<(String, String, Vec<String>)> {
    let found = redis.run(&format!("BEAR.CATALOG {section}")).map();
    let of = |query: &Reply| {
        let query = query.map();
        let reasons = query["reasons"].list().iter().map(Reply::text).collect();
        (query["call"].text(), query["proof"].text(), reasons)
    };
    found["queries"].list().iter().map(of).collect()
}

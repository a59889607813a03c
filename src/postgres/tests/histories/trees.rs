//! The trees that the tests of `core::derive` read: what this machine's Postgres prints must be derived alike.

use std::fmt::Write;

use super::ask::Asker;
use super::Server;
use crate::core::derive::derive;
use crate::core::derive::fixtures::{facts_as_text, rendered, shortened, statements, Fixture, OF_ALL_VERSIONS, SCHEMA};

/// With `BEAR_TEST_TREES` it writes that file instead, of the Postgres at `BEAR_TEST_TREES_URL` or of this machine's.
#[test]
fn this_machines_postgres_prints_trees_that_are_derived_alike() {
    let server = Server::new();
    let url = std::env::var("BEAR_TEST_TREES_URL").unwrap_or_else(|_| server.socket_url());
    let mut client = ::postgres::Client::connect(&url, ::postgres::NoTls).unwrap();
    client.batch_execute(SCHEMA).unwrap();
    let mut asker = Asker::new(&url);
    asker.set_role("reader");
    match std::env::var("BEAR_TEST_TREES") {
        Ok(path) => {
            let mut text = String::new();
            let mut trees = String::new();
            let is_15 = path.contains("-15");
            for (name, sql) in statements().filter(|(name, _)| is_15 || OF_ALL_VERSIONS.contains(name)) {
                writeln!(trees, "tree\t{name}\t{}", shortened(&asker.tree(sql))).unwrap();
            }
            text.push_str(&facts_as_text(asker.facts(), &trees));
            text.push_str(&trees);
            std::fs::write(path, text).unwrap();
        }
        Err(_) => {
            let fixture = Fixture::of("15");
            for (name, sql) in statements() {
                let tree = asker.tree(sql);
                let live = rendered(&derive(&tree, asker.facts()), asker.facts());
                assert_eq!(live, fixture.rendered(name), "{name}: {sql}");
            }
        }
    }
}

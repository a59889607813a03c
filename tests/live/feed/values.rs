//! Values, which the application computes, while a feed follows, and once it is lost.

use super::lost::state;
use crate::support::feed::wait_told;
use crate::support::{bears, eventually, Postgres, Redis, Reply, Wire};

const CATALOG: &str = r#"
[bear]
id = "int"
tables = { bear = "id" }
row = "SELECT id, size FROM bear WHERE id = ANY({ids})"
[page]
[[page.value]]
call = "shelf {size:int}"
on = { bear = "size = {size}" }
"#;

/// The value, if there is one, and a token, if nobody computes it.
fn get(wire: &mut Wire, words: &str) -> (Option<String>, Option<String>) {
    let reply = wire.run(&format!("BEAR.GET page WAIT 0 {words}"));
    let text = |at: usize| Some(&reply.list()[at]).filter(|part| !part.is_nil()).map(Reply::text);
    (text(0), text(1))
}

#[test]
fn a_commit_drops_a_value_and_strikes_a_lease() {
    let database = bears::database_in(Postgres::shared_logical());
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).start();
    let mut wire = redis.wire();
    assert_eq!(wire.run("BEAR.PUT page 2 shelf 1000 1 ROW bear 5"), Reply::Int(1));
    wait_told(&redis);
    let token = get(&mut wire, "LEASE 60000 shelf 1001").1.expect("a lease");
    let other = get(&mut wire, "LEASE 60000 shelf 1002").1.expect("a lease");
    eventually("a value is put and stays", || {
        wire.run("BEAR.PUT page 2 shelf 1000 1 ROW bear 5");
        redis.wait_stored();
        get(&mut wire, "LEASE 1 shelf 1000").0.is_some()
    });
    // Comes into one, is in another, and has nothing to do with the third.
    database.run("UPDATE bear SET size = 1001 WHERE id = 5");
    wait_told(&redis);
    assert_eq!(get(&mut wire, "LEASE 1 shelf 1000").0, None);
    assert_eq!(wire.run(&format!("BEAR.PUT page 2 shelf 1001 1 TOKEN {token} ROW bear 7")), Reply::Int(0));
    assert_eq!(wire.run(&format!("BEAR.PUT page 2 shelf 1002 1 TOKEN {other} ROW bear 7")), Reply::Int(1));
}

#[test]
fn what_is_withheld_is_absent() {
    let postgres = Postgres::start_logical();
    let database = bears::database_in(&postgres);
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).config("bear.feed-grace-ms", 300).start();
    let mut wire = redis.wire();
    get(&mut wire, "LEASE 1 shelf 1000");
    eventually("the feed follows", || state(&redis) == "following");
    eventually("a value is put and stays", || {
        wire.run("BEAR.PUT page 2 shelf 1000 1");
        redis.wait_stored();
        get(&mut wire, "LEASE 1 shelf 1000").0.is_some()
    });
    assert_eq!(wire.run("BEAR.PUT page 2 shelf 1000 2 IF ABSENT"), Reply::Int(0));
    postgres.restart_with("replica");
    eventually("it is withheld", || get(&mut wire, "LEASE 1 shelf 1000").0.is_none());
    eventually("it is lost", || state(&redis) == "lost");
    // Whether it still stands there does not matter.
    wire.run("BEAR.PUT page 2 shelf 1000 3");
    redis.wait_stored();
    assert_eq!(get(&mut wire, "LEASE 1 shelf 1000").0, None);
    assert_eq!(wire.run("BEAR.PUT page 2 shelf 1000 4 IF ABSENT"), Reply::Int(1));
}

//! Many clients and one entry: one SELECT for all who miss it; and none of them, nor the cache, gets a result that an
//! invalidation has overtaken.

use crate::support::bears::{self, selects};
use crate::support::{Database, Redis, Reply, Wire};

const QUERY: &str = "BEAR.QUERY bear size 100 200";
const KEY: &str = "bear:size:100:200";

/// A server whose queries of bears stop at gates, with time to stand there.
fn gated(database: &Database) -> Redis {
    Redis::builder().postgres(database).catalog(bears::gated_catalog()).config("bear.query-timeout-ms", 30_000).start()
}

fn rename_yogi(database: &Database) {
    database.run("UPDATE bear SET name = 'Boo-Boo' WHERE id = 5");
}

fn before() -> String {
    bears::json(&[1, 2, 4, 5, 6])
}

fn after() -> String {
    before().replace("Yogi", "Boo-Boo")
}

#[test]
fn a_thousand_clients_missing_one_call_cause_one_select() {
    let database = bears::database();
    let redis = gated(&database);
    let mut gate = database.close_gate();
    let mut clients: Vec<Wire> = (0..1000).map(|_| redis.wire()).collect();
    clients.iter_mut().for_each(|client| client.begin(QUERY));
    gate.wait(1);
    redis.wait_blocked(1000);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.receive().text(), before());
    }
    assert_eq!(selects(&database), 1);
    redis.wait_blocked(0);
    assert_eq!(redis.run(QUERY).text(), before());
    assert_eq!(selects(&database), 1);
}

#[test]
fn a_thousand_clients_missing_a_thousand_calls_are_all_answered() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut clients: Vec<Wire> = (0..1000).map(|_| redis.wire()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.begin(&format!("BEAR.QUERY bear size {} 90", index as i64 - 1000));
    }
    for client in &mut clients {
        assert_eq!(client.receive().text(), bears::json(&[8]));
    }
    assert_eq!(selects(&database), 1000);
}

/// What an invalidation can say to strike a fetch of `size 100 200`, whose result will have Yogi, a brown bear.
const STRIKES: [&str; 6] = ["ROW 5", "ROW 77 5", "TAG color:brown", "QUERY size 100 200", "PATTERN s?ze:*", "ALL"];

#[test]
fn a_struck_fetch_answers_only_who_came_before_the_strike_and_is_not_stored() {
    for strike in STRIKES {
        let database = bears::database();
        let redis = gated(&database);
        let mut first_gate = database.close_gate();
        let (mut early, mut early_too, mut late, mut late_too) =
            (redis.wire(), redis.wire(), redis.wire(), redis.wire());
        early.begin(QUERY);
        first_gate.wait(1); // it has its snapshot: whatever comes, it will not see
        early_too.begin(QUERY);
        redis.wait_blocked(2);

        rename_yogi(&database);
        let mut second_gate = database.close_gate();
        assert_eq!(redis.run(&format!("BEAR.INVALIDATE bear {strike}")), Reply::Int(0), "{strike}");
        late.begin(QUERY);
        late_too.begin(QUERY);
        redis.wait_blocked(4);

        first_gate.open();
        assert_eq!(early.receive().text(), before(), "{strike}");
        assert_eq!(early_too.receive().text(), before(), "{strike}");
        second_gate.wait(1);
        assert_eq!(redis.run("BEAR.QUERY bear CACHED size 100 200"), Reply::Nil, "{strike}");
        assert_eq!(redis.run(&format!("EXISTS {KEY}")), Reply::Int(0), "{strike}");
        redis.wait_blocked(2);

        second_gate.open();
        assert_eq!(late.receive().text(), after(), "{strike}");
        assert_eq!(late_too.receive().text(), after(), "{strike}");
        assert_eq!(redis.run(QUERY).text(), after(), "{strike}");
        redis.wait_stored();
        assert_eq!(redis.run(&format!("GET {KEY}")).text(), after(), "{strike}");
        assert_eq!(selects(&database), 2, "{strike}");
    }
}

#[test]
fn a_struck_result_leaves_no_metadata() {
    let database = bears::database();
    let redis = gated(&database);
    for strike in STRIKES {
        let mut gate = database.close_gate();
        let mut client = redis.wire();
        client.begin(QUERY);
        gate.wait(1);
        redis.run(&format!("BEAR.INVALIDATE bear {strike}"));
        gate.open();
        assert_eq!(client.receive().text(), before());
        crate::support::eventually("nothing is left", || redis.keys().is_empty());
    }
}

#[test]
fn an_invalidation_of_something_else_lets_a_fetch_be_stored() {
    for other in ["ROW 3 7 8", "TAG color:grey", "QUERY size 100 201", "PATTERN colors:*"] {
        let database = bears::database();
        let redis = gated(&database);
        let mut gate = database.close_gate();
        let (mut early, mut late) = (redis.wire(), redis.wire());
        early.begin(QUERY);
        gate.wait(1);
        assert_eq!(redis.run(&format!("BEAR.INVALIDATE bear {other}")), Reply::Int(0));
        assert_eq!(redis.run("BEAR.INVALIDATE color ALL"), Reply::Int(0));
        late.begin(QUERY);
        redis.wait_blocked(2);
        gate.open();
        assert_eq!(early.receive().text(), before(), "{other}");
        assert_eq!(late.receive().text(), before(), "{other}");
        assert_eq!(redis.run(QUERY).text(), before(), "{other}");
        assert_eq!(selects(&database), 1, "{other}");
    }
}

#[test]
fn a_call_struck_again_and_again_does_not_take_all_connections() {
    let database = bears::database();
    let redis = gated(&database);
    let mut gate = database.close_gate();
    let mut clients: Vec<Wire> = (0..30).map(|_| redis.wire()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.begin(QUERY);
        redis.wait_blocked(index as i64 + 1);
        redis.run("BEAR.INVALIDATE bear QUERY size 100 200");
    }
    gate.wait(2);
    rename_yogi(&database);
    redis.run("BEAR.INVALIDATE bear ROW 5");
    let mut last = redis.wire();
    last.begin(QUERY);
    redis.wait_blocked(31);
    // Other calls are fetched meanwhile.
    assert_eq!(redis.run("BEAR.QUERY color all").json()[0]["name"], "black");
    assert_eq!(gate.waiting(), 2);
    gate.open();
    for client in &mut clients {
        let answer = client.receive().text();
        assert!(answer == before() || answer == after(), "{answer}");
    }
    assert_eq!(last.receive().text(), after());
    assert_eq!(redis.run(QUERY).text(), after());
}

#[test]
fn all_who_wait_for_a_failing_fetch_are_told_and_the_next_tries_again() {
    let database = bears::database();
    let redis = gated(&database);
    let mut gate = database.close_gate();
    let mut clients: Vec<Wire> = (0..10).map(|_| redis.wire()).collect();
    clients.iter_mut().for_each(|client| client.begin(QUERY));
    gate.wait(1);
    redis.wait_blocked(10);
    database.run("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()");
    for client in &mut clients {
        let reply = client.receive();
        assert!(reply.is_error(), "{reply:?}");
    }
    gate.open();
    assert!(redis.keys().is_empty());
    assert_eq!(redis.run(QUERY).text(), before());
}

#[test]
fn hits_go_on_while_fresh_fetches() {
    let database = bears::database();
    let redis = gated(&database);
    redis.run(QUERY);
    rename_yogi(&database);
    let mut gate = database.close_gate();
    let mut fresh = redis.wire();
    fresh.begin("BEAR.QUERY bear FRESH size 100 200");
    gate.wait(1);
    assert_eq!(redis.run(QUERY).text(), before());
    gate.open();
    assert_eq!(fresh.receive().text(), after());
    assert_eq!(redis.run(QUERY).text(), after());
    assert_eq!(selects(&database), 2);
}

//! Queries for the reads that cost most.

use super::beside::{calls, rows_of, Beside, ROWS, SCHEMA};
use crate::support::{Database, Postgres, Redis};

fn counting() -> Database {
    let database = Postgres::start_counting().database(&format!("{SCHEMA}{ROWS}"));
    database.run("CREATE EXTENSION pg_stat_statements");
    database
}

fn repeat(database: &Database, times: usize, sql: impl Fn(usize) -> String) {
    let mut client = database.client();
    for time in 0..times {
        client.simple_query(&sql(time)).unwrap();
    }
}

#[test]
fn the_reads_that_cost_most_are_proposed_with_their_cost() {
    let database = counting();
    repeat(&database, 40, |n| format!("SELECT id, name FROM product WHERE category_id = {n}"));
    repeat(&database, 30, |n| {
        let ids: Vec<String> = (0..=n % 5).map(|id| id.to_string()).collect();
        format!("SELECT r.id, p.id FROM review r, product p WHERE p.id IN ({}) AND r.product_id = p.id", ids.join(", "))
    });
    repeat(&database, 20, |n| format!("SELECT id FROM product WHERE price > {n} ORDER BY id LIMIT {}", n + 1));
    repeat(&database, 10, |n| format!("UPDATE product SET seen = seen + 1 WHERE id = {n}"));
    repeat(&database, 5, |_| "SELECT count(*) FROM pg_class".to_owned());
    repeat(&database, 5, |_| "SELECT id, now() - interval '1 day' FROM product".to_owned());
    repeat(&database, 5, |_| "SELECT id FROM product WHERE name = 'red'::text AND seen > -1 FOR SHARE".to_owned());
    let mut beside = Beside::start(&database, "[author]\n");
    let text = beside.proposed(&["SLOW", "COUNT", "2"]);
    assert_eq!(calls(&text).len(), 2, "{text}");
    let all = beside.proposed(&["SLOW"]);
    for part in [
        "call = \"in product {product_ids:int[]}",
        "call = \"min_price {min_price:numeric} limit {limit:int}\"",
        "% of the server's time: 40 calls, ",
        "% of the server's time: 30 calls, ",
        "% of the server's time: 20 calls, ",
        ": changes rows",
        ": reads a system catalog",
        ": changes with the clock",
        ": locks rows",
        ": bear's own",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
    let totals: Vec<f64> = all
        .lines()
        .filter_map(|line| line.split_once(" calls, ")?.1.split_once(" ms in all")?.0.parse().ok())
        .collect();
    assert!(totals.len() == 3 && totals.is_sorted_by(|one, other| one >= other), "{totals:?}: {all}");
    beside.append(&all);
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        beside.rows("product", &words("min_price 4 limit 7")),
        rows_of(&database, "SELECT id FROM product WHERE price > 4 ORDER BY id LIMIT 7")
    );
    // What is cached now is asked for by bear's own statements, and proposed no more than its own.
    database.run("SELECT pg_stat_statements_reset()");
    for price in 0..5 {
        beside.rows("product", &words(&format!("min_price {price} limit 7")));
    }
    let own = beside.proposed(&["SLOW"]);
    assert!(own.contains("bear's own") && calls(&own).is_empty(), "{own}");
}

#[test]
fn what_is_not_there_or_not_readable_is_told() {
    let database = counting();
    repeat(&database, 3, |n| format!("SELECT id FROM product WHERE seen = {n}"));
    let role = database.role("secret");
    let server = Redis::builder()
        .postgres(&database)
        .catalog("[author]\n")
        .env(
            "BEAR_POSTGRES_URL",
            format!("postgres://{role}:secret@127.0.0.1:{}/{}", database.postgres().port(), database.name()),
        )
        .start();
    let mut low = server.wire();
    let reply = low.run("BEAR.PROPOSE SLOW");
    assert!(reply.error().contains(&format!("GRANT pg_read_all_stats TO {role}")), "{reply:?}");
    database.run(&format!("GRANT pg_read_all_stats TO {role}"));
    assert!(low.run("BEAR.PROPOSE SLOW").text().contains("by seen {seen:int}"));
    database.run("DROP EXTENSION pg_stat_statements");
    let reply = low.run("BEAR.PROPOSE SLOW");
    assert!(reply.error().starts_with("ERR the database has no pg_stat_statements"), "{reply:?}");
    let elsewhere = Postgres::shared().database("CREATE EXTENSION pg_stat_statements");
    let reply = Redis::builder().postgres(&elsewhere).start().run("BEAR.PROPOSE SLOW");
    assert!(reply.error().contains("shared_preload_libraries"), "{reply:?}");
}

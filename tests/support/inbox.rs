//! The inbox: jobs that are enqueued in Postgres, within transactions, and what becomes of them.

use ::postgres::Client;

use super::server::Builder;
use super::{eventually, Database, Postgres, Redis};

/// What SQL jobs leave behind, in the order in which they were applied: a repeat is a row more.
pub const SCHEMA: &str = "CREATE TABLE effect(seq bigint GENERATED ALWAYS AS IDENTITY, v bigint);";

/// SQL jobs of `note`, claimed ones of `mail`, both kinds in `both`; tenants of `shop`.
pub const CATALOG: &str = r#"
[note]
[note.job.ADD]
data = { v = "int" }
sql = "WITH i AS (INSERT INTO effect(v) SELECT v FROM {jobs} job ORDER BY n) SELECT n, v AS id FROM {jobs} job"
[mail]
[mail.job.SEND]
data = { v = "int" }
claim = { lease = "60s", attempts = 5, backoff = "1ms" }
[mail.job.SHORT]
data = { v = "int" }
claim = { lease = "1s", attempts = 3, backoff = "1ms" }
[both]
[both.job.ADD]
data = { v = "int" }
sql = "WITH i AS (INSERT INTO effect(v) SELECT v FROM {jobs} job ORDER BY n) SELECT n, v AS id FROM {jobs} job"
[both.job.SEND]
data = { v = "int" }
claim = { lease = "60s", attempts = 5, backoff = "1ms" }
[open]
open = true
[shop]
tenant = "text"
[shop.job.SEND]
data = { v = "int" }
claim = { lease = "60s" }
[shop.job.ADD]
data = { v = "int" }
sql = "WITH i AS (INSERT INTO effect(v) SELECT v FROM {jobs} job WHERE {tenant} <> '' ORDER BY n) SELECT n, v AS id FROM {jobs} job"
"#;

pub fn database() -> Database {
    Postgres::shared().database(SCHEMA)
}

pub fn builder(database: &Database) -> Builder {
    Redis::builder().postgres(database).catalog(CATALOG).config("bear.inbox", "yes")
}

/// A Redis that takes the rows of this database over.
pub fn server(database: &Database) -> Redis {
    let redis = builder(database).start();
    wait_ours(&redis);
    redis
}

/// One with a log of all that it writes, each write before its answer.
pub fn durable(database: &Database) -> Redis {
    let redis = builder(database).append_only().config("appendfsync", "always").start();
    wait_ours(&redis);
    redis
}

/// Waits until the rows of all sections are this server's.
#[track_caller]
pub fn wait_ours(redis: &Redis) {
    eventually("the inbox is taken over here", || {
        let info = redis.info("bear");
        info.text("bear_inbox_state") == "up"
            && info.int("bear_inbox_sections") > 0
            && info.int("bear_inbox_sections_of_others") == 0
    });
}

/// Enqueues a job in a transaction of its own; the row's number.
#[track_caller]
pub fn enqueue(client: &mut Client, space: &str, job: &str, v: i64) -> i64 {
    enqueue_with(client, space, job, &format!("{{\"v\": {v}}}"), "")
}

/// The same with more arguments, such as `, priority => 7`.
#[track_caller]
pub fn enqueue_with(client: &mut Client, space: &str, job: &str, data: &str, more: &str) -> i64 {
    let sql = format!("SELECT bear.enqueue('{space}', '{job}', '{data}'{more})");
    client.query_one(&sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// Values that SQL jobs have written, in their order.
pub fn effects(client: &mut Client) -> Vec<i64> {
    client.query("SELECT v FROM effect ORDER BY seq", &[]).expect("effects").iter().map(|row| row.get(0)).collect()
}

/// Rows of the inbox.
pub fn rows(client: &mut Client) -> i64 {
    client.query_one("SELECT count(*) FROM bear.inbox", &[]).expect("a count").get(0)
}

/// Waits until the inbox has no row.
#[track_caller]
pub fn wait_empty(client: &mut Client) {
    eventually("the inbox is empty", || rows(client) == 0);
}

/// The row that a job's id tells.
pub fn row_of(id: &str) -> i64 {
    let (_, seq) = super::jobs::parse_id(id);
    assert!(seq >= 1_000_000_000_000, "{id} is of no row");
    (seq % 1_000_000_000_000) as i64
}

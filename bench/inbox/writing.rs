//! What a job of the inbox writes in Postgres in its whole life: bytes of WAL, and tuples; beside River's, as far as it can be told in SQL.

use postgres::Client;

use super::{is_empty, with_redis, PAYLOAD};
use crate::figures::{count, Table};
use crate::setup::Servers;
use crate::support::{eventually, Database, Postgres, Redis};

const JOBS: usize = 5_000;

/// Jobs that a worker fetches, and completes, with one statement.
const FETCHED: usize = 100;

struct Written {
    wal: f64,
    inserted: f64,
    updated: f64,
    hot: f64,
    deleted: f64,
}

pub fn run(_: &Servers, _: usize) -> Vec<Table> {
    let mut table = Table::new(
        "What a job writes in Postgres",
        &["", "WAL bytes", "tuples inserted", "updated", "of those in place (HOT)", "deleted"],
    );
    let postgres = Postgres::start_ordinary();
    with_redis(&postgres, &[], |database, redis| {
        database.run("CHECKPOINT");
        let enqueue = |database: &Database, space: &str| {
            let mut client = database.client();
            let sql = format!("SELECT bear.enqueue('{space}', 'SEND', '{PAYLOAD}')");
            (0..JOBS).for_each(|_| client.batch_execute(&sql).expect("a job"));
        };
        let mut row = |name: &str, of: Written| {
            let figures = [of.inserted, of.updated, of.hot, of.deleted].map(|number| format!("{number:.2}"));
            table.row([name.to_owned(), count(of.wal)].into_iter().chain(figures).collect());
        };
        // Once before, so that no page is new to the WAL.
        for _ in 0..2 {
            enqueue(database, "nothing");
            eventually("all are done", || is_empty(database));
        }
        let own = written(database, || {
            enqueue(database, "nothing");
            eventually("all are done", || is_empty(database));
        });
        let plain = written(database, || {
            let mut wire = redis.wire();
            for _ in 0..JOBS {
                wire.call(&["BEAR.ENQUEUE", "nothing", "SEND", PAYLOAD]);
            }
            eventually("all are done", || wire.call(&["XLEN", "nothing:queue"]).int() == 0);
        });
        let claimed = written(database, || {
            enqueue(database, "mail");
            acknowledge(redis);
            eventually("all are done", || is_empty(database));
        });
        row("an SQL job, `bear.enqueue` to its effect", own);
        row("… the same by BEAR.ENQUEUE: bear's ledger alone", plain);
        row("a claimed job, `bear.enqueue` to BEAR.ACK", claimed);
        river(database);
        row("River: insert, fetch, complete, delete", written(database, || river(database)));
    });
    table.note(format!(
        "{} jobs of {} bytes of payload, each enqueued in a transaction of its own, done as they come; full_page_writes on, no checkpoint meanwhile. \
         The SQL job's effect writes nothing. River's life in its own statements' manner, {FETCHED} jobs fetched and completed at a \
         time, without its notifications.",
        count(JOBS as f64),
        PAYLOAD.len()
    ));
    vec![table]
}

/// A job's share of what is written meanwhile.
fn written(database: &Database, run: impl FnOnce()) -> Written {
    let mut client = database.client();
    let before = figures(&mut client);
    run();
    let after = figures(&mut client);
    let share = |at: usize| (after[at] - before[at]) / JOBS as f64;
    Written { wal: share(0), inserted: share(1), updated: share(2), hot: share(3), deleted: share(4) }
}

fn figures(client: &mut Client) -> Vec<f64> {
    // Of what backends did they tell the last after ten idle seconds.
    std::thread::sleep(std::time::Duration::from_secs(11));
    let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8, sum(n_tup_ins)::float8, sum(n_tup_upd)::float8, \
        sum(n_tup_hot_upd)::float8, sum(n_tup_del)::float8 FROM pg_stat_user_tables";
    let row = client.query_one(sql, &[]).expect("statistics");
    (0..5).map(|at| row.get(at)).collect()
}

/// Acknowledges all that come.
fn acknowledge(redis: &Redis) {
    let mut wire = redis.wire();
    let mut done = 0;
    while done < JOBS {
        let reply = wire.run("BEAR.CLAIM mail COUNT 100 BLOCK 5000");
        let mut words = vec!["BEAR.ACK".to_owned(), "mail".to_owned()];
        for job in reply.list() {
            let job = job.map();
            words.extend([job["id"].text(), job["token"].int().to_string()]);
        }
        assert!(words.len() > 2, "jobs come");
        done += (words.len() - 2) / 2;
        assert!(!wire.call(&words).is_error());
    }
}

fn river(database: &Database) {
    // A session tells what it has done when it ends, at the latest.
    let mut client = database.client();
    let insert = format!(
        "INSERT INTO river_job (args, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags) \
         VALUES ('{PAYLOAD}', 'send', 25, '{{}}', 1, 'default', now(), 'available', '{{}}')"
    );
    let fetch = format!(
        "WITH locked AS (SELECT id FROM river_job WHERE state = 'available' AND queue = 'default' AND scheduled_at <= now() \
         ORDER BY priority, scheduled_at, id LIMIT {FETCHED} FOR UPDATE SKIP LOCKED) \
         UPDATE river_job SET state = 'running', attempt = attempt + 1, attempted_at = now(), \
           attempted_by = array_append(attempted_by, 'bench') FROM locked WHERE river_job.id = locked.id"
    );
    for _ in 0..JOBS / FETCHED {
        (0..FETCHED).for_each(|_| client.batch_execute(&insert).expect("a row"));
        client.batch_execute(&fetch).expect("rows");
        client
            .batch_execute("UPDATE river_job SET state = 'completed', finalized_at = now() WHERE state = 'running'")
            .expect("rows");
    }
    client.batch_execute("DELETE FROM river_job WHERE state = 'completed'").expect("rows");
}

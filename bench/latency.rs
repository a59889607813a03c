//! One job at a time on an idle system: from sending BEAR.ENQUEUE … BLOCK 0 to its reply, and to the commit.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::figures::{median, ms, quantile, Table};
use crate::jobs::rename;
use crate::plain_client::PlainClient;
use crate::queue::{self, Durable};
use crate::setup::{Servers, FIRST_ID};

/// Jobs of one turn, and turns of each kind.
const TURN: usize = 50;
const TURNS: usize = 10;

/// Rest before each job.
const IDLE: Duration = Duration::from_millis(5);

/// When the transaction that last changed a bear was committed, by the clock of this machine.
const COMMITTED: &str =
    "SELECT (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::float8 FROM bear WHERE id = $1";

pub fn run(_: &Servers, _: usize) -> Vec<Table> {
    let (mut replies, mut commits, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    Durable::start(2 * TURN).with_fresh_tables(|database| {
        let redis = queue::redis(database);
        let mut wire = redis.wire();
        queue::set(&mut wire, "bear.drain", "yes");
        let mut client = PlainClient::connect(database);
        let mut looker = database.client();
        for turn in 0..TURNS {
            let mut sent = Vec::new();
            for bear in 0..TURN {
                let job = rename(bear, turn);
                std::thread::sleep(IDLE);
                sent.push(SystemTime::now());
                let begun = Instant::now();
                let reply = wire.call(&["BEAR.ENQUEUE", "bear", job.name, &job.data, "BLOCK", "0"]);
                replies.push(begun.elapsed().as_secs_f64() * 1e6);
                assert_eq!(reply.map()["state"].text(), "completed");
            }
            for (bear, sent) in sent.iter().enumerate() {
                let id = (FIRST_ID + bear) as i64;
                let committed: f64 = looker.query_one(COMMITTED, &[&id]).expect("a bear").get(0);
                let sent = sent.duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64() * 1e6;
                commits.push(committed - sent);
            }
            for bear in TURN..2 * TURN {
                let job = rename(bear, turn);
                std::thread::sleep(IDLE);
                let begun = Instant::now();
                client.apply(std::slice::from_ref(&job));
                plain.push(begun.elapsed().as_secs_f64() * 1e6);
            }
        }
    });
    let mut table = Table::new("One job on an idle system", &["ms", "p50", "p99"]);
    for (name, times) in [
        ("BEAR.ENQUEUE … BLOCK 0, until its reply", &replies),
        ("until its commit in Postgres", &commits),
        ("the same statement in a transaction, plain client", &plain),
    ] {
        table.row(vec![name.to_owned(), ms(median(times)), ms(quantile(times, 0.99))]);
    }
    table.note(format!(
        "{} of each, in turns of {TURN}, {} ms apart. Commits by pg_xact_commit_timestamp. Postgres with fsync.",
        TURN * TURNS,
        IDLE.as_millis()
    ));
    vec![table]
}

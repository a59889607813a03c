//! What enqueueing costs: one `bear.enqueue` a transaction, against an INSERT of one row into River's table.

use super::{schema, PAYLOAD};
use crate::figures::{count, median, Table};
use crate::pgbench::pgbench;
use crate::setup::Servers;
use crate::support::Postgres;

const CLIENTS: [usize; 2] = [1, 8];
const RUN_SECS: usize = 4;

pub fn run(_: &Servers, rounds: usize) -> Vec<Table> {
    let mut table = Table::new(
        "Enqueueing in Postgres: transactions of one job a second",
        &["clients", "synchronous_commit", "INSERT INTO river_job", "bear.enqueue", "ratio"],
    );
    let postgres = Postgres::start_ordinary();
    let river = format!(
        "INSERT INTO river_job (args, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags) \
         VALUES ('{PAYLOAD}', 'send', 25, '{{}}', 1, 'default', now(), 'available', '{{}}') \
         ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND unique_states IS NOT NULL \
           AND river_job_state_in_bitmask(unique_states, state) \
         DO UPDATE SET kind = EXCLUDED.kind RETURNING river_job.*, (xmax != 0) AS unique_skipped_as_duplicate;\n"
    );
    let bear = format!("SELECT bear.enqueue('mail', 'SEND', '{PAYLOAD}');\n");
    for is_synchronous in ["on", "off"] {
        for clients in CLIENTS {
            let options = format!("-c synchronous_commit={is_synchronous}");
            let rate = |script: &str| {
                // Both begin with empty tables, and what the other has left does not disturb.
                let database = postgres.database(&schema());
                database.run("CHECKPOINT");
                pgbench(&database, script, clients, RUN_SECS, &options).0
            };
            let pairs: Vec<(f64, f64)> = (0..rounds).map(|_| (rate(&river), rate(&bear))).collect();
            let of = |figure: fn(&(f64, f64)) -> f64| median(&pairs.iter().map(figure).collect::<Vec<_>>());
            table.row(vec![
                clients.to_string(),
                is_synchronous.to_owned(),
                count(of(|pair| pair.0)),
                count(of(|pair| pair.1)),
                format!("{:.2}", of(|(river, bear)| bear / river)),
            ]);
        }
    }
    table.note(format!(
        "Medians of {rounds} rounds of {RUN_SECS} s of each in turn; ratios are those of the pairs. pgbench, prepared statements; a payload of \
         {} bytes; Postgres with fsync and its own defaults, wal_level logical. River: the statement of its client for one job, without \
         its pg_notify.",
        PAYLOAD.len()
    ));
    vec![table]
}

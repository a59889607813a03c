//! The appliers' threads: each batch comes back once, whatever happens meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{AppliedOutcome, Appliers};
use crate::core::jobs::batch::Batch;
use crate::postgres::tests::batches::{bears, is_done, job, outcomes, Database};
use crate::postgres::tests::eventually;
use crate::postgres::{Settings, UrlSource};

fn start(settings: Settings, threads: usize) -> (Appliers, Arc<AtomicUsize>) {
    let wakes = Arc::new(AtomicUsize::new(0));
    let counter = wakes.clone();
    let wake = Arc::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    (Appliers::start(settings, threads, Arc::default(), wake).unwrap(), wakes)
}

fn rename(epoch: i64, id: u64) -> Box<Batch> {
    let mut batch = bears(vec![job(1, "UPDATE_BEAR_NAME", format!(r#"{{"id":{id},"name":"n"}}"#))]);
    batch.ticket = id;
    batch.spaces[0].epoch = epoch;
    Box::new(batch)
}

fn next(appliers: &Appliers) -> AppliedOutcome {
    appliers.results().recv_timeout(Duration::from_secs(20)).unwrap()
}

fn end(appliers: &Appliers) {
    appliers.stop();
    eventually("the end of the appliers", || appliers.is_stopped());
}

#[test]
fn every_batch_comes_back_applied() {
    let database = Database::bears();
    let (appliers, wakes) = start(database.settings(), 3);
    for i in 1..=60 {
        appliers.submit(rename(i, i as u64));
    }
    let mut tickets = Vec::new();
    let mut ups = 0;
    while tickets.len() < 60 {
        match next(&appliers) {
            AppliedOutcome::Applied { batch, applied, .. } => {
                assert!(is_done(&outcomes(&applied)[0]), "{applied:?}");
                tickets.push(batch.ticket);
            }
            AppliedOutcome::Up => ups += 1,
            other => panic!("{other:?}"),
        }
    }
    tickets.sort_unstable();
    assert_eq!((tickets, ups), ((1..=60).collect(), 1));
    eventually("the wake-ups", || wakes.load(Ordering::Relaxed) == 61);
    assert_eq!(database.int("SELECT count(*) FROM effect"), 60);
    end(&appliers);
    appliers.submit(rename(100, 1));
    assert!(matches!(next(&appliers), AppliedOutcome::PutBack { .. }));
}

#[test]
fn a_batch_outlasts_an_outage_and_new_settings_end_it() {
    let database = Database::bears();
    let (appliers, _) = start(Settings::new("postgres://nobody@127.0.0.1:1/nowhere", UrlSource::Config), 1);
    appliers.submit(rename(1, 1));
    assert!(matches!(next(&appliers), AppliedOutcome::Down { .. }));
    assert!(appliers.results().recv_timeout(Duration::from_millis(300)).is_err());
    appliers.reconfigure(database.settings());
    assert!(matches!(next(&appliers), AppliedOutcome::Up));
    assert!(matches!(next(&appliers), AppliedOutcome::Applied { .. }));
    end(&appliers);
}

#[test]
fn a_stop_puts_back_what_waits_and_what_is_under_way() {
    let database = Database::bears();
    let (appliers, _) = start(database.settings(), 1);
    let mut holder = database.client();
    let mut held = holder.transaction().unwrap();
    held.batch_execute("LOCK TABLE bear").unwrap();
    for i in 1..=5 {
        let mut batch = rename(1, i);
        batch.limits.lock_timeout_ms = 60_000;
        batch.limits.statement_timeout_ms = 60_000;
        appliers.submit(batch);
    }
    assert!(matches!(next(&appliers), AppliedOutcome::Up));
    eventually("the wait for the table", || {
        database.int("SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") == 1
    });
    let stopped = Instant::now();
    appliers.stop();
    for _ in 0..5 {
        assert!(matches!(next(&appliers), AppliedOutcome::PutBack { .. }));
    }
    eventually("the end of the appliers", || appliers.is_stopped());
    assert!(stopped.elapsed() < Duration::from_secs(1), "{:?}", stopped.elapsed());
    held.rollback().unwrap();
    drop(holder);
    eventually("the end of the transaction", || {
        database.int(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'bear'",
        ) == 0
    });
    assert_eq!(database.int("SELECT count(*) FROM effect"), 0);
    assert!(appliers.results().try_recv().is_err());
}

/// Figures, not a test: `cargo test --release -- --ignored --nocapture rate_of_the_applier`.
#[test]
#[ignore = "measures"]
fn rate_of_the_applier() {
    use crate::postgres::tests::batches::BEAR;
    const BATCH: u64 = 1000;
    const ROUNDS: u64 = 40;
    let database = Database::bears();
    database.run("DROP TRIGGER effects ON bear");
    let (appliers, _) = start(database.settings(), 1);
    let sections = crate::postgres::tests::batches::sections(BEAR);
    let bear = crate::postgres::tests::batches::section(&sections, "bear");
    let rename = sections[bear].jobs.iter().find(|job| *job.name == *"UPDATE_BEAR_NAME").unwrap();
    let crate::core::catalog::job::JobBody::Set(template) = &rename.body else { panic!() };
    let mut client = database.client();
    client.batch_execute("SET jit = off; SET synchronous_commit = on").unwrap();
    let statement = client.prepare_typed(&template.text, &[::postgres::types::Type::JSONB]).unwrap();
    let (mut own, mut plain) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let jobs = (1..=BATCH)
            .map(|i| job(round * BATCH + i, "UPDATE_BEAR_NAME", format!(r#"{{"id":{i},"name":"a{round}"}}"#)))
            .collect();
        let mut batch = bears(jobs);
        batch.sections = sections.clone();
        let started = Instant::now();
        appliers.submit(Box::new(batch));
        while !matches!(next(&appliers), AppliedOutcome::Applied { .. }) {}
        own.push(started.elapsed());
        let started = Instant::now();
        // As the relation {jobs} takes it: the payload as a whole, and its fields.
        let record = |i| {
            let name = format!("b{round}");
            serde_json::json!({"n": i, "data": {"id": i, "name": name}, "id": i, "name": name})
        };
        let records: Vec<_> = (1..=BATCH).map(record).collect();
        let records = serde_json::Value::Array(records);
        struct Json(String);
        impl std::fmt::Debug for Json {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("…")
            }
        }
        impl ::postgres::types::ToSql for Json {
            fn to_sql(
                &self,
                _: &::postgres::types::Type,
                out: &mut bytes::BytesMut,
            ) -> Result<::postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
                out.extend_from_slice(b"\x01");
                out.extend_from_slice(self.0.as_bytes());
                Ok(::postgres::types::IsNull::No)
            }
            fn accepts(_: &::postgres::types::Type) -> bool {
                true
            }
            ::postgres::types::to_sql_checked!();
        }
        let mut transaction = client.transaction().unwrap();
        assert_eq!(transaction.query(&statement, &[&Json(records.to_string())]).unwrap().len(), BATCH as usize);
        transaction.commit().unwrap();
        plain.push(started.elapsed());
        if round % 10 == 9 {
            database.run("VACUUM bear");
        }
    }
    own.sort();
    plain.sort();
    let rate = |times: &[Duration]| BATCH as f64 / times[times.len() / 2].as_secs_f64();
    eprintln!(
        "applier {:.0} jobs/s, plain client {:.0} jobs/s, ratio {:.2}",
        rate(&own),
        rate(&plain),
        rate(&own) / rate(&plain)
    );
    end(&appliers);
}

//! What the ledger makes of lost answers, lost records and left-out jobs.

use std::time::Duration;

use crate::core::jobs::batch::{JobOutcome, Lane, Left, SpaceApplied};
use crate::core::jobs::job_id::JobId;
use crate::postgres::ApplierEvent;

use crate::postgres::tests::batches::*;
use crate::postgres::tests::eventually;
use crate::postgres::tests::proxy::Proxy;
use crate::postgres::tests::server::Server;

fn rename(seq: u64, id: u64, name: &str) -> crate::core::jobs::batch::QueuedJob {
    job(seq, "UPDATE_BEAR_NAME", format!(r#"{{"id":{id},"name":"{name}"}}"#))
}

fn ledger_text(applied: &crate::core::jobs::batch::Applied) -> &str {
    let [SpaceApplied::Ledger(text)] = &applied.spaces[..] else { panic!("{applied:?}") };
    text
}

#[test]
fn a_commit_without_an_answer_counts_once() {
    let server = Server::new();
    server.run("CREATE TABLE bear (id int8 PRIMARY KEY, name text, changes int8 DEFAULT 0); INSERT INTO bear VALUES (1, 'old');");
    let catalog = "[bear]\nid = \"int\"\ntables = { bear = \"id\" }\n[bear.job.RENAME]\ndata = { id = \"int\", name = \"text\" }\n\
        sql = \"UPDATE bear SET name = job.name, changes = changes + 1 FROM {jobs} job WHERE bear.id = job.id RETURNING job.n, bear.id, to_json(changes) AS result\"";
    let sections = sections(catalog);
    let proxy = Proxy::to(server.port);
    let settings = crate::postgres::Settings::new(
        format!("postgres://bear@127.0.0.1:{}/postgres", proxy.port()),
        crate::postgres::UrlSource::Config,
    );
    let (mut applier, ..) = applier(settings);
    // The ledger's rows are there, so that the doubt is about a known epoch.
    let first = batch(&sections, Lane::Main, vec![space("bear", 0, vec![job(1, "RENAME", r#"{"id":1,"name":"a"}"#)])]);
    assert!(is_done(&outcomes(&applier.apply(&first).unwrap())[0]));
    // A COMMIT that waits for a standby that there is not, is done and does not answer.
    let mut admin = server.client();
    admin.batch_execute("SET synchronous_commit = off").unwrap();
    server.make_commits_wait();
    let mut second =
        batch(&sections, Lane::Main, vec![space("bear", 0, vec![job(2, "RENAME", r#"{"id":1,"name":"b"}"#)])]);
    second.limits.lock_timeout_ms = 50;
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let thread = std::thread::spawn(move || drop(sender.send(applier.apply(&second))));
    eventually("the wait for the standby", || {
        admin
            .query_one("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", &[])
            .unwrap()
            .get::<_, i64>(0)
            == 1
    });
    proxy.cut_once();
    assert!(receiver.recv_timeout(Duration::from_millis(300)).is_err());
    server.let_commits_go();
    let applied = receiver.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
    thread.join().unwrap();
    let [JobOutcome::Completed(completed)] = outcomes(&applied) else { panic!("{applied:?}") };
    // The outcome of the attempt whose answer was lost, result and all.
    assert!(!completed.earlier && completed.result.as_deref() == Some("2"), "{completed:?}");
    let row = admin.query_one("SELECT name, changes FROM bear", &[]).unwrap();
    assert_eq!((row.get::<_, String>(0), row.get::<_, i64>(1)), ("b".to_owned(), 2));
}

#[test]
fn a_connection_cut_in_the_middle_repeats_nothing() {
    let database = Database::bears();
    let proxy = Proxy::to(database.server.port);
    let mut settings = database.settings();
    settings.url = settings.url.replace(&database.server.port.to_string(), &proxy.port().to_string());
    let (mut applier, ..) = applier(settings);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let proxy = std::sync::Arc::new(proxy);
    let (flag, cutter) = (stop.clone(), proxy.clone());
    let cutting = std::thread::spawn(move || {
        // Now early and now late in a batch, and sometimes not at all.
        // Not for ever: where a batch takes longer than the pauses, no other would get through.
        for pause in (0u64..80).map(|i| 3 + i * 37 % 90) {
            if flag.load(std::sync::atomic::Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(Duration::from_millis(pause));
            cutter.cut_once();
        }
    });
    for round in 0..30u64 {
        let jobs = (1..=20).map(|i| rename(round * 20 + i, i, &format!("r{round}"))).collect();
        let applied = applier.apply(&bears(jobs)).unwrap();
        assert!(outcomes(&applied).iter().all(is_done), "{applied:?}");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    cutting.join().unwrap();
    assert_eq!(database.int("SELECT count(*) FROM effect"), 600);
    assert_eq!(database.int("SELECT count(*) FROM bear WHERE name = 'r29'"), 20);
}

#[test]
fn a_ledger_that_is_not_the_known_one_applies_nothing() {
    let database = Database::bears();
    let mut applier = database.applier();
    let id = |seq| JobId { ms: 1_700_000_000_000, seq };
    let with = |change: &dyn Fn(&mut crate::core::jobs::batch::SpaceBatch), seq| {
        let mut batch = bears(vec![rename(seq, 1, "x")]);
        change(&mut batch.spaces[0]);
        batch
    };
    let missing = applier.apply(&with(&|space| space.known = Some(id(4)), 5)).unwrap();
    assert!(ledger_text(&missing).contains("no record"), "{missing:?}");
    // Jobs of 2023 in an epoch that is not this process's.
    let old = applier.apply(&with(&|space| space.own_epoch = false, 5)).unwrap();
    assert!(ledger_text(&old).contains("cleaned"), "{old:?}");
    let mut side = with(&|_| (), 5);
    side.lane = Lane::Side;
    assert!(ledger_text(&applier.apply(&side).unwrap()).contains("no record"));
    assert!(is_done(&outcomes(&applier.apply(&with(&|_| (), 5)).unwrap())[0]));
    let behind = applier.apply(&with(&|space| space.known = Some(id(6)), 7)).unwrap();
    assert!(
        ledger_text(&behind).contains("up to 1700000000000-5, but it had been up to 1700000000000-6"),
        "{behind:?}"
    );
    let mut side = with(&|_| (), 6);
    side.lane = Lane::Side;
    assert!(ledger_text(&applier.apply(&side).unwrap()).contains("up to"));
    assert_eq!(database.int("SELECT count(*) FROM effect"), 1);
    // The operator says that nothing of it was applied.
    database.run("INSERT INTO bear.left_out (queue, epoch, ms, seq) VALUES (7, 1, 1, 1)");
    let adopted = with(&|space| (space.known, space.adopt) = (Some(id(6)), true), 5);
    let applied = applier.apply(&adopted).unwrap();
    assert!(is_done(&outcomes(&applied)[0]), "{applied:?}");
    assert_eq!(database.int("SELECT count(*) FROM effect"), 2);
    assert_eq!(database.int("SELECT count(*) FROM bear.left_out"), 0);
    // Another epoch's mark says nothing about this one's.
    let other = applier.apply(&with(&|space| space.epoch = 2, 3)).unwrap();
    assert!(is_done(&outcomes(&other)[0]), "{other:?}");
}

#[test]
fn a_job_is_retried_and_fails_for_good_and_its_row_waits() {
    let database = Database::bears();
    let mut applier = database.applier();
    let bad = job(1, "UPDATE_BEAR_SIZE", r#"{"id":1,"size":-1}"#);
    let batch = bears(vec![bad.clone(), rename(2, 1, "after"), rename(3, 2, "free")]);
    let applied = applier.apply(&batch).unwrap();
    let [JobOutcome::Left { why: Left::Retry(error), keys, barrier: false }, JobOutcome::Left { why: Left::Behind, .. }, free] =
        outcomes(&applied)
    else {
        panic!("{applied:?}")
    };
    assert!(error.code.as_deref() == Some("23514") && keys.len() == 1 && is_done(free), "{applied:?}");
    // Meanwhile a later job of the row arrives, and Redis knows that the row is held.
    let mut later = bears(vec![rename(4, 1, "last"), rename(5, 3, "free")]);
    later.spaces[0].blocked.extend(keys);
    let applied = applier.apply(&later).unwrap();
    assert!(
        matches!(outcomes(&applied), [JobOutcome::Left { why: Left::Behind, .. }, done] if is_done(done)),
        "{applied:?}"
    );
    let mut side = bears(vec![
        crate::core::jobs::batch::QueuedJob { attempts: 1, ..bad.clone() },
        rename(2, 1, "after"),
        rename(4, 1, "last"),
    ]);
    side.lane = Lane::Side;
    let applied = applier.apply(&side).unwrap();
    assert!(
        matches!(outcomes(&applied), [JobOutcome::Failed { attempts: 2, .. }, b, c] if is_done(b) && is_done(c)),
        "{applied:?}"
    );
    assert_eq!(database.text("SELECT name FROM bear WHERE id = 1"), "last");
    // A crash before the outcome was published: the ledger still knows why it failed.
    let applied = applier.apply(&bears(vec![bad.clone(), rename(2, 1, "after")])).unwrap();
    assert!(reason(&outcomes(&applied)[0]).starts_with("23514 ") && is_earlier(&outcomes(&applied)[1]), "{applied:?}");
    let mut forget = bears(vec![]);
    forget.spaces[0].forget = vec![bad.id];
    applier.apply(&forget).unwrap();
    assert_eq!(database.int("SELECT count(*) FROM bear.left_out"), 0);
}

#[test]
fn undue_jobs_let_others_pass() {
    let database = Database::bears();
    let mut applier = database.applier();
    let mut undue = rename(1, 1, "late");
    undue.undue = true;
    let applied = applier.apply(&bears(vec![undue.clone(), rename(2, 1, "early")])).unwrap();
    assert!(
        matches!(outcomes(&applied), [JobOutcome::Left { why: Left::Undue, .. }, done] if is_done(done)),
        "{applied:?}"
    );
    let applied = applier.apply(&bears(vec![undue.clone(), rename(3, 1, "next")])).unwrap();
    assert!(
        matches!(outcomes(&applied), [JobOutcome::Left { why: Left::Earlier, .. }, done] if is_done(done)),
        "{applied:?}"
    );
    let mut side = bears(vec![rename(1, 1, "late")]);
    side.lane = Lane::Side;
    assert!(is_done(&outcomes(&applier.apply(&side).unwrap())[0]));
    assert_eq!(database.text("SELECT name FROM bear WHERE id = 1"), "late");
}

#[test]
fn a_role_without_create_is_told_what_to_run_and_then_served() {
    let server = Server::new();
    server.run("CREATE ROLE app LOGIN; CREATE TABLE bear (id int8 PRIMARY KEY, name text); INSERT INTO bear VALUES (1, 'a'); GRANT ALL ON bear TO app; \
        REVOKE CREATE ON DATABASE postgres FROM PUBLIC");
    let settings =
        crate::postgres::Settings::new(server.url().replace("bear@", "app@"), crate::postgres::UrlSource::Config);
    let (mut applier, control, events) = applier(settings);
    let thread = std::thread::spawn(move || applier.apply(&bears(vec![rename(1, 1, "b")])));
    let ApplierEvent::Down { error } = events.recv_timeout(Duration::from_secs(10)).unwrap() else { panic!() };
    assert!(error.starts_with("LEDGER ") && error.contains("schema/ledger.sql"), "{error}");
    server.run(include_str!("../../../../schema/ledger.sql"));
    // Twice does no harm.
    server.run(include_str!("../../../../schema/ledger.sql"));
    server.run(
        "GRANT USAGE ON SCHEMA bear TO app; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA bear TO app",
    );
    let applied = thread.join().unwrap().unwrap();
    assert!(is_done(&outcomes(&applied)[0]), "{applied:?}");
    server.run("UPDATE bear.ledger_version SET version = 2");
    control.stop();
    let (mut newer, control, events) = crate::postgres::tests::batches::applier(crate::postgres::Settings::new(
        server.url(),
        crate::postgres::UrlSource::Config,
    ));
    let thread = std::thread::spawn(move || newer.apply(&bears(vec![rename(2, 1, "c")])));
    let ApplierEvent::Down { error } = events.recv_timeout(Duration::from_secs(10)).unwrap() else { panic!() };
    assert!(error.contains("format 2"), "{error}");
    control.stop();
    assert!(thread.join().unwrap().is_none());
}

#[test]
fn a_schema_that_others_may_add_to_by_now_is_used_no_more() {
    let database = Database::bears();
    database.run("CREATE ROLE low");
    for (at, (open, close)) in [
        ("GRANT CREATE ON SCHEMA bear TO low", "REVOKE CREATE ON SCHEMA bear FROM low"),
        ("GRANT TRIGGER ON bear.ledger TO low", "REVOKE TRIGGER ON bear.ledger FROM low"),
        (
            "CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
             CREATE TRIGGER spy BEFORE INSERT ON bear.left_out FOR EACH ROW EXECUTE FUNCTION spy()",
            "DROP TRIGGER spy ON bear.left_out",
        ),
        // Once more: the table has kept its mark that it has triggers.
        (
            "CREATE TRIGGER spy BEFORE INSERT ON bear.left_out FOR EACH ROW EXECUTE FUNCTION spy()",
            "DROP TRIGGER spy ON bear.left_out",
        ),
        ("CREATE RULE spy AS ON DELETE TO bear.left_out DO ALSO NOTHING", "DROP RULE spy ON bear.left_out"),
        ("CREATE RULE spy AS ON DELETE TO bear.left_out DO ALSO NOTHING", "DROP RULE spy ON bear.left_out"),
        ("ALTER TABLE bear.ledger OWNER TO low", "ALTER TABLE bear.ledger OWNER TO bear"),
    ]
    .into_iter()
    .enumerate()
    {
        let (mut applier, _control, events) = applier(database.settings());
        let first = 1 + 1_000_000 * at as u64;
        assert!(is_done(&outcomes(&applier.apply(&bears(vec![rename(first, 1, "x")])).unwrap())[0]));
        database.run(open);
        let begun = std::time::Instant::now();
        let refused = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // It is asked now and then.
                for seq in first + 1.. {
                    let applied = applier.apply(&bears(vec![rename(seq, 1, "y")])).unwrap();
                    assert!(is_done(&outcomes(&applied)[0]), "{open}");
                    if refused.load(std::sync::atomic::Ordering::Relaxed) || begun.elapsed() > Duration::from_secs(60) {
                        return;
                    }
                }
            });
            loop {
                if let ApplierEvent::Down { error } = events.recv_timeout(Duration::from_secs(20)).unwrap() {
                    assert!(error.starts_with("LEDGER the schema bear is not used"), "{error}");
                    break;
                }
            }
            refused.store(true, std::sync::atomic::Ordering::Relaxed);
            database.run(close);
            thread.join().unwrap();
        });
    }
}

#[test]
fn dead_epochs_are_cleaned_and_live_ones_kept() {
    let database = Database::bears();
    let mut applier = database.applier();
    applier.apply(&bears(vec![rename(1, 1, "x")])).unwrap();
    database.run(
        "INSERT INTO bear.ledger (queue, epoch, lane, space, mark_ms, mark_seq, token, changed) \
         VALUES (7, 2, 0, 'bear', 1, 1, 1, now() - interval '40 days'), (7, 3, 0, 'bear', 1, 1, 1, now() - interval '20 days'); \
         INSERT INTO bear.left_out (queue, epoch, ms, seq) VALUES (7, 1, 1, 1), (7, 2, 1, 1), (7, 3, 1, 1); \
         UPDATE bear.ledger SET changed = now() - interval '50 days' WHERE epoch = 1",
    );
    // Jobs of the living epoch: one waits, two have failed, lately and long ago.
    database.run(
        "INSERT INTO bear.left_out (queue, epoch, ms, seq, failed, changed) VALUES \
         (7, 1, 2, 1, NULL, now() - interval '40 days'), (7, 1, 2, 2, '{}', now() - interval '20 days'), \
         (7, 1, 2, 3, '{}', now() - interval '40 days')",
    );
    applier.clean(&[1], &[(7, 1, JobId { ms: 3, seq: 0 })], 30);
    let of_two = "SELECT string_agg(seq::text, ',' ORDER BY seq) FROM bear.left_out WHERE ms = 2";
    assert_eq!(database.text(of_two), "1,2");
    database.run("DELETE FROM bear.left_out WHERE ms = 2");
    assert_eq!(database.text("SELECT string_agg(epoch::text, ',' ORDER BY epoch) FROM bear.ledger"), "1,3");
    assert_eq!(database.text("SELECT string_agg(epoch::text, ',' ORDER BY epoch) FROM bear.left_out"), "1,3");
}

#[test]
fn a_failure_is_forgotten_only_once_it_has_been_published() {
    let database = Database::bears();
    let mut applier = database.applier();
    let mut bad = job(2, "UPDATE_BEAR_SIZE", r#"{"id":1,"size":-1}"#);
    bad.max_attempts = 1;
    let batch = bears(vec![rename(1, 2, "x"), bad]);
    assert!(matches!(outcomes(&applier.apply(&batch).unwrap()), [_, JobOutcome::Failed { .. }]));
    let age = |table: &str| database.run(&format!("UPDATE bear.{table} SET changed = now() - interval '40 days'"));
    age("left_out");
    // Redis crashed before it was published, the queue was paused, and others of the epoch went on.
    let bound = |seq| (7, 1, JobId { ms: 1_700_000_000_000, seq });
    applier.clean(&[1], &[], 30);
    applier.clean(&[1], &[bound(2), (8, 1, JobId { ms: u64::MAX, seq: 0 })], 30);
    let again = applier.apply(&batch).unwrap();
    assert!(reason(&outcomes(&again)[1]).starts_with("23514 "), "{again:?}");
    // It was not published until then, so that its days begin anew.
    applier.clean(&[1], &[bound(3)], 30);
    assert_eq!(database.int("SELECT count(*) FROM bear.left_out"), 1);
    age("left_out");
    applier.clean(&[1], &[bound(3)], 30);
    assert_eq!(database.int("SELECT count(*) FROM bear.left_out"), 0);
}

#[test]
fn a_batch_that_was_put_back_in_doubt_is_seen_by_whoever_comes_next() {
    let database = Database::bears();
    let batch = bears(vec![rename(1, 1, "x"), rename(2, 2, "y")]);
    assert!(outcomes(&database.applier().apply(&batch).unwrap()).iter().all(is_done));
    // The same batch, token and all, by one that remembers nothing of it.
    assert!(outcomes(&database.applier().apply(&batch).unwrap()).iter().all(is_earlier));
    let mut side = bears(vec![rename(1, 1, "x")]);
    side.lane = Lane::Side;
    assert!(outcomes(&database.applier().apply(&side).unwrap()).iter().all(is_earlier));
    assert_eq!(database.int("SELECT count(*) FROM effect"), 2);
}

#[test]
fn a_ledger_that_is_dropped_by_hand_is_made_again_and_stops_the_queue() {
    let database = Database::bears();
    let mut applier = database.applier();
    let first = bears(vec![rename(1, 1, "x")]);
    assert!(is_done(&outcomes(&applier.apply(&first).unwrap())[0]));
    database.run("DROP SCHEMA bear CASCADE");
    let mut second = bears(vec![rename(2, 1, "y")]);
    second.spaces[0].known = Some(first.spaces[0].jobs[0].id);
    assert!(ledger_text(&applier.apply(&second).unwrap()).contains("no record"));
    assert_eq!(database.int("SELECT count(*) FROM effect"), 1);
}

#[test]
fn a_statement_that_always_collides_is_found_in_the_end() {
    let database = Database::bears();
    database.run(
        "CREATE FUNCTION collide() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF NEW.id = 2 THEN RAISE EXCEPTION 'always' USING ERRCODE = '40001'; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER collide BEFORE UPDATE ON bear FOR EACH ROW EXECUTE FUNCTION collide()",
    );
    let mut bad = rename(2, 2, "y");
    bad.max_attempts = 1;
    let batch = bears(vec![rename(1, 1, "x"), bad, rename(3, 3, "z")]);
    let (mut applier, control, _) = applier(database.settings());
    // Not for ever, but it waits between its tries.
    let thread = std::thread::spawn(move || (applier.apply(&batch), batch));
    eventually_within(Duration::from_secs(60), "the end of the batch", || thread.is_finished());
    control.stop();
    let applied = thread.join().unwrap().0.unwrap();
    let [a, JobOutcome::Failed { error, .. }, c] = outcomes(&applied) else { panic!("{applied:?}") };
    assert!(is_done(a) && is_done(c) && error.code.as_deref() == Some("40001"), "{applied:?}");
}

fn eventually_within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < limit, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A small generator: the same jobs in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[test]
fn rows_end_as_a_model_that_applies_jobs_one_by_one() {
    let database = Database::bears();
    let proxy = std::sync::Arc::new(Proxy::to(database.server.port));
    let mut settings = database.settings();
    settings.url = settings.url.replace(&database.server.port.to_string(), &proxy.port().to_string());
    let (mut applier, ..) = applier(settings);
    let mut dice = Dice(7);
    let mut model: Vec<(String, i64)> = vec![("old".to_owned(), 1); 8];
    let (mut seq, mut effects) = (0, 0);
    // Jobs that are left, in order, with their attempts.
    let mut left: Vec<crate::core::jobs::batch::QueuedJob> = Vec::new();
    let mut blocked = rustc_hash::FxHashSet::default();
    for _ in 0..40 {
        let mut jobs = Vec::new();
        for _ in 0..dice.roll(60) {
            seq += 1;
            let row = dice.roll(8);
            let id = row + 1;
            let (name, data, good) = match dice.roll(5) {
                0 => ("UPDATE_BEAR_SIZE", format!(r#"{{"id":{id},"size":{seq}}}"#), true),
                1 if dice.roll(4) == 0 => ("UPDATE_BEAR_SIZE", format!(r#"{{"id":{id},"size":-1}}"#), false),
                2 => ("UPDATE_BEAR", format!(r#"{{"id":{id},"name":"both{seq}","size":{seq}}}"#), true),
                _ => ("UPDATE_BEAR_NAME", format!(r#"{{"id":{id},"name":"n{seq}"}}"#), true),
            };
            if good {
                let (known, size) = &mut model[row as usize];
                if name != "UPDATE_BEAR_SIZE" {
                    *known = if name == "UPDATE_BEAR" { format!("both{seq}") } else { format!("n{seq}") };
                }
                if name != "UPDATE_BEAR_NAME" {
                    *size = seq as i64;
                }
                effects += 1;
            }
            jobs.push(job(seq, name, data));
        }
        let cutter = proxy.clone();
        let pause = dice.roll(60);
        let cutting = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(pause));
            cutter.cut_once();
        });
        let mut main = bears(jobs.clone());
        main.spaces[0].blocked = std::mem::take(&mut blocked);
        let applied = applier.apply(&main).unwrap();
        for (job, outcome) in jobs.into_iter().zip(outcomes(&applied)) {
            if let JobOutcome::Left { why, .. } = outcome {
                let attempts = u32::from(matches!(why, Left::Retry(_)));
                left.push(crate::core::jobs::batch::QueuedJob { attempts, ..job });
            }
        }
        cutting.join().unwrap();
        if dice.roll(3) > 0 && !left.is_empty() {
            let mut side = bears(left.clone());
            side.lane = Lane::Side;
            let applied = applier.apply(&side).unwrap();
            let mut still = Vec::new();
            for (job, outcome) in left.into_iter().zip(outcomes(&applied)) {
                match outcome {
                    JobOutcome::Left { why: Left::Retry(_), .. } => {
                        still.push(crate::core::jobs::batch::QueuedJob { attempts: job.attempts + 1, ..job })
                    }
                    JobOutcome::Left { .. } => still.push(job),
                    _ => {}
                }
            }
            left = still;
        }
        let definition = sections(BEAR);
        let bear = &definition[section(&definition, "bear")];
        for job in &left {
            let known = bear.jobs.iter().find(|known| *known.name.as_bytes() == *job.name).unwrap();
            blocked.extend(crate::core::jobs::payload::check(known, &job.data).unwrap().order);
        }
    }
    while !left.is_empty() {
        let mut side = bears(left.clone());
        side.lane = Lane::Side;
        let applied = applier.apply(&side).unwrap();
        let outcomes = outcomes(&applied).to_vec();
        let kept = left.into_iter().zip(outcomes).filter(|(_, outcome)| matches!(outcome, JobOutcome::Left { .. }));
        left = kept.map(|(job, _)| crate::core::jobs::batch::QueuedJob { attempts: job.attempts + 1, ..job }).collect();
    }
    for (row, (name, size)) in model.iter().enumerate() {
        let found = database.text(&format!("SELECT name || '/' || size FROM bear WHERE id = {}", row + 1));
        assert_eq!(found, format!("{name}/{size}"), "row {}", row + 1);
    }
    assert_eq!(database.int("SELECT count(*) FROM effect"), effects);
    assert_eq!(database.int("SELECT count(*) FROM bear.left_out WHERE failed IS NULL"), 0);
}

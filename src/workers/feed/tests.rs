//! The thread and what it tells, with a Postgres and without. What is told of changes is tested in `postgres::feed`.

use super::*;
use crate::postgres::tests::batches::sections;
use crate::postgres::tests::eventually;
use crate::postgres::tests::proxy::Proxy;
use crate::postgres::tests::server::Server;
use crate::postgres::{Settings, UrlSource};

const CATALOG: &str = "[t]\nid = \"int\"\ntables = { t = \"id\" }\nrow = \"SELECT id FROM t WHERE id = ANY({ids})\"\n\
    [[t.query]]\ncall = \"is {x:int}\"\nsql = \"SELECT id FROM t WHERE id = {x}\"\nmatch = \"id = {x}\"\n";

fn settings(port: u16, kind: FeedKind) -> FeedSettings {
    let settings = Settings::new(format!("postgres://bear@127.0.0.1:{port}/postgres"), UrlSource::Config);
    FeedSettings { kind, grace: Duration::from_millis(400), ..FeedSettings::new(settings) }
}

fn next(results: &Untaken) -> Told {
    results.take_within(Duration::from_secs(20)).expect("the feed tells something")
}

/// Of how many tables it tells when it has connected; what is told before is counted.
fn connected(results: &Untaken, taken: &mut usize) -> usize {
    loop {
        *taken += 1;
        if let FeedOutcome::Connected { coverage } = next(results).outcome {
            return coverage.len();
        }
    }
}

/// The images of the next change of rows.
fn images(results: &Untaken, taken: &mut usize) -> usize {
    loop {
        *taken += 1;
        let told = next(results);
        if let FeedOutcome::Changed { changes, .. } = &told.outcome {
            let Rows::Some(rows) = &changes[0].rows else { panic!("{told:?}") };
            assert!(rows.iter().all(|row| row.json.is_none()), "its owner needs the text no more");
            return told.images[0].as_ref().expect("they make sense").len();
        }
    }
}

#[test]
fn each_outcome_wakes_what_ends_is_begun_anew_and_a_stop_ends_it_in_silence_too() {
    let server = Server::logical();
    server.run("CREATE TABLE t (id int PRIMARY KEY)");
    let proxy = Proxy::to(server.port);
    let (wakes, mut taken) = (Arc::new(AtomicUsize::new(0)), 0);
    let counter = wakes.clone();
    let wake = Arc::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let feed =
        Feed::start(settings(proxy.port(), FeedKind::Wal), sections(CATALOG), Arc::default(), wake).expect("it starts");
    assert_eq!(connected(feed.results(), &mut taken), 1);
    server.run("INSERT INTO t VALUES (1), (2)");
    assert_eq!(images(feed.results(), &mut taken), 2);
    proxy.cut_once();
    let mut is_down = false;
    loop {
        taken += 1;
        match next(feed.results()).outcome {
            FeedOutcome::Down { allowed, .. } => {
                assert!(allowed);
                is_down = true;
            }
            FeedOutcome::Connected { .. } if is_down => break,
            other => assert!(!is_down, "{other:?}"),
        }
    }
    server.run("INSERT INTO t VALUES (3)");
    assert_eq!(images(feed.results(), &mut taken), 1);
    eventually("the wake-ups", || wakes.load(Ordering::Relaxed) >= taken);
    assert!(!feed.is_stopped());
    proxy.stall();
    feed.stop();
    let took = eventually("the end of the feed", || feed.is_stopped());
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn another_catalog_is_told_of_where_its_owner_looks_and_the_rest_is_handed_back() {
    let server = Server::logical();
    server.run("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
    let start = |kind| {
        Feed::start(settings(server.port, kind), sections(CATALOG), Arc::default(), Arc::new(|| {})).expect("it starts")
    };
    let (mut feed, mut taken) = (start(FeedKind::Wal), 0);
    assert_eq!(connected(feed.results(), &mut taken), 1);
    server.run("INSERT INTO t VALUES (1)");
    eventually("something that nobody takes", || !feed.results().is_empty());
    let both = sections(&CATALOG.replace("{ t = \"id\" }", "{ t = \"id\", u = \"id\" }"));
    let old = feed.follow_instead(both).expect("a stream goes on");
    assert_eq!(connected(feed.results(), &mut taken), 2);
    let untaken: Vec<FeedOutcome> = std::iter::from_fn(|| old.take()).map(|told| told.outcome).collect();
    assert!(!untaken.is_empty());
    assert!(!untaken.iter().any(|outcome| matches!(outcome, FeedOutcome::Connected { .. })), "{untaken:?}");
    server.run("INSERT INTO u VALUES (1)");
    assert_eq!(images(feed.results(), &mut taken), 1, "told of to whom follows the new catalog");
    let mut outbox = start(FeedKind::Outbox);
    assert_eq!(connected(outbox.results(), &mut taken), 1);
    assert!(outbox.follow_instead(sections(CATALOG)).is_none());
    for feed in [feed, outbox] {
        feed.stop();
        eventually("the end of the feed", || feed.is_stopped());
    }
}

fn caught_up(number: u64) -> FeedOutcome {
    FeedOutcome::CaughtUp { asked: Instant::now(), position: number, lag_bytes: 0 }
}

/// A change of one row, with so many bytes of values.
fn changed(bytes: usize) -> FeedOutcome {
    let json = format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes)).into_bytes();
    let row = PresentRow { id: "1".into(), json: Some(json.into()), unchanged: Unchanged::UNKNOWN };
    let rows = Rows::Some(vec![row]);
    let changes = vec![SectionChange { section: 0, tenant: crate::core::feed::Tenant::None, rows }];
    FeedOutcome::Changed { changes, position: 0, transactions: 1, committed_us: 0 }
}

#[test]
fn who_tells_more_bytes_than_are_taken_waits() {
    const COUNT: usize = 20;
    let control = Arc::new(FeedControl::new(Arc::new([]), Arc::default()));
    let (outcomes, results) = Untaken::channel();
    let own = control.clone();
    let tell_all = move || {
        let turn = Arc::new(Mutex::new(None));
        let mut teller = Teller { outcomes, turn, control: &own, wake: Arc::new(|| {}) };
        // The last is too large for any room, and told when there is nothing else.
        (0..COUNT).for_each(|_| teller.tell(changed(1 << 20)));
        teller.tell(changed(MAX_UNTAKEN_BYTES));
    };
    let teller = std::thread::spawn(tell_all);
    let mut most = 0;
    for at in 0..=COUNT {
        let told = results.take_within(Duration::from_secs(10)).expect("it is told");
        most = most.max(results.bytes.load(Ordering::Acquire) + told.bytes);
        assert_eq!(told.images[0].as_ref().map(Vec::len), Some(1), "{at}: read where there is time");
        // As a thread that is held.
        std::thread::sleep(Duration::from_millis(3));
    }
    teller.join().expect("it ends");
    assert!((8 << 20..3 * MAX_UNTAKEN_BYTES).contains(&most), "{most}");
    assert_eq!(results.bytes.load(Ordering::Acquire), 0);
}

#[test]
fn who_waits_for_room_ends_when_nobody_takes_anything() {
    let control = Arc::new(FeedControl::new(Arc::new([]), Arc::default()));
    for drops in [true, false] {
        let (outcomes, results) = Untaken::channel();
        let own = control.clone();
        let teller = std::thread::spawn(move || {
            let turn = Arc::new(Mutex::new(None));
            let mut teller = Teller { outcomes, turn, control: &own, wake: Arc::new(|| {}) };
            (0..3).for_each(|_| teller.tell(changed(MAX_UNTAKEN_BYTES)));
        });
        if drops {
            drop(results);
        } else {
            control.stop();
        }
        teller.join().expect("it ends");
    }
}

/// Tells 0, 1, 2 … of which nobody may be behind by more than one.
fn begin(control: &Arc<FeedControl>, count: u64) -> (Receiver<Told>, JoinHandle<()>) {
    let (told, results) = bounded(1);
    let control = control.clone();
    let outcomes = Outlet { told, bytes: Arc::default() };
    let tell_all = move || {
        let turn = Arc::new(Mutex::new(None));
        let mut teller = Teller { outcomes, turn, control: &control, wake: Arc::new(|| {}) };
        (0..count).for_each(|number| teller.tell(caught_up(number)));
    };
    (results, std::thread::spawn(tell_all))
}

#[test]
fn who_tells_more_than_is_taken_waits_and_loses_nothing() {
    let control = Arc::new(FeedControl::new(Arc::new([]), Arc::default()));
    let (results, teller) = begin(&control, 50);
    for number in 0..50 {
        let outcome = results.recv().expect("it is told").outcome;
        assert!(matches!(outcome, FeedOutcome::CaughtUp { position, .. } if position == number), "{outcome:?}");
    }
    teller.join().expect("it ends");
}

#[test]
fn who_waits_to_tell_ends_with_a_stop_though_nobody_takes_it() {
    let control = Arc::new(FeedControl::new(Arc::new([]), Arc::default()));
    let (results, teller) = begin(&control, 50);
    control.stop();
    teller.join().expect("it ends");
    assert_eq!(results.len(), 1);
    let (results, teller) = begin(&control, 50);
    drop(results);
    teller.join().expect("it ends when nobody is there");
}

#[test]
fn the_inbox_is_rung_for_at_each_commit_that_writes_to_it_and_for_no_deletion() {
    let server = Server::logical();
    server.run("CREATE TABLE t (id int PRIMARY KEY)");
    server.run(include_str!("../../../schema/inbox.sql"));
    let feed = Feed::start(settings(server.port, FeedKind::Wal), sections(CATALOG), Arc::default(), Arc::new(|| {}))
        .expect("it starts");
    let bell: Arc<InboxBell> = Arc::default();
    feed.ring(bell.clone());
    connected(feed.results(), &mut 0);
    assert!(bell.is_followed());
    let hears = || bell.heard().recv_timeout(Duration::from_secs(20)).expect("it is rung");
    server.run("BEGIN; SELECT bear.enqueue('mail', 'A', '{}'); SELECT bear.enqueue('mail', 'B', '{}'); COMMIT");
    hears();
    server.run("SELECT bear.complete('mail', '1', 3)");
    hears();
    server.run("DELETE FROM bear.inbox; INSERT INTO t VALUES (1)");
    // What was committed later has been told.
    images(feed.results(), &mut 0);
    assert!(bell.heard().is_empty());
    feed.stop();
    eventually("its end", || feed.is_stopped());
    assert!(!bell.is_followed());
}

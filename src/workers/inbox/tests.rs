//! The thread against a real Postgres.

use std::sync::atomic::AtomicU32;

use super::*;
use crate::core::catalog::read_catalog;
use crate::core::inbox::row::InboxRow;
use crate::core::inbox::tell::{Telling, ToldAs};
use crate::postgres::tests::eventually;
use crate::postgres::tests::server::Server;
use crate::postgres::{Owned, Settled, UrlSource};

/// The thread, and what it has told.
struct Tried {
    inbox: Inbox,
    bell: Arc<InboxBell>,
    told: Vec<InboxOutcome>,
    rows: Vec<InboxRow>,
    wakes: Arc<AtomicU32>,
}

const CATALOG: &str = "[mail]\nopen = true\n[sms]\ntenant = \"int\"\nopen = true\n";

fn settings(server: &Server) -> InboxSettings {
    let settings = Settings::new(server.url(), UrlSource::Config);
    InboxSettings { settings, make: true, poll: Duration::from_millis(5), keep_days: 7 }
}

impl Tried {
    fn new(server: &Server) -> Tried {
        let mut tried = Tried::with(settings(server));
        tried.own(1);
        tried
    }

    fn with(settings: InboxSettings) -> Tried {
        let (bell, wakes) = (Arc::<InboxBell>::default(), Arc::<AtomicU32>::default());
        let woken = wakes.clone();
        let wake: Wake = Arc::new(move || {
            woken.fetch_add(1, Ordering::AcqRel);
        });
        let inbox = Inbox::start(settings, bell.clone(), wake).unwrap();
        Tried { inbox, bell, told: Vec::new(), rows: Vec::new(), wakes }
    }

    fn own(&mut self, owner: i64) {
        let sections = read_catalog::parse(CATALOG, &mut || 1).unwrap().sections;
        self.inbox.submit(InboxRequest::Own { owner, name: format!("host:{owner}").into(), sections });
    }

    /// Takes what there is; pages are fetched, as the server does.
    fn take(&mut self) {
        while let Some(outcome) = self.inbox.take() {
            match outcome {
                InboxOutcome::Ids(ids) => {
                    assert!(ids.len() <= 1_000);
                    self.inbox.submit(InboxRequest::Fetch(ids.iter().map(|(id, _)| *id).collect()));
                }
                InboxOutcome::Rows(rows) => {
                    assert!(!rows.is_empty() && rows.len() <= 500);
                    self.rows.extend(rows);
                }
                other => self.told.push(other),
            }
        }
    }

    /// Waits for something that has been told since the last wait for it.
    fn wait(&mut self, what: &str, is_it: impl Fn(&InboxOutcome) -> bool) -> InboxOutcome {
        let mut found = None;
        eventually(what, || {
            self.take();
            found = self.told.iter().position(&is_it).map(|at| self.told.remove(at));
            found.is_some()
        });
        found.unwrap()
    }

    fn wait_for_rows(&mut self, count: usize) -> Vec<String> {
        eventually(&format!("{count} rows"), || {
            self.take();
            self.rows.len() >= count
        });
        self.rows.drain(..).map(|row| row.job.into()).collect()
    }

    fn wait_for_list(&mut self) {
        self.wait("the list's end", |told| matches!(told, InboxOutcome::Listed { space: None }));
    }

    fn stop(self) {
        self.inbox.stop();
        let took = eventually("the thread's end", || self.inbox.is_stopped());
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

fn enqueue(server: &Server, space: &str, job: &str) -> u64 {
    let row = server.client().query_one("SELECT bear.enqueue($1, $2, '{}')", &[&space, &job]).unwrap();
    row.get::<_, i64>(0) as u64
}

#[test]
fn one_that_connects_before_it_is_told_what_to_own_looks_for_rows_from_then_on() {
    let server = Server::new();
    let mut tried = Tried::with(settings(&server));
    tried.wait("a connection", |told| matches!(told, InboxOutcome::Up));
    // It has been told of no section: its look for rows comes to nothing.
    std::thread::sleep(Duration::from_millis(20));
    tried.own(1);
    tried.wait_for_list();
    let since = Instant::now();
    enqueue(&server, "mail", "A");
    assert_eq!(tried.wait_for_rows(1), ["A"]);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    tried.stop();
}

#[test]
fn rows_are_taken_and_settled() {
    let server = Server::new();
    let mut tried = Tried::new(&server);
    tried.wait("a connection", |told| matches!(told, InboxOutcome::Up));
    let owned = tried.wait("sections", |told| matches!(told, InboxOutcome::Owned(_)));
    let InboxOutcome::Owned(owned) = owned else { unreachable!() };
    assert_eq!(owned, [("mail".into(), Owned::Ours), ("sms".into(), Owned::Ours)]);
    tried.wait_for_list();
    let ids = [enqueue(&server, "mail", "A"), enqueue(&server, "{7}:sms", "B")];
    assert_eq!(tried.wait_for_rows(2), ["A", "B"]);
    server.run(&format!("SELECT bear.complete('mail', '{}', 4, '1')", ids[0]));
    let done = Settled::Done { space: "mail".into(), token: 4, result: Some("1".into()) };
    let InboxOutcome::Settled(settled) = tried.wait("it settled", |told| matches!(told, InboxOutcome::Settled(_)))
    else {
        unreachable!()
    };
    assert_eq!(settled, [(ids[0], done)]);
    tried.inbox.submit(InboxRequest::Tell(vec![(ids[0], Telling::Done), (ids[1], Telling::Fence(3))]));
    tried.inbox.submit(InboxRequest::Verify(vec![ids[0], ids[1], 999]));
    let mut told = Vec::new();
    eventually("two answers", || {
        tried.take();
        tried.told.retain_mut(|outcome| match outcome {
            InboxOutcome::Told(more) => {
                told.append(more);
                false
            }
            _ => true,
        });
        told.len() == 2
    });
    told.sort_by_key(|(id, ..)| *id);
    assert_eq!(told, [(ids[0], Telling::Done, ToldAs::Told), (ids[1], Telling::Fence(3), ToldAs::Told)]);
    let verified = tried.wait("the look's end", |told| matches!(told, InboxOutcome::Verified(_)));
    assert!(matches!(verified, InboxOutcome::Verified(of) if of == [ids[0], ids[1], 999]));
    let InboxOutcome::Settled(mut gone) = tried.wait("those gone", |told| matches!(told, InboxOutcome::Settled(_)))
    else {
        unreachable!()
    };
    gone.sort_by_key(|(id, _)| *id);
    assert_eq!(gone, [(ids[0], Settled::Gone), (999, Settled::Gone)]);
    assert!(tried.inbox.figures().polls > 0 && tried.wakes.load(Ordering::Acquire) > 0);
    tried.stop();
}

#[test]
fn what_is_open_is_told_after_a_start_an_outage_and_when_asked() {
    let server = Server::new();
    server.run(include_str!("../../../schema/inbox.sql"));
    enqueue(&server, "mail", "A");
    enqueue(&server, "{7}:sms", "B");
    let mut tried = Tried::new(&server);
    tried.wait_for_list();
    assert_eq!(tried.wait_for_rows(2), ["A", "B"]);
    tried.inbox.submit(InboxRequest::Rescan { space: "{7}:sms".into() });
    tried.wait(
        "the space's list",
        |told| matches!(told, InboxOutcome::Listed { space: Some(of) } if &**of == "{7}:sms"),
    );
    assert_eq!(tried.wait_for_rows(1), ["B"]);
    for signal in ["INT", "QUIT"] {
        server.stop(signal);
        tried.wait("the outage", |told| matches!(told, InboxOutcome::Down { .. }));
        server.start();
        tried.wait("its end", |told| matches!(told, InboxOutcome::Up));
        tried.wait_for_list();
        assert_eq!(tried.wait_for_rows(2), ["A", "B"]);
    }
    tried.stop();
}

#[test]
fn a_hundred_thousand_rows_of_one_transaction_come_in_their_order_before_what_follows() {
    const COUNT: usize = 100_000;
    let server = Server::new();
    let mut tried = Tried::new(&server);
    tried.wait_for_list();
    server.run(&format!(
        "DO $$BEGIN FOR i IN 1..{COUNT} LOOP PERFORM bear.enqueue('mail', 'J' || i, '{{}}'); END LOOP; END$$"
    ));
    enqueue(&server, "mail", "LAST");
    let (mut names, mut most) = (Vec::new(), 0);
    let started = Instant::now();
    while names.len() <= COUNT {
        assert!(started.elapsed() < Duration::from_secs(120), "{}", names.len());
        tried.take();
        most = most.max(tried.inbox.shared.untaken_rows.load(Ordering::Acquire));
        names.extend(tried.rows.drain(..).map(|row| row.job.to_string()));
        std::thread::yield_now();
    }
    assert!(most <= 5_500, "{most} rows were told ahead");
    let expected = (1..=COUNT).map(|i| format!("J{i}")).chain(["LAST".to_owned()]);
    assert!(names.iter().map(String::as_str).eq(expected.collect::<Vec<_>>().iter().map(String::as_str)));
    tried.stop();
}

#[test]
fn nothing_is_read_ahead_of_those_who_take_nothing() {
    let server = Server::new();
    let mut tried = Tried::new(&server);
    tried.wait_for_list();
    server.run("DO $$BEGIN FOR i IN 1..20000 LOOP PERFORM bear.enqueue('mail', 'J', '{}'); END LOOP; END$$");
    let mut pages = Vec::new();
    eventually("two pages", || {
        pages.extend(tried.inbox.take());
        pages.len() == 2
    });
    assert!(pages.iter().all(|page| matches!(page, InboxOutcome::Ids(ids) if ids.len() == 1_000)));
    let polls = tried.inbox.figures().polls;
    eventually("more polls", || tried.inbox.figures().polls > polls + 20);
    assert!(tried.inbox.is_empty(), "a page that nobody has answered is followed by a third");
    tried.inbox.submit(InboxRequest::Fetch(Vec::new()));
    eventually("a third page", || matches!(tried.inbox.take(), Some(InboxOutcome::Ids(_))));
    tried.stop();
}

#[test]
fn a_row_that_somebody_holds_is_told_of_once_that_has_ended() {
    let server = Server::new();
    let mut tried = Tried::new(&server);
    tried.wait_for_list();
    let id = enqueue(&server, "mail", "A");
    tried.wait_for_rows(1);
    let mut client = server.client();
    let mut open = client.transaction().unwrap();
    open.batch_execute(&format!("SELECT bear.complete('mail', '{id}', 4)")).unwrap();
    tried.inbox.submit(InboxRequest::Tell(vec![(id, Telling::Fence(4))]));
    let polls = tried.inbox.figures().polls;
    eventually("polls", || tried.inbox.figures().polls > polls + 10);
    tried.take();
    assert!(!tried.told.iter().any(|told| matches!(told, InboxOutcome::Told(_))), "{:?}", tried.told);
    open.commit().unwrap();
    let told = tried.wait("the answer", |told| matches!(told, InboxOutcome::Told(_)));
    let InboxOutcome::Told(told) = told else { unreachable!() };
    assert_eq!(told, [(id, Telling::Fence(4), ToldAs::Completed { token: 4, result: None })]);
    tried.stop();
}

#[test]
fn tables_are_found_when_they_come_and_made_where_that_is_wanted() {
    let server = Server::new();
    let mut tried = Tried::with(InboxSettings { make: false, ..settings(&server) });
    tried.own(1);
    tried.wait("no tables", |told| matches!(told, InboxOutcome::Absent));
    tried.inbox.reconfigure(settings(&server));
    tried.wait("a connection", |told| matches!(told, InboxOutcome::Up));
    tried.wait_for_list();
    enqueue(&server, "mail", "A");
    assert_eq!(tried.wait_for_rows(1), ["A"]);
    // Another way to the same server.
    let mut other = settings(&server);
    other.settings.url = server.socket_url();
    tried.inbox.reconfigure(other);
    tried.wait("an end", |told| matches!(told, InboxOutcome::Down { .. }));
    tried.wait("a connection", |told| matches!(told, InboxOutcome::Up));
    tried.wait_for_list();
    assert_eq!(tried.wait_for_rows(1), ["A"]);
    tried.stop();
}

#[test]
fn one_that_fell_silent_is_followed_by_another_and_told_so() {
    let server = Server::new();
    let mut one = Tried::new(&server);
    one.wait_for_list();
    let mut two = Tried::with(settings(&server));
    two.own(2);
    let owned = two.wait("sections", |told| matches!(told, InboxOutcome::Owned(_)));
    let others = Owned::Others { name: "host:1".into() };
    assert!(matches!(owned, InboxOutcome::Owned(of) if of.iter().all(|(_, owned)| *owned == others)));
    enqueue(&server, "mail", "A");
    assert_eq!(one.wait_for_rows(1), ["A"]);
    server.run("UPDATE bear.inbox_owner SET owner = 3, name = 'other'");
    let is_lost = |owned: &Owned| *owned == Owned::Others { name: "other".into() };
    one.wait("its loss", |told| matches!(told, InboxOutcome::Owned(of) if of.iter().all(|(_, owned)| is_lost(owned))));
    one.stop();
    two.wait("another", |told| matches!(told, InboxOutcome::Owned(of) if of.iter().all(|(_, owned)| is_lost(owned))));
    enqueue(&server, "mail", "B");
    server.run("UPDATE bear.inbox_owner SET seen = seen - interval '31 s'");
    two.wait(
        "sections",
        |told| matches!(told, InboxOutcome::Owned(of) if of.iter().all(|(_, owned)| *owned == Owned::Ours)),
    );
    assert_eq!(two.wait_for_rows(2), ["A", "B"]);
    two.stop();
}

#[test]
fn a_ring_is_heard_at_once() {
    let server = Server::new();
    let mut tried = Tried::with(InboxSettings { poll: Duration::from_secs(3_600), ..settings(&server) });
    tried.own(1);
    tried.wait_for_list();
    // The poll that follows a list.
    eventually("a poll", || tried.inbox.figures().polls > 0);
    tried.bell.set_followed(true);
    for job in ["A", "B", "C"] {
        enqueue(&server, "mail", job);
        tried.bell.ring();
        assert_eq!(tried.wait_for_rows(1), [job]);
    }
    tried.stop();
}

/// Figures: settles whatever comes into the inbox of BEAR_INBOX_URL for BEAR_INBOX_SECONDS, and says how that went.
#[test]
#[ignore = "for figures, beside a load by hand"]
fn drains_what_comes() {
    let seconds = std::env::var("BEAR_INBOX_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(60);
    let settings = Settings::new(std::env::var("BEAR_INBOX_URL").expect("a URL"), UrlSource::Config);
    let mut tried = Tried::with(InboxSettings { settings, make: true, poll: Duration::from_millis(10), keep_days: 7 });
    tried.own(1);
    tried.wait_for_list();
    let (started, mut rows, mut told, mut late_ms) = (Instant::now(), 0, 0, Vec::new());
    while started.elapsed() < Duration::from_secs(seconds) {
        tried.take();
        let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
        let news: Vec<_> = tried
            .rows
            .drain(..)
            .map(|row| {
                late_ms.push(now_ms.saturating_sub(row.enqueued_ms));
                (row.id, Telling::Done)
            })
            .collect();
        rows += news.len();
        if !news.is_empty() {
            tried.inbox.submit(InboxRequest::Tell(news));
        }
        told += tried
            .told
            .drain(..)
            .map(|told| if let InboxOutcome::Told(told) = told { told.len() } else { 0 })
            .sum::<usize>();
        std::thread::sleep(Duration::from_micros(500));
    }
    late_ms.sort_unstable();
    let at = |share: usize| late_ms.get(late_ms.len() * share / 100).copied().unwrap_or_default();
    println!(
        "{rows} rows, {told} told, {} polls, late by {} ms (median), {} ms (99 %)",
        tried.inbox.figures().polls,
        at(50),
        at(99)
    );
    tried.stop();
}

//! The listener against clients of all kinds, and a thread that makes snapshots or does not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::core::metrics::histogram::Histogram;
use crate::core::metrics::list;
use crate::core::metrics::snapshot::{OfSection, Snapshot};

const PATIENCE: Duration = Duration::from_secs(10);

struct Tried {
    listener: Listener,
    address: SocketAddr,
    counts: Arc<Counts>,
    wakes: Receiver<()>,
}

fn start() -> Tried {
    let (woken, wakes) = channel();
    let counts = Arc::new(Counts::default());
    let wake = Arc::new(move || woken.send(()).unwrap_or_default());
    let listener = Listener::start("127.0.0.1:0".parse().unwrap(), counts.clone(), wake).unwrap();
    let address = listener.socket.local_addr().unwrap();
    Tried { listener, address, counts, wakes }
}

impl Tried {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE + REST)).unwrap();
        stream
    }

    fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        stream
    }

    fn ask(&self, path: &str) -> TcpStream {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
    }

    /// Answers the next request for a snapshot.
    fn answer(&self, snapshot: Snapshot) {
        self.wakes.recv_timeout(PATIENCE).unwrap();
        self.listener.take_request().unwrap().answer(snapshot);
    }
}

const REST: Duration = Duration::from_secs(5);

/// All of an answer, up to the end of its connection.
fn read(mut stream: TcpStream) -> String {
    let mut text = String::new();
    // A connection may be reset where there is more to say than is read.
    let _ = stream.read_to_string(&mut text);
    text
}

fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.figures.text("role", "master");
    snapshot.figures.text("catalog", "a \"file\"\n\\");
    snapshot.figures.number("entries", 7);
    snapshot.figures.number("feed_lag_ms", 5);
    snapshot.figures.number("batches", 3);
    let mut of = OfSection::default();
    of.figures.number("hits", 2);
    let mut histogram = Histogram::default();
    histogram.record_us(400);
    histogram.record_us(2_000_000);
    of.histogram(list::FETCH, &histogram);
    of.histogram(list::CLAIM, &Histogram::default());
    snapshot.sections.insert("bear".into(), of);
    snapshot
}

#[test]
fn both_formats_have_the_same_figures() {
    let tried = start();
    let stream = tried.ask("/metrics");
    tried.answer(snapshot());
    let plain = read(stream);
    assert!(plain.starts_with("HTTP/1.1 200 OK\r\n"), "{plain}");
    assert!(plain.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{plain}");
    let open = tried.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text\r\n\r\n");
    tried.answer(snapshot());
    let open = read(open);
    assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"), "{open}");
    assert!(open.ends_with("# EOF\n") && !plain.contains("# EOF"));
    for line in [
        "bear_role{role=\"master\"} 1",
        "bear_role{role=\"replica\"} 0",
        "bear_catalog_info{file=\"a \\\"file\\\"\\n\\\\\"} 1",
        "bear_entries 7",
        "bear_feed_lag_seconds 0.005",
        "bear_batches_total 3",
        "bear_hits_total{section=\"bear\"} 2",
        "bear_misses_total{section=\"bear\"} 0",
        "bear_fetch_duration_seconds_bucket{section=\"bear\",le=\"0.0005\"} 1",
        "bear_fetch_duration_seconds_bucket{section=\"bear\",le=\"2.5\"} 2",
        "bear_fetch_duration_seconds_bucket{section=\"bear\",le=\"+Inf\"} 2",
        "bear_fetch_duration_seconds_count{section=\"bear\"} 2",
    ] {
        for text in [&plain, &open] {
            let found = text.lines().any(|shown| {
                // The formats put labels in another order.
                let sorted = |line: &str| {
                    let mut chars: Vec<char> = line.chars().collect();
                    chars.sort_unstable();
                    chars
                };
                shown == line || sorted(shown) == sorted(line)
            });
            assert!(found, "{line}: {text}");
        }
    }
    assert!(plain.contains("# TYPE bear_hits_total counter\n") && open.contains("# TYPE bear_hits counter\n"));
    assert!(!plain.contains("bear_claim_duration_seconds_bucket"), "nothing was counted");
    assert_eq!(tried.counts.get(), (2, 0));
}

#[test]
fn head_get_and_paths() {
    let tried = start();
    let head = tried.send(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    tried.answer(snapshot());
    let head = read(head);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(read(tried.ask("/")).starts_with("HTTP/1.1 404 "));
    assert!(read(tried.ask("/metrics/../../etc/passwd")).starts_with("HTTP/1.1 404 "));
    let post = read(tried.send(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"));
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD\r\n"), "{post}");
    assert!(tried.wakes.try_recv().is_err(), "nobody was asked");
    assert_eq!(tried.counts.get(), (1, 3));
}

#[test]
fn health_is_ok_or_says_what_is_wrong() {
    let tried = start();
    let stream = tried.ask("/healthz");
    tried.answer(Snapshot::default());
    let ok = read(stream);
    assert!(ok.starts_with("HTTP/1.1 200 OK\r\n") && ok.ends_with("\r\n\r\nok\n"), "{ok}");
    let stream = tried.ask("/healthz");
    let mut sick = Snapshot::default();
    sick.health.postgres = Some("down: no route".to_owned());
    sick.health.feed = Some("lost: gone".to_owned());
    tried.answer(sick);
    let sick = read(stream);
    assert!(
        sick.starts_with("HTTP/1.1 503 ") && sick.ends_with("\r\n\r\npostgres: down: no route\nfeed: lost: gone\n")
    );
}

#[test]
fn without_an_answer_health_is_bad_after_a_second_and_the_next_is_asked_for() {
    let tried = start();
    let begun = Instant::now();
    let text = read(tried.ask("/healthz"));
    assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("redis: its thread did not answer"), "{text}");
    assert!((1..5).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    // The first is made at last, for nobody; who has come meanwhile gets one of his own.
    let stream = tried.ask("/healthz");
    tried.answer(Snapshot::default());
    tried.answer(Snapshot::default());
    assert!(read(stream).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_snapshot_that_goes_on_is_waited_for() {
    let tried = start();
    let stream = tried.ask("/metrics");
    tried.wakes.recv_timeout(PATIENCE).unwrap();
    let request = tried.listener.take_request().unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        request.goes_on();
        std::thread::sleep(Duration::from_millis(100));
        assert!(request.is_wanted());
    }
    request.answer(snapshot());
    assert!(read(stream).starts_with("HTTP/1.1 200 "));
}

#[test]
fn many_who_ask_at_once_are_answered_with_few_snapshots() {
    let tried = start();
    let streams: Vec<TcpStream> = (0..10).map(|_| tried.ask("/metrics")).collect();
    let mut made = 0;
    let readers: Vec<_> = streams.into_iter().map(|stream| std::thread::spawn(|| read(stream))).collect();
    while !readers.iter().all(|reader| reader.is_finished()) {
        if tried.wakes.recv_timeout(Duration::from_millis(10)).is_ok() {
            tried.listener.take_request().unwrap().answer(snapshot());
            made += 1;
        }
    }
    for reader in readers {
        assert!(reader.join().unwrap().starts_with("HTTP/1.1 200 "));
    }
    assert!(made < 10, "{made}");
}

#[test]
fn what_is_no_request_is_refused() {
    let tried = start();
    let long = [b"GET /metrics HTTP/1.1\r\nX: ", &b"x".repeat(9000)[..], b"\r\n\r\n"].concat();
    for bytes in [&b"\0\xff\x00nonsense\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &long] {
        let answer = read(tried.send(bytes));
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    // An honest one is answered all the same.
    let stream = tried.ask("/metrics");
    tried.answer(snapshot());
    assert!(read(stream).starts_with("HTTP/1.1 200 "));
    assert!(tried.counts.get().1 >= 3);
}

#[test]
fn who_says_nothing_is_let_go_and_keeps_few_places() {
    let tried = start();
    let silent: Vec<TcpStream> = (0..16).map(|_| tried.send(b"GET /met")).collect();
    // They have all places, one after the other, as they came.
    let begun = Instant::now();
    let refused = read(tried.ask("/metrics"));
    assert_eq!(refused, "");
    assert!(begun.elapsed() < Duration::from_secs(5));
    for stream in silent {
        // Told that it took too long, or nothing.
        let text = read(stream);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408 "), "{text}");
    }
    assert!((9..20).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    let stream = tried.ask("/metrics");
    tried.answer(snapshot());
    assert!(read(stream).starts_with("HTTP/1.1 200 "));
    assert_eq!(tried.counts.get(), (1, 17));
}

#[test]
fn it_ends_at_once_with_clients_in_it_and_its_address_is_free() {
    let mut tried = start();
    let waiting = tried.ask("/metrics");
    let silent = tried.send(b"G");
    tried.wakes.recv_timeout(PATIENCE).unwrap();
    // As a child of a fork has them.
    let copy = tried.listener.socket.try_clone().unwrap();
    tried.listener.stop();
    let again = Listener::start(tried.address, tried.counts.clone(), Arc::new(|| {}));
    assert!(again.is_ok(), "{:?}", again.err());
    let begun = Instant::now();
    while !tried.listener.is_stopped() {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    assert_eq!((read(waiting), read(silent)), (String::new(), String::new()));
    assert!(!tried.listener.take_request().unwrap().is_wanted());
    drop(copy);
}

#[test]
fn an_address_that_somebody_has_is_an_error() {
    let tried = start();
    let second = Listener::start(tried.address, Arc::default(), Arc::new(|| {}));
    assert_eq!(second.err().map(|error| error.kind()), Some(std::io::ErrorKind::AddrInUse));
}

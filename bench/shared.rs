//! One connection for all: hits beside misses of half a second on the same connection, in each of the ways in which a client may make them.

use std::collections::VecDeque;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Mutex};
use std::time::{Duration, Instant};

use crate::figures::{median, quantile, Table};
use crate::setup::{call, raise_own_priority, raise_priority, Servers, CATALOG};
use crate::support::wire::{packed, read_reply, Reply};
use crate::support::Redis;

const HITS_A_SECOND: u32 = 200;
const MISS_EVERY: Duration = Duration::from_millis(500);
const MISS_SECONDS: f64 = 0.5;

/// One way in one round.
const TURN: Duration = Duration::from_secs(8);

const SLOW: &str = "\n[half]\nid = \"int\"\n[[half.query]]\ncall = \"second {n:int}\"\n\
    sql = \"SELECT {n}::bigint AS id FROM pg_sleep(0.5)\"\n";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    NoMisses,
    NoBlock,
    CachedAndPool,
    Query,
}

const WAYS: [(Way, &str); 4] = [
    (Way::NoMisses, "no misses"),
    (Way::NoBlock, "BEAR.QUERY … NOBLOCK"),
    (Way::CachedAndPool, "CACHED, and a pool for misses"),
    (Way::Query, "BEAR.QUERY"),
];

pub fn run(servers: &Servers, rounds: usize) -> Vec<Table> {
    let redis = servers.redis_with(&[CATALOG, SLOW].concat());
    raise_priority(&redis);
    redis.wire().call(&call("bear", "size", 0, 10)).bulk();
    redis.wait_stored();
    let mut times: [Vec<Vec<f64>>; 4] = Default::default();
    let mut next = 0;
    for _ in 0..rounds {
        for ((way, _), times) in WAYS.iter().zip(&mut times) {
            times.push(turn(&redis, *way, &mut next));
        }
    }
    let title = format!(
        "{HITS_A_SECOND} hits a second on one RESP3 connection, beside a miss of {MISS_SECONDS} s every half second"
    );
    let mut table = Table::new(title, &["ms", "p50", "p99", "p99, times that without misses"]);
    let at = |times: &[Vec<f64>], at: f64| median(&times.iter().map(|times| quantile(times, at)).collect::<Vec<_>>());
    let without = at(&times[0], 0.99);
    for ((_, name), times) in WAYS.iter().zip(&times) {
        let (p50, p99) = (at(times, 0.5), at(times, 0.99));
        let ms = |micros: f64| format!("{:.2}", micros / 1000.0);
        table.row(vec![(*name).to_owned(), ms(p50), ms(p99), format!("{:.2}", p99 / without)]);
    }
    table.note(format!(
        "Medians of {rounds} rounds of {} s in turns. Each time is from when a hit was to be sent, so that waiting behind a miss counts.",
        TURN.as_secs()
    ));
    vec![table]
}

/// What is on its way: a hit and when it was to be sent, or something else.
type OnTheWay = Mutex<VecDeque<Option<Instant>>>;

/// Microseconds of each hit.
fn turn(redis: &Redis, way: Way, next: &mut usize) -> Vec<f64> {
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).expect("the server listens");
    stream.set_nodelay(true).expect("a socket option");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket option");
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    for hello in [["HELLO", "3"], ["SUBSCRIBE", "bear:fill:web"]] {
        stream.write_all(&packed(&hello)).expect("the server lives");
        read_reply(&mut reader).expect("a reply");
    }
    let (hit, on_the_way, ended) = (packed(&call("bear", "size", 0, 10)), OnTheWay::default(), AtomicBool::new(false));
    let (pool, misses) = mpsc::channel::<Vec<u8>>();
    std::thread::scope(|scope| {
        let (on_the_way, ended) = (&on_the_way, &ended);
        let read = scope.spawn(move || {
            raise_own_priority();
            let mut times = Vec::new();
            loop {
                let reply = read_reply(&mut reader).expect("a reply");
                let now = Instant::now();
                if matches!(reply, Reply::Push(_)) {
                    continue;
                }
                match on_the_way.lock().expect("no panic").pop_front() {
                    Some(Some(sent)) => times.push((now - sent).as_secs_f64() * 1e6),
                    Some(None) => {}
                    None => panic!("a reply to nothing: {reply:?}"),
                }
                if ended.load(Ordering::Acquire) && on_the_way.lock().expect("no panic").is_empty() {
                    return times;
                }
            }
        });
        // A connection of the pool.
        scope.spawn(move || {
            let mut wire = redis.wire();
            for miss in misses {
                wire.send_bytes(&miss);
                wire.receive();
            }
        });
        raise_own_priority();
        let begun = Instant::now();
        let mut send = |bytes: &[u8], at: Option<Instant>| {
            on_the_way.lock().expect("no panic").push_back(at);
            stream.write_all(bytes).expect("the server lives");
        };
        let mut miss_at = begun + MISS_EVERY / 2;
        for at in 0..TURN.as_secs() as u32 * HITS_A_SECOND {
            let due = begun + Duration::from_secs(1) / HITS_A_SECOND * at;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if due >= miss_at && way != Way::NoMisses {
                miss_at += MISS_EVERY;
                *next += 1;
                let number = next.to_string();
                let second =
                    |option: &[&str]| packed(&[&["BEAR.QUERY", "half"][..], option, &["second", &number]].concat());
                match way {
                    Way::NoBlock => send(&second(&["NOBLOCK", "web"]), None),
                    Way::CachedAndPool => {
                        send(&second(&["CACHED"]), None);
                        pool.send(second(&[])).expect("the pool lives");
                    }
                    _ => send(&second(&[]), None),
                }
            }
            send(&hit, Some(due));
        }
        ended.store(true, Ordering::Release);
        send(&packed(&["PING"]), None);
        drop(pool);
        read.join().expect("no panic")
    })
}

//! The sweep of locks: clients take them, hold them, extend them, give them back, go away with them, try tokens that are old, while
//! the server is killed and connections break. No two hold a lock at the same time, and tokens grow.
//!
//! What a client may rely on is less than what the server granted: from the reply until the time that it asked for, counted from when
//! it asked, or until it gives the lock back. So two such spans of a lock that meet are two grants that meet.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::faults::sweep::number_of_env;
use crate::support::server::Builder;
use crate::support::wire::packed;
use crate::support::{Clock, Random, Redis, Reply, Wire};

const CATALOG: &str = "[api]\n[shop]\ntenant = \"text\"\n";

const CLIENTS: u64 = 8;

const LOCKS: [&str; 3] = ["api door", "api gate", "{x}:shop door"];

/// One grant, as its client knows of it.
#[derive(Debug, Clone)]
struct Grant {
    lock: usize,
    token: u64,
    asked: Instant,
    from: Instant,
    until: Instant,
}

/// What may happen to the server in a run.
struct Faults {
    kills: usize,
    /// The clock on the wall steps back at each kill.
    clock: Option<Clock>,
}

fn builder() -> Builder {
    Redis::builder().catalog(CATALOG).append_only().config("appendfsync", "always")
}

#[test]
fn no_two_hold_a_lock_at_a_time_and_tokens_grow_whatever_happens() {
    let kills = number_of_env("BEAR_TEST_KILLS").unwrap_or(4) as usize;
    let seed = number_of_env("BEAR_TEST_SEED").unwrap_or(1);
    let grants =
        run(builder(), Faults { kills, clock: None }, seed).unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
    assert!(grants > 40, "{grants}");
    eprintln!("{grants} grants, {kills} kills");
}

#[test]
fn the_sweep_finds_each_fault() {
    for mutation in ["locks-forgotten", "unlock-any-token", "tokens-by-clock"] {
        // Not in every run.
        let finds = |seed| {
            let clock = (mutation == "tokens-by-clock").then(Clock::new);
            let mut builder = builder().env("BEAR_MUTATION", mutation);
            if let Some(clock) = &clock {
                builder = builder.clock(clock);
            }
            run(builder, Faults { kills: 3, clock }, seed).err()
        };
        let fault = (1..=5).find_map(finds);
        eprintln!("{mutation}: {fault:?}");
        assert!(fault.is_some(), "{mutation} goes unnoticed");
    }
}

/// Returns how many were granted, or what was wrong.
fn run(builder: Builder, faults: Faults, seed: u64) -> Result<usize, String> {
    let mut redis = builder.start();
    let (port, over) = (redis.port(), AtomicBool::new(false));
    let grants = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let over = &over;
                scope.spawn(move || live(port, Random::new(seed * 1_000 + client), over))
            })
            .collect();
        let mut random = Random::new(seed);
        for kill in 0..faults.kills {
            std::thread::sleep(Duration::from_millis(200 + random.below(600) as u64));
            if random.once_in(2) {
                let _ = redis.wire().run("CLIENT KILL TYPE normal SKIPME yes");
                std::thread::sleep(Duration::from_millis(200));
            }
            redis.kill9();
            if let Some(clock) = &faults.clock {
                clock.shift(-3_600 * (kill as i64 + 1));
            }
            redis.start_again();
        }
        std::thread::sleep(Duration::from_millis(500));
        over.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect::<Vec<Grant>>()
    });
    check(&grants)?;
    Ok(grants.len())
}

/// A client: its life.
fn live(port: u16, mut random: Random, over: &AtomicBool) -> Vec<Grant> {
    let mut grants: Vec<Grant> = Vec::new();
    let mut connection: Option<Wire> = None;
    while !over.load(Ordering::Relaxed) {
        let Some(wire) = connection.as_mut() else {
            connection = Wire::try_connect(port).ok();
            if connection.is_none() {
                std::thread::sleep(Duration::from_millis(5));
            }
            continue;
        };
        if step(wire, &mut random, &mut grants).is_none() {
            connection = None;
        }
    }
    grants
}

/// None: the connection is broken.
fn ask(wire: &mut Wire, line: &str) -> Option<Reply> {
    let words: Vec<&str> = line.split(' ').collect();
    let sent = wire.try_send_bytes(&packed(&words));
    let reply = sent.then(|| wire.try_receive().ok()).flatten()?;
    // The server reads its data, or was told to let go of who waits.
    (!reply.is_error()).then_some(reply)
}

fn step(wire: &mut Wire, random: &mut Random, grants: &mut Vec<Grant>) -> Option<()> {
    let lock = random.below(LOCKS.len());
    let name = LOCKS[lock];
    if let Some(old) = grants.last().filter(|_| random.once_in(6)) {
        // Somebody else's by now, or nobody's.
        if Instant::now() >= old.until {
            ask(wire, &format!("BEAR.UNLOCK {} {}", LOCKS[old.lock], old.token))?;
        }
    }
    let ms = [20, 100, 700, 2_000][random.below(4)];
    let wait_ms = [0, 100, 1_000][random.below(3)];
    let asked = Instant::now();
    let Reply::Int(token) = ask(wire, &format!("BEAR.LOCK {name} {ms} WAIT {wait_ms}"))? else { return Some(()) };
    let from = Instant::now();
    // Who waits is granted it later than he asks: his time begins when he has it, at the earliest when he asked.
    let until = asked + Duration::from_millis(ms);
    grants.push(Grant { lock, token: token as u64, asked, from, until });
    let at = grants.len() - 1;
    std::thread::sleep(Duration::from_millis(random.below(30) as u64));
    if random.once_in(4) {
        let asked = Instant::now();
        // Whatever comes of it, from when it was sent the time may be another.
        let until = grants[at].until;
        grants[at].until = until.min(asked);
        let extended = ask(wire, &format!("BEAR.EXTENDLOCK {name} {token} 200"))?;
        grants[at].until = match extended {
            Reply::Int(1) => asked + Duration::from_millis(200),
            _ => until.min(asked),
        };
        std::thread::sleep(Duration::from_millis(random.below(30) as u64));
    }
    match random.below(8) {
        // He hangs up, and holds it for its time.
        0 => return None,
        // He does something else.
        1 => return Some(()),
        _ => {}
    }
    grants[at].until = grants[at].until.min(Instant::now());
    ask(wire, &format!("BEAR.UNLOCK {name} {token}")).map(drop)
}

fn check(grants: &[Grant]) -> Result<(), String> {
    for (lock, name) in LOCKS.iter().enumerate() {
        let mut held: Vec<&Grant> =
            grants.iter().filter(|grant| grant.lock == lock && grant.from < grant.until).collect();
        held.sort_by_key(|grant| grant.from);
        for pair in held.windows(2) {
            if pair[1].from < pair[0].until {
                return Err(format!("two hold {name} at a time: {pair:?}"));
            }
        }
    }
    let space = |grant: &Grant| LOCKS[grant.lock].split(' ').next().unwrap_or_default();
    for (at, one) in grants.iter().enumerate() {
        for other in &grants[at + 1..] {
            if space(one) != space(other) {
                continue;
            }
            if one.token == other.token {
                return Err(format!("a token came twice: {one:?}, {other:?}"));
            }
            let (first, second) = if one.token < other.token { (one, other) } else { (other, one) };
            // The greater one was granted before the other was asked for.
            if second.from < first.asked {
                return Err(format!("tokens do not grow: {first:?}, {second:?}"));
            }
        }
    }
    Ok(())
}

//! Kept warm: hot entries whose rows are written a hundred times a second, with `rewarm` and without.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::figures::{count, median, ms, quantile, Table};
use crate::setup::{bear, raise_own_priority, raise_priority, Servers, FIRST_ID};
use crate::support::Redis;

/// Entries, each of one row.
const HOT: usize = 20;
const WRITES_A_SECOND: u32 = 100;
/// Of all clients.
const ASKED_A_SECOND: u32 = 400;
const CLIENTS: u32 = 8;
/// Of a statement, in seconds.
const SELECT_SECONDS: &str = "0.005";
const TURN: Duration = Duration::from_secs(10);

fn catalog(rewarm: &str) -> String {
    format!(
        "[hot]\nid = \"int\"\n[[hot.query]]\ncall = \"{{id:int}}\"\n{rewarm}match = \"id = {{id}}\"\n\
         sql = \"SELECT b.id, b.name, b.size FROM bear b, pg_sleep({SELECT_SECONDS}) WHERE b.id = {{id}}\"\n"
    )
    .replace("[[hot.query]]", "row = \"SELECT id FROM bear WHERE id = ANY({ids})\"\n[[hot.query]]")
        + "\n[color]\nid = \"int\"\n[[color.query]]\ncall = \"all\"\nsql = \"SELECT id FROM color\"\n"
}

#[derive(Default)]
struct Turn {
    hit_ratio: f64,
    p50_us: f64,
    p95_us: f64,
    p99_us: f64,
    selects_a_second: f64,
}

pub fn run(servers: &Servers, rounds: usize) -> Vec<Table> {
    let ways = ["", "rewarm = \"30s\"\n"];
    let servers_of = ways.map(|rewarm| servers.redis_with(&catalog(rewarm)));
    let mut turns: [Vec<Turn>; 2] = Default::default();
    for _ in 0..rounds {
        for (redis, turns) in servers_of.iter().zip(&mut turns) {
            raise_priority(redis);
            turns.push(turn(servers, redis));
        }
    }
    let title = format!(
        "{HOT} hot entries, {WRITES_A_SECOND} writes a second to their rows, asked for {ASKED_A_SECOND} times a second, a statement takes 5 ms"
    );
    let mut table = Table::new(title, &["", "hits", "p50 ms", "p95 ms", "p99 ms", "SELECTs a second"]);
    for (name, turns) in ["without", "rewarm = \"30s\""].iter().zip(&turns) {
        let middle = |of: fn(&Turn) -> f64| median(&turns.iter().map(of).collect::<Vec<_>>());
        table.row(vec![
            format!("`{name}`").replace("`without`", "without"),
            format!("{:.1} %", 100.0 * middle(|turn| turn.hit_ratio)),
            ms(middle(|turn| turn.p50_us)),
            ms(middle(|turn| turn.p95_us)),
            ms(middle(|turn| turn.p99_us)),
            count(middle(|turn| turn.selects_a_second)),
        ]);
    }
    table.note(format!(
        "Medians of {rounds} rounds of {} s in turns. Each write is an UPDATE and BEAR.INVALIDATE … ROW. Times from when a call was to be sent.",
        TURN.as_secs()
    ));
    vec![table]
}

fn figures(redis: &Redis) -> [i64; 3] {
    let info = redis.info("bear");
    ["hits", "misses", "fills"].map(|name| bear(&info, name))
}

fn ask(n: usize) -> Vec<String> {
    ["BEAR.QUERY", "hot", &(FIRST_ID + n % HOT).to_string()].map(str::to_owned).into()
}

fn turn(servers: &Servers, redis: &Redis) -> Turn {
    let mut wire = redis.wire();
    for n in 0..2 * HOT {
        wire.call(&ask(n)).bulk();
        redis.wait_stored();
    }
    let before = figures(redis);
    let ended = AtomicBool::new(false);
    let mut times: Vec<f64> = std::thread::scope(|scope| {
        let ended = &ended;
        scope.spawn(move || write(servers, redis, ended));
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || ask_in_turn(redis, client))).collect();
        let times = clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect();
        ended.store(true, Ordering::Relaxed);
        times
    });
    times.sort_by(f64::total_cmp);
    let after = figures(redis);
    let [hits, misses, fills] = std::array::from_fn(|at| (after[at] - before[at]) as f64);
    Turn {
        hit_ratio: hits / (hits + misses),
        p50_us: quantile(&times, 0.5),
        p95_us: quantile(&times, 0.95),
        p99_us: quantile(&times, 0.99),
        selects_a_second: fills / TURN.as_secs_f64(),
    }
}

/// Microseconds of each call.
fn ask_in_turn(redis: &Redis, client: u32) -> Vec<f64> {
    raise_own_priority();
    let mut wire = redis.wire();
    let begun = Instant::now() + Duration::from_secs(1) / ASKED_A_SECOND * client;
    let every = Duration::from_secs(1) * CLIENTS / ASKED_A_SECOND;
    let calls = TURN.as_secs() as u32 * ASKED_A_SECOND / CLIENTS;
    let mut times = Vec::new();
    for at in 0..calls {
        let due = begun + every * at;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // Another entry each time, and another one for each client.
        wire.call(&ask((at * 7 + client * 3) as usize)).bulk();
        times.push(due.elapsed().as_secs_f64() * 1e6);
    }
    times
}

fn write(servers: &Servers, redis: &Redis, ended: &AtomicBool) {
    let (mut client, mut wire) = (servers.database.client(), redis.wire());
    let update = client.prepare("UPDATE bear SET name = $1 WHERE id = $2").expect("a statement");
    let begun = Instant::now();
    let mut at = 0;
    while !ended.load(Ordering::Relaxed) {
        let due = begun + Duration::from_secs(1) / WRITES_A_SECOND * at;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let id = FIRST_ID + (at as usize * 11) % HOT;
        client.execute(&update, &[&format!("Bear {at}"), &(id as i64)]).expect("it is written");
        wire.call(&["BEAR.INVALIDATE", "hot", "ROW", &id.to_string()]).int();
        at += 1;
    }
}

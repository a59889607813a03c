//! Memory: what an entry and a row contained in it take, and what is left when entries have come and gone.

use std::time::{Duration, Instant};

use crate::figures::{count, Table};
use crate::setup::{self, bear, call, Servers};
use crate::support::{Redis, Wire};

/// Rows of a result, and how many entries are filled with so many. All rows differ.
const SIZES: [(usize, usize); 4] = [(0, 20_000), (1, 20_000), (10, 10_000), (100, 1_000)];

const KEPT: usize = 1_000;
const BRIEF: usize = 100_000;
const ROWS: usize = 10;

pub fn run(servers: &Servers, _: usize) -> Vec<Table> {
    vec![per_entry(servers), come_and_gone(servers)]
}

fn per_entry(servers: &Servers) -> Table {
    let mut table = Table::new(
        "Memory: bytes an entry, beyond its JSON",
        &["rows in the result", "JSON", "rows in no other entry", "a row", "rows in another entry too", "a row"],
    );
    let mut without_rows = [0.0; 2];
    for (rows, entries) in SIZES {
        let redis = servers.redis();
        let mut json = 0.0;
        let mut bytes = [0.0; 2];
        for (query, bytes) in ["rows", "again"].iter().zip(&mut bytes) {
            let before = used(&redis);
            let (_, total) = setup::fill(&redis, 20, entries, |at| match rows {
                // Backwards, an empty range.
                0 => call("plain", query, at + 2, 0),
                _ => call("plain", query, at * rows, rows),
            });
            setup::wait_idle(&redis);
            json = total as f64 / entries as f64;
            *bytes = (used(&redis) - before) as f64 / entries as f64 - json;
        }
        if rows == 0 {
            without_rows = bytes;
        }
        let a_row = |at: usize| match rows {
            0 => String::new(),
            _ => count((bytes[at] - without_rows[at]) / rows as f64),
        };
        table.row(vec![rows.to_string(), count(json), count(bytes[0]), a_row(0), count(bytes[1]), a_row(1)]);
    }
    table.note(format!(
        "used_memory, so the key, its TTL, the metadata sets and the module's index together. For comparison, a SET … PX of \
         such a key takes {} bytes beyond its value. A tag is stored as a row is.",
        count(plain_set(servers))
    ));
    table
}

/// Bytes of a key with a TTL that Redis takes without the module, beyond the value.
fn plain_set(servers: &Servers) -> f64 {
    const KEYS: usize = 20_000;
    let redis = servers.redis();
    let before = used(&redis);
    let mut wire = redis.wire();
    let value = "x".repeat(57);
    for at in 0..KEYS {
        let key = setup::key(&call("plain", "rows", at, 1));
        assert!(wire.call(&["SET", &format!("other:{key}"), &value, "PX", "3600000"]).is_ok());
    }
    drop(wire);
    (used(&redis) - before) as f64 / KEYS as f64 - value.len() as f64
}

/// Entries with a short life, among some that stay and contain many of the same rows.
fn come_and_gone(servers: &Servers) -> Table {
    let mut table = Table::new(
        format!("Memory before and after {} entries of {ROWS} rows that lived for 2 s", count(BRIEF as f64)),
        &["", "before", "at most", "after", "times"],
    );
    let redis = servers.redis();
    let empty = Figures::of(&redis);
    setup::fill(&redis, 50, KEPT, |at| call("plain", "rows", at * ROWS, ROWS));
    setup::wait_idle(&redis);
    let before = Figures::of(&redis);
    let begun = Instant::now();
    let mut peak = before.used;
    let took = std::thread::scope(|scope| {
        let filler = scope.spawn(|| setup::fill(&redis, 50, BRIEF, |at| call("plain", "brief", at, ROWS)).0);
        while !filler.is_finished() {
            std::thread::sleep(Duration::from_millis(200));
            peak = peak.max(used(&redis));
        }
        filler.join().expect("the clients do not panic")
    });
    while bear(&redis.info("bear"), "entries") > before.entries {
        std::thread::sleep(Duration::from_millis(50));
    }
    setup::wait_idle(&redis);
    let swept = begun.elapsed();
    let after = settled(&redis);
    redis.wire().run("BEAR.INVALIDATE plain ALL").int();
    setup::wait_idle(&redis);
    let all_gone = settled(&redis);
    let mut row = |name: &str, before: i64, peak: String, after: i64| {
        let times = format!("{:.2}", after as f64 / before as f64);
        table.row(vec![name.to_owned(), count(before as f64), peak, count(after as f64), times]);
    };
    row("used_memory", before.used, count(peak as f64), after.used);
    row("metadata sets, MEMORY USAGE", before.metadata, String::new(), after.metadata);
    row("metadata sets, number", before.sets, String::new(), after.sets);
    row("used_memory, the kept entries gone too", empty.used, String::new(), all_gone.used);
    table.note(format!(
        "Among {} entries that stayed and contain a tenth of the same rows. Filled in {:.1} s by 50 clients; the last was swept \
         {:.1} s later, their 2 s included.",
        count(KEPT as f64),
        took.as_secs_f64(),
        (swept - took).as_secs_f64()
    ));
    table
}

struct Figures {
    used: i64,
    metadata: i64,
    sets: i64,
    entries: i64,
}

impl Figures {
    fn of(redis: &Redis) -> Figures {
        let info = redis.info("bear");
        let metadata = metadata_bytes(&mut redis.wire());
        Figures { used: used(redis), metadata, sets: bear(&info, "metadata_sets"), entries: bear(&info, "entries") }
    }
}

/// Figures once Redis has shrunk its tables, which its cron does bit by bit.
fn settled(redis: &Redis) -> Figures {
    let begun = Instant::now();
    let mut last = used(redis);
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let now = used(redis);
        if now >= last - last / 200 || begun.elapsed() > Duration::from_secs(10) {
            return Figures::of(redis);
        }
        last = now;
    }
}

/// Memory in use, but for the clients' own.
pub fn used(redis: &Redis) -> i64 {
    let info = redis.info("memory");
    info.int("used_memory") - info.int("mem_clients_normal")
}

fn metadata_bytes(wire: &mut Wire) -> i64 {
    let mut bytes = 0;
    let mut cursor = "0".to_owned();
    loop {
        let reply = wire.call(&["SCAN", &cursor, "MATCH", "plain:meta:*", "COUNT", "1000"]);
        let keys = reply.list()[1].list();
        for key in keys {
            wire.send(&["MEMORY", "USAGE", &key.text(), "SAMPLES", "0"]);
        }
        bytes += keys.iter().map(|_| wire.receive().int()).sum::<i64>();
        cursor = reply.list()[0].text();
        if cursor == "0" {
            return bytes;
        }
    }
}

//! Invalidations: the time to the reply, and the longest stall that a second connection sees until all is swept; and the
//! same number of keys removed by one Lua script, in turn.

use std::time::{Duration, Instant};

use crate::by_hand::ByHand;
use crate::figures::{count, median, ms, Table};
use crate::probe::Probe;
use crate::setup::{self, key, Servers, BEARS, FIRST_ID, FIRST_SIZE};
use crate::support::{Redis, Wire};

/// Clients that fill.
const CLIENTS: usize = 50;

/// Entries that `ALL` should remove, those it removes where that many would take longer than `FILL_PATIENCE` to make,
/// and those that tell how long.
const MANY: usize = 1_000_000;
const FEWER: usize = 300_000;
const TRIAL: usize = 20_000;
const FILL_PATIENCE: Duration = Duration::from_secs(120);

/// The probe looks for so long before.
const LEAD: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, PartialEq)]
enum What {
    Row,
    Tag,
    Pattern,
    All,
}

/// How often what is measured, at most: the rounds limit it.
const CASES: [(What, usize, usize); 6] = [
    (What::Row, 10, 20),
    (What::Row, 1_000, 10),
    (What::Row, 100_000, 3),
    (What::Tag, 100_000, 3),
    (What::Pattern, 100_000, 3),
    (What::All, MANY, 1),
];

/// The sets that a script would read.
const SETS: [&str; 3] = ["hand:meta:1000:caches", "hand:tag:color:black", "hand:tag:color:grey"];

#[derive(Default)]
struct Times {
    replies: Vec<f64>,
    swept: Vec<f64>,
    longest: Vec<f64>,
    work: Vec<f64>,
    /// The longest tick before a removal and after it, filling included.
    ticks: Vec<(i64, i64)>,
}

pub fn run(servers: &Servers, rounds: usize) -> Vec<Table> {
    let mut table = Table::new(
        "Invalidations, and a second connection's PING from the command until all is swept",
        &[
            "what",
            "reply ms",
            "swept after ms",
            "longest gap µs",
            "server's CPU in a gap, most µs",
            "longest tick µs",
            "one Lua script: reply ms",
            "bear's reply of the script's",
            "longest gap µs",
            "server's CPU in a gap, most µs",
        ],
    );
    let mut by_hand = ByHand::start();
    setup::raise_priority(by_hand.redis());
    for (what, entries, most) in CASES {
        let times = if entries < 100_000 { most } else { most.min(rounds.div_ceil(2)) };
        let redis = servers.redis();
        setup::raise_priority(&redis);
        let entries = if what == What::All { affordable(&redis) } else { entries };
        let (mut own, mut others) = (Times::default(), Times::default());
        for _ in 0..times {
            measure(&redis, what, entries, &mut own);
            measure_script(&mut by_hand, what, entries, &mut others);
        }
        table.row(vec![
            format!("{} {} entries", what.name(), count(entries as f64)),
            ms(median(&own.replies)),
            ms(median(&own.swept)),
            count(median(&own.longest)),
            count(median(&own.work)),
            own.longest_tick(),
            ms(median(&others.replies)),
            format!("{:.2}", median(&own.replies) / median(&others.replies)),
            count(median(&others.longest)),
            count(median(&others.work)),
        ]);
    }
    table.note(
        "Medians where it was measured more than once, of the longest gap of each time, too; bear and script in turn, a server each. Each \
         entry lists one row and two tags; a longest tick with ≤ is one of the filling before: none of the removal was longer. The script is SMEMBERS and UNLINK of what the set names, \
         on keys of the same number and size that are in three sets; it leaves the other two sets as they are.",
    );
    vec![table]
}

fn measure(redis: &Redis, what: What, entries: usize, times: &mut Times) {
    let mut wire = redis.wire();
    let before = size(&mut wire);
    fill(redis, what, entries);
    setup::wait_idle(redis);
    let words = what.words(&mut wire);
    let filled = setup::longest_tick_us(redis);
    let probe = Probe::start(redis);
    std::thread::sleep(LEAD);
    let begun = Instant::now();
    wire.send(&words);
    assert_eq!(wire.receive().int(), entries as i64, "entries removed");
    times.replies.push(micros(begun));
    // The metadata sets are the last to go.
    while size(&mut wire) > before {
        std::thread::sleep(Duration::from_millis(10));
    }
    times.swept.push(micros(begun));
    let gaps = probe.stop();
    times.longest.push(gaps.max_us());
    times.work.push(gaps.max_work_us());
    times.ticks.push((filled, setup::longest_tick_us(redis)));
}

fn measure_script(by_hand: &mut ByHand, what: What, entries: usize, times: &mut Times) {
    // As long as the keys and the value of a result of one bear.
    let keys: Vec<String> = (0..entries).map(|at| key(&call(what, at)).replacen("bear", "hand", 1)).collect();
    let value = "x".repeat(75);
    by_hand.fill(&keys, &value, &SETS);
    let probe = Probe::start(by_hand.redis());
    std::thread::sleep(LEAD);
    let begun = Instant::now();
    let gone = by_hand.remove(if what == What::Tag { SETS[1] } else { SETS[0] });
    assert_eq!(gone, entries as i64, "keys removed");
    times.replies.push(micros(begun));
    let gaps = probe.stop();
    times.longest.push(gaps.max_us());
    times.work.push(gaps.max_work_us());
}

impl Times {
    /// Of the removals. Where none was longer than the longest of the filling before, that is all that is known.
    fn longest_tick(&self) -> String {
        let longer = self.ticks.iter().filter(|(before, after)| after > before).map(|(_, after)| *after).max();
        let bound = self.ticks.iter().map(|(before, _)| *before).min().unwrap_or_default();
        longer.map_or_else(|| format!("≤ {}", count(bound as f64)), |longest| count(longest as f64))
    }
}

impl What {
    fn name(self) -> &'static str {
        match self {
            What::Row => "ROW in",
            What::Tag => "TAG in",
            What::Pattern => "PATTERN that meets",
            What::All => "ALL over",
        }
    }

    fn words(self, wire: &mut Wire) -> Vec<String> {
        let rest = match self {
            What::Row => vec!["ROW".to_owned(), FIRST_ID.to_string()],
            What::Tag => {
                let bear = &wire.call(&call(self, 0)).json()[0];
                let color = bear["colors"][0].as_str().expect("a bear with colours");
                vec!["TAG".to_owned(), format!("color:{color}")]
            }
            What::Pattern => vec!["PATTERN".to_owned(), "size:*".to_owned()],
            What::All => vec!["ALL".to_owned()],
        };
        ["BEAR.INVALIDATE", "bear"].map(str::to_owned).into_iter().chain(rest).collect()
    }
}

/// The call of an entry. All have one row: for `ALL` each bear in turn, else one and the same.
fn call(what: What, at: usize) -> Vec<String> {
    let words = match what {
        What::All => {
            let size = (FIRST_SIZE + at % BEARS).to_string();
            vec![size.clone(), size, "limit".to_owned(), (at / BEARS + 1).to_string()]
        }
        // Below the first bear's size there is none down to the sample's.
        What::Row | What::Tag | What::Pattern => vec![(FIRST_SIZE - 1 - at).to_string(), FIRST_SIZE.to_string()],
    };
    ["BEAR.QUERY", "bear", "size"].map(str::to_owned).into_iter().chain(words).collect()
}

fn fill(redis: &Redis, what: What, entries: usize) -> Duration {
    setup::fill(redis, CLIENTS, entries, |at| call(what, at)).0
}

/// As many entries as can be made in time.
fn affordable(redis: &Redis) -> usize {
    let took = fill(redis, What::All, TRIAL);
    let enough = took.mul_f64(MANY as f64 / TRIAL as f64) < FILL_PATIENCE;
    setup::wait_idle(redis);
    redis.wire().run("BEAR.INVALIDATE bear ALL").int();
    setup::wait_idle(redis);
    if enough {
        MANY
    } else {
        FEWER
    }
}

/// Keys in the database, but for the mark of the sections, which stays.
fn size(wire: &mut Wire) -> i64 {
    wire.run("DBSIZE").int() - wire.run("EXISTS bear.module:sections").int()
}

fn micros(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6
}

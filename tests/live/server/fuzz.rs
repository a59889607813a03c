//! Random and hostile words: whatever clients send, they get data or an error of a known code, Redis lives, and
//! Postgres is what it was.

use std::collections::BTreeMap;

use crate::support::bears;
use crate::support::wire::packed;
use crate::support::{Database, Postgres, Random, Redis, Reply, Wire};

macro_rules! VALUES {
    () => {
        "\n[page]\n[[page.value]]\ncall = \"shelf {n:int}\"\ntags = [\"shelf:{n}\"]\nstale = \"1s\"\nttl = \"20ms\"\n\
         [[page.value]]\ncall = \"blob {n:text}\"\ntype = \"bytes\"\n"
    };
}

/// All sections of two catalogs in one, so that tenants are among them.
const CATALOG: &str =
    concat!(include_str!("../../../catalogs/bear.toml"), include_str!("../../../catalogs/salon.toml"), VALUES!());
const SCHEMA: &str = concat!(
    include_str!("../../../schema/bear.sql"),
    include_str!("../../support/bears.sql"),
    include_str!("../../../schema/salon.sql"),
    "INSERT INTO booking(id, salon_id, customer_id, starts_at, price)
       SELECT ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, '11111111-1111-4111-8111-111111111111',
              gen_random_uuid(), '2026-01-01'::timestamptz + i * interval '1 hour', i FROM generate_series(1, 20) i;
     INSERT INTO message(salon_id, body) SELECT '11111111-1111-4111-8111-111111111111', 'x' FROM generate_series(1, 5);"
);
const TABLES: [&str; 8] = ["bear", "color", "bear_colors", "booking", "message", "counter", "invoice", "invoice_line"];

const VECTORS: usize = 100_000;
const CONNECTIONS: usize = 16;
/// Sent on one connection before the replies are read.
const BATCH: usize = 125;

const CODES: [&str; 8] = ["ERR", "NOWAIT", "TIMEOUT", "TOOLARGE", "QUERY", "OVERLOADED", "WRONGTYPE", "READONLY"];

const SPACES: [&str; 14] = [
    "bear",
    "bear",
    "bear",
    "color",
    "{11111111-1111-4111-8111-111111111111}:booking",
    "{11111111-1111-4111-8111-111111111111}:dashboard",
    "{11111111-1111-4111-8111-111111111111}:invoice",
    "{22222222-2222-4222-8222-222222222222}:message",
    "{11111111-1111-4111-8111-11111111111}:booking",
    "{' OR 1=1 --}:booking",
    "{}:booking",
    "booking",
    "{bear}:bear",
    "bear.module:cold",
];

/// Calls that exist, word by word; `?` is an argument, `@` a time.
const CALLS: [&str; 13] = [
    "all",
    "size ? ?",
    "size ? ? limit ?",
    "size ? ? limit ? after ?",
    "colors ?",
    "colors ? size ? ?",
    "00000000-0000-4000-8000-000000000007",
    "between @ @",
    "between @ @ status ?",
    "today",
    "status ?",
    "status ? min ? customer ?",
    "revenue @ @",
];

/// Those of a space's section.
fn calls_of(space: &[u8]) -> &'static [&'static str] {
    match space.split(|byte| *byte == b':').next_back() {
        Some(b"bear") => &CALLS[..6],
        Some(b"booking") => &CALLS[6..9],
        Some(b"dashboard") => &CALLS[9..10],
        Some(b"invoice") => &CALLS[10..],
        Some(b"page") => &["shelf ?", "blob ?"],
        _ => &CALLS,
    }
}

const SQL: [&str; 10] = [
    "'; DROP TABLE bear; --",
    "1 OR 1=1",
    "1; DELETE FROM bear",
    "$1",
    "{start}",
    "1)) UNION SELECT * FROM pg_authid --",
    "\\'; TRUNCATE bear CASCADE",
    "$$; COPY bear TO PROGRAM 'true'; $$",
    "NULL",
    "pg_sleep(100)",
];

const NUMBERS: [&str; 16] = [
    "0",
    "-0",
    "+1",
    "007",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "99999999999999999999999999999999999999",
    "1e3",
    "1.5",
    "0x10",
    "NaN",
    "Infinity",
    "१",
    "1_000",
];

const TEXTS: [&str; 27] = [
    "",
    " ",
    ",",
    ",,",
    "black,white",
    "black,,black",
    "a:b",
    "%",
    "%3A",
    "%zz",
    "a%2Cb",
    "{",
    "}",
    "{tenant}",
    "meta",
    "tag",
    "queue",
    "FRESH",
    "CACHED",
    "NOBLOCK",
    "NEW",
    "NEW,DONE",
    "PAID",
    "2026-01-01",
    "2026-02-30T25:61:61Z",
    "🐻\u{202e}",
    "00000000-0000-4000-8000-000000000001",
];

const GLOBS: [&str; 10] = ["*", "size:*", "?[0-9]*", "[^", "[", "\\", "[z-a]", "*:*:*:*:*:*", "{a,b}", "[\\"];

const WORDS: [&str; 14] = [
    "size", "colors", "all", "limit", "after", "between", "status", "FRESH", "CACHED", "ROW", "TAG", "QUERY",
    "PATTERN", "ALL",
];

fn word(random: &mut Random) -> Vec<u8> {
    match random.below(400) {
        // Rarely: there are half a million words.
        0 if random.below(50) == 0 => vec![*random.one(&[&b'a', &b'*', &0, &0xff, &b'%', &b',', &b'9']); 1 << 20],
        0 | 1 => vec![b'x'; 8000 + random.below(500)],
        2..=5 => b"a,".repeat(random.below(3000)),
        6..=49 => random.bytes(12),
        50..=59 => [random.bytes(3), b"\0".to_vec(), random.bytes(3)].concat(),
        60..=109 => random.one(&SQL).into(),
        110..=199 => random.one(&NUMBERS).into(),
        200..=299 => random.one(&TEXTS).into(),
        300..=319 => random.one(&GLOBS).into(),
        320..=339 => random.one(&WORDS).into(),
        _ => (random.below(20) * 20).to_string().into_bytes(),
    }
}

fn call(random: &mut Random, space: &[u8]) -> Vec<Vec<u8>> {
    let calls = if random.below(8) == 0 { &CALLS } else { calls_of(space) };
    let mut words: Vec<Vec<u8>> = random
        .one(calls)
        .split(' ')
        .map(|part| match part {
            // Mostly small numbers, so that many calls are right.
            "?" if random.below(3) > 0 => (random.below(6) * 60).to_string().into_bytes(),
            "@" if random.below(3) > 0 => format!("2026-01-{:02}", 1 + random.below(9)).into_bytes(),
            "?" | "@" => word(random),
            part => part.into(),
        })
        .collect();
    match random.below(20) {
        0 => words.push(word(random)),
        1 => drop(words.pop()),
        2 => {
            let at = random.below(words.len());
            words[at] = word(random);
        }
        3 => words.reverse(),
        4 => words = (0..random.below(8)).map(|_| word(random)).collect(),
        _ => {}
    }
    words
}

fn vector(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args: Vec<Vec<u8>> = Vec::new();
    let space = match random.below(20) {
        0 => word(random),
        _ => random.one(&SPACES).into(),
    };
    match random.below(23) {
        20..=22 => return of_values(random),
        0..=7 => {
            args.extend([b"BEAR.QUERY".to_vec(), space.clone()]);
            match random.below(6) {
                0 => args.push(b"FRESH".to_vec()),
                1 => args.push(b"cached".to_vec()),
                2 if random.below(2) == 0 => args.extend([b"NOBLOCK".to_vec(), b"web".to_vec()]),
                _ => {}
            }
            args.extend(call(random, &space));
        }
        8 | 9 => {
            args.extend([b"BEAR.MQUERY".to_vec(), space.clone()]);
            match random.below(6) {
                0 => args.push(b"FRESH".to_vec()),
                1 => args.push(b"cached".to_vec()),
                _ => {}
            }
            for _ in 0..=random.below(5) {
                let call = call(random, &space);
                let wrong = random.below(20) == 0;
                args.push(if wrong { word(random) } else { call.len().to_string().into_bytes() });
                args.extend(call);
            }
        }
        10..=15 => {
            args.extend([b"BEAR.INVALIDATE".to_vec(), space.clone()]);
            match random.below(8) {
                0 | 1 => {
                    args.push(b"ROW".to_vec());
                    args.extend((0..=random.below(3)).map(|_| word(random)));
                }
                2 => args.extend([b"TAG".to_vec(), word(random)]),
                3 => args.extend([b"TAG".to_vec(), b"color:brown".to_vec(), word(random)]),
                4 => {
                    args.push(b"QUERY".to_vec());
                    args.extend(call(random, &space));
                }
                5 => args.extend([b"PATTERN".to_vec(), glob(random)]),
                6 if random.below(8) == 0 => args.push(b"ALL".to_vec()),
                _ => args.extend((0..random.below(4)).map(|_| word(random))),
            }
        }
        16 | 17 => {
            args.extend([b"BEAR.EXPLAIN".to_vec(), space.clone()]);
            args.extend(call(random, &space));
        }
        18 => {
            args.push(b"BEAR.CATALOG".to_vec());
            if random.below(2) == 0 {
                args.push(space);
            }
        }
        _ => {
            let name = random.one(&["BEAR.QUERY", "BEAR.INVALIDATE", "BEAR.EXPLAIN", "BEAR.CATALOG", "bear.query"]);
            args.push(name.into());
            args.extend((0..random.below(10)).map(|_| word(random)));
        }
    }
    args
}

/// A command about values: leases that soon end, so that nobody waits for long.
fn of_values(random: &mut Random) -> Vec<Vec<u8>> {
    let space = if random.below(10) == 0 { word(random) } else { b"page".to_vec() };
    let call = call(random, b"page");
    let mut args: Vec<Vec<u8>> = Vec::new();
    match random.below(8) {
        0..=2 => {
            args.extend([
                b"BEAR.GET".to_vec(),
                space,
                b"LEASE".to_vec(),
                b"5".to_vec(),
                b"WAIT".to_vec(),
                b"3".to_vec(),
            ]);
            args.extend(call);
        }
        3..=5 => {
            args.extend([b"BEAR.PUT".to_vec(), space, call.len().to_string().into_bytes()]);
            args.extend(call);
            args.push(if random.below(3) > 0 { b"{\"a\": 1}".to_vec() } else { word(random) });
            for _ in 0..random.below(4) {
                let option = random.one(&["TAG", "ROW", "TTL", "TOKEN", "IF", "row"]);
                args.push(option.into());
                if random.below(2) == 0 {
                    args.push(random.one(&["bear", "booking", "100", "ABSENT", "0123456789abcdef-1"]).into());
                }
                args.extend((0..random.below(3)).map(|_| word(random)));
            }
        }
        6 => args.extend([b"BEAR.FORGET".to_vec(), space, word(random)]),
        _ => {
            args.extend([b"BEAR.MGET".to_vec(), space, b"LEASE".to_vec(), b"5".to_vec()]);
            args.extend([call.len().to_string().into_bytes()]);
            args.extend(call);
            args.extend([b"2".to_vec(), b"shelf".to_vec(), word(random)]);
        }
    }
    args
}

fn glob(random: &mut Random) -> Vec<u8> {
    match random.below(4) {
        // What takes a backtracking matcher for ever.
        0 => [b"*a".repeat(30), b"b".to_vec()].concat(),
        1 => b"[a-z]*".repeat(1 + random.below(400)),
        2 => word(random),
        _ => random.one(&GLOBS).into(),
    }
}

/// Rows of each table and a sum over all that they hold.
fn contents(database: &Database) -> BTreeMap<&'static str, (i64, String)> {
    let mut client = database.client();
    TABLES
        .into_iter()
        .map(|table| {
            let sql =
                format!("SELECT count(*), coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {table} t");
            let row = client.query_one(&sql, &[]).expect("a table");
            (table, (row.get(0), row.get(1)))
        })
        .collect()
}

/// Connections, each with the vectors whose replies are still to come.
fn run(redis: &Redis, seed: u64) -> BTreeMap<String, usize> {
    let mut random = Random::new(seed);
    let mut wires: Vec<Wire> = (0..CONNECTIONS).map(|_| redis.wire()).collect();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..VECTORS / (CONNECTIONS * BATCH) {
        let mut sent: Vec<Vec<Vec<Vec<u8>>>> = Vec::new();
        for wire in &mut wires {
            let vectors: Vec<_> = (0..BATCH).map(|_| vector(&mut random)).collect();
            wire.send_bytes(&vectors.iter().flat_map(|args| packed(args)).collect::<Vec<u8>>());
            sent.push(vectors);
        }
        for (wire, vectors) in wires.iter_mut().zip(sent) {
            for args in vectors {
                let reply = wire.receive();
                let kind = match &reply {
                    Reply::Error(line) => line.split(' ').next().unwrap_or_default().to_owned(),
                    Reply::Bulk(json) => {
                        let is_json = serde_json::from_slice::<serde_json::Value>(json).is_ok();
                        assert!(is_json, "{}: {reply:?}", shown(&args));
                        "data".to_owned()
                    }
                    Reply::Int(_) | Reply::Nil | Reply::Array(_) => "data".to_owned(),
                    other => panic!("{}: {other:?}", shown(&args)),
                };
                assert!(kind == "data" || CODES.contains(&kind.as_str()), "{}: {reply:?}", shown(&args));
                assert!(!format!("{reply:?}").contains("internal error"), "{}: {reply:?}", shown(&args));
                if let Reply::Error(line) = &reply {
                    assert!(line.len() < 16 << 10, "an error of {} bytes for {}", line.len(), shown(&args));
                }
                *seen.entry(kind).or_default() += 1;
            }
        }
    }
    seen
}

fn shown(args: &[Vec<u8>]) -> String {
    let short = |arg: &Vec<u8>| {
        let end = arg.len().min(200);
        format!("{}{}", arg[..end].escape_ascii(), if end < arg.len() { "…" } else { "" })
    };
    args.iter().map(short).collect::<Vec<_>>().join(" ")
}

#[test]
fn whatever_clients_send_redis_lives_and_postgres_is_unharmed() {
    let database = Postgres::shared().database(SCHEMA);
    database.log_errors_only();
    // The SQLSTATE of each error is in the log.
    database.run(&format!("ALTER DATABASE {} SET log_error_verbosity = verbose", database.name()));
    let before = contents(&database);
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).config("bear.max-call-bytes", 8192).start();
    let run_id = redis.info("server").text("run_id").to_owned();
    redis.run("SET foreign 1");

    let seen = run(&redis, 0x5eed_bea5);
    println!("{seen:?}");
    assert!(seen["data"] > VECTORS / 10 && seen["ERR"] > VECTORS / 10, "{seen:?}");

    assert_eq!(redis.info("server").text("run_id"), run_id);
    assert!(!redis.log().contains("panic"), "{}", redis.log());
    assert_eq!(redis.run("GET foreign").text(), "1");
    assert_eq!(redis.run("BEAR.QUERY bear FRESH size 100 200").text(), bears::json(&[1, 2, 4, 5, 6]));
    assert_eq!(contents(&database), before);
    for entry in database.log() {
        let Some(error) = entry.strip_prefix("ERROR:  ") else { continue };
        // A wrong statement is one that words have got into. (57014: a query that was cancelled.)
        assert!(!error.starts_with("42"), "{entry}");
    }
    // What is stored is what Postgres says, and all of it can go.
    for key in redis.keys().iter().filter(|key| key.starts_with("bear:size:")) {
        let words = key.trim_start_matches("bear:").replace(':', " ");
        let cached = redis.run(&format!("BEAR.QUERY bear CACHED {words}"));
        if !cached.is_nil() {
            assert_eq!(redis.run(&format!("BEAR.QUERY bear FRESH {words}")), cached, "{key}");
        }
    }
}

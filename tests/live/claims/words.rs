//! What is wrong with a command's words is said before anything else is looked at, and says what would be right.

use crate::support::Redis;

/// A line and what it is answered. `#n` is a word of n bytes.
const WRONG: &[(&str, &str)] = &[
    // CLAIM
    ("BEAR.CLAIM bear 5", "ERR '5' is no option; there are JOB name …, COUNT n, LEASE ms, BLOCK ms and WORKER name"),
    ("BEAR.CLAIM bear JOB", "ERR the job's name after JOB is missing"),
    ("BEAR.CLAIM bear JOB SEND COUNT 1 JOB OTHER", "ERR JOB is given twice"),
    ("BEAR.CLAIM bear COUNT", "ERR the number after COUNT is missing"),
    ("BEAR.CLAIM bear COUNT 0", "ERR COUNT must be a number from 1 to 1000, got '0'"),
    ("BEAR.CLAIM bear COUNT 1001", "ERR COUNT must be a number from 1 to 1000, got '1001'"),
    ("BEAR.CLAIM bear COUNT many", "ERR COUNT must be a number from 1 to 1000, got 'many'"),
    ("BEAR.CLAIM bear COUNT 1 count 1", "ERR COUNT is given twice"),
    ("BEAR.CLAIM bear LEASE 9", "ERR LEASE must be a number from 10 to 86400000, got '9'"),
    ("BEAR.CLAIM bear LEASE 86400001", "ERR LEASE must be a number from 10 to 86400000, got '86400001'"),
    ("BEAR.CLAIM bear LEASE 30s", "ERR LEASE must be a number from 10 to 86400000, got '30s'"),
    ("BEAR.CLAIM bear LEASE 1000 LEASE 1000", "ERR LEASE is given twice"),
    ("BEAR.CLAIM bear BLOCK -1", "ERR BLOCK must be a number from 0 to 31536000000, got '-1'"),
    ("BEAR.CLAIM bear BLOCK 1 BLOCK 1", "ERR BLOCK is given twice"),
    ("BEAR.CLAIM bear WORKER", "ERR the name after WORKER is missing"),
    ("BEAR.CLAIM bear WORKER #0", "ERR a worker's name is 1 to 128 bytes of UTF-8, got '' (0 bytes)"),
    ("BEAR.CLAIM bear WORKER #129", "ERR a worker's name is 1 to 128 bytes of UTF-8, got '"),
    ("BEAR.CLAIM bear WORKER a WORKER b", "ERR WORKER is given twice"),
    // ACK
    ("BEAR.ACK bear 1-1", "ERR wrong number of arguments for 'bear.ack' command"),
    ("BEAR.ACK bear 1-1 5 1-2", "ERR the token of the last job is missing"),
    ("BEAR.ACK bear RESULT {}", "ERR the job's id and its token are missing: BEAR.ACK space id token"),
    ("BEAR.ACK bear 1-1 5 RESULT", "ERR the JSON after RESULT is missing"),
    ("BEAR.ACK bear 1-1 5 RESULT {} 1-2 6", "ERR '1-2' is one word too many"),
    ("BEAR.ACK bear 1-1 5 RESULT {} RESULT {}", "ERR 'RESULT' is one word too many"),
    ("BEAR.ACK bear 1-1 5 1-2 6 RESULT {}", "ERR RESULT is of one job; acknowledge each that has one by itself"),
    // FAIL
    ("BEAR.FAIL bear 1-1 5", "ERR wrong number of arguments for 'bear.fail' command"),
    (
        "BEAR.FAIL bear 1-1 5 two words",
        "ERR 'words' is no option; there are FINAL, BACKOFF ms and STACK text; a message is one word",
    ),
    ("BEAR.FAIL bear 1-1 5 x FINAL FINAL", "ERR FINAL is given twice"),
    ("BEAR.FAIL bear 1-1 5 x BACKOFF 1 BACKOFF 1", "ERR BACKOFF is given twice"),
    ("BEAR.FAIL bear 1-1 5 x BACKOFF 86400001", "ERR BACKOFF must be a number from 0 to 86400000, got '86400001'"),
    ("BEAR.FAIL bear 1-1 5 x STACK", "ERR the text after STACK is missing"),
    ("BEAR.FAIL bear 1-1 5 x STACK a STACK b", "ERR STACK is given twice"),
    ("BEAR.FAIL bear 1-1 5 x FINAL BACKOFF 1", "ERR after FINAL there is no other attempt; give FINAL or BACKOFF ms"),
    ("BEAR.FAIL bear 1-1 5 x BACKOFF 1 FINAL", "ERR after FINAL there is no other attempt; give FINAL or BACKOFF ms"),
    // EXTEND
    ("BEAR.EXTEND bear 1-1", "ERR wrong number of arguments for 'bear.extend' command"),
    ("BEAR.EXTEND bear 1-1 5 30000", "ERR '30000' is no option; there are LEASE ms and PROGRESS json"),
    ("BEAR.EXTEND bear 1-1 5 LEASE 1", "ERR LEASE must be a number from 10 to 86400000, got '1'"),
    ("BEAR.EXTEND bear 1-1 5 LEASE 1000 LEASE 1000", "ERR LEASE is given twice"),
    ("BEAR.EXTEND bear 1-1 5 PROGRESS", "ERR the JSON after PROGRESS is missing"),
    ("BEAR.EXTEND bear 1-1 5 PROGRESS 1 PROGRESS 2", "ERR PROGRESS is given twice"),
    ("BEAR.EXTEND bear 1-1 5 PROGRESS #4097", "TOOLARGE the JSON after PROGRESS may hold 4096 bytes, got 4097"),
    // RELEASE
    ("BEAR.RELEASE bear 1-1", "ERR wrong number of arguments for 'bear.release' command"),
    ("BEAR.RELEASE bear 1-1 5 6", "ERR wrong number of arguments for 'bear.release' command"),
    // PROMOTE
    ("BEAR.PROMOTE bear", "ERR wrong number of arguments for 'bear.promote' command"),
    ("BEAR.PROMOTE bear ALL 1-1", "ERR wrong number of arguments for 'bear.promote' command"),
    // CLEAN
    ("BEAR.CLEAN bear", "ERR wrong number of arguments for 'bear.clean' command"),
    ("BEAR.CLEAN bear done", "ERR the state is one of completed, failed, delayed, waiting"),
    ("BEAR.CLEAN bear active", "ERR active jobs are not removed: BEAR.CANCEL tells their workers to end"),
    ("BEAR.CLEAN bear failed 5", "ERR '5' is no option; there are OLDER ms and COUNT n"),
    ("BEAR.CLEAN bear failed OLDER 1h", "ERR OLDER must be a number from 0 to 315360000000, got '1h'"),
    ("BEAR.CLEAN bear failed OLDER 1 OLDER 1", "ERR OLDER is given twice"),
    ("BEAR.CLEAN bear failed COUNT 0", "ERR COUNT must be a number from 1 to 1000000000, got '0'"),
    ("BEAR.CLEAN bear failed COUNT 1 COUNT 1", "ERR COUNT is given twice"),
    // CANCEL
    ("BEAR.CANCEL bear", "ERR wrong number of arguments for 'bear.cancel' command"),
    ("BEAR.CANCEL bear 1-1 no more", "ERR 'more' is one word too many"),
    // LOG, LOGS
    ("BEAR.LOG bear 1-1 5", "ERR wrong number of arguments for 'bear.log' command"),
    ("BEAR.LOG bear 1-1 5 two words", "ERR wrong number of arguments for 'bear.log' command"),
    ("BEAR.LOG bear 1-1 5 #4097", "TOOLARGE a line of BEAR.LOG may hold 4096 bytes, got 4097"),
    ("BEAR.LOGS bear", "ERR wrong number of arguments for 'bear.logs' command"),
    ("BEAR.LOGS bear 1-1 5", "ERR '5' is no option; there are COUNT n and AFTER n"),
    ("BEAR.LOGS bear 1-1 COUNT 1001", "ERR COUNT must be a number from 1 to 1000, got '1001'"),
    ("BEAR.LOGS bear 1-1 COUNT 1 COUNT 1", "ERR COUNT is given twice"),
    ("BEAR.LOGS bear 1-1 AFTER 1-1", "ERR AFTER must be a number from 0 to 9223372036854775807, got '1-1'"),
    ("BEAR.LOGS bear 1-1 AFTER 1 AFTER 1", "ERR AFTER is given twice"),
    // UPDATE
    ("BEAR.UPDATE bear 1-1", "ERR wrong number of arguments for 'bear.update' command"),
    ("BEAR.UPDATE bear 1-1 {} x", "ERR wrong number of arguments for 'bear.update' command"),
    // LIMITQUEUE
    ("BEAR.LIMITQUEUE bear", "ERR wrong number of arguments for 'bear.limitqueue' command"),
    ("BEAR.LIMITQUEUE bear DEFAULT RATE 1/s", "ERR 'RATE' is one word too many"),
    (
        "BEAR.LIMITQUEUE bear 5",
        "ERR '5' is no option; there are BY field, CONCURRENCY n and RATE rate, or DEFAULT alone",
    ),
    ("BEAR.LIMITQUEUE bear BY", "ERR the field after BY is missing"),
    (
        "BEAR.LIMITQUEUE bear BY to",
        "ERR the limit is missing: CONCURRENCY n, RATE rate (such as 80/s), or both; 0 is no limit",
    ),
    ("BEAR.LIMITQUEUE bear BY a BY b", "ERR BY is given twice"),
    ("BEAR.LIMITQUEUE bear CONCURRENCY 1000001", "ERR CONCURRENCY must be a number from 0 to 1000000, got '1000001'"),
    ("BEAR.LIMITQUEUE bear CONCURRENCY 1 CONCURRENCY 1", "ERR CONCURRENCY is given twice"),
    ("BEAR.LIMITQUEUE bear RATE", "ERR the rate after RATE, such as 80/s, is missing"),
    (
        "BEAR.LIMITQUEUE bear RATE 80",
        "ERR a rate is a whole number from 1 to 1000000 and a unit of time (80/s, 100/m, 1000/h, 5/d), got '80'; 0 is no \
         limit",
    ),
    (
        "BEAR.LIMITQUEUE bear CONCURRENCY 5 RATE 0/s",
        "ERR a rate is a whole number from 1 to 1000000 and a unit of time (80/s, 100/m, 1000/h, 5/d), got '0/s'; 0 is no \
         limit",
    ),
    ("BEAR.LIMITQUEUE bear RATE 1/s RATE 1/s", "ERR RATE is given twice"),
    // ENQUEUE
    ("BEAR.ENQUEUE bear X {} PRIORITY 0", "ERR PRIORITY must be a number from 1 to 2147483647, got '0'"),
    ("BEAR.ENQUEUE bear X {} PRIORITY 2147483648", "ERR PRIORITY must be a number from 1 to 2147483647, got '2147483648'"),
    ("BEAR.ENQUEUE bear X {} PRIORITY 1 PRIORITY 1", "ERR PRIORITY is given twice"),
    ("BEAR.ENQUEUE bear X {} AT soon", "ERR AT must be a number from 0 to 9223372036854775807, got 'soon'"),
    (
        "BEAR.ENQUEUE bear X {} AT 1700000000",
        "ERR AT is a Unix time in milliseconds, such as 1700000000000, got 1700000000",
    ),
    ("BEAR.ENQUEUE bear X {} AT 1700000000000 AT 1700000000000", "ERR AT is given twice"),
    (
        "BEAR.ENQUEUE bear X {} AT 1700000000000 DELAY 5",
        "ERR DELAY and AT both say when the job is due; give one of them",
    ),
    (
        "BEAR.ENQUEUE bear X {} NOW",
        "ERR 'NOW' is no option; there are UNIQUE key, DELAY ms, AT ms, ATTEMPTS n, BACKOFF ms, PRIORITY n, TRACEPARENT text and BLOCK ms",
    ),
    // JOB, JOBS
    ("BEAR.JOB bear UNIQUE", "ERR the key after UNIQUE is missing"),
    ("BEAR.JOB bear UNIQUE a b", "ERR 'b' is one word too many"),
    ("BEAR.JOB bear 1-1 b", "ERR 'b' is one word too many"),
    (
        "BEAR.JOBS bear failed 5",
        "ERR '5' is no option; there are JOB name, COUNT n, AFTER id, NEWEST and OFFSET n",
    ),
    ("BEAR.JOBS bear failed JOB", "ERR the job's name after JOB is missing"),
    ("BEAR.JOBS bear failed JOB a JOB b", "ERR JOB is given twice"),
    ("BEAR.JOBS bear failed NEWEST NEWEST", "ERR NEWEST is given twice"),
    ("BEAR.JOBS bear failed OFFSET -1", "ERR OFFSET must be a number from 0 to 1000000000, got '-1'"),
    ("BEAR.JOBS bear failed OFFSET 1 OFFSET 1", "ERR OFFSET is given twice"),
];

fn words(line: &str) -> Vec<String> {
    let word = |word: &str| match word.strip_prefix('#').and_then(|count| count.parse().ok()) {
        Some(count) => "x".repeat(count),
        None => word.to_owned(),
    };
    line.split(' ').map(word).collect()
}

#[test]
fn wrong_words_are_told_what_would_be_right() {
    let redis = Redis::builder().start();
    let mut wire = redis.wire();
    for (line, expected) in WRONG {
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let reply = wire.call(&words);
        // Only what is cut for the text goes on.
        assert!(reply.is_error(), "{line}: {reply:?}");
        let text = reply.error();
        let is_expected = if line.ends_with("#129") { text.starts_with(expected) } else { text == *expected };
        assert!(is_expected, "{line}: {text}");
    }
    assert_eq!(wire.run("DBSIZE").int(), 0, "nothing is written");
}

#[test]
fn lists_of_words_have_an_end() {
    let redis = Redis::builder().start();
    let mut wire = redis.wire();
    let many = |head: &[&str], words: Vec<String>| -> Vec<String> {
        head.iter().map(|word| (*word).to_owned()).chain(words).collect()
    };
    let names = many(&["BEAR.CLAIM", "bear", "JOB"], (0..101).map(|n| format!("J{n}")).collect());
    let pairs = many(&["BEAR.ACK", "bear"], (0..1001).flat_map(|n| [format!("1-{n}"), "5".into()]).collect());
    for (line, expected) in [
        (names, "TOOLARGE JOB takes at most 100 names; without JOB jobs of any name are claimed"),
        (pairs, "TOOLARGE 1000 jobs are acknowledged at once; send them in several"),
    ] {
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        assert_eq!(wire.call(&words).error(), expected);
    }
}

/// Of names and ids that nobody has.
#[test]
fn what_is_not_there_is_said_to_be_unknown() {
    let redis = Redis::builder().catalog("[any]\nopen = true\n").start();
    let mut wire = redis.wire();
    wire.run("BEAR.ENQUEUE any X 1");
    let told = [
        (
            vec!["BEAR.CLAIM", "any", "JOB", "x y"],
            "ERR after JOB there are names of 1 to 128 letters, digits and _ - . :, beginning with a letter or a digit, got 'x y'",
        ),
        (vec!["BEAR.ACK", "any", "1-1", "5"], "LOST token 5 does not hold job 1-1: no claimed job of this id is known, or not any more"),
    ];
    for (words, expected) in told {
        assert_eq!(wire.call(&words).error(), expected);
    }
    let result = format!("\"{}\"", "x".repeat(64 << 10));
    assert_eq!(
        wire.call(&["BEAR.ACK", "any", "1-1", "5", "RESULT", &result]).error(),
        "TOOLARGE a RESULT may hold 65536 bytes, got 65538"
    );
}

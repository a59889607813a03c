//! Bad jobs among good ones: each bad one ends in `failed` with its own reason, and takes no good one with it.
//!
//! `BEAR_TEST_POISON` says how many jobs there are; one in a hundred is bad.

use std::time::Duration;

use crate::support::marked::{self, add_bears, assert_each_once, wait_drained_within, Job, FIRST_ADDED};
use crate::support::wire::packed;
use crate::support::{Random, Redis, Reply};

const BEARS: usize = 5_000;
const BAD_ONE_IN: usize = 100;

/// What is wrong with a job.
#[derive(Debug, Clone, Copy)]
enum Bad {
    UnknownColor,
    UnknownColorOfNew,
    NoSuchBear,
    Check,
    Unique,
    Deferred,
}

const KINDS: [Bad; 6] =
    [Bad::UnknownColor, Bad::UnknownColorOfNew, Bad::NoSuchBear, Bad::Check, Bad::Unique, Bad::Deferred];

impl Bad {
    fn job(self, id: i64) -> Job {
        match self {
            Bad::UnknownColor => Job::Recolor { id, colors: vec!["black", "mauve"] },
            Bad::UnknownColorOfNew => Job::Create { size: 100, colors: vec!["mauve"] },
            Bad::NoSuchBear => Job::Grow { id: 999_999, by: 1 },
            Bad::Check => Job::Grow { id, by: -1_000_000 },
            Bad::Unique => Job::Place { id, size: 100, colors: vec!["white"] },
            Bad::Deferred => Job::House { id, den: 99 },
        }
    }

    /// Words of the message, and the SQLSTATE where Postgres gives the reason.
    fn reason(self) -> (&'static str, Option<&'static str>) {
        match self {
            Bad::UnknownColor | Bad::UnknownColorOfNew => ("unknown colour mauve", None),
            Bad::NoSuchBear => ("", None),
            Bad::Check => ("bear_size_check", Some("23514")),
            Bad::Unique => ("bear_pkey", Some("23505")),
            Bad::Deferred => ("bear_den_fkey", Some("23503")),
        }
    }
}

fn good(random: &mut Random, id: i64) -> Job {
    match random.below(5) {
        0 => Job::Create { size: 100, colors: vec!["black", "white"] },
        1 => Job::Rename { id },
        2 => Job::Grow { id, by: 1 },
        3 => Job::House { id, den: 1 + random.below(2) as i64 },
        _ => Job::Recolor { id, colors: vec!["brown"] },
    }
}

/// Few wait long between their attempts: later jobs of their bears wait with them.
fn options(random: &mut Random) -> &'static [&'static str] {
    match random.below(20) {
        0 => &[],
        1..=4 => &["ATTEMPTS", "3", "BACKOFF", "10"],
        _ => &["ATTEMPTS", "1"],
    }
}

#[test]
fn bad_jobs_fail_with_their_reasons_and_all_others_land() {
    let count = std::env::var("BEAR_TEST_POISON").map_or(3_000, |text| text.parse().expect("a number of jobs"));
    let database = marked::database();
    database.log_errors_only();
    add_bears(&database, BEARS as i64);
    let redis = Redis::builder()
        .postgres(&database)
        .catalog(marked::catalog())
        .append_only()
        .config("appendfsync", "everysec")
        .config("bear.failed-max-jobs", 1_000_000)
        .start();
    let mut random = Random::new(7);
    let jobs: Vec<(String, Option<Bad>, Vec<String>)> = (0..count)
        .map(|number: usize| {
            let mark = format!("job{number}");
            let id = FIRST_ADDED + random.below(BEARS) as i64;
            let bad = random.once_in(BAD_ONE_IN).then(|| KINDS[random.below(KINDS.len())]);
            let job = bad.map_or_else(|| good(&mut random, id), |bad| bad.job(id));
            let mut command = job.command(&mark);
            command.extend(options(&mut random).iter().map(|word| (*word).to_owned()));
            (mark, bad, command)
        })
        .collect();
    let commands: Vec<&[String]> = jobs.iter().map(|(_, _, command)| command.as_slice()).collect();
    let ids: Vec<String> = pipeline(&redis, &commands).iter().map(Reply::text).collect();
    wait_drained_within(&redis, Duration::from_secs(60 + count as u64 / 200));

    let landed: Vec<&str> = jobs.iter().filter(|job| job.1.is_none()).map(|job| job.0.as_str()).collect();
    assert_each_once(&database, &landed);
    let failed: Vec<(&String, Bad)> = ids.iter().zip(&jobs).filter_map(|(id, job)| Some((id, job.1?))).collect();
    assert!(failed.len() > count / BAD_ONE_IN / 2, "bad ones are among them");
    assert_eq!(marked::stat(&redis, "failed"), Reply::Int(failed.len() as i64));
    assert_eq!(redis.run("XLEN bear:queue:failed"), Reply::Int(failed.len() as i64));
    let questions: Vec<Vec<String>> =
        failed.iter().map(|(id, _)| ["BEAR.JOB", "bear", id].map(str::to_owned).into()).collect();
    for (reply, (id, bad)) in pipeline(&redis, &questions).iter().zip(&failed) {
        assert!(matches!(reply, Reply::Array(_)), "{id} ({bad:?}): {reply:?}");
        let job = reply.map();
        assert_eq!(job["state"].text(), "failed", "{bad:?}: {job:?}");
        let error = job["error"].map();
        let (words, code) = bad.reason();
        assert!(error["message"].text().contains(words), "{bad:?}: {error:?}");
        let found = error.get("sqlstate").filter(|code| !code.is_nil()).map(Reply::text);
        assert_eq!(found.as_deref(), code, "{bad:?}: {error:?}");
    }
}

/// Runs many commands on one connection, a thousand at a time.
fn pipeline<C: AsRef<[String]>>(redis: &Redis, commands: &[C]) -> Vec<Reply> {
    let mut wire = redis.wire();
    let mut replies = Vec::with_capacity(commands.len());
    for part in commands.chunks(1_000) {
        wire.send_bytes(&part.iter().flat_map(|command| packed(command.as_ref())).collect::<Vec<u8>>());
        replies.extend(part.iter().map(|_| wire.receive()));
    }
    replies
}

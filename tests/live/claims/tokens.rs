//! Fencing: the tokens of a space grow with every claim, whatever was lost and however the clock steps.

use crate::support::claims::{ack, claim, claim_one, enqueue, tell};
use crate::support::{Clock, Redis, Reply, Wire};

const CATALOG: &str = r#"
[work]
[work.job.A]
data = { n = "int" }
claim = { lease = "60s", attempts = 9, backoff = "1ms" }
[mail]
open = true
tenant = "text"
"#;

fn start(clock: &Clock) -> Redis {
    let builder = Redis::builder().catalog(CATALOG).append_only().config("appendfsync", "always");
    builder.config("aof-load-truncated", "yes").clock(clock).start()
}

/// The token of a job that comes and goes.
#[track_caller]
fn token(wire: &mut Wire) -> u64 {
    enqueue(wire, r#"work A {"n":1}"#);
    let job = claim_one(wire, "work");
    ack(wire, &job);
    job.token
}

#[test]
fn an_old_token_is_told_what_became_of_the_job() {
    let clock = Clock::new();
    let redis = start(&clock);
    let mut wire = redis.wire();
    let id = enqueue(&mut wire, r#"work A {"n":1}"#);
    let first = claim_one(&mut wire, "work");
    tell(&mut wire, "RELEASE", &first, "");
    let lost = |wire: &mut Wire, words: &str| {
        for command in ["ACK", "EXTEND", "RELEASE"] {
            let text = tell(wire, command, &first, "").error().to_owned();
            assert!(text.starts_with(&format!("LOST token {} does not hold job {id}: ", first.token)), "{text}");
            assert!(text.contains(words), "{text}");
        }
        assert!(tell(wire, "FAIL", &first, "oops").error().starts_with("LOST "));
    };
    lost(&mut wire, "waiting to be claimed");
    let second = claim_one(&mut wire, "work");
    assert!(second.token > first.token);
    lost(&mut wire, &format!("claimed with token {}", second.token));
    tell(&mut wire, "FAIL", &second, "oops BACKOFF 3600000");
    lost(&mut wire, "delayed until");
    wire.run(&format!("ZADD work:queue:work:delayed 1 {id}"));
    let third = claim_one(&mut wire, "work BLOCK 5000");
    ack(&mut wire, &third);
    lost(&mut wire, "completed");
    assert_eq!(wire.run("XLEN work:queue:work"), Reply::Int(0));
}

#[test]
fn tokens_grow_from_job_to_job_and_tenant_to_tenant() {
    let clock = Clock::new();
    let redis = start(&clock);
    let mut wire = redis.wire();
    for n in 0..200 {
        wire.send(&["BEAR.ENQUEUE", "work", "A", &format!(r#"{{"n":{n}}}"#)]);
    }
    (0..200).for_each(|_| assert!(!wire.receive().is_error()));
    let tokens: Vec<u64> = claim(&mut wire, "work COUNT 1000").iter().map(|job| job.token).collect();
    assert_eq!(tokens.len(), 200);
    assert!(tokens.is_sorted_by(|one, other| one < other), "{tokens:?}");
    assert!(tokens.iter().all(|token| *token < 1 << 53), "JSON numbers hold them");
}

#[test]
fn tokens_grow_though_the_clock_steps_back_at_a_restart() {
    let clock = Clock::new();
    let mut redis = start(&clock);
    let mut greatest = 0;
    for shift in [0, -10, -100_000, 50, -3_000] {
        let mut wire = redis.wire();
        for _ in 0..5 {
            let next = token(&mut wire);
            assert!(next > greatest, "{next} after {greatest}, {shift} s");
            greatest = next;
        }
        redis.kill9();
        clock.shift(shift);
        redis.start_again();
    }
}

/// What was written after the first claim is lost, with the tokens that were handed out, and the clock has stepped back.
#[test]
fn tokens_grow_though_the_tail_of_the_file_is_lost() {
    let clock = Clock::new();
    let mut redis = start(&clock);
    let file = || {
        let folder = redis.folder().join("appendonlydir");
        let files = std::fs::read_dir(folder).expect("the folder").flatten().map(|file| file.path());
        files.into_iter().find(|path| path.to_string_lossy().contains(".incr.")).expect("a file")
    };
    let file = file();
    let mut greatest = token(&mut redis.wire());
    for shift in [-86_400, -90_000, 10, -200_000] {
        let kept = std::fs::metadata(&file).expect("the file").len();
        let mut wire = redis.wire();
        for _ in 0..20 {
            greatest = token(&mut wire).max(greatest);
        }
        redis.kill9();
        let opened = std::fs::File::options().write(true).open(&file).expect("the file");
        // In the middle of a command: what is left of it is cut off when it is loaded.
        opened.set_len(kept + 30).expect("it is cut off");
        clock.shift(shift);
        redis.start_again();
        let next = token(&mut redis.wire());
        assert!(next > greatest, "{next} after {greatest}, at {shift} s");
        greatest = next;
    }
}

#[test]
fn tokens_grow_though_all_is_flushed_and_the_clock_steps_back() {
    let clock = Clock::new();
    let redis = start(&clock);
    let mut wire = redis.wire();
    let mut greatest = token(&mut wire);
    for (how, shift) in [("FLUSHALL", 0), ("FLUSHALL ASYNC", -5_000), ("FLUSHDB", -10_000)] {
        enqueue(&mut wire, r#"work A {"n":1}"#);
        let held = claim_one(&mut wire, "work");
        clock.shift(shift);
        assert!(wire.run(how).is_ok());
        assert!(tell(&mut wire, "ACK", &held, "").error().starts_with("LOST "), "{how}");
        let next = token(&mut wire);
        assert!(next > greatest.max(held.token), "{next} after {held:?}: {how}");
        greatest = next;
    }
}

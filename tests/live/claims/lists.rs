//! BEAR.JOBS of a space with SQL jobs and claimed ones: one list of both, from either end, by pages.

use crate::support::bears;
use crate::support::jobs::{enqueue, set_drain};
use crate::support::{eventually, Redis, Reply, Wire};

fn catalog() -> String {
    let claimed = r#"
[bear.job.MAIL]
data = { to = "text" }
claim = { attempts = 1, keep = 1000 }
"#;
    format!("{}{claimed}", include_str!("../../../catalogs/bear.toml"))
}

#[track_caller]
fn ids(wire: &mut Wire, words: &str) -> Vec<String> {
    let reply = wire.run(&format!("BEAR.JOBS bear {words}"));
    reply.list().iter().map(|job| job.map()["id"].text()).collect()
}

/// The SQL jobs have settled.
#[track_caller]
fn wait_ended(wire: &mut Wire, ids: &[String]) {
    let has_ended = |wire: &mut Wire, id: &String| {
        let state = wire.run(&format!("BEAR.JOB bear {id}")).map()["state"].text();
        ["completed", "failed"].contains(&state.as_str())
    };
    eventually("the SQL jobs have settled", || ids.iter().all(|id| has_ended(wire, id)));
}

/// A list in its order is known; every other way to ask for it follows from that.
#[track_caller]
fn assert_listed(wire: &mut Wire, state: &str, expected: &[String]) {
    let newest: Vec<String> = expected.iter().rev().cloned().collect();
    for (words, expected) in [(state.to_owned(), expected), (format!("{state} NEWEST"), &newest)] {
        assert_eq!(ids(wire, &format!("{words} COUNT 1000")), expected, "{words}");
        let mut paged: Vec<String> = Vec::new();
        loop {
            let after = paged.last().map(|id| format!(" AFTER {id}")).unwrap_or_default();
            let page = ids(wire, &format!("{words} COUNT 7{after}"));
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, expected, "{words}: by AFTER");
        let by_offset: Vec<String> =
            (0..expected.len()).step_by(5).flat_map(|n| ids(wire, &format!("{words} OFFSET {n} COUNT 5"))).collect();
        assert_eq!(by_offset, expected, "{words}: by OFFSET");
    }
}

#[test]
fn both_kinds_are_listed_in_one_order() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(catalog()).config("bear.drain", "no").start();
    let mut wire = redis.wire();
    let (mut waiting, mut mails, mut delayed) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..20 {
        waiting.push(enqueue(&mut wire, &format!(r#"bear UPDATE_BEAR_SIZE {{"id":5,"size":{}}}"#, n + 1)));
        let mail = enqueue(&mut wire, &format!(r#"bear MAIL {{"to":"{n}"}}"#));
        waiting.push(mail.clone());
        mails.push(mail);
        let late = if n % 2 == 0 { r#"bear MAIL {"to":"late"}"# } else { r#"bear DELETE_BEAR {"id":404}"# };
        delayed.push(enqueue(&mut wire, &format!("{late} DELAY {}", 900_000 - n)));
    }
    let mut sorted = waiting.clone();
    sorted.sort_by_key(|id| crate::support::jobs::parse_id(id));
    assert_eq!(sorted, waiting, "ids are in one order over both kinds");
    assert_listed(&mut wire, "waiting", &waiting);
    assert_listed(&mut wire, "delayed", &delayed);
    assert_eq!(ids(&mut wire, "waiting JOB MAIL COUNT 100"), mails);
    assert_eq!(ids(&mut wire, "delayed JOB MAIL COUNT 100").len(), 10);
    assert!(ids(&mut wire, "active").is_empty());

    let claimed = wire.run("BEAR.CLAIM bear COUNT 9 WORKER w");
    let claimed: Vec<(String, i64)> =
        claimed.list().iter().map(|job| (job.map()["id"].text(), job.map()["token"].int())).collect();
    let active: Vec<String> = claimed.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(active, mails[..9]);
    assert_listed(&mut wire, "active", &active);
    waiting.retain(|id| !active.contains(id));
    assert_listed(&mut wire, "waiting", &waiting);

    // Some settle, then the SQL jobs, then others.
    let end = |wire: &mut Wire, (id, token): &(String, i64), how: &str| {
        assert!(!wire
            .run(format!("BEAR.{how} bear {id} {token} {}", if how == "FAIL" { "no" } else { "" }).trim_end())
            .is_error());
    };
    for pair in &claimed[..3] {
        end(&mut wire, pair, "ACK");
    }
    let sql: Vec<String> = waiting.iter().filter(|id| !mails.contains(id)).cloned().collect();
    set_drain(&mut wire, "yes");
    wait_ended(&mut wire, &sql);
    for pair in &claimed[3..6] {
        end(&mut wire, pair, "ACK");
    }
    let completed: Vec<String> = active[..3].iter().chain(&sql).chain(&active[3..6]).cloned().collect();
    assert_listed(&mut wire, "completed", &completed);
    end(&mut wire, &claimed[6], "FAIL");
    let bad: Vec<String> =
        (0..8).map(|n| enqueue(&mut wire, &format!(r#"bear DELETE_BEAR {{"id":{}}} ATTEMPTS 1"#, 500 + n))).collect();
    wait_ended(&mut wire, &bad);
    end(&mut wire, &claimed[7], "FAIL");
    let failed: Vec<String> = [&active[6]].into_iter().chain(&bad).chain([&active[7]]).cloned().collect();
    let listed = ids(&mut wire, "failed COUNT 100");
    assert_eq!((listed.first(), listed.last(), listed.len()), (failed.first(), failed.last(), failed.len()));
    assert_listed(&mut wire, "failed", &listed);
    assert_eq!(ids(&mut wire, "failed JOB MAIL"), [active[6].clone(), active[7].clone()]);
    assert_eq!(ids(&mut wire, &format!("failed JOB MAIL AFTER {}", bad[0])), [active[7].clone()]);
    assert_eq!(ids(&mut redis.resp3_wire(), "completed COUNT 100"), completed);
}

#[test]
fn a_replica_lists_the_same() {
    let catalog = "[mail]\nopen = true\n";
    let redis = Redis::builder().catalog(catalog).start();
    let replica = Redis::builder().catalog(catalog).replica_of(&redis).start();
    let mut wire = redis.wire();
    for n in 0..30 {
        let delay = if n % 3 == 0 { " DELAY 600000" } else { "" };
        enqueue(&mut wire, &format!("mail kind-{} {n}{delay}", n % 2));
    }
    for pair in wire.run("BEAR.CLAIM mail COUNT 10").list().iter().map(Reply::map).take(6) {
        let (id, token) = (pair["id"].text(), pair["token"].int());
        let end =
            if token % 2 == 0 { format!("ACK mail {id} {token}") } else { format!("FAIL mail {id} {token} no FINAL") };
        wire.run(&format!("BEAR.{end}"));
    }
    replica.wait_in_sync(&redis);
    let list = |redis: &Redis, words: &str| -> Vec<String> {
        let reply = redis.run(&format!("BEAR.JOBS mail {words}"));
        reply.list().iter().map(|job| job.map()["id"].text()).collect()
    };
    let mut all = 0;
    for state in ["waiting", "active", "delayed", "completed", "failed"] {
        for words in [format!("{state} COUNT 100"), format!("{state} NEWEST OFFSET 1"), format!("{state} JOB kind-1")] {
            assert_eq!(list(&replica, &words), list(&redis, &words), "{words}");
        }
        all += list(&replica, &format!("{state} COUNT 100")).len();
    }
    assert_eq!(all, 30);
}

#[test]
fn a_few_among_many_are_found_at_once() {
    let redis = Redis::builder().catalog("[mail]\nopen = true\n").start();
    let mut wire = redis.wire();
    let first = enqueue(&mut wire, "mail one 1 DELAY 600000");
    let many: Vec<String> = (0..20_000).map(|n| format!("mail many {n}")).collect();
    crate::support::burst(
        &redis,
        many.iter().map(|line| format!("BEAR.ENQUEUE {line}")).collect::<Vec<_>>().as_slice(),
    );
    let last = enqueue(&mut wire, "mail one 1 DELAY 600000");
    // In MULTI a list has its first slice and no more.
    assert!(wire.run("MULTI").is_ok());
    wire.run("BEAR.JOBS mail delayed");
    wire.run("BEAR.JOBS mail active");
    wire.run("BEAR.JOBS mail delayed JOB one NEWEST");
    let replies = wire.run("EXEC");
    let ids = |reply: &Reply| reply.list().iter().map(|job| job.map()["id"].text()).collect::<Vec<_>>();
    assert_eq!(ids(&replies.list()[0]), [first.clone(), last.clone()]);
    assert!(ids(&replies.list()[1]).is_empty());
    assert_eq!(ids(&replies.list()[2]), [last, first]);
}

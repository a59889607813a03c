//! BEAR.SCHEDULE, BEAR.UNSCHEDULE, BEAR.SCHEDULES: their words, what they refuse, what they say.

use super::support::{count, next, schedule, schedules, ticks};
use crate::support::{eventually, Redis, Reply};

const CATALOG: &str = r#"
[mail]
[mail.job.SEND]
data = { to = "text" }
claim = {}
[mail.job.PURGE]
each = ["DELETE FROM mail"]
[[mail.query]]
call = "page {n:int}"
sql = "SELECT n FROM generate_series(1, {n}) n"
rows = false
[mail.schedule.daily]
cron = "0 9 * * mon-fri"
zone = "Europe/Berlin"
job = "SEND"
data = { to = "all" }
[shop]
tenant = "int"
[shop.job.SEND]
claim = {}
"#;

fn start() -> Redis {
    Redis::builder().catalog(CATALOG).start()
}

#[test]
fn a_schedule_is_made_told_and_ended() {
    let redis = start();
    let mut wire = redis.wire();
    let reply = wire.call(&[
        "BEAR.SCHEDULE",
        "mail",
        "weekly",
        "cron",
        "30 8 * * mon",
        "ZONE",
        "europe/berlin",
        "FROM",
        "4102444800000",
        "UNTIL",
        "4133980800000",
        "LIMIT",
        "3",
        "MISSED",
        "ALL",
        "JOB",
        "SEND",
        r#"{ "to": "ann" }"#,
        "PRIORITY",
        "2",
        "ATTEMPTS",
        "4",
        "BACKOFF",
        "5",
    ]);
    assert!(reply.is_ok(), "{reply:?}");
    let told = schedule(&mut wire, "mail", "weekly");
    let text = |name: &str| told[name].text();
    assert_eq!(
        (text("source"), text("cron"), text("zone"), text("missed"), text("job"), text("data")),
        (
            "command".into(),
            "30 8 * * mon".into(),
            "Europe/Berlin".into(),
            "all".into(),
            "SEND".into(),
            r#"{ "to": "ann" }"#.into()
        )
    );
    assert_eq!(
        (told["from"].int(), told["until"].int(), told["limit"].int()),
        (4_102_444_800_000, 4_133_980_800_000, 3)
    );
    // 2100-01-04 is a Monday.
    let weeks: Vec<i64> = (0..3).map(|week| 4_102_731_000_000 + week * 604_800_000).collect();
    assert_eq!(next(&mut wire, "mail", "weekly"), weeks);
    for nothing in ["every", "query", "last", "last_outcome"] {
        assert!(told[nothing].is_nil(), "{nothing}: {:?}", told[nothing]);
    }
    let names: Vec<String> = schedules(&mut wire, "mail").iter().map(|one| one["name"].text()).collect();
    assert_eq!(names, ["daily", "weekly"]);
    let daily = schedule(&mut wire, "mail", "daily");
    assert_eq!((daily["source"].text(), daily["data"].text()), ("catalog".into(), r#"{"to":"all"}"#.into()));
    assert_eq!(wire.run("BEAR.UNSCHEDULE mail weekly"), Reply::Int(1));
    assert_eq!(wire.run("BEAR.UNSCHEDULE mail weekly"), Reply::Int(0));
    assert_eq!(wire.run("EXISTS mail:queue:schedules"), Reply::Int(0));
    assert_eq!(wire.run("HKEYS mail:queue:schedules:state").sorted_texts(), ["daily"]);
}

#[test]
fn one_of_the_same_name_is_replaced_and_goes_on_where_its_rule_is_the_same() {
    let redis = start();
    let mut wire = redis.wire();
    let make = |wire: &mut crate::support::Wire, words: &str| {
        let reply = wire.run(&format!(r#"BEAR.SCHEDULE mail fast {words} JOB SEND {{"to":"x"}}"#));
        assert!(reply.is_ok(), "{words}: {reply:?}");
    };
    make(&mut wire, "EVERY 100 LIMIT 2");
    eventually("two ticks", || count(&mut wire, "mail", "fast") == 2);
    let before = schedule(&mut wire, "mail", "fast");
    assert!(before["next"].list().is_empty(), "LIMIT is reached");
    make(&mut wire, "EVERY 100 LIMIT 2 MISSED none");
    let same = schedule(&mut wire, "mail", "fast");
    assert_eq!(
        (&same["last"], &same["count"], &same["last_outcome"]),
        (&before["last"], &before["count"], &before["last_outcome"])
    );
    make(&mut wire, "EVERY 100 LIMIT 3");
    eventually("one more", || count(&mut wire, "mail", "fast") == 3);
    make(&mut wire, "EVERY 3600000");
    let anew = schedule(&mut wire, "mail", "fast");
    assert_eq!((anew["count"].int(), anew["last"].is_nil()), (0, true));
    assert_eq!(ticks(&mut wire, "mail", "fast").len(), 3);
}

#[test]
fn wrong_words_change_nothing() {
    let redis = start();
    let mut wire = redis.wire();
    let job = r#"JOB SEND {"to":"x"}"#;
    for (words, reason) in [
        ("mail", "wrong number of arguments"),
        ("mail x EVERY 1000 JOB SEND", "ERR the payload of a schedule is missing"),
        ("post x EVERY 1000 <job>", "ERR no section is called 'post'"),
        ("mail -x EVERY 1000 <job>", "ERR a schedule's name is 1 to 128 letters"),
        ("mail daily EVERY 1000 <job>", "ERR 'daily' is a schedule of the catalog"),
        ("mail x <job> ZONE UTC", "ERR the rule is missing"),
        ("mail x EVERY 1000 CRON @daily <job>", "ERR CRON and EVERY exclude each other"),
        ("mail x EVERY 99 <job>", "ERR EVERY must be a number from 100"),
        ("mail x EVERY 1000 ZONE UTC <job>", "ERR ZONE is for CRON"),
        ("mail x CRON @never <job>", "ERR '@never' is no cron expression: five fields"),
        ("mail x CRON @daily ZONE Mars/Base <job>", "ERR no time zone is called 'Mars/Base'"),
        ("mail x EVERY 1000 FROM 5 <job>", "ERR FROM is a Unix time in milliseconds"),
        ("mail x EVERY 1000 UNTIL 1700000000 <job>", "ERR UNTIL is a Unix time in milliseconds"),
        ("mail x EVERY 1000 UNTIL 1700000000000 <job>", "ERR there is no tick from now on up to UNTIL"),
        ("mail x EVERY 1000 FROM 1800000000000 UNTIL 1700000000000 <job>", "ERR there is no tick up to UNTIL"),
        ("mail x EVERY 1000 LIMIT 0 <job>", "ERR LIMIT must be a number from 1"),
        ("mail x EVERY 1000 LIMIT 1 LIMIT 2 <job>", "ERR LIMIT"),
        ("mail x EVERY 1000 MISSED two <job>", "ERR MISSED is none, one or all, got 'two'"),
        ("mail x EVERY 1000 LATER 5 <job>", "ERR 'LATER' is no option; there are CRON"),
        ("mail x EVERY 1000 MISSED one", "ERR what is to be done is missing"),
        ("mail x EVERY 1000 MISSED one LIMIT 5", "ERR what is to be done is missing"),
        ("mail x EVERY 1000 JOB SEND {}", "ERR field 'to' is missing"),
        ("mail x EVERY 1000 JOB SEND nonsense", "ERR the payload"),
        ("mail x EVERY 1000 JOB OTHER {}", "ERR section 'mail' has no job 'OTHER'; it has PURGE, SEND"),
        ("mail x EVERY 1000 JOB PURGE {} PRIORITY 1", "ERR priority is for jobs that workers claim"),
        ("mail x EVERY 1000 <job> QUERY page 1", "ERR JOB and QUERY exclude each other"),
        ("mail x EVERY 1000 ATTEMPTS 5 QUERY page 1", "ERR PRIORITY, ATTEMPTS and BACKOFF are of a job"),
        ("mail x EVERY 1000 MISSED all QUERY page 1", "ERR missed = all is for jobs"),
        ("mail x EVERY 1000 QUERY page one", "ERR"),
        ("mail x EVERY 1000 QUERY pages 1", "ERR"),
        ("shop x EVERY 1000 JOB SEND {}", "ERR 'shop' is kept per tenant"),
    ] {
        let reply = wire.run(&format!("BEAR.SCHEDULE {}", words.replace("<job>", job)));
        assert!(reply.error().contains(reason), "{words}: {reply:?}");
    }
    let never = wire.call(&["BEAR.SCHEDULE", "mail", "x", "CRON", "0 0 30 2 *", "JOB", "SEND", r#"{"to":"x"}"#]);
    assert!(never.error().contains("ERR '0 0 30 2 *' never ticks"), "{never:?}");
    let large = format!(r#"{{"to":"{}"}}"#, "x".repeat(70_000));
    let large = wire.call(&["BEAR.SCHEDULE", "mail", "x", "EVERY", "1000", "JOB", "SEND", &large]);
    assert!(large.error().starts_with("TOOLARGE"), "{large:?}");
    let bytes = wire.call(&[&b"BEAR.SCHEDULE"[..], b"mail", b"x", b"EVERY", b"1000", b"JOB", b"SEND", b"\xff"]);
    assert!(bytes.error().contains("ERR a payload is UTF-8"), "{bytes:?}");
    assert!(wire.run("BEAR.UNSCHEDULE mail daily").error().contains("is a schedule of the catalog"));
    assert!(wire.run("BEAR.UNSCHEDULE mail -x").error().contains("a schedule's name"));
    assert!(wire.run("BEAR.SCHEDULES mail x").error().contains("wrong number of arguments"));
    assert_eq!(schedules(&mut wire, "mail").len(), 1);
    assert_eq!(wire.run("EXISTS mail:queue:schedules"), Reply::Int(0));
}

#[test]
fn keys_of_another_type_are_left_alone() {
    let redis = start();
    let mut wire = redis.wire();
    assert!(wire.run("SET mail:queue:schedules x").is_ok());
    for command in
        [r#"BEAR.SCHEDULE mail x EVERY 1000 JOB SEND {"to":"x"}"#, "BEAR.UNSCHEDULE mail x", "BEAR.SCHEDULES mail"]
    {
        assert!(wire.run(command).error().starts_with("WRONGTYPE mail:queue:schedules holds a string"), "{command}");
    }
    assert_eq!(wire.run("DEL mail:queue:schedules"), Reply::Int(1));
    assert!(wire.run(r#"BEAR.SCHEDULE mail x EVERY 1000 JOB SEND {"to":"x"}"#).is_ok());
    wire.run("HSET mail:queue:schedules y nonsense");
    let told = schedule(&mut wire, "mail", "y");
    assert!(told["last_outcome"].text().starts_with("ERR it cannot be read"), "{told:?}");
    assert_eq!(wire.run("BEAR.UNSCHEDULE mail y"), Reply::Int(1));
}

#[test]
fn commands_run_in_a_transaction_and_a_script() {
    let redis = start();
    let mut wire = redis.wire();
    assert!(wire.run("MULTI").is_ok());
    wire.run(r#"BEAR.SCHEDULE mail x EVERY 3600000 JOB SEND {"to":"x"}"#);
    wire.run("BEAR.SCHEDULES mail");
    wire.run("BEAR.UNSCHEDULE mail x");
    let replies = wire.run("EXEC");
    let replies = replies.list();
    assert!(replies[0].is_ok() && !replies[1].list().is_empty() && replies[2] == Reply::Int(1), "{replies:?}");
    let script =
        "return redis.call('BEAR.SCHEDULE', KEYS[1], 'y', 'EVERY', '3600000', 'JOB', 'SEND', '{\"to\":\"y\"}')";
    assert!(wire.call(&["EVAL", script, "1", "mail"]).is_ok());
    assert_eq!(schedules(&mut wire, "mail").len(), 2);
}

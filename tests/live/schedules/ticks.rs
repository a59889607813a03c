//! What a tick does: one unit, a job as any other.

use super::support::{count, schedule, schedules, ticks};
use crate::support::claims::{ack, claim_one};
use crate::support::{bears, eventually, Redis};

const CATALOG: &str = r#"
[mail]
[mail.job.SEND]
data = { to = "text" }
claim = {}
[mail.schedule.often]
every = "100ms"
job = "SEND"
data = { to = "all" }
[shop]
tenant = "int"
[shop.job.SEND]
claim = {}
"#;

fn builder() -> crate::support::server::Builder {
    Redis::builder().catalog(CATALOG).append_only().config("appendfsync", "always")
}

#[test]
fn a_tick_is_one_unit_and_its_job_is_claimed() {
    let redis = builder().start();
    let mut wire = redis.wire();
    let words = r#"BEAR.SCHEDULE {7}:shop x EVERY 1000 LIMIT 1 JOB SEND {} PRIORITY 1 ATTEMPTS 7"#;
    assert!(wire.run(words).is_ok());
    let job = claim_one(&mut wire, "{7}:shop BLOCK 5000");
    assert_eq!(job.data, "{}");
    eventually("the state is written", || count(&mut wire, "{7}:shop", "x") == 1);
    let told = schedule(&mut wire, "{7}:shop", "x");
    assert_eq!(told["last_outcome"].text(), job.id);
    let tick = told["last"].int();
    assert!(tick % 1000 == 0 && told["next"].list().is_empty(), "{told:?}");
    let units = redis.aof();
    let of_job = |unit: &&crate::support::Unit| {
        unit.iter().any(|command| command.text(1) == "{7}:shop:queue:work" && command.name() == "XADD")
    };
    let unit = units.iter().find(of_job).expect("the job's unit");
    let keys: Vec<String> = unit.iter().map(|command| format!("{} {}", command.name(), command.text(1))).collect();
    for expected in [
        "XADD {7}:shop:queue:work",
        "ZADD {7}:shop:queue:unique",
        "HSET {7}:shop:queue:unique:jobs",
        "HSET {7}:shop:queue:schedules:state",
    ] {
        assert!(keys.iter().any(|key| key == expected), "{expected} in {keys:?}");
    }
    assert_eq!(ticks(&mut wire, "{7}:shop", "x"), [tick as u64]);
    let described = wire.run(&format!("BEAR.JOB {{7}}:shop {}", job.id)).map();
    assert_eq!((described["max_attempts"].int(), described["priority"].int()), (7, 1));
    ack(&mut wire, &job);
    assert!(wire.run("BEAR.SCHEDULES {8}:shop").list().is_empty());
}

#[test]
fn schedules_of_the_catalog_tick_by_themselves() {
    let redis = builder().start();
    let mut wire = redis.wire();
    let first = claim_one(&mut wire, "mail BLOCK 5000");
    assert_eq!(first.data, r#"{"to":"all"}"#);
    let second = claim_one(&mut wire, "mail BLOCK 5000");
    assert_ne!(first.id, second.id);
    let told = &schedules(&mut wire, "mail")[0];
    assert_eq!((told["every"].int(), told["source"].text()), (100, "catalog".into()));
    let figures = redis.info("bear");
    assert!(figures.int("bear_schedules") == 1 && figures.int("bear_schedule_ticks") >= 2);
}

#[test]
fn a_tick_of_an_sql_job_is_applied() {
    let database = bears::database();
    let catalog = include_str!("../../../catalogs/bear.toml");
    let schedule = "\n[bear.schedule.grow]\nevery = \"100ms\"\njob = \"UPDATE_BEAR_SIZE\"\ndata = { id = 1, size = 777 }\nattempts = 5\nbackoff = \"1s\"\n";
    let redis = Redis::builder().postgres(&database).catalog(format!("{catalog}{schedule}")).start();
    let mut wire = redis.wire();
    eventually("the bear has grown", || {
        let row = database.client().query_one("SELECT size FROM bear WHERE id = 1", &[]);
        row.is_ok_and(|row| row.get::<_, i64>(0) == 777)
    });
    let outcome = schedule_outcome(&mut wire);
    let job = crate::support::jobs::wait_state(&mut wire, "bear", &outcome, "completed");
    assert_eq!(job["job"].text(), "UPDATE_BEAR_SIZE");
}

fn schedule_outcome(wire: &mut crate::support::Wire) -> String {
    schedule(wire, "bear", "grow")["last_outcome"].text()
}

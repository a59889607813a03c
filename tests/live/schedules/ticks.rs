//! A tick is carried out once, in one unit, whatever happens to the server around it.

use super::support::{schedule, ticks};
use crate::support::claims::{ack, claim_one};
use crate::support::Redis;

const CATALOG: &str = r#"
[mail]
[mail.job.SEND]
data = { to = "text" }
claim = {}
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
    assert!(wire.run(r#"BEAR.SCHEDULE mail x EVERY 1000 LIMIT 1 JOB SEND {"to":"ann"} PRIORITY 1 ATTEMPTS 7"#).is_ok());
    let from = redis.aof().len();
    let job = claim_one(&mut wire, "mail BLOCK 5000");
    assert_eq!(job.data, r#"{"to":"ann"}"#);
    let told = schedule(&mut wire, "mail", "x");
    assert_eq!((told["last_outcome"].text(), told["count"].int()), (job.id.clone(), 1));
    let tick = told["last"].int();
    assert!(tick % 1000 == 0 && told["next"].list().is_empty(), "{told:?}");
    let units = redis.aof();
    let unit =
        units[from..].iter().find(|unit| unit.iter().any(|command| command.name() == "XADD")).expect("the job's unit");
    let keys: Vec<String> = unit.iter().map(|command| format!("{} {}", command.name(), command.text(1))).collect();
    for expected in [
        "XADD mail:queue:work",
        "ZADD mail:queue:unique",
        "HSET mail:queue:unique:jobs",
        "HSET mail:queue:schedules:state",
    ] {
        assert!(keys.iter().any(|key| key == expected), "{expected} in {keys:?}");
    }
    assert_eq!(ticks(&mut wire, "mail", "x"), [tick as u64]);
    let described = wire.run(&format!("BEAR.JOB mail {}", job.id)).map();
    assert_eq!(described["attempts"].int(), 0, "{described:?}");
    ack(&mut wire, &job);
}

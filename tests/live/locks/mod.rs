//! Locks and limits: who holds one, for how long, who is next; and how often something may be done.

mod clock;
mod keys;
mod limits;
mod restart;
mod units;
mod waiting;
mod words;

use crate::support::Redis;

const CATALOG: &str = r#"
[api]
[api.limit.search]
burst = 4
rate = "5/s"
[shop]
tenant = "text"
[mail]
open = true
[mail.limit]
concurrency = 1
[mail.limit.send]
burst = 0
rate = "1/h"
"#;

fn start() -> Redis {
    Redis::builder().catalog(CATALOG).start()
}

fn append_only() -> Redis {
    Redis::builder().catalog(CATALOG).append_only().config("appendfsync", "always").start()
}

/// A master and its replica, which is in sync.
fn pair() -> (Redis, Redis) {
    let (master, replica) = (append_only(), append_only());
    assert!(replica.run(&format!("REPLICAOF 127.0.0.1 {}", master.port())).is_ok());
    replica.wait_in_sync(&master);
    (master, replica)
}

//! Values, which the application computes: who computes, who waits, what is stored, and what drops it.

mod drops;
mod guide;
mod leases;
mod many;
mod puts;
mod roles;
mod words;

use crate::support::{Redis, Reply, Wire};

/// Sections with values: `page` has no rows of its own, `bear` has.
const CATALOG: &str = r#"
[page]
[[page.value]]
call = "shelf {category:int} [lang {lang:text}]"
tags = ["shelf:{category}"]
on = { bear = "size = {category}" }
[[page.value]]
call = "soon {n:int}"
ttl = "300ms"
stale = "1h"
lease = "20s"
[[page.value]]
call = "blob {n:int}"
type = "bytes"
[bear]
id = "int"
row = "SELECT id, size FROM bear WHERE id = ANY({ids})"
[[bear.value]]
call = "one {id:int}"
match = "id = {id}"
[[bear.value]]
call = "summary"
[[bear.query]]
call = "all"
sql = "SELECT id FROM bear"
[shop]
tenant = "int"
id = "int"
[[shop.value]]
call = "front"
tags = ["of:{tenant}"]
"#;

fn start() -> Redis {
    Redis::builder().catalog(CATALOG).start()
}

/// The value and the token that BEAR.GET gives.
#[track_caller]
fn parts(reply: Reply) -> (Option<String>, Option<String>) {
    let texts: Vec<Option<String>> =
        reply.list().iter().map(|part| if part.is_nil() { None } else { Some(part.text()) }).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    (texts[0].clone(), texts[1].clone())
}

#[track_caller]
fn get(wire: &mut Wire, words: &str) -> (Option<String>, Option<String>) {
    parts(wire.run(&format!("BEAR.GET {words}")))
}

/// The token of a lease on a call that nobody computes.
#[track_caller]
fn lease(wire: &mut Wire, words: &str) -> String {
    match get(wire, words) {
        (None, Some(token)) => token,
        other => panic!("no lease, but {other:?}"),
    }
}

/// A hit, and nobody is to compute.
#[track_caller]
fn assert_hit(wire: &mut Wire, words: &str, value: &str) {
    assert_eq!(get(wire, words), (Some(value.into()), None), "{words}");
}

fn figure(redis: &Redis, name: &str) -> i64 {
    redis.info("bear").int(&format!("bear_{name}"))
}

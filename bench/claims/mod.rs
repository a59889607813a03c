//! Jobs that workers claim: how many are claimed and acknowledged a second, beside BullMQ; what enqueueing and waking costs; a
//! million that wait; and whether any of it holds Redis' thread.

mod connection;
mod enqueueing;
mod holding;
mod rates;
mod waiting;
mod waking;

pub use enqueueing::run as run_enqueueing;
pub use holding::run as run_holding;
pub use rates::run as run_rates;
pub use waiting::run as run_waiting;
pub use waking::run as run_waking;

use crate::queue::SETTINGS;
use crate::support::wire::packed;
use crate::support::{Redis, Reply, Wire};

/// Sections whose jobs are forgotten once they are done, kept as by default, of many tenants, and as an SQL job is.
const CATALOG: &str = r#"
[bare.job.RUN]
data = { to = "text", subject = "text", template = "text", campaign = "int", locale = "text" }
claim = { keep = 0 }
[kept.job.RUN]
data = { to = "text", subject = "text", template = "text", campaign = "int", locale = "text" }
claim = {}
[many]
tenant = "text"
[many.job.RUN]
data = { to = "text", subject = "text", template = "text", campaign = "int", locale = "text" }
claim = { keep = 0 }
[same.job.UPDATE_BEAR_NAME]
data = { id = "int", name = "text" }
claim = { keep = 0 }
"#;

/// 120 bytes.
const PAYLOAD: &str = r#"{"to":"someone@example.org","subject":"Welcome to the bears","template":"welcome","campaign":471199001,"locale":"en-GB"}"#;

/// Commands sent before their replies are read.
const PIPELINE: usize = 500;

/// A Redis without a Postgres, for these jobs need none; AOF everysec.
fn redis() -> Redis {
    let builder = Redis::builder().catalog(CATALOG).append_only().config("appendfsync", "everysec");
    SETTINGS.iter().fold(builder, |builder, (name, value)| builder.config(name, value)).start()
}

/// The stream of a space's jobs.
fn stream(space: &str) -> String {
    format!("{space}:queue:work")
}

/// Makes so many calls, some hundred before their replies are read, none of which may be an error.
fn pipelined(wire: &mut Wire, count: usize, mut call: impl FnMut(usize) -> Vec<String>) {
    for begin in (0..count).step_by(PIPELINE) {
        let end = (begin + PIPELINE).min(count);
        let bytes: Vec<u8> = (begin..end).flat_map(|at| packed(&call(at))).collect();
        wire.send_bytes(&bytes);
        for _ in begin..end {
            let reply = wire.receive();
            assert!(!reply.is_error(), "{reply:?}");
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Adds so many jobs of the default priority.
fn enqueue(redis: &Redis, space: &str, count: usize) {
    pipelined(&mut redis.wire(), count, |_| words(&["BEAR.ENQUEUE", space, "RUN", PAYLOAD]));
}

/// The id and the token of each job in a reply of BEAR.CLAIM.
fn claimed(reply: &Reply) -> Vec<(String, String)> {
    let pair = |job: &Reply| {
        let job = job.map();
        (job["id"].text(), job["token"].int().to_string())
    };
    reply.list().iter().map(pair).collect()
}

fn ack(space: &str, pairs: &[(String, String)]) -> Vec<String> {
    let pairs = pairs.iter().flat_map(|(id, token)| [id.clone(), token.clone()]);
    ["BEAR.ACK".to_owned(), space.to_owned()].into_iter().chain(pairs).collect()
}

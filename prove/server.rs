//! The Redis of a pass: the module with the catalog, in front of the copy, and what it says of its queries.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::support::wait::wait_at_most;
use crate::support::{Proxy, Redis, Reply};

use super::catalog::Catalog;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feed {
    Wal,
    Outbox,
    /// Nobody tells of changes but jobs, so that there are no others.
    Off,
}

impl Feed {
    pub fn name(self) -> &'static str {
        match self {
            Feed::Wal => "wal",
            Feed::Outbox => "outbox",
            Feed::Off => "off",
        }
    }
}

/// What BEAR.CATALOG says of a query.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    pub proof: String,
    pub reasons: Vec<String>,
}

/// So long Postgres may take to see a catalog, beside what it may take for the statements of it.
const CHECK_PATIENCE: Duration = Duration::from_secs(120);

/// Whether it is there is looked at so often.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Queries of a catalog that Postgres may be asked about forty times a second: the feed looks at what they name that often.
const FEW: usize = 60;

/// What connections have sent that tell of changes: these are in time, whatever fetches are.
const TELLS: [&str; 2] = ["START_REPLICATION", "bear.outbox"];

/// What stands between the module and the Postgres of this URL, and the URL through it.
pub fn proxy(url: &str) -> Result<(Proxy, String), String> {
    let config: postgres::Config = url.parse().map_err(|error: postgres::Error| error.to_string())?;
    let port = *config.get_ports().first().ok_or("a URL of a copy names its port")?;
    let proxy = Proxy::sparing(port, &TELLS);
    let through = url.replacen(&format!(":{port}/"), &format!(":{}/", proxy.port()), 1);
    Ok((proxy, through))
}

/// So long Postgres may take to see all statements of a catalog.
pub fn patience(catalog: &Catalog) -> Duration {
    const STATEMENT: Duration = Duration::from_millis(200);
    STATEMENT * (catalog.queries.len() + catalog.jobs.len()) as u32
}

/// The error is what the module says of the catalog. `is_there`: the Postgres that it asks; `mutation`: a fault to put into the module.
pub fn start(
    url: &str,
    is_there: impl Fn() -> bool,
    text: &str,
    catalog: &Catalog,
    feed: Feed,
    mutation: Option<&str>,
) -> Result<Redis, Vec<String>> {
    let redis = Redis::builder().env("BEAR_POSTGRES_URL", url).catalog(text).config("bear.feed", feed.name());
    let redis = mutation.into_iter().fold(redis, |redis, name| redis.env("BEAR_MUTATION", name));
    // The feed says four times in it, and every 250 ms at least, what it has told; nothing is withheld meanwhile, for that is waited for.
    let grace = if catalog.queries.len() <= FEW { "100" } else { "1000" };
    let redis = redis.configs(&[("bear.feed-grace-ms", grace), ("bear.feed-behind", "serve")]);
    let redis = redis.try_start().map_err(|log| refusal(&log))?;
    let is_checked = || redis.run("BEAR.CATALOG").map()["checked"].text() == "yes";
    let patience = CHECK_PATIENCE + patience(catalog);
    let mut asked = Instant::now();
    let mut has_ended = || {
        let is_due = asked.elapsed() > BETWEEN_LOOKS;
        if is_due {
            asked = Instant::now();
        }
        is_due && !is_there()
    };
    match wait_at_most(patience, || if is_checked() { Some(true) } else { has_ended().then_some(false) }) {
        Some(true) => {}
        Some(false) => return Err(vec!["the Postgres of the copy has ended".to_owned()]),
        None => return Err(vec![format!("Postgres has not seen the catalog within {} s", patience.as_secs())]),
    }
    match texts(&redis.run("BEAR.CATALOG").map()["errors"]) {
        errors if errors.is_empty() => Ok(redis),
        errors => Err(errors),
    }
}

/// Why a server that has ended has not loaded the module.
fn refusal(log: &str) -> Vec<String> {
    let own =
        log.lines().filter_map(|line| line.split_once("<bear> ")).map(|(_, text)| text.to_owned()).collect::<Vec<_>>();
    match own.is_empty() {
        true if log.trim().is_empty() => vec!["the Redis of the trial has ended, and said nothing".to_owned()],
        true => log.lines().rev().take(5).map(str::to_owned).collect(),
        false => own,
    }
}

pub fn texts(reply: &Reply) -> Vec<String> {
    reply.list().iter().map(Reply::text).collect()
}

pub fn standings(redis: &Redis, catalog: &Catalog) -> Vec<Standing> {
    let mut known: BTreeMap<(String, String), Standing> = BTreeMap::new();
    let sections: BTreeSet<&String> = catalog.queries.iter().map(|query| &query.section).collect();
    for section in sections {
        let reply = redis.wire().call(&["BEAR.CATALOG", section]);
        for query in reply.map()["queries"].list() {
            let query = query.map();
            let proof = match &query["proof"] {
                Reply::Nil => String::new(),
                proof => proof.text(),
            };
            let standing = Standing { proof, reasons: texts(&query["reasons"]) };
            known.insert((section.clone(), query["call"].text()), standing);
        }
    }
    let of = |query: &super::catalog::Query| {
        known.get(&(query.section.clone(), query.call.clone())).cloned().unwrap_or_default()
    };
    catalog.queries.iter().map(of).collect()
}

/// Sections and names of jobs that fire triggers of which nobody tells what they change, as BEAR.CATALOG says where there is no feed.
pub fn untold_jobs(redis: &Redis, catalog: &Catalog) -> BTreeSet<(String, String)> {
    let sections: BTreeSet<&String> = catalog.jobs.iter().map(|job| &job.section).collect();
    let mut untold = BTreeSet::new();
    for section in sections {
        let reply = redis.wire().call(&["BEAR.CATALOG", section]);
        for job in reply.map()["jobs"].list() {
            let job = job.map();
            if texts(&job["hints"]).iter().any(|hint| hint.contains("told by nobody")) {
                untold.insert((section.clone(), job["job"].text()));
            }
        }
    }
    untold
}

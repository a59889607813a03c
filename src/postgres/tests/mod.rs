//! What tests of this layer and of those above it share: a private Postgres, pools, fetches and batches. The tests are in the
//! rooms.

pub(crate) mod batches;
mod histories;
#[path = "../../../tests/support/proxy.rs"]
#[allow(dead_code, reason = "the live tests use the rest of it")]
pub(crate) mod proxy;
#[path = "../../../tests/support/random.rs"]
#[allow(dead_code, reason = "the live tests use the rest of it")]
mod random;
pub(crate) mod server;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::core::cache::fetch::{FetchError, FetchRequest, Fetched};
use crate::core::catalog::fetch_plan::FetchPlan;
use crate::core::values::value::{ArgType, ScalarType};

use super::{Pool, PoolEvent, Scheduler, Tracker};
use server::Server;

pub(crate) const fn scalar(scalar: ScalarType) -> ArgType {
    ArgType { scalar, array: false }
}

/// A plan over all that the tests' sections are named.
pub(crate) fn plan(sql: &str, params: &[ArgType]) -> FetchPlan {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    FetchPlan {
        id: NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
        section: "bear".into(),
        sql: sql.to_owned(),
        params: params.to_vec(),
        single: false,
        row_id: None,
        sections: ["bear".into(), "color".into()].into(),
        tag_columns: vec![],
        lists: vec![],
        compared: vec![],
        last: vec![],
    }
}

pub(crate) fn request(plan: &Arc<FetchPlan>, params: &[Option<&str>]) -> FetchRequest {
    FetchRequest {
        ticket: 1,
        plan: plan.clone(),
        params: params.iter().map(|param| param.map(str::to_owned)).collect(),
        deadline: Instant::now() + Duration::from_secs(20),
        max_result_bytes: 1 << 20,
        compress_from: None,
        membership: None,
    }
}

/// A pool and what it reported.
pub(crate) struct Tried {
    pub(crate) pool: Pool,
    events: Arc<Mutex<Vec<PoolEvent>>>,
}

impl Tried {
    pub(crate) fn new(server: &Server, change: impl FnOnce(&mut super::Settings)) -> Self {
        let mut settings = super::Settings::new(server.url(), super::UrlSource::Config);
        settings.query_timeout_ms = 20_000;
        change(&mut settings);
        let events = Arc::new(Mutex::new(Vec::new()));
        let log = events.clone();
        let tracker = Tracker::new(move |event| log.lock().unwrap().push(event));
        Tried { pool: Pool::new(settings, 3, tracker, &Scheduler::start().unwrap()), events }
    }

    pub(crate) fn fetch(&self, plan: FetchPlan, params: &[Option<&str>]) -> Result<Fetched, FetchError> {
        self.pool.fetch(&request(&Arc::new(plan), params)).1
    }

    pub(crate) fn json(&self, sql: &str) -> String {
        String::from_utf8(self.fetch(plan(sql, &[]), &[]).unwrap().json).unwrap()
    }

    pub(crate) fn events(&self) -> Vec<PoolEvent> {
        self.events.lock().unwrap().clone()
    }
}

/// Waits for a condition; panics when it does not come true.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
    started.elapsed()
}

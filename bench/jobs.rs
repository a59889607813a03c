//! The jobs of the write path's measurements: the same ones each time.

use std::collections::BTreeMap;

use crate::setup::FIRST_ID;

pub const COLORS: [&str; 8] = ["black", "brown", "white", "grey", "cinnamon", "golden", "blue", "cream"];

#[derive(Debug, Clone)]
pub struct Job {
    pub name: &'static str,
    /// The payload, compact JSON.
    pub data: String,
    /// The bear that it is about; None of a new one.
    pub bear: Option<usize>,
}

/// `count` jobs: a fifth creates bears, 30 % rename, a quarter resizes, a fifth recolours, one in twenty deletes. Those
/// that change do so to any of `bears` bears; deleted are others, those that follow: all jobs succeed, in any order.
pub fn mixed(count: usize, bears: usize) -> Vec<Job> {
    let mut random = Random(7);
    let mut deleted = 0;
    let mut job = |at: usize| {
        let bear = random.below(bears);
        let id = FIRST_ID + bear;
        let colors = |from: usize| format!(r#"["{}","{}"]"#, COLORS[from % 8], COLORS[(from + 3) % 8]);
        match random.below(20) {
            0..=3 => Job {
                name: "CREATE_BEAR",
                data: format!(r#"{{"name":"New bear {at}","size":{},"colors":{}}}"#, 100 + at, colors(at)),
                bear: None,
            },
            4..=9 => rename(bear, at),
            10..=14 => Job {
                name: "UPDATE_BEAR_SIZE",
                data: format!(r#"{{"id":{id},"size":{}}}"#, 100 + at),
                bear: Some(bear),
            },
            15..=18 => Job {
                name: "UPDATE_BEAR_COLORS",
                data: format!(r#"{{"id":{id},"colors":{}}}"#, colors(at)),
                bear: Some(bear),
            },
            _ => {
                deleted += 1;
                let bear = bears + deleted - 1;
                Job { name: "DELETE_BEAR", data: format!(r#"{{"id":{}}}"#, FIRST_ID + bear), bear: Some(bear) }
            }
        }
    };
    (0..count).map(&mut job).collect()
}

/// Renames this bear.
pub fn rename(bear: usize, at: usize) -> Job {
    Job {
        name: "UPDATE_BEAR_NAME",
        data: format!(r#"{{"id":{},"name":"Kodiak {at}"}}"#, FIRST_ID + bear),
        bear: Some(bear),
    }
}

/// Bears that there must be at least for these jobs.
pub fn bears_for(jobs: &[Job]) -> usize {
    jobs.iter().filter_map(|job| job.bear).max().map_or(0, |last| last + 1)
}

/// By how much the jobs change the number of bears.
pub fn growth(jobs: &[Job]) -> i64 {
    let of = |name: &str| jobs.iter().filter(|job| job.name == name).count() as i64;
    of("CREATE_BEAR") - of("DELETE_BEAR")
}

/// Statements of the catalog's bear jobs, for `jsonb` as their one parameter.
pub fn statements(catalog: &str) -> BTreeMap<String, String> {
    let catalog: toml::Table = catalog.parse().expect("the catalog");
    let jobs = catalog["bear"]["job"].as_table().expect("jobs");
    let statement = |job: &toml::Value| {
        let fields = job["data"].as_table().expect("fields");
        let columns: String =
            fields.iter().map(|(name, ty)| format!(", \"{name}\" {}", column(ty.as_str().expect("a type")))).collect();
        let relation = format!("(SELECT * FROM jsonb_to_recordset($1) AS r(n int8, data jsonb{columns}))");
        job["sql"].as_str().expect("a statement").replace("{jobs}", &relation)
    };
    jobs.iter().map(|(name, job)| (name.clone(), statement(job))).collect()
}

fn column(ty: &str) -> &str {
    match ty.trim_end_matches('?') {
        "int" => "int8",
        other => other,
    }
}

/// A linear congruential generator: enough to spread jobs.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

//! The generator of load: redis-benchmark, the same for both sides of a comparison.

use std::process::Command;

use crate::support::Redis;

/// Connections of redis-benchmark.
pub const CLIENTS: usize = 50;

/// What one run of redis-benchmark came to.
pub struct Run {
    pub per_second: f64,
    /// Of a command, its time in the generator's own queue left out.
    pub p99_ms: f64,
    /// The server's processor time a command, in microseconds; NaN where the server does not tell.
    pub cpu_us: f64,
}

/// Sends `requests` times `command`; `__rand_int__` in it becomes a number of twelve digits below 100,000.
pub fn benchmark(redis: &Redis, pipeline: usize, requests: usize, command: &[String]) -> Run {
    let before = cpu_seconds(redis);
    let output = Command::new("timeout")
        .args(["60", "redis-benchmark", "--csv", "-p", &redis.port().to_string(), "-c", &CLIENTS.to_string()])
        .args(["-P", &pipeline.to_string(), "-n", &requests.to_string(), "-r", "100000"])
        .args(command)
        .output()
        .expect("redis-benchmark runs");
    let cpu = cpu_seconds(redis) - before;
    let text = String::from_utf8_lossy(&output.stdout);
    // "test","rps",… and then "GET bear:…","123456.78",…, where quotes of the command stay as they are.
    let figure = |from_behind: usize| text.lines().last()?.rsplit("\",\"").nth(from_behind)?.parse::<f64>().ok();
    let per_second = figure(FIGURES - 1);
    let Some(per_second) = per_second.filter(|_| output.status.success()) else {
        panic!("redis-benchmark: {text}{}", String::from_utf8_lossy(&output.stderr));
    };
    Run { per_second, p99_ms: figure(BEHIND_P99).unwrap_or(f64::NAN), cpu_us: cpu * 1e6 / requests as f64 }
}

/// Figures of a line behind the command: the rate and six latencies.
const FIGURES: usize = 7;

/// Behind the 99th percentile there is the longest.
const BEHIND_P99: usize = 1;

/// Processor time of the server's main thread so far.
pub fn cpu_seconds(redis: &Redis) -> f64 {
    let info = redis.info("cpu");
    let of = |name: &str| info.get(name).and_then(|value| value.parse::<f64>().ok()).unwrap_or(f64::NAN);
    of("used_cpu_sys_main_thread") + of("used_cpu_user_main_thread")
}

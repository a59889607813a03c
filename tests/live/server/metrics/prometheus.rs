//! `/metrics` against Prometheus itself, and the rules and the dashboard of `deploy/`. `make test-metrics` runs them: Prometheus is
//! not needed for anything else.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::listening;
use crate::support::claims;
use crate::support::http;
use crate::support::jobs;
use crate::support::markdown::{code_spans, read, root, rows};
use crate::support::process::{free_port, Process};
use crate::support::{bears, eventually, guardian, wait_at_most, Postgres, Redis, StopAtEnd};

const CATALOG: &str = r#"
[bear]
id = "int"
tables = { bear = "id" }
[[bear.query]]
call = "all"
sql = "SELECT id FROM bear b ORDER BY id"
[bear.job.GROW]
data = { id = "int" }
sql = "UPDATE bear SET size = size + 1 FROM {jobs} job WHERE bear.id = job.id RETURNING job.n, bear.id"
[note]
id = "int"
tenant = "int"
[note.job.MAIL]
data = { to = "text" }
claim = {}
"#;

/// Something of everything.
fn live(redis: &Redis) {
    let mut wire = redis.wire();
    assert!(!wire.run("BEAR.QUERY bear all").is_error());
    jobs::complete(&mut wire, r#"bear GROW {"id":1}"#);
    claims::enqueue(&mut wire, r#"{7}:note MAIL {"to":"a"}"#);
    let held = claims::claim_one(&mut wire, "{7}:note JOB MAIL WORKER w");
    claims::ack(&mut wire, &held);
}

/// What `promtool` says; it must find nothing wrong.
#[track_caller]
fn promtool(words: &[&str], input: &str) -> String {
    let mut command = Command::new("promtool");
    command.args(words).current_dir(root().join("deploy/prometheus"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool; scripts/setup.sh metrics installs it");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "promtool {words:?}: {text}");
    text
}

#[test]
#[ignore = "needs Prometheus: make test-metrics"]
fn promtool_finds_nothing_to_say_of_the_figures() {
    let database = bears::database_in(Postgres::shared_logical());
    let (builder, port) = listening(Redis::builder().postgres(&database).catalog(CATALOG));
    let redis = builder.start();
    crate::support::feed::wait_told(&redis);
    live(&redis);
    assert_eq!(promtool(&["check", "metrics"], &http::get(port, "/metrics").body), "");
}

#[test]
#[ignore = "needs Prometheus: make test-metrics"]
fn the_rules_come_when_they_should() {
    promtool(&["check", "config", "prometheus.yml"], "");
    promtool(&["test", "rules", "alerts.test.yml"], "");
}

/// Names of series within an expression.
fn series_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("bear_")).map(ToOwned::to_owned).collect()
}

fn is_there(series: &str, known: &BTreeSet<String>) -> bool {
    let of_histogram = ["_bucket", "_sum", "_count"].iter().filter_map(|end| series.strip_suffix(end));
    known.contains(series) || of_histogram.into_iter().any(|name| known.contains(name))
}

#[test]
fn rules_and_dashboard_name_series_that_there_are() {
    let rows = rows(&read("docs/reference/metrics.md")).into_iter().filter(|row| row.len() == 5 && row[1] != "kind");
    let known: BTreeSet<String> = rows.map(|row| code_spans(&row[0]).remove(0)).collect();
    let rules = read("deploy/prometheus/alerts.yml");
    // Not the texts, which name fields of INFO.
    let rules: String = rules.lines().filter(|line| !line.trim_start().starts_with("description:")).collect();
    let tests = read("deploy/prometheus/alerts.test.yml");
    let tests: String = tests.lines().filter(|line| line.contains("series:")).collect();
    for text in [rules, tests, queries().join("\n")] {
        let named = series_in(&text);
        assert!(named.len() > 10, "{named:?}");
        for series in named {
            assert!(is_there(&series, &known), "{series}");
        }
    }
    // Each rule is tried.
    let rules = read("deploy/prometheus/alerts.yml");
    let tests = read("deploy/prometheus/alerts.test.yml");
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let is_tried = tests.matches(&format!("alertname: {alert}\n")).count() > 0;
        assert!(is_tried && tests.contains(&format!("alertname: {alert}, exp_alerts: []")), "{alert}");
    }
}

/// The queries of the dashboard's panels, with its variables as a test has them.
fn queries() -> Vec<String> {
    let dashboard: serde_json::Value = serde_json::from_str(&read("deploy/grafana/bear.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries = targets.map(|target| target["expr"].as_str().expect("a query").to_owned());
    queries
        .map(|query| {
            let query = query.replace("$__rate_interval", "5s").replace("$instance", ".*").replace("$section", ".*");
            assert!(!query.contains('$'), "a variable that the dashboard does not have: {query}");
            query
        })
        .collect()
}

/// Series that Prometheus answers; the error of a query that it does not understand.
fn ask(port: u16, query: &str) -> Result<Vec<serde_json::Value>, String> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric();
    let encode = |byte: u8| if is_plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    let encoded: String = query.bytes().map(encode).collect();
    let answer = http::try_get(port, &format!("/api/v1/query?query={encoded}"), "Connection: close\r\n");
    let answer = answer.ok_or("no answer")?;
    let json: serde_json::Value = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
    match json["data"]["result"].as_array() {
        Some(result) => Ok(result.clone()),
        None => Err(json.to_string()),
    }
}

fn start_prometheus(target: u16) -> (Process, u16) {
    let folder = guardian::folder("prometheus");
    let rules = root().join("deploy/prometheus/alerts.yml");
    let config = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\nrule_files: [{}]\n\
         scrape_configs: [{{ job_name: bear, static_configs: [{{ targets: ['127.0.0.1:{target}'] }}] }}]\n",
        rules.display()
    );
    std::fs::write(folder.join("prometheus.yml"), config).expect("the configuration");
    let port = free_port();
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"));
    command.current_dir(&folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log(&folder));
    (Process::spawn(&mut command, "KILL"), port)
}

fn log(folder: &Path) -> Stdio {
    std::fs::File::create(folder.join("log")).expect("a log").into()
}

#[test]
#[ignore = "needs Prometheus: make test-metrics"]
fn every_query_of_the_dashboard_has_an_answer_of_a_prometheus_that_scrapes() {
    let database = bears::database_in(Postgres::shared_logical());
    let (builder, target) = listening(Redis::builder().postgres(&database).catalog(CATALOG));
    let redis = builder.start();
    crate::support::feed::wait_told(&redis);
    live(&redis);
    let (_prometheus, port) = start_prometheus(target);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                live(&redis);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let stop = StopAtEnd(&ended);
        eventually("it scrapes", || ask(port, "up == 1").is_ok_and(|series| !series.is_empty()));
        let queries = queries();
        assert!(queries.len() > 40, "{}", queries.len());
        let mut waiting: BTreeMap<&String, String> = queries.iter().map(|query| (query, String::new())).collect();
        let answered = wait_at_most(Duration::from_secs(60), || {
            waiting.retain(|query, answer| match ask(port, query) {
                // Of each series one value that is a number.
                Ok(series) => {
                    *answer = format!("{series:?}");
                    let is_number =
                        |series: &serde_json::Value| series["value"][1].as_str().is_some_and(|value| value != "NaN");
                    series.is_empty() || !series.iter().any(is_number)
                }
                Err(error) => panic!("{query}: {error}"),
            });
            waiting.is_empty().then_some(())
        });
        assert!(answered.is_some(), "without an answer: {waiting:#?}");
        // All is well, so no alert is told.
        let alerts = ask(port, "ALERTS{alertstate=\"firing\", severity!=\"info\"}").expect("an answer");
        assert!(alerts.is_empty(), "{alerts:?}");
        drop(stop);
    });
    // What it has read is what INFO says.
    let completed = redis.info("bear").int("bear_work_completed");
    eventually("the last figures are read", || {
        let series = ask(port, "sum(bear_work_completed_total)").expect("an answer");
        series.first().is_some_and(|series| series["value"][1].as_str() == Some(&completed.to_string()))
    });
}

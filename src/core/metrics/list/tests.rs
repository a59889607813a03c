use std::collections::BTreeSet;
use std::path::Path;

use super::super::metric::{Kind, Series};
use super::*;

/// The name of its series as somebody asks for it; None where it has none.
fn series_of(metric: &Metric) -> Option<String> {
    Some(match metric.series() {
        Series::Number(name) if metric.kind == Kind::Counter => format!("{name}_total"),
        Series::Number(name) | Series::States { name, .. } => name.into_owned(),
        Series::Info { name, .. } => format!("{name}_info"),
        Series::None { .. } => return None,
    })
}

#[test]
fn names_come_once_in_info_and_once_in_prometheus() {
    let names: BTreeSet<&str> = all().map(|metric| metric.name).collect();
    assert_eq!(names.len(), all().count());
    let series: Vec<String> = all().filter_map(series_of).collect();
    assert_eq!(series.iter().collect::<BTreeSet<_>>().len(), series.len());
}

#[test]
fn series_have_base_units_and_the_endings_that_prometheus_expects() {
    for metric in all() {
        let Some(series) = series_of(metric) else { continue };
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(series.starts_with("bear_") && series.chars().all(is_name), "{series}");
        assert!(!series.ends_with("_ms") && !series.ends_with("_us") && !series.contains("_us_"), "{series}");
        assert_eq!(series.ends_with("_total"), metric.kind == Kind::Counter, "{series}");
        let is_scaled = metric.scaled(1).is_some() || metric.kind == Kind::Histogram;
        assert_eq!(series.ends_with("_seconds"), is_scaled, "{series}");
        assert!(metric.help.ends_with('.'), "{series}: a sentence");
        assert!(!metric.by_section || !matches!(metric.series(), Series::States { .. }), "{series}");
    }
}

#[test]
fn what_info_has_in_ms_and_us_says_so() {
    for metric in all() {
        let has_unit = metric.name.ends_with("_ms") || format!("{}_", metric.name).contains("_us_");
        assert_eq!(metric.scaled(1).is_some(), has_unit, "{}", metric.name);
    }
    let of = |name: &str, value| find(name).and_then(|metric| metric.scaled(value));
    assert_eq!(
        [of("feed_lag_ms", 5), of("longest_tick_us", 5), of("entries", 5)],
        [Some(0.005), Some(0.000_005), None]
    );
}

const PAGE: &str = "docs/reference/metrics.md";
const BEGIN: &str = "<!-- the table below follows src/core/metrics/list.rs -->\n";

fn table() -> String {
    let mut text = String::from("\n| series | kind | labels | in INFO | |\n|---|---|---|---|---|\n");
    for (part, metrics) in PARTS {
        for metric in metrics {
            let Some(series) = series_of(metric) else { continue };
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge | Kind::Text => "gauge",
                Kind::Histogram => "histogram",
            };
            let label = match metric.series() {
                Series::States { label, .. } | Series::Info { label, .. } => format!("`{label}`"),
                _ if metric.by_section => "`section`".to_owned(),
                _ => String::new(),
            };
            let info = if part == Part::Series { String::new() } else { format!("`{}`", metric.name) };
            text += &format!("| `{series}` | {kind} | {label} | {info} | {} |\n", metric.help);
        }
    }
    text += "\nNot in Prometheus:\n\n| in INFO | why |\n|---|---|\n";
    for metric in all() {
        if let Series::None { why } = metric.series() {
            text += &format!("| `{}` | {why} |\n", metric.name);
        }
    }
    text
}

#[test]
fn the_page_has_the_table_of_series() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, shown) = page.split_once(BEGIN).unwrap_or((&page, ""));
    if std::env::var("BEAR_BLESS").is_ok_and(|what| PAGE.starts_with(&what)) {
        std::fs::write(&path, format!("{before}{BEGIN}{}", table())).unwrap();
    } else {
        assert!(shown == table(), "BEAR_BLESS=docs cargo test --lib metrics:: writes the table of {PAGE}");
    }
}

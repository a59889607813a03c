//! Reads the values of a section: calls whose contents the application computes.

use std::sync::Arc;

use toml::Table;

use super::life::Life;
use super::read_life;
use super::read_lists::Lists;
use super::read_query::QueryReader;
use super::sections::{Computed, Query, Source, ValueKind, DEFAULT_LEASE_MS, MAX_LEASE_MS};
use super::toml_reader::{Fields, Report};
use crate::core::calls::pattern::CallPattern;
use crate::core::calls::tags::TagTemplate;
use crate::core::values::duration;

const VALUE_KEYS: [&str; 11] =
    ["call", "type", "lease", "ttl", "stale", "refresh_ahead", "jitter", "compress", "match", "on", "tags"];

/// What BEAR.GET takes before the call.
const OPTIONS: [&str; 2] = ["LEASE", "WAIT"];

/// What only Postgres' results have.
const OF_QUERIES: [&str; 3] = ["sql", "single", "rows"];

/// Reads one; `section` is its index, `index` that of the value.
pub(in crate::core) fn read(
    reader: &QueryReader<'_, '_>,
    (section, index): (usize, usize),
    table: &Table,
    section_life: Life,
    report: &mut Report,
) -> Option<Query> {
    let call = table.get("call").and_then(|call| call.as_str());
    let place = call.map_or_else(|| format!("value {}", index + 1), |call| format!("value '{call}'"));
    report.within(place, |report| {
        let of_queries: Vec<&str> = OF_QUERIES.into_iter().filter(|key| table.contains_key(*key)).collect();
        if !of_queries.is_empty() {
            let keys = of_queries.join(", ");
            report.problem(format!("{keys}: the application computes a value; what Postgres computes is a query"));
        }
        let fields = Fields::new(table, &[&VALUE_KEYS[..], &of_queries].concat(), report);
        read_fields(reader, section, fields, section_life, report)
    })
}

fn read_fields(
    reader: &QueryReader<'_, '_>,
    section: usize,
    fields: Fields<'_>,
    section_life: Life,
    report: &mut Report,
) -> Option<Query> {
    if !fields.has("call") {
        report.problem("call is missing");
    }
    let call = CallPattern::parse(fields.string("call", report)?);
    let call = Arc::new(report.keep("call", call)?);
    if let Some(word) = call.first_literal().filter(|word| OPTIONS.iter().any(|of| word.eq_ignore_ascii_case(of))) {
        report.problem(format!("call: a value's call cannot begin with '{word}', which is an option of BEAR.GET"));
    }
    let life = read_life::read(fields, section_life, report);
    let compress = read_life::compress(fields, reader.outlines[section].compress, report);
    let mut lists = Lists::default();
    let (match_, on) = reader.predicates(section, fields, &call, &mut lists, report);
    let mut columns = Vec::new();
    let tags = fields.strings("tags", report).unwrap_or_default();
    let parse = |text: &str| TagTemplate::parse(text, &call, reader.outlines[section].tenancy(), &mut columns);
    let tags: Vec<_> = tags.into_iter().map(parse).collect();
    let tags = tags.into_iter().filter_map(|tag| report.keep("tags", tag)).collect();
    if let Some(column) = columns.first() {
        report.problem(format!(
            "tags: {{row.{column}}} is of a query's rows, and a value has none; a tag may use the call's arguments, and \
             BEAR.PUT names others"
        ));
    }
    let source = Source::Computed(Computed { kind: kind(fields, report), lease_ms: lease_ms(fields, report) });
    Some(Query {
        call,
        source,
        life,
        compress,
        rewarm: None,
        single: false,
        rows: false,
        match_,
        on,
        lists: lists.named,
        reads: None,
        page: None,
        tags,
        says_ttl: fields.has("ttl"),
        says_rows: fields.has("rows"),
        says_match: fields.has("match"),
        trust: None,
    })
}

fn kind(fields: Fields<'_>, report: &mut Report) -> ValueKind {
    let kinds = [ValueKind::Json, ValueKind::Bytes];
    let named = |name: &str| kinds.into_iter().find(|kind| kind.name() == name);
    match fields.string("type", report) {
        None => ValueKind::Json,
        Some(name) => named(name).unwrap_or_else(|| {
            report.problem("type must be \"json\" or \"bytes\"");
            ValueKind::Json
        }),
    }
}

fn lease_ms(fields: Fields<'_>, report: &mut Report) -> u64 {
    let read = fields.string("lease", report).and_then(|text| report.keep("lease", duration::parse_ms(text)));
    let lease_ms = read.unwrap_or(DEFAULT_LEASE_MS);
    if lease_ms > MAX_LEASE_MS {
        report.problem(format!("lease may be {} at most", duration::to_text(MAX_LEASE_MS)));
    }
    lease_ms
}

#[cfg(test)]
mod tests {
    use crate::core::catalog::read_catalog;
    use crate::core::catalog::sections::{Catalog, Computed, ValueKind};

    fn load(value: &str) -> Result<Catalog, String> {
        let text = format!(
            "[page]\nttl = \"1m\"\n[[page.value]]\n{value}\n[[page.query]]\ncall = \"all\"\nsql = \"SELECT 1\"\nrows = \
             false\n[bear]\nid = \"int\"\nrow = \"SELECT id FROM bear WHERE id = ANY({{ids}})\"\n"
        );
        read_catalog::parse(&text, &mut || 1).map_err(|error| error.to_string())
    }

    #[test]
    fn a_value_is_a_call_behind_the_queries() {
        let catalog = load(
            "call = \"shelf {id:int}\"\ntags = [\"shelf:{id}\"]\non = { bear = \"id = {id}\" }\nstale = \"5s\"\n\
             lease = \"3s\"\ntype = \"bytes\"",
        )
        .expect("a catalog");
        let (_, page) = catalog.section(b"page").expect("a section");
        assert!(page.queries[0].plan().is_some() && page.queries[0].computed().is_none());
        let value = &page.queries[1];
        assert_eq!(value.computed(), Some(Computed { kind: ValueKind::Bytes, lease_ms: 3_000 }));
        assert_eq!((value.life.ttl_ms, value.life.stale_ms, value.on.len(), value.tags.len()), (60_000, 5_000, 1, 1));
        assert_eq!(page.calls.write_key(&[b"shelf", b"7"], 100, &mut Vec::new()), Ok(1));
        assert!(page.has_values && page.has_soft_life);
        let plain = load("call = \"shelf\"").expect("a catalog");
        let (_, page) = plain.section(b"page").expect("a section");
        assert_eq!(page.queries[1].computed(), Some(Computed { kind: ValueKind::Json, lease_ms: 10_000 }));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_would_be_right() {
        for (value, reason) in [
            ("call = \"all\"", "section 'page': the calls 'all' and 'all' fit the same words"),
            ("ttl = \"1s\"", "section 'page', value 1: call is missing"),
            (
                "call = \"x\"\nsql = \"SELECT 1\"\nsingle = true",
                "value 'x': sql, single: the application computes a value",
            ),
            ("call = \"x\"\nsqll = 1", "value 'x': unknown key 'sqll'; the keys are call, type, lease, ttl"),
            ("call = \"Wait {x:int}\"", "a value's call cannot begin with 'Wait', which is an option of BEAR.GET"),
            ("call = \"x\"\ntype = \"text\"", "type must be \"json\" or \"bytes\""),
            ("call = \"x\"\nlease = \"2h\"", "lease may be 1h at most"),
            ("call = \"x\"\nlease = 5", "lease must be a string, got 5"),
            ("call = \"x\"\ntags = [\"{row.id}\"]", "tags: {row.id} is of a query's rows, and a value has none"),
            ("call = \"x\"\nmatch = \"id = 1\"", "match compares rows, for which section 'page' must say row"),
            ("call = \"x\"\non = { beer = \"*\" }", "on.beer: no section is called 'beer'"),
        ] {
            let error = load(value).expect_err(value);
            assert!(error.contains(reason), "{value}\n-> {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn sections_that_come_and_go_concern_whom_no_section_names() {
        let sources = |text: &str| -> Vec<String> {
            let catalog = read_catalog::parse(text, &mut || 1).expect("a catalog");
            ["page", "other"]
                .map(|name| catalog.section(name.as_bytes()).expect("a section").1.source.to_string())
                .into()
        };
        let text = "[page]\n[[page.value]]\ncall = \"x\"\n[other]\n[den]\nid = \"int\"\n";
        let (one, another) = (sources(text), sources(&text.replace("\"int\"", "\"text\"")));
        assert_ne!(one[0], another[0], "BEAR.PUT may have named rows of den");
        assert_eq!(one[1], another[1]);
        assert_eq!(one[0], sources(&text.replace("id =", "ttl = \"1s\"\nid ="))[0]);
    }
}

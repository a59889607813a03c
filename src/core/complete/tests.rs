//! What is left unsaid of statements whose trees were checked in; whole catalogs are completed against a real server in
//! `postgres/check/tests/complete.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{complete, Said, Subject};
use crate::core::catalog::read_catalog;
use crate::core::derive::fixtures::{statements, Fixture};
use crate::core::prove::claims::Mapped;

/// The catalog's words for each statement of the traps, as a query of a section `product`.
#[test]
fn each_statement_of_the_traps_has_its_words() {
    let fixture = Fixture::of("15");
    let mut text = String::new();
    for (name, sql) in statements() {
        writeln!(text, "## {name}\n{}", words(&fixture, name, sql)).unwrap();
    }
    if std::env::var("BEAR_BLESS").is_ok_and(|what| what == "words") {
        std::fs::write("src/core/complete/tests/words.txt", &text).unwrap();
    }
    let expected = include_str!("tests/words.txt");
    let parts = |text: &str| text.split("## ").map(str::to_owned).collect::<Vec<_>>();
    let different = parts(&text).into_iter().zip(parts(expected)).find(|(found, expected)| found != expected);
    assert_eq!(different, None);
    assert_eq!(text, expected);
}

fn words(fixture: &Fixture, name: &str, sql: &str) -> String {
    let types = ["int", "numeric", "text", "int[]", "text[]", "float8", "date", "timestamptz", "uuid", "bpchar"];
    let mut args = BTreeMap::new();
    let mut named = sql.to_owned();
    for number in (1..=6).rev() {
        for ty in types {
            let (from, word) = (format!("${number}::{ty}"), format!("{{a{number}}}"));
            if named.contains(&from) {
                let ty = ty.replace("float8", "float").replace("bpchar", "text");
                args.insert(number, format!("{{a{number}:{ty}}}"));
                named = named.replace(&from, &word);
            }
        }
    }
    let args: Vec<String> = args.into_values().collect();
    let toml = format!("[product]\n[[product.query]]\ncall = \"x {}\"\nsql = \"\"\"{named}\"\"\"\n", args.join(" "));
    let catalog = match read_catalog::parse(&toml, &mut || 1) {
        Ok(catalog) => catalog,
        Err(error) => return format!("{error}\n"),
    };
    let Some(tree) = fixture.trees.get(name) else { return "no tree\n".to_owned() };
    let derived = fixture.derived(name);
    let oid = fixture.facts.relations.iter().find(|(_, relation)| *relation.name == *"product").map(|(oid, _)| *oid);
    let own_tables: BTreeMap<usize, u32> = oid.map(|oid| (0, oid)).into_iter().collect();
    let mapped = Mapped {
        tables: own_tables.values().map(|oid| (*oid, vec![(0, Some("id".into()))])).collect(),
        ..Mapped::default()
    };
    let said = Said { sections: &catalog.sections, mapped: &mapped, own_tables: &own_tables, facts: &fixture.facts };
    let query = &catalog.sections[0].queries[0];
    let subject = Subject { section: 0, index: 0, query, tree, derived: &derived };
    let completed = complete(said, &[subject], &BTreeSet::new());
    let mut out = String::new();
    for (name, section) in &completed.additions.sections {
        write!(out, "[{name}]").unwrap();
        for (table, column) in &section.tables {
            write!(out, " {table} = {column}").unwrap();
        }
        writeln!(out, "{}", section.row.iter().map(|row| format!("; {row}")).collect::<String>()).unwrap();
    }
    for query in completed.additions.queries.values() {
        if let Some(rows) = query.rows {
            writeln!(out, "rows = {rows}").unwrap();
        }
        if let Some(page) = &query.page {
            writeln!(out, "page = {page}").unwrap();
        }
        for (name, expression) in &query.hidden {
            writeln!(out, "{expression} AS {name}").unwrap();
        }
        if let Some(text) = &query.match_ {
            writeln!(out, "match = {text}").unwrap();
        }
        for (kind, said) in [("on", &query.on), ("lists", &query.lists), ("reads", &query.reads)] {
            for (name, text) in said {
                writeln!(out, "{kind}.{name} = {text}").unwrap();
            }
        }
    }
    for reason in completed.reasons.values().flatten() {
        writeln!(out, "({reason})").unwrap();
    }
    // What was written is a catalog.
    if let Err(error) = read_catalog::parse_with(&toml, &completed.additions, &mut || 1) {
        writeln!(out, "{error}").unwrap();
        panic!("{name}: {out}");
    }
    out
}

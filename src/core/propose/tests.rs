//! What is proposed for known databases, and that whatever is proposed is a catalog.

use std::fmt::Write;

use super::fixtures::database;
use super::{propose, NoProposal, Wanted};
use crate::core::catalog::{read_catalog, Catalog};

const SHOP: &str = "
    category: id int key default, name text ! unique, parent int >category indexed
    line: product_id int key >>product, number int key, user_id uuid >user, note text
    log: at text
    product: id int key default, name text !, price numeric !, category_id int ! >category indexed, mood mood, sizes ints, more json default, doubled numeric generated
    tag: name text key, data json, limit int
    user: id uuid key default, name text !, email text unique, password text !
    user_tag: user_id uuid key >>user, tag text key >tag indexed
    seen: id int | view";

#[track_caller]
fn read(text: &str) -> Catalog {
    read_catalog::parse(text, &mut || 0).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// By section, calls and jobs with their fields.
fn shown(catalog: &Catalog) -> String {
    let mut out = String::new();
    for section in catalog.sections.iter() {
        writeln!(out, "{}", section.name).unwrap();
        for query in &section.queries {
            writeln!(out, "  {}", query.call.text()).unwrap();
        }
        for job in &section.jobs {
            let fields = job.data.iter().map(|field| {
                let optional = if field.optional { "?" } else { "" };
                format!("{} {}{optional}", field.name, field.ty)
            });
            writeln!(out, "  {}({})", job.name, fields.collect::<Vec<_>>().join(", ")).unwrap();
        }
    }
    out
}

#[test]
fn a_known_database_has_these_queries_and_jobs() {
    let text = propose(&database(SHOP), &Wanted::default()).unwrap();
    assert_eq!(shown(&read(&text)), include_str!("tests/shop.txt"), "{text}");
}

#[test]
fn what_is_left_out_has_its_reason() {
    let text = propose(&database(SHOP), &Wanted::default()).unwrap();
    let (_, left_out) = text.split_once("# Left out:\n").unwrap();
    assert_eq!(left_out, include_str!("tests/left_out.txt"));
}

#[test]
fn there_may_be_nothing_to_propose() {
    for (lines, tables, section, expected) in [
        ("", &[][..], None, NoProposal::NoTables),
        ("v: id int | view", &[], None, NoProposal::NoTables),
        ("t: id int key", &["x"], None, NoProposal::NoTable("x".into())),
        ("t: id int key", &[], Some("x"), NoProposal::NoSection("x".into())),
        ("t: id int key", &["t", "t"], Some("x"), NoProposal::Several(2)),
    ] {
        let wanted =
            Wanted { tables: tables.iter().map(|name| (*name).into()).collect(), section: section.map(Into::into) };
        assert_eq!(propose(&database(lines), &wanted), Err(expected), "{lines}");
    }
    for (mark, why) in [
        ("view", "a view"),
        ("foreign", "a foreign table"),
        ("unlogged", "unlogged"),
        ("partition", "a partition"),
        ("inherited", "others inherit"),
        ("secured", "row security"),
        ("closed", "the role may not read its key"),
        ("extension", "an extension's own"),
    ] {
        let wanted = Wanted { tables: ["t".into()].into(), section: None };
        let nothing =
            propose(&database(&format!("other: id int key\nt: id int key | {mark}")), &wanted).unwrap_err().to_string();
        assert!(nothing.starts_with(&format!("nothing to propose: t: {why}")), "{nothing}");
    }
    for columns in ["id int", "id int unique", "id json key", "id ints key", "id pair key"] {
        let wanted = Wanted { tables: ["t".into()].into(), section: None };
        let nothing = propose(&database(&format!("t: {columns}")), &wanted);
        assert!(matches!(nothing, Err(NoProposal::Nothing(_))), "{columns}: {nothing:?}");
    }
}

/// The names that a table and its columns may have: each is read back as a catalog, whatever meaning it has elsewhere.
#[test]
fn any_name_makes_a_catalog() {
    let names = [
        "meta", "tag", "queue", "until", "id", "ids", "jobs", "job", "row", "rows", "tenant", "n", "data", "limit",
        "after", "before", "counts", "recent", "first", "FRESH", "not", "last", "select", "Ü", "a\"b", "a'b", "{x}",
        "$1", "--", "_", "_x", "1", "a.b", "query", "table", "gone", "added", "drawn", "changed", "result", "section",
        "error",
    ];
    for table in names {
        for column in names {
            let lines = format!("{table}: {column} int key default, other_id int >{table} indexed, {column}_id text unique, _{column} json !");
            // A dot is the schema's in the fixtures.
            if table.contains('.') {
                continue;
            }
            let text = propose(&database(&lines), &Wanted::default()).unwrap();
            let catalog = read(&text);
            let queries: usize = catalog.sections.iter().map(|section| section.queries.len()).sum();
            assert!(queries >= 4, "{table}, {column}: {text}");
        }
    }
}

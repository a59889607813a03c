//! Databases for tests, in short: a line a table, `name: column type mark…, …`, and marks of the table behind `|`.
//!
//! Marks of a column: `!` NOT NULL, `key` of the primary key, `unique`, `default` (drawn from a sequence where it is of the key, `shifted` by a million),
//! `>table` refers to that one's first column (`>>table` with ON DELETE CASCADE, `set` with SET NULL, `follows` with ON UPDATE CASCADE), `indexed`. Of a table: `view`, `secured`, `closed`, …

use std::collections::BTreeSet;

use super::facts::{
    Column, Database, Follows, ForeignKey, Identity, Key, Kind, Reaction, Relation, Rights, Sequence, Sort, Type,
};

const ALL: Rights = Rights { select: true, insert: true, update: true, delete: true };

fn ty(name: &str) -> Type {
    let (oid, sort, element) = match name {
        "int" => (23, Sort::Base, None),
        "text" => (25, Sort::Base, None),
        "uuid" => (2950, Sort::Base, None),
        "numeric" => (1700, Sort::Base, None),
        "json" => (3802, Sort::Base, None),
        "ints" => (1007, Sort::Base, Some((23, Sort::Base))),
        "mood" => (16_500, Sort::Enum, None),
        "pair" => (16_501, Sort::Composite, None),
        "bytea" => (17, Sort::Base, None),
        "tsvector" => (3614, Sort::Base, None),
        "citext" => (16_502, Sort::Base, None),
        other => panic!("{other} is no type of these"),
    };
    Type { oid, base: oid, sort, element, sql: name.into(), refuses_null: false, equality: "=".into(), is_open: true }
}

fn oid(name: &str, names: &[&str]) -> u32 {
    1_000 + names.iter().position(|known| *known == name).unwrap_or_else(|| panic!("{name} is there")) as u32
}

fn column(number: i16, words: &[&str], table: &str) -> Column {
    let has = |mark: &str| words.contains(&mark);
    let is_drawn = has("default") && has("key") && words[1] == "int";
    Column {
        number,
        name: words[0].into(),
        ty: ty(words[1]),
        not_null: has("!") || has("key"),
        default: has("default").then(|| match (is_drawn, has("shifted")) {
            (true, false) => format!("nextval('public.{table}_seq'::regclass)").into(),
            (true, true) => format!("(1000000 + nextval('public.{table}_seq'::regclass))").into(),
            (false, _) => "'d'".into(),
        }),
        identity: if has("always") { Identity::Always } else { Identity::None },
        is_generated: has("generated"),
        sequence: (is_drawn || has("always")).then(|| Sequence {
            schema: "public".into(),
            name: format!("{table}_seq").into(),
            is_visible: true,
            may_draw: !has("undrawn"),
        }),
        rights: if has("closed") { Rights::default() } else { ALL },
    }
}

fn table(line: &str, names: &[&str]) -> Relation {
    let (line, marks) = line.split_once('|').unwrap_or((line, ""));
    let (name, columns) = line.split_once(':').expect("a name, and columns");
    let marks: Vec<&str> = marks.split_whitespace().collect();
    let (schema, bare) = name.split_once('.').unwrap_or(("public", name));
    let columns: Vec<Vec<&str>> = columns.split(',').map(|column| column.split_whitespace().collect()).collect();
    let numbered = || columns.iter().zip(1_i16..).filter(|(words, _)| !words.is_empty());
    let with =
        |mark: &str| -> Vec<i16> { numbered().filter(|(words, _)| words.contains(&mark)).map(|(_, at)| at).collect() };
    let mut keys = Vec::new();
    let strange = numbered().any(|(words, _)| words.contains(&"key") && words[1] == "citext");
    if !with("key").is_empty() {
        keys.push(Key { is_primary: true, is_plain: !strange, columns: with("key").into() });
    }
    keys.extend(with("unique").into_iter().map(|at| Key { is_primary: false, is_plain: true, columns: [at].into() }));
    let mut foreign_keys = Vec::new();
    for (words, at) in numbered() {
        for target in words.iter().filter_map(|word| word.strip_prefix('>')) {
            let (target, on_delete) = match target.strip_prefix('>') {
                Some(target) => (target, Follows::Cascade),
                None if words.contains(&"set") => (target, Follows::Set),
                None => (target, Follows::Nothing),
            };
            let on_update = if words.contains(&"follows") { Follows::Cascade } else { Follows::Nothing };
            let relation = oid(target, names);
            foreign_keys.push(ForeignKey {
                columns: [at].into(),
                relation,
                referenced: [1].into(),
                on_delete,
                on_update,
                holds: true,
            });
        }
    }
    let has = |mark: &str| marks.contains(&mark);
    let indexed = with("indexed").into_iter().chain(keys.iter().map(|key| key.columns[0])).collect::<BTreeSet<i16>>();
    Relation {
        oid: oid(name, names),
        schema: schema.into(),
        name: bare.into(),
        kind: match () {
            () if has("view") => Kind::View,
            () if has("foreign") => Kind::Foreign,
            () if has("unlogged") => Kind::Unlogged,
            () => Kind::Table,
        },
        is_visible: schema == "public",
        comment: None,
        rights: if has("closed") { Rights::default() } else { ALL },
        has_schema_usage: !has("closed"),
        is_partition: has("partition"),
        has_children: has("inherited"),
        is_secured: has("secured"),
        extension: has("extension").then(|| "x".into()),
        columns: numbered().map(|(words, at)| column(at, words, bare)).collect(),
        keys,
        foreign_keys,
        indexed,
        triggers: reactions(&marks, "trigger="),
        rules: reactions(&marks, "rule="),
        untold: None,
    }
}

/// `trigger=insert` fires at it.
fn reactions(marks: &[&str], mark: &str) -> Vec<Reaction> {
    let of = |event: &str| Reaction {
        name: format!("at_{event}").into(),
        insert: event == "insert",
        update: event == "update",
        delete: event == "delete",
    };
    marks.iter().filter_map(|word| word.strip_prefix(mark)).map(of).collect()
}

/// In the order of the lines.
pub(super) fn database(lines: &str) -> Database {
    let lines: Vec<&str> = lines.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let names: Vec<&str> = lines.iter().filter_map(|line| Some(line.split_once(':')?.0)).collect();
    Database { relations: lines.iter().map(|line| table(line, &names)).collect(), ..Database::default() }
}

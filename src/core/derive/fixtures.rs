//! Trees that were checked in, and rules in short, for tests: each line of `tests/trees-VERSION.txt` is a fact or a tree.
//! Of the trees, fields with nothing in them and places in the statement's text are left out: they say nothing.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::facts::{
    Column, Comparison, Facts, Family, Function, FunctionKind, Identity, Operator, Relation, RelationKind, Volatility,
};
use super::tree::{self, Node};
use super::{derive, Count, Derived, Reads, Rule, Source};

pub const SCHEMA: &str = concat!(include_str!("tests/shop.sql"), include_str!("tests/traps.sql"));

/// Name and SQL of the statements whose trees are there.
pub fn statements() -> impl Iterator<Item = (&'static str, &'static str)> {
    include_str!("tests/traps.tsv").lines().map(|line| line.split_once('\t').expect("a name and SQL"))
}

pub struct Fixture {
    pub facts: Facts,
    pub trees: BTreeMap<&'static str, Node>,
}

const FILES: [(&str, &str); 4] = [
    ("13", include_str!("tests/trees-13.txt")),
    ("15", include_str!("tests/trees-15.txt")),
    ("16", include_str!("tests/trees-16.txt")),
    ("18", include_str!("tests/trees-18.txt")),
];

impl Fixture {
    pub fn of(version: &str) -> Fixture {
        let (_, text) = FILES.iter().find(|(name, _)| *name == version).expect("a version that is there");
        let mut fixture = Fixture { facts: Facts::default(), trees: BTreeMap::new() };
        for line in text.lines() {
            let fields: Vec<&'static str> = line.split('\t').collect();
            match fields[..] {
                ["tree", name, text] => {
                    fixture.trees.insert(name, tree::read(text).unwrap().remove(0));
                }
                _ => fixture.facts.add(&fields),
            }
        }
        fixture
    }

    pub fn derived(&self, name: &str) -> Derived {
        derive(&self.trees[name], &self.facts)
    }

    pub fn rendered(&self, name: &str) -> String {
        rendered(&self.derived(name), &self.facts)
    }
}

const KINDS: [(&str, RelationKind); 7] = [
    ("table", RelationKind::Table),
    ("partitioned", RelationKind::Partitioned),
    ("view", RelationKind::View),
    ("materialized", RelationKind::MaterializedView),
    ("foreign", RelationKind::Foreign),
    ("system", RelationKind::System),
    ("unfollowed", RelationKind::Unfollowed),
];
const COMPARISONS: [Comparison; 6] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::LessOrEqual,
    Comparison::Greater,
    Comparison::GreaterOrEqual,
];
const FAMILIES: [(&str, Family); 9] = [
    ("number", Family::Number),
    ("float", Family::Float),
    ("text", Family::Text),
    ("padded", Family::Padded),
    ("bool", Family::Bool),
    ("uuid", Family::Uuid),
    ("time", Family::Time),
    ("enum", Family::Enum),
    ("", Family::Number),
];
const VOLATILITIES: [(&str, Volatility); 3] =
    [("immutable", Volatility::Immutable), ("stable", Volatility::Stable), ("volatile", Volatility::Volatile)];

fn named<T: Copy>(list: &[(&str, T)], name: &str) -> T {
    list.iter().find(|(own, _)| *own == name).expect("a name of the list").1
}

fn name_of<T: Copy + PartialEq>(list: &[(&'static str, T)], value: T) -> &'static str {
    list.iter().find(|(_, own)| *own == value).expect("a value of the list").0
}

fn numbers(text: &str) -> Box<[i16]> {
    text.split(',').filter(|number| !number.is_empty()).map(|number| number.parse().unwrap()).collect()
}

fn joined(numbers: &[i16]) -> String {
    numbers.iter().map(i16::to_string).collect::<Vec<_>>().join(",")
}

impl Facts {
    fn add(&mut self, fields: &[&str]) {
        match *fields {
            ["relation", oid, schema, name, kind, key, unique] => {
                let relation = Relation {
                    schema: schema.into(),
                    name: name.into(),
                    kind: named(&KINDS, kind),
                    root: None,
                    columns: BTreeMap::new(),
                    primary_key: Some(numbers(key)).filter(|key| !key.is_empty()),
                    unique: unique.split(';').filter(|key| !key.is_empty()).map(numbers).collect(),
                    foreign_keys: Vec::new(),
                    identity: Identity::Full,
                };
                self.relations.insert(oid.parse().unwrap(), relation);
            }
            ["column", relation, number, name, type_oid, not_null, base] => {
                let column = Column {
                    name: name.into(),
                    type_oid: type_oid.parse().unwrap(),
                    not_null: not_null == "true",
                    base: numbers(base),
                };
                let relation = self.relations.get_mut(&relation.parse().unwrap()).unwrap();
                relation.columns.insert(number.parse().unwrap(), column);
            }
            ["operator", oid, comparison, family] => {
                let comparison = COMPARISONS.into_iter().find(|own| own.symbol() == comparison).unwrap();
                self.operators.insert(oid.parse().unwrap(), Operator { comparison, family: named(&FAMILIES, family) });
            }
            ["function", oid, schema, name, volatility, strict, aggregate] => {
                let function = Function {
                    schema: schema.into(),
                    name: name.into(),
                    volatility: named(&VOLATILITIES, volatility),
                    language: "".into(),
                    strict: strict == "true",
                    kind: if aggregate == "true" { FunctionKind::Aggregate } else { FunctionKind::Plain },
                };
                self.functions.insert(oid.parse().unwrap(), function);
            }
            ["collation", oid, deterministic] => {
                self.collations.insert(oid.parse().unwrap(), deterministic == "true");
            }
            _ => panic!("no fact: {fields:?}"),
        }
    }
}

/// Statements whose trees differ between versions; of the others 15's alone are there.
pub const OF_ALL_VERSIONS: [&str; 20] = [
    "the clock",
    "a sample",
    "locks",
    "text of a deterministic collation",
    "through grouping sets",
    "rows that are compared",
    "a merged column",
    "a demand through a view",
    "through a group",
    "through a union",
    "through a window",
    "a recursion",
    "constants",
    "each its part of an or",
    "row security",
    "shown only",
    "a with that is named twice",
    "in of two columns",
    "values and unnest",
    "a newest page",
];

/// As it is checked in.
pub fn shortened(node: &Node) -> String {
    fn of_value(value: &tree::Value) -> String {
        use tree::Value;
        match value {
            Value::Nothing => "<>".to_owned(),
            // A word, escaped as Postgres does.
            Value::Text(text) if text.is_empty() => "\"\"".to_owned(),
            Value::Text(text) => {
                let must_escape = |c: char| " \n\t\\(){}[]<>\"".contains(c);
                text.chars().flat_map(|c| must_escape(c).then_some('\\').into_iter().chain([c])).collect()
            }
            Value::List(values) => format!("({})", values.iter().map(of_value).collect::<Vec<_>>().join(" ")),
            Value::Bytes(bytes) => format!("[ {} ]", bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(" ")),
            Value::Node(node) => shortened(node),
        }
    }
    let kept = node.values().filter(|(name, value)| **value != tree::Value::Nothing && !name.contains("location"));
    let fields: String = kept.map(|(name, value)| format!(" :{name} {}", of_value(value))).collect();
    format!("{{{}{fields}}}", node.kind)
}

/// The facts that the trees name.
pub fn facts_as_text(facts: &Facts, trees: &str) -> String {
    let trees = trees.lines().map(|line| tree::read(line.rsplit('\t').next().unwrap()).unwrap().remove(0));
    let mut oids = tree::Oids::default();
    for tree in trees {
        let own = tree.oids();
        oids.relations.extend(own.relations);
        oids.operators.extend(own.operators);
        oids.functions.extend(own.functions);
        oids.collations.extend(own.collations);
    }
    let mut text = String::new();
    for oid in oids.relations {
        let Some(relation) = facts.relations.get(&oid) else { continue };
        let Relation { schema, name, kind, primary_key, unique, columns, .. } = relation;
        let key = primary_key.as_deref().map(joined).unwrap_or_default();
        let unique = unique.iter().map(|key| joined(key)).collect::<Vec<_>>().join(";");
        writeln!(text, "relation\t{oid}\t{schema}\t{name}\t{}\t{key}\t{unique}", name_of(&KINDS, *kind)).unwrap();
        if *kind == RelationKind::System {
            continue;
        }
        for (number, Column { name, type_oid, not_null, base }) in columns {
            writeln!(text, "column\t{oid}\t{number}\t{name}\t{type_oid}\t{not_null}\t{}", joined(base)).unwrap();
        }
    }
    for oid in oids.operators {
        if let Some(Operator { comparison, family }) = facts.operators.get(&oid) {
            writeln!(text, "operator\t{oid}\t{}\t{}", comparison.symbol(), name_of(&FAMILIES, *family)).unwrap();
        }
    }
    for oid in oids.functions {
        let Some(Function { schema, name, volatility, strict, kind, .. }) = facts.functions.get(&oid) else { continue };
        let volatility = name_of(&VOLATILITIES, *volatility);
        let is_aggregate = *kind == FunctionKind::Aggregate;
        writeln!(text, "function\t{oid}\t{schema}\t{name}\t{volatility}\t{strict}\t{is_aggregate}").unwrap();
    }
    for oid in oids.collations {
        if let Some(deterministic) = facts.collations.get(&oid) {
            writeln!(text, "collation\t{oid}\t{deterministic}").unwrap();
        }
    }
    text
}

/// All of what was derived, a part a line.
pub fn rendered(derived: &Derived, facts: &Facts) -> String {
    let column = |relation: u32, number: i16| {
        let relation = facts.relations.get(&relation).filter(|relation| relation.kind != RelationKind::System);
        let column = relation.and_then(|relation| relation.columns.get(&number));
        column.map_or_else(|| number.to_string(), |column| column.name.to_string())
    };
    let place = |occurrence: usize, number: i16| {
        let rule = derived.rules.iter().find(|rule| rule.occurrence == occurrence);
        rule.map_or_else(|| number.to_string(), |rule| column(rule.relation, number))
    };
    let mut text = String::new();
    for Rule { occurrence, relation, local, links, reads, left_out, coarse, is_shown_only, .. } in &derived.rules {
        let name = facts.relations.get(relation).map_or("?", |relation| &*relation.name);
        write!(text, "{name}#{occurrence}:").unwrap();
        let mut parts: Vec<String> = Vec::new();
        for local in local {
            let named = local.renamed(&|number| Some(column(*relation, *number))).unwrap();
            parts.push(named.to_string());
        }
        for link in links {
            let of_result = if link.of_result { " of the result" } else { "" };
            let own = column(*relation, link.column);
            parts.push(format!("{own} in #{}.{}{of_result}", link.occurrence, place(link.occurrence, link.of)));
        }
        parts.extend(coarse.map(|why| format!("* {why}")));
        let reads = match reads {
            Reads::Columns(columns) => {
                columns.iter().map(|number| column(*relation, *number)).collect::<Vec<_>>().join(", ")
            }
            Reads::Row => "row".to_owned(),
            Reads::Anything => "anything".to_owned(),
        };
        let left_out = if *left_out { "; more is left out" } else { "" };
        let shown = if *is_shown_only { "; shown only" } else { "" };
        writeln!(text, " {}; reads {reads}{shown}{left_out}", parts.join(", ")).unwrap();
    }
    for (occurrence, source) in &derived.sources {
        let what = match source {
            Source::Values(rows) => format!("values of {} rows", rows.len()),
            Source::Unnest(array) => format!("elements of {array}"),
            Source::Recursion(name) => format!("finished {name}"),
        };
        writeln!(text, "#{occurrence}: {what}").unwrap();
    }
    if let Some(page) = &derived.page {
        let limit = match page.limit {
            Count::Constant(count) => count.to_string(),
            Count::Argument(number) => format!("${number}"),
        };
        let keys = page.keys.iter().map(|key| {
            let descending = if key.is_descending { " desc" } else { "" };
            let nulls = if key.nulls_first { " nulls first" } else { "" };
            format!("{}{descending}{nulls}", place(page.occurrence, key.column))
        });
        let keys = keys.collect::<Vec<_>>().join(", ");
        writeln!(text, "page of {limit} by #{}: {keys}", page.occurrence).unwrap();
    }
    derived.refused.iter().for_each(|refusal| writeln!(text, "refused: {refusal}").unwrap());
    derived.warnings.iter().for_each(|warning| writeln!(text, "warning: {warning}").unwrap());
    text
}

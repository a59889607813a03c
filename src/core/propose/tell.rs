//! A DELETE that tells of all rows that it reaches, as one statement: what is deleted, then what follows it, a query for each
//! relation that others follow; in circles, a recursive one.
//!
//! ```sql
//! WITH gone AS (DELETE … RETURNING job.n, c.id),
//!      with_product AS (SELECT gone.n, p.id FROM gone JOIN product p ON p.category_id = gone.id)
//! SELECT gone.n, 'category' AS section, gone.id::text AS id FROM gone
//! UNION ALL SELECT with_product.n, 'product' AS section, with_product.id::text AS id FROM with_product
//! UNION ALL SELECT with_product.n, 'line' AS section, l.product_id::text AS id FROM with_product JOIN line l ON l.product_id = with_product.id
//! ```
//!
//! All of them see the rows as they were before. What WITH names is called like no relation of the statement.

use std::collections::{BTreeMap, BTreeSet};

use super::cascades::{Cascades, Edge};
use super::choose::Chosen;
use super::facts::Column;
use super::names::{self, Taken};
use crate::core::sql::spelling::as_needed;

const UNION_ALL: &str = "\n          UNION ALL ";
const COMMA: &str = ",\n               ";

/// Where rows of a node are found.
#[derive(Clone)]
enum Source {
    /// In a query whose columns are called like the relation's.
    Own(String),
    /// In that of a circle: the number by which its rows are known, and the columns that it has of them, as text.
    Circle(String, usize, Vec<i16>),
}

pub(super) struct Tell<'a> {
    cascades: &'a Cascades<'a>,
    chosen: &'a Chosen<'a>,
    taken: Taken,
    sources: BTreeMap<usize, Source>,
    queries: Vec<String>,
    is_recursive: bool,
}

/// `change`: the DELETE, up to its RETURNING; `alias`: what it calls its table.
pub(super) fn tell(cascades: &Cascades<'_>, chosen: &Chosen<'_>, change: &str, alias: &str) -> String {
    let relations = cascades.nodes.iter().map(|node| &node.relation.name);
    let mut taken = Taken::of(["job", "jobs"]);
    // Each is given once.
    relations.collect::<BTreeSet<_>>().into_iter().for_each(|name| drop(taken.give(name)));
    let gone = taken.give("gone");
    let mut tell = Tell { cascades, chosen, taken, sources: BTreeMap::new(), queries: Vec::new(), is_recursive: false };
    let returned = tell.carried(0, alias);
    tell.queries.push(format!("{gone} AS ({change}\n          RETURNING job.n, {})", returned.join(", ")));
    tell.sources.insert(0, Source::Own(gone.clone()));
    for group in &cascades.groups {
        tell.group(group);
    }
    let mut told: Vec<String> = cascades.groups.iter().flatten().flat_map(|node| tell.told(*node)).collect();
    told.extend(tell.beyond(&gone));
    let with = if tell.is_recursive { "WITH RECURSIVE" } else { "WITH" };
    format!("{with} {}\n          {}", tell.queries.join(COMMA), told.join(UNION_ALL))
}

/// `n` is the job's.
fn carried_name(column: &Column) -> String {
    match &*column.name {
        "n" => "n_value".to_owned(),
        name => as_needed(name),
    }
}

impl Source {
    fn name(&self) -> &str {
        match self {
            Source::Own(name) | Source::Circle(name, ..) => name,
        }
    }

    fn value(&self, column: &Column) -> String {
        match self {
            Source::Own(name) => format!("{name}.{}", carried_name(column)),
            Source::Circle(name, number, columns) => {
                let place = columns.iter().position(|known| *known == column.number).unwrap_or_default() + 1;
                // Rows of others have other values there.
                format!("CASE WHEN {name}.t = {number} THEN {name}.k{place}::{} END", column.ty.sql)
            }
        }
    }
}

impl<'a> Tell<'a> {
    /// Columns of the node that something is looked up by, or told by.
    fn needed(&self, node: usize) -> Vec<&'a Column> {
        let relation = self.cascades.nodes[node].relation;
        let places = self.chosen.table(relation.oid).into_iter().flat_map(|table| &table.places);
        let mut numbers: BTreeSet<i16> = places.map(|(_, column)| column.number).collect();
        numbers.extend(self.cascades.following(node).flat_map(|edge| edge.key.referenced.iter().copied()));
        numbers.into_iter().filter_map(|number| relation.column(number)).collect()
    }

    /// These, of the relation that is called so, as a query's columns.
    fn carried(&self, node: usize, alias: &str) -> Vec<String> {
        let of = |column: &&Column| {
            let own = format!("{alias}.{}", as_needed(&column.name));
            match &*column.name == "n" {
                true => format!("{own} AS {}", carried_name(column)),
                false => own,
            }
        };
        self.needed(node).iter().map(of).collect()
    }

    fn alias(&mut self, node: usize) -> String {
        self.taken.give(&names::alias(&self.cascades.nodes[node].relation.name))
    }

    /// A name for what is found of the node.
    fn name(&mut self, node: usize) -> String {
        self.taken.give(&format!("with_{}", names::section(&self.cascades.nodes[node].relation.name)))
    }

    fn group(&mut self, group: &[usize]) {
        let is_circle = |edge: &Edge<'_>| group.contains(&edge.to);
        match group {
            [node] if !self.cascades.following(*node).any(|edge| edge.to == *node) => self.followed(*node),
            [node] => self.tree(*node),
            _ => self.circle(group, &is_circle),
        }
    }

    /// `x.a = gone.b`, where a row of the relation that is called `alias` follows one of `source`.
    fn condition(&self, edge: &Edge<'_>, alias: &str, source: &Source) -> String {
        let (from, to) = (self.cascades.nodes[edge.from].relation, self.cascades.nodes[edge.to].relation);
        let pairs = edge.key.columns.iter().zip(&edge.key.referenced);
        let pairs = pairs.filter_map(|(own, referenced)| Some((to.column(*own)?, from.column(*referenced)?)));
        let conditions = pairs.map(|(own, referenced)| {
            own.equal(&format!("{alias}.{}", as_needed(&own.name)), &source.value(referenced))
        });
        conditions.collect::<Vec<_>>().join(" AND ")
    }

    /// `gone JOIN x ON …`, with the source.
    fn joined(&self, edge: &Edge<'_>, alias: &str) -> Option<(&Source, String)> {
        let source = self.sources.get(&edge.from)?;
        let relation = self.cascades.nodes[edge.to].relation.sql_name();
        let condition = self.condition(edge, alias, source);
        Some((source, format!("{} JOIN {relation} {alias} ON {condition}", source.name())))
    }

    /// Queries for the rows of a node that follow those of other groups than its own.
    fn base(&mut self, node: usize, group: &[usize], shown: impl Fn(&Self, &str) -> Vec<String>) -> Vec<String> {
        let cascades = self.cascades;
        let mut queries = Vec::new();
        for edge in cascades.followed(node).filter(|edge| !group.contains(&edge.from)) {
            let alias = self.alias(node);
            let Some((source, joined)) = self.joined(edge, &alias) else { continue };
            queries.push(format!("SELECT {}.n, {} FROM {joined}", source.name(), shown(self, &alias).join(", ")));
        }
        queries
    }

    /// Nothing for what nobody follows: it is told as it is found.
    fn followed(&mut self, node: usize) {
        if node == 0 || self.cascades.following(node).next().is_none() {
            return;
        }
        let queries = self.base(node, &[node], |tell, alias| tell.carried(node, alias));
        let name = self.name(node);
        self.queries.push(format!("{name} AS ({})", queries.join("\n                 UNION ")));
        self.sources.insert(node, Source::Own(name));
    }

    /// Rows that follow those of their own table.
    fn tree(&mut self, node: usize) {
        let cascades = self.cascades;
        let mut queries = match self.sources.get(&node) {
            Some(gone) => {
                let columns = self.needed(node).iter().map(|column| gone.value(column)).collect::<Vec<_>>().join(", ");
                vec![format!("SELECT {0}.n, {columns} FROM {0}", gone.name())]
            }
            None => self.base(node, &[node], |tell, alias| tell.carried(node, alias)),
        };
        let name = self.name(node);
        let source = Source::Own(name.clone());
        let alias = self.alias(node);
        let own = cascades.following(node).filter(|edge| edge.to == node);
        let conditions: Vec<String> = own.map(|edge| self.condition(edge, &alias, &source)).collect();
        queries.push(format!(
            "SELECT {name}.n, {} FROM {name} JOIN {} {alias} ON {}",
            self.carried(node, &alias).join(", "),
            cascades.nodes[node].relation.sql_name(),
            conditions.join(" OR ")
        ));
        self.queries.push(format!("{name} AS ({})", queries.join("\n                 UNION ")));
        self.sources.insert(node, source);
        self.is_recursive = true;
    }

    /// Rows of several relations that follow each other around. A query may name itself once: all of them are in one.
    fn circle(&mut self, group: &[usize], is_within: &impl Fn(&Edge<'_>) -> bool) {
        let cascades = self.cascades;
        let columns: Vec<Vec<&Column>> = group.iter().map(|node| self.needed(*node)).collect();
        let width = columns.iter().map(Vec::len).max().unwrap_or_default();
        let of = |number: usize, values: Vec<String>| {
            let missing = (values.len()..width).map(|_| "NULL".to_owned());
            let values: Vec<String> = values.into_iter().chain(missing).collect();
            let named = values.iter().enumerate().map(|(at, value)| format!("{value}::text AS k{}", at + 1));
            std::iter::once(format!("{number} AS t")).chain(named).collect::<Vec<String>>()
        };
        let shown = |number: usize, alias: &str| {
            of(number, columns[number].iter().map(|column| format!("{alias}.{}", as_needed(&column.name))).collect())
        };
        let mut queries = Vec::new();
        for (number, node) in group.iter().enumerate() {
            if let Some(gone) = self.sources.get(node) {
                let values = of(number, columns[number].iter().map(|column| gone.value(column)).collect());
                queries.push(format!("SELECT {0}.n, {1} FROM {0}", gone.name(), values.join(", ")));
            }
            queries.extend(self.base(*node, group, |_, alias| shown(number, alias)));
        }
        let name = self.taken.give("with_circle");
        for (number, node) in group.iter().enumerate() {
            let numbers = columns[number].iter().map(|column| column.number).collect();
            self.sources.insert(*node, Source::Circle(name.clone(), number, numbers));
        }
        let mut steps = Vec::new();
        for edge in group.iter().flat_map(|node| cascades.following(*node)).filter(|edge| is_within(edge)) {
            let alias = self.alias(edge.to);
            let (Some(source), Some(number)) =
                (self.sources.get(&edge.from), group.iter().position(|node| *node == edge.to))
            else {
                continue;
            };
            steps.push(format!(
                "SELECT {} FROM {} {alias} WHERE {}",
                shown(number, &alias).join(", "),
                cascades.nodes[edge.to].relation.sql_name(),
                self.condition(edge, &alias, source)
            ));
        }
        let all = std::iter::once("t".to_owned()).chain((1..=width).map(|at| format!("k{at}")));
        let all: Vec<String> = all.map(|column| format!("next.{column}")).collect();
        queries.push(format!(
            "SELECT {name}.n, {} FROM {name} CROSS JOIN LATERAL (\n                   {}) next",
            all.join(", "),
            steps.join("\n                   UNION ALL ")
        ));
        self.queries.push(format!("{name} AS ({})", queries.join("\n                 UNION ")));
        self.is_recursive = true;
    }

    /// A SELECT of `n` and the sections of which any row may have changed.
    fn beyond(&self, gone: &str) -> Option<String> {
        let tables = self.cascades.beyond.iter().filter_map(|relation| self.chosen.table(relation.oid));
        let sections: Vec<String> =
            tables.flat_map(|table| &table.places).map(|(section, _)| format!("('{section}')")).collect();
        (!sections.is_empty()).then(|| {
            let sections = sections.join(", ");
            format!("SELECT {gone}.n, whole.section, NULL::text AS id FROM {gone} CROSS JOIN (VALUES {sections}) whole (section)")
        })
    }

    /// SELECTs of `n`, section and id of the node's rows.
    fn told(&mut self, node: usize) -> Vec<String> {
        let (cascades, chosen) = (self.cascades, self.chosen);
        let Some(table) = chosen.table(cascades.nodes[node].relation.oid) else { return Vec::new() };
        let line = |n: &str, section: &str, id: &str, from: &str| {
            format!("SELECT {n}.n, '{section}' AS section, {id} AS id FROM {from}")
        };
        if let Some(source) = self.sources.get(&node) {
            let name = source.name();
            let one = |(section, column): &(String, &Column)| match source {
                Source::Own(_) => line(name, section, &format!("{}::text", source.value(column)), name),
                Source::Circle(_, number, columns) => {
                    let place = columns.iter().position(|known| *known == column.number).unwrap_or_default() + 1;
                    line(name, section, &format!("{name}.k{place}"), &format!("{name} WHERE {name}.t = {number}"))
                }
            };
            return table.places.iter().map(one).collect();
        }
        let mut lines = Vec::new();
        for edge in cascades.followed(node) {
            let alias = self.alias(node);
            let Some((source, joined)) = self.joined(edge, &alias) else { continue };
            let one = |(section, column): &(String, &Column)| {
                line(source.name(), section, &format!("{alias}.{}::text", as_needed(&column.name)), &joined)
            };
            lines.extend(table.places.iter().map(one));
        }
        lines
    }
}

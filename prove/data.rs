//! The copy's rows as they are now, read once until something changes, and rows that would go with them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use postgres::Client;

use crate::support::Random;

use super::catalog::Catalog;
use super::facts::{Facts, Shape, Table};
use super::sql::{rows, tokens, Token, Value};
use super::values::{draw, uuid, Constants};

pub type Rows = Rc<Vec<Vec<Value>>>;

/// A row to insert: columns that are not named get their defaults.
pub type Row = BTreeMap<usize, Value>;

pub struct Data<'a> {
    pub facts: &'a Facts,
    /// Of each table: what its CHECKs and the queries that read it compare with.
    constants: Vec<Constants>,
    known: BTreeMap<usize, Rows>,
}

/// Tables that the statement names, or reads by views and functions.
pub fn mentioned(facts: &Facts, sql: &str) -> BTreeSet<usize> {
    let (mut found, mut seen, mut texts) = (BTreeSet::new(), BTreeSet::new(), vec![sql.to_owned()]);
    while let Some(text) = texts.pop() {
        for (token, ..) in tokens(&text) {
            let Token::Name(name) = token else { continue };
            if !seen.insert(name.clone()) {
                continue;
            }
            found.extend((0..facts.tables.len()).filter(|place| facts.tables[*place].name == name));
            texts.extend(facts.bodies.get(&name).into_iter().flatten().cloned());
        }
    }
    found
}

impl<'a> Data<'a> {
    pub fn new(facts: &'a Facts, catalog: &Catalog) -> Data<'a> {
        let mut constants: Vec<Constants> = vec![Constants::default(); facts.tables.len()];
        for (table, constants) in facts.tables.iter().zip(&mut constants) {
            table.checks.iter().for_each(|(_, check)| constants.add(&tokens(check)));
        }
        let statements = catalog.queries.iter().map(|query| &query.sql).chain(catalog.jobs.iter().map(|job| &job.sql));
        for sql in statements {
            let tokens = tokens(sql);
            mentioned(facts, sql).into_iter().for_each(|place| constants[place].add(&tokens));
        }
        Data { facts, constants, known: BTreeMap::new() }
    }

    /// To be said after each change.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    pub fn forget_table(&mut self, place: usize) {
        self.known.remove(&place);
    }

    /// None of a table that cannot be read.
    pub fn rows(&mut self, client: &mut Client, place: usize) -> Rows {
        let facts = self.facts;
        let read = || Rc::new(rows(client, &facts.tables[place].read()).unwrap_or_default());
        self.known.entry(place).or_insert_with(read).clone()
    }

    pub fn draw(&self, place: usize, column: usize, random: &mut Random) -> Value {
        let of = &self.facts.tables[place].columns[column];
        draw(self.facts, of.kind, &of.declared, &self.constants[place], random)
    }

    /// A row that could be inserted. None: it needs a row of a table that has none.
    pub fn row(&mut self, client: &mut Client, place: usize, random: &mut Random) -> Option<Row> {
        let mut row = self.references(client, place, random)?;
        let table = &self.facts.tables[place];
        for at in 0..table.columns.len() {
            if row.contains_key(&at) {
                continue;
            }
            if let Some(value) = self.column(table, place, at, random) {
                row.insert(at, value);
            }
        }
        Some(row)
    }

    /// None: it is left to Postgres.
    pub fn column(&self, table: &Table, place: usize, at: usize, random: &mut Random) -> Option<Value> {
        let column = &table.columns[at];
        let is_key = table.key.contains(&at);
        if column.is_generated || (column.has_default && !is_key && random.is(15)) {
            return None;
        }
        if !column.is_required && random.is(12) {
            return Some(None);
        }
        let value = match is_key || table.unique.iter().any(|(_, of)| of == &[at]) {
            true => self.distinct(place, at, random),
            false => self.draw(place, at, random),
        };
        // What cannot be drawn may have a default.
        match value {
            None if column.has_default => None,
            value => Some(value),
        }
    }

    /// Of so many that it is not likely taken.
    fn distinct(&self, place: usize, at: usize, random: &mut Random) -> Value {
        let column = &self.facts.tables[place].columns[at];
        match self.facts.base(column.kind) {
            Shape::Base(name) if ["int2", "int4", "int8", "numeric"].contains(&&**name) => Some(random.number(90)),
            Shape::Base(name) if name == "uuid" => Some(uuid(90, random)),
            _ => self.draw(place, at, random),
        }
    }

    /// Columns of foreign keys, each of a row that is there and fits those before.
    fn references(&mut self, client: &mut Client, place: usize, random: &mut Random) -> Option<Row> {
        let mut row = Row::new();
        let facts = self.facts;
        for foreign in &facts.tables[place].foreign {
            let columns = &facts.tables[place].columns;
            let may_be_null = foreign.columns.iter().any(|at| !columns[*at].is_required);
            let all = self.rows(client, foreign.target);
            let pairs = || foreign.columns.iter().zip(&foreign.target_columns);
            let fits = |of: &&Vec<Value>| {
                pairs()
                    .all(|(at, target)| of[*target].is_some() && row.get(at).is_none_or(|value| *value == of[*target]))
            };
            let fitting: Vec<&Vec<Value>> = all.iter().filter(fits).collect();
            match random.pick(&fitting) {
                Some(of) if !(may_be_null && random.is(10)) => {
                    let of = pairs().map(|(at, target)| (*at, of[*target].clone())).collect::<Vec<_>>();
                    row.extend(of);
                }
                _ if may_be_null => {
                    let free = foreign.columns.iter().filter(|at| !columns[**at].is_required);
                    let free: Vec<usize> = free.copied().filter(|at| !row.contains_key(at)).collect();
                    row.extend(free.into_iter().map(|at| (at, None)));
                }
                _ => return None,
            }
        }
        // What Postgres computes is not ours to say.
        row.retain(|at, _| !facts.tables[place].columns[*at].is_generated);
        Some(row)
    }
}

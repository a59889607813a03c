//! What is asked of a table: by its key, by other unique columns, lists by what its rows refer to, what refers to them, the latest.

use std::collections::BTreeSet;

use super::choose::{Chosen, Table};
use super::facts::{Column, Sort};
use super::names::{self, Taken};
use super::parents::{self, is_secret};
use super::select::Select;
use super::types::{is_citext, passed, why_inexact};
use super::write;
use crate::core::calls::pattern::CallPattern;
use crate::core::sql::spelling::as_needed;
use crate::core::sql::template::Template;
use crate::core::values::value::ScalarType;

/// Lists of one table, and queries by unique columns: of more, those that are wanted are written soon.
const MAX_LISTS: usize = 12;

/// Tables that are counted at once.
const MAX_COUNTS: usize = 8;

/// Rows of a list where its caller says nothing.
const ROWS: usize = 100;

/// Placeholders with a meaning of their own.
const RESERVED: [&str; 4] = ["tenant", "ids", "jobs", "row"];

/// Words with which optional groups begin, and those of queries beside.
const WORDS: [&str; 12] =
    ["meta", "tag", "queue", "fresh", "cached", "noblock", "raw", "limit", "after", "before", "counts", "recent"];

/// A query, as lines of the file.
pub(super) struct Query {
    about: String,
    call: String,
    is_single: bool,
    sql: String,
}

impl Query {
    pub fn text(&self, section: &str) -> String {
        let single = if self.is_single { "single = true\n" } else { "" };
        format!(
            "\n{}\n[[{section}.query]]\ncall   = {}\n{single}sql    = {}\n",
            write::comment(&self.about),
            write::quoted(&self.call),
            write::statement(&self.sql)
        )
    }

    /// Does it read as one?
    fn is_legal(&self) -> bool {
        let Ok(call) = CallPattern::parse(&self.call) else { return false };
        let known: Vec<&str> = call.args().iter().map(|arg| &*arg.name).collect();
        Template::parse(&self.sql, &known).is_ok()
    }
}

/// Queries of one of a table's sections.
pub(super) struct Queries<'a> {
    table: &'a Table<'a>,
    chosen: &'a Chosen<'a>,
    /// Whose values are the section's ids.
    id: &'a Column,
    is_main: bool,
    select: Select,
    words: Taken,
    queries: Vec<Query>,
    /// What was left out, and why.
    pub left_out: Vec<String>,
}

/// An argument of a call, and the value that a column is compared with.
struct Argument {
    word: String,
    declared: String,
    value: String,
    may_begin: bool,
}

impl<'a> Queries<'a> {
    /// Those of the section whose ids are values of the column.
    pub fn of(table: &'a Table<'a>, chosen: &'a Chosen<'a>, id: &'a Column) -> Queries<'a> {
        let select = Select::of(table, chosen, id);
        Queries {
            table,
            chosen,
            id,
            is_main: table.places[0].1.number == id.number,
            left_out: select.left_out.clone(),
            select,
            words: Taken::of(WORDS),
            queries: Vec::new(),
        }
    }

    /// All of them.
    pub fn written(mut self) -> (Vec<Query>, Vec<String>) {
        if self.is_main {
            self.by_key();
            self.by_unique();
            self.by_references();
            self.counts();
            self.recent();
        } else {
            self.by_id();
        }
        let (legal, illegal): (Vec<Query>, Vec<Query>) = self.queries.into_iter().partition(Query::is_legal);
        self.left_out.extend(
            illegal
                .into_iter()
                .map(|query| format!("{}: no call or statement can be written of its names", query.about)),
        );
        (legal, self.left_out)
    }

    fn is_one_key(&self) -> bool {
        self.table.key.len() == 1
    }

    /// None: no call can name such a value.
    fn argument(&self, column: &Column, taken: &mut Taken) -> Option<Argument> {
        let passed = passed(&column.ty)?;
        let name = taken.give(&names::argument(&column.name, &RESERVED));
        let scalar = passed.ty.scalar;
        Some(Argument {
            word: names::word(&column.name),
            declared: format!("{{{name}:{}}}", passed.ty),
            value: match &passed.cast {
                Some(cast) => format!("{{{name}}}::{cast}"),
                None => format!("{{{name}}}"),
            },
            may_begin: matches!(scalar, ScalarType::Int | ScalarType::Uuid | ScalarType::Date),
        })
    }

    /// The call, and the conditions, of values for some columns; `begins`: without a word, where it may.
    fn equal(&mut self, columns: &[&Column], begins: bool) -> Option<(String, Vec<String>)> {
        let mut arguments = Taken::of(["limit", "after", "before"]);
        let (mut call, mut conditions) = (Vec::new(), Vec::new());
        for (at, column) in columns.iter().enumerate() {
            let argument = self.argument(column, &mut arguments)?;
            if at > 0 {
                // A word that begins no group.
                call.push(Taken::of(WORDS).give(&argument.word));
            } else if !(begins && argument.may_begin) {
                // Two columns may read alike without their `_id`.
                let own = names::section(&column.name);
                let is_free = !self.words.has(&argument.word) && !argument.word.is_empty();
                call.push(self.words.give(if is_free { &argument.word } else { &own }));
            }
            conditions.push(column.equal(&self.select.own(column), &argument.value));
            call.push(argument.declared);
        }
        Some((call.join(" "), conditions))
    }

    fn push(&mut self, about: String, call: String, is_single: bool, sql: String) {
        self.queries.push(Query { about, call, is_single, sql });
    }

    fn by_key(&mut self) {
        let key = self.table.key.clone();
        if let Some((call, conditions)) = self.equal(&key, true) {
            let about = format!("One by its key{}", self.select.with_names());
            let sql = self.select.text(&conditions, "");
            self.push(about, call, true, sql);
        }
        if !self.is_one_key() {
            self.by_id();
        }
    }

    /// Rows that share the section's id.
    fn by_id(&mut self) {
        let id = self.id;
        self.list(&[id], true);
    }

    /// May rows be found by values of the column, and only those be dropped that a change concerns?
    fn is_exact(&self, column: &Column) -> bool {
        column.rights.select && passed(&column.ty).is_some_and(|passed| passed.is_exact)
    }

    fn by_unique(&mut self) {
        let key: BTreeSet<i16> = self.table.key.iter().map(|column| column.number).collect();
        let mut known = BTreeSet::from([key]);
        let mut count = 0;
        for unique in &self.table.relation.keys {
            let numbers: BTreeSet<i16> = unique.columns.iter().copied().collect();
            let columns: Option<Vec<&Column>> =
                unique.columns.iter().map(|number| self.table.relation.column(*number)).collect();
            let Some(columns) = columns.filter(|_| known.insert(numbers.clone())) else { continue };
            if !self.is_one_key() && !numbers.contains(&self.id.number) {
                continue;
            }
            if columns.iter().any(|column| is_secret(&column.name)) {
                continue;
            }
            let name: Vec<&str> = columns.iter().map(|column| &*column.name).collect();
            let name = name.join(", ");
            let is_known = |column: &&Column| self.is_exact(column) || (column.rights.select && is_citext(&column.ty));
            if !columns.iter().all(is_known) {
                self.left_out.push(format!("one by {name}: {}", why_inexact(&columns)));
                continue;
            }
            count += 1;
            if count > MAX_LISTS {
                self.left_out.push(format!("one by {name}: more than {MAX_LISTS} unique keys"));
                continue;
            }
            if let Some((call, conditions)) = self.equal(&columns, false) {
                let note = match columns.iter().any(|column| is_citext(&column.ty)) {
                    true => "; any change of the table counts, for bear compares no citext",
                    false => "",
                };
                let about = format!("One by {name}{}{note}", self.select.with_names());
                let sql = self.select.text(&conditions, "");
                self.push(about, call, true, sql);
            }
        }
    }

    /// Lists by what rows refer to.
    fn by_references(&mut self) {
        if !self.is_one_key() {
            return;
        }
        let unique: BTreeSet<BTreeSet<i16>> =
            self.table.relation.keys.iter().map(|key| key.columns.iter().copied().collect()).collect();
        let mut known: BTreeSet<&[i16]> = BTreeSet::new();
        for key in &self.table.relation.foreign_keys {
            let numbers: BTreeSet<i16> = key.columns.iter().copied().collect();
            let columns: Option<Vec<&Column>> =
                key.columns.iter().map(|number| self.table.relation.column(*number)).collect();
            let Some(columns) = columns.filter(|_| !unique.contains(&numbers)) else { continue };
            if !known.insert(&key.columns) {
                continue;
            }
            let name: Vec<&str> = columns.iter().map(|column| &*column.name).collect();
            let name = name.join(", ");
            if !columns.iter().all(|column| self.is_exact(column)) {
                self.left_out.push(format!("those by {name}: {}", why_inexact(&columns)));
            } else if known.len() > MAX_LISTS {
                self.left_out.push(format!("those by {name}: more than {MAX_LISTS} lists"));
            } else {
                self.list(&columns, false);
            }
        }
    }

    /// Rows with these values, in the order of the key.
    fn list(&mut self, columns: &[&Column], begins: bool) {
        let Some((mut call, mut conditions)) = self.equal(columns, begins) else { return };
        let rest: Vec<&Column> = self
            .table
            .key
            .iter()
            .copied()
            .filter(|column| columns.iter().all(|of| of.number != column.number))
            .collect();
        let order: Vec<String> = rest.iter().map(|column| self.select.own(column)).collect();
        if let [only] = rest[..] {
            if let Some((group, condition)) = self.beyond(only, "after", ">") {
                call += &group;
                conditions.push(condition);
            }
        }
        // An argument of its own, so that the bound of a full page can be derived.
        call += &limit();
        let names: Vec<&str> = columns.iter().map(|column| &*column.name).collect();
        let is_indexed = columns.iter().any(|column| self.table.relation.indexed.contains(&column.number));
        let note = if is_indexed { "" } else { "; no index begins with it, so that each miss reads the whole table" };
        let about = format!("Those of one {}{}{note}", names.join(", "), self.select.with_names());
        let order = if order.is_empty() { String::new() } else { format!("ORDER BY {} ", order.join(", ")) };
        let sql = self.select.text(&conditions, &format!("{order}LIMIT {{limit}}"));
        self.push(about, call, false, sql);
    }

    /// An optional group that goes on from a value of the key, and its condition; None: its order is not that of calls.
    fn beyond(&self, column: &Column, word: &str, sign: &str) -> Option<(String, String)> {
        let passed = passed(&column.ty)?;
        let has_order = matches!(
            passed.ty.scalar,
            ScalarType::Int
                | ScalarType::Numeric
                | ScalarType::Date
                | ScalarType::Timestamp
                | ScalarType::TimestampTz
                | ScalarType::Uuid
        );
        let is_own = passed.cast.is_none() && !passed.ty.array && column.ty.sort == Sort::Base && passed.is_exact;
        if !has_order || !is_own {
            return None;
        }
        let group = format!(" [{word} {{{word}:{}}}]", passed.ty);
        Some((group, format!("({{{word}}} IS NULL OR {} {sign} {{{word}}})", self.select.own(column))))
    }

    /// The key, and the name that the section demands of it.
    fn shown_key(&self, key: &Column) -> (String, String) {
        let name = if self.table.is_derived() { names::shown(&key.name) } else { "id" };
        let own = self.select.own(key);
        match *key.name == *name {
            true => (own, name.to_owned()),
            false => (format!("{own} AS {}", as_needed(name)), name.to_owned()),
        }
    }

    /// How many rows of other tables refer to one.
    fn counts(&mut self) {
        let [key] = self.table.key[..] else { return };
        if !self.is_exact(key) {
            return;
        }
        let mut aliases = Taken::of([&*self.select.alias]);
        let (shown_key, key_name) = self.shown_key(key);
        let mut shown = Taken::of([&*key_name]);
        let mut counts = Vec::new();
        let mut counted = Vec::new();
        for child in parents::children(self.table, self.chosen) {
            let &[number] = &*child.key.columns else { continue };
            let Some(column) = child.table.relation.column(number) else { continue };
            let is_told = child.table.key.len() == 1 || child.table.places.iter().any(|(_, of)| of.number == number);
            if !is_told || !self.is_exact(column) {
                continue;
            }
            if !child.table.relation.indexed.contains(&number) {
                self.left_out.push(format!(
                    "the count of {} by {}: no index begins with it",
                    child.table.relation.sql_name(),
                    column.name
                ));
                continue;
            }
            if counts.len() == MAX_COUNTS {
                self.left_out.push(format!("the count of {}: more than {MAX_COUNTS}", child.table.relation.sql_name()));
                continue;
            }
            let alias = aliases.give(&names::alias(&child.table.relation.name));
            let usual = names::section(&format!("{}_count", child.table.section));
            let usual = names::shown(&usual);
            let name = match shown.has(usual) {
                true => {
                    let by = names::word(&column.name);
                    let longer = names::section(&format!("{}_by_{by}_count", child.table.section));
                    shown.give(names::shown(&longer))
                }
                false => shown.give(usual),
            };
            let name = as_needed(&name);
            counts.push(format!(
                "(SELECT count(*) FROM {} {alias} WHERE {alias}.{} = {}) AS {name}",
                child.table.relation.sql_name(),
                as_needed(&column.name),
                self.select.own(key)
            ));
            counted.push(child.table.relation.sql_name());
        }
        let Some(argument) = self.argument(key, &mut Taken::default()).filter(|_| !counts.is_empty()) else { return };
        let call = match argument.may_begin {
            true => format!("{} counts", argument.declared),
            false => format!("counts {}", argument.declared),
        };
        let sql = format!(
            "SELECT {},\n                   {}\n            FROM {} {} WHERE {} = {}",
            shown_key,
            counts.join(",\n                   "),
            self.table.relation.sql_name(),
            self.select.alias,
            self.select.own(key),
            argument.value
        );
        counted.dedup();
        self.push(format!("How many refer to one: {}", counted.join(", ")), call, true, sql);
    }

    /// The latest, or the first, by the key.
    fn recent(&mut self) {
        let [key] = self.table.key[..] else { return };
        let is_drawn = key.sequence.is_some() || key.ty.base != 2950;
        let (word, about, sign, order) = match (self.beyond(key, "before", "<"), is_drawn) {
            (Some(_), true) => ("before", "The last by the key, or those before one", "<", " DESC"),
            _ => ("after", "The first by the key, or those after one", ">", ""),
        };
        let (group, conditions) = match self.beyond(key, word, sign) {
            Some((group, condition)) => (group, vec![condition]),
            None => (String::new(), Vec::new()),
        };
        let note =
            if group.is_empty() { "; any that comes or changes counts, for bear compares no such order" } else { "" };
        let about = format!("{about}{}{note}", self.select.with_names());
        let sql = self.select.text(&conditions, &format!("ORDER BY {}{order} LIMIT {{limit}}", self.select.own(key)));
        let call = format!("{}{group}{}", if order.is_empty() { "first" } else { "recent" }, limit());
        self.push(about, call, false, sql);
    }
}

/// The last argument of a list.
fn limit() -> String {
    format!(" [limit {{limit:int={ROWS}}}]")
}

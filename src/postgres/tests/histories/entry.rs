//! A cached answer as the rules keep it: the values that its rows had when it was filled, and whether a change concerns it.

use std::collections::{BTreeMap, BTreeSet};

use super::shop::{literal, Change, Row, Shop};
use crate::core::derive::evaluate::Value;
use crate::core::derive::facts::Family;
use crate::core::derive::{Count, Derived, Key, Link, Reads, Rule, Source};

/// A statement, prepared in Postgres under its name.
pub(super) struct Statement {
    pub name: String,
    pub prepared: String,
    pub sql: String,
    /// A letter for each argument.
    pub letters: String,
    pub derived: Derived,
}

pub(super) struct Entry {
    pub statement: usize,
    pub args: Vec<Value>,
    pub answer: Vec<String>,
    /// Of an occurrence's column.
    values: BTreeMap<(usize, i16), BTreeSet<String>>,
    /// The same, of the result's own rows.
    shown: BTreeMap<(usize, i16), BTreeSet<String>>,
    /// The keys of a full page's last row.
    last: Option<Vec<(u8, f64)>>,
}

/// Answers a statement's text with arguments put in; None where Postgres refuses it.
pub(super) type Ask<'a> = dyn FnMut(&str) -> Option<Vec<Vec<Option<String>>>> + 'a;

impl Entry {
    pub fn new(statement: usize, args: Vec<Value>) -> Entry {
        Entry { statement, args, answer: Vec::new(), values: BTreeMap::new(), shown: BTreeMap::new(), last: None }
    }

    pub fn fill(&mut self, statement: &Statement, shop: &Shop, answer: Vec<String>, ask: &mut Ask) {
        self.answer = answer;
        self.values.clear();
        self.shown.clear();
        let derived = &statement.derived;
        let sql = with_args(&statement.sql, &self.args);
        for (occurrence, source) in &derived.sources {
            for (column, values) in self.values_of(source, &sql, ask) {
                self.values.insert((*occurrence, column), values);
            }
        }
        self.last = self.last_of_page(statement, shop, &sql, ask);
        for rule in &derived.rules {
            for link in rule.links.iter().filter(|link| link.of_result) {
                let Some(linked) = derived.rules.iter().find(|rule| rule.occurrence == link.occurrence) else {
                    continue;
                };
                let name = shop.table(linked.relation).columns[usize::try_from(link.of).unwrap() - 1];
                if let Some(rows) = shown(&sql, &linked.alias, &[name], ask) {
                    let values = rows.into_iter().map(|mut row| row.remove(0).unwrap_or_default());
                    self.shown.insert((link.occurrence, link.of), values.collect());
                }
            }
            let table = shop.table(rule.relation);
            let rows: Vec<&Row> = table.rows.values().filter(|row| self.meets(rule, derived, row)).collect();
            for column in 0..table.columns.len() {
                let values = rows.iter().map(|row| spelled(&row[column])).collect();
                self.values.insert((rule.occurrence, i16::try_from(column).unwrap() + 1), values);
            }
        }
    }

    /// Holds what the result is said to show of its rows against what it shows; how many columns there were to look at.
    pub fn check_shown(&self, statement: &Statement, ask: &mut Ask) -> usize {
        let shown = &statement.derived.shown;
        let sql = with_args(&statement.sql, &self.args);
        let mut looked_at = 0;
        for (name, columns) in &shown.columns {
            let whole = columns.iter().filter(|(occurrence, _)| shown.whole.contains(occurrence));
            // One of two columns of a name cannot be asked for.
            let Some(rows) = ask(&format!("select result.\"{name}\"::text from ({sql}) result")) else { continue };
            let lists: Vec<String> = rows.into_iter().filter_map(|mut row| row.remove(0)).collect();
            let listed: BTreeSet<&str> =
                lists.iter().flat_map(|list| list.trim_matches(['{', '}']).split(',')).collect();
            for place in whole {
                let Some(values) = self.values.get(place) else { continue };
                let is_told = |value: &&String| !value.is_empty() && *value != "true" && *value != "false";
                let missing = values.iter().filter(is_told).find(|value| !listed.contains(value.as_str()));
                assert_eq!(missing, None, "{name} shows not all of {place:?}: {sql}");
                looked_at += 1;
            }
        }
        looked_at
    }

    fn values_of(&self, source: &Source, sql: &str, ask: &mut Ask) -> Vec<(i16, BTreeSet<String>)> {
        let rows: Vec<Vec<String>> = match source {
            Source::Values(rows) => rows
                .iter()
                .map(|row| row.iter().map(|value| spelled(&value.value(&[], &self.args, Family::Text))).collect())
                .collect(),
            Source::Unnest(array) => match array.value(&[], &self.args, Family::Text) {
                Value::List(values) => values.iter().map(|value| vec![spelled(value)]).collect(),
                _ => Vec::new(),
            },
            Source::Recursion(name) => {
                let rows = ask(&finished(sql, name)).expect("the recursion alone");
                rows.into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect()).collect()
            }
        };
        // An empty recursion has columns all the same.
        (0..20)
            .map(|column| {
                let values = rows.iter().filter_map(|row| row.get(column).cloned());
                (i16::try_from(column).unwrap() + 1, values.collect())
            })
            .collect()
    }

    fn last_of_page(&self, statement: &Statement, shop: &Shop, sql: &str, ask: &mut Ask) -> Option<Vec<(u8, f64)>> {
        let derived = &statement.derived;
        let page = derived.page.as_ref()?;
        let rule = derived.rules.iter().find(|rule| rule.occurrence == page.occurrence)?;
        let columns = shop.table(rule.relation).columns;
        let names: Vec<&str> = page.keys.iter().map(|key| columns[usize::try_from(key.column).unwrap() - 1]).collect();
        let rows = shown(sql, &rule.alias, &names, ask)?;
        let limit = match page.limit {
            Count::Constant(count) => usize::try_from(count).unwrap(),
            Count::Argument(number) => literal(&self.args[usize::from(number) - 1]).parse().unwrap(),
        };
        let last = rows.last().filter(|_| rows.len() >= limit)?;
        let key = |(text, key): (&Option<String>, &Key)| {
            let value = match text.as_deref() {
                None => Value::Null,
                Some(text @ ("t" | "f")) => Value::Bool(text == "t"),
                Some(text) => Value::Number(text.parse().unwrap()),
            };
            sort_key(&value, key)
        };
        Some(last.iter().zip(&page.keys).map(key).collect())
    }

    fn meets(&self, rule: &Rule, derived: &Derived, row: &Row) -> bool {
        rule.local.iter().all(|condition| condition.holds(row, &self.args) == Some(true))
            && rule.links.iter().all(|link| self.is_linked(link, row))
            && !self.is_beyond(rule, derived, row)
    }

    fn is_linked(&self, link: &Link, row: &Row) -> bool {
        let value = &row[usize::try_from(link.column).unwrap() - 1];
        let place = (link.occurrence, link.of);
        let shown = link.of_result.then(|| self.shown.get(&place)).flatten();
        let values = shown.or_else(|| self.values.get(&place)).expect("the values of what is linked");
        *value != Value::Null && values.contains(&spelled(value))
    }

    /// Whether the row sorts after the last one of a full page.
    fn is_beyond(&self, rule: &Rule, derived: &Derived, row: &Row) -> bool {
        let (Some(last), Some(page)) = (&self.last, &derived.page) else { return false };
        let key = |key: &Key| sort_key(&row[usize::try_from(key.column).unwrap() - 1], key);
        page.occurrence == rule.occurrence && page.keys.iter().map(key).collect::<Vec<_>>() > *last
    }

    pub fn is_concerned(&self, derived: &Derived, change: &Change) -> bool {
        let mut rules = derived.rules.iter().filter(|rule| rule.relation == change.relation);
        rules.any(|rule| {
            if let (Some(old), Some(new)) = (&change.old, &change.new) {
                let is_same = |column: &i16| {
                    let index = usize::try_from(*column).unwrap() - 1;
                    old[index] == new[index]
                };
                let is_unread = match &rule.reads {
                    Reads::Columns(columns) => columns.iter().all(is_same),
                    Reads::Row => old == new,
                    Reads::Anything => false,
                };
                if is_unread {
                    return false;
                }
            }
            [&change.old, &change.new].into_iter().flatten().any(|row| self.meets(rule, derived, row))
        })
    }
}

fn sort_key(value: &Value, key: &Key) -> (u8, f64) {
    match value {
        Value::Number(number) => (1, if key.is_descending { -number } else { *number }),
        Value::Bool(value) => (1, f64::from(u8::from(*value != key.is_descending))),
        _ => (if key.nulls_first { 0 } else { 2 }, 0.0),
    }
}

/// As Postgres writes it, so that values of both are compared as texts.
fn spelled(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Null => String::new(),
        value => literal(value),
    }
}

/// The arguments in the places of `$1`, …; each has its cast behind it.
pub(super) fn with_args(sql: &str, args: &[Value]) -> String {
    let numbered = args.iter().enumerate().rev();
    numbered.fold(sql.to_owned(), |sql, (i, arg)| sql.replace(&format!("${}", i + 1), &literal(arg)))
}

/// Columns of the result's own rows, in their order; None where this cannot write the statement.
fn shown(sql: &str, alias: &str, columns: &[&str], ask: &mut Ask) -> Option<Vec<Vec<Option<String>>>> {
    let lower = sql.to_lowercase();
    if !lower.starts_with("select ") || lower.starts_with("select distinct") {
        return None;
    }
    let mut depth = 0;
    let from = lower.char_indices().find(|(i, c)| {
        depth += i32::from(*c == '(') - i32::from(*c == ')');
        depth == 0 && lower[*i..].starts_with(" from ")
    });
    let columns = columns.iter().map(|column| format!("\"{alias}\".{column}")).collect::<Vec<_>>().join(", ");
    ask(&format!("select {columns}{}", &sql[from?.0..]))
}

/// The statement that answers what a recursive WITH of `sql` holds.
fn finished(sql: &str, name: &str) -> String {
    let lower = sql.to_lowercase();
    let named = lower.find(&format!("{name} as (")).or_else(|| lower.find(&format!("{name}(")));
    let named = named.or_else(|| lower.find(name)).expect("the WITH");
    let start = named + lower[named..].find("as (").expect("its query") + "as (".len();
    let mut depth = 1;
    let end = lower[start..].char_indices().find(|(_, c)| {
        depth += i32::from(*c == '(') - i32::from(*c == ')');
        depth == 0
    });
    format!("{} select * from {name}", &sql[..=start + end.expect("its end").0])
}

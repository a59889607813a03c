//! Rows for the copy: parents before their children, drawn again where a constraint refuses one.

use std::collections::{BTreeMap, BTreeSet};

use postgres::error::SqlState;
use postgres::Client;

use crate::support::Random;

use super::data::{Data, Row};
use super::facts::{Facts, Table};
use super::sql::{said, tokens, Token, Value};

/// Rows of a table that queries read, and of the others that these need.
const ROWS: usize = 24;
const ROWS_BESIDE: usize = 8;

/// So often a row is drawn again before a table is given up.
const TRIES: usize = 40;

/// What could not be filled, and why.
pub type Empty = BTreeMap<usize, String>;

/// Tables that are to have rows: those read, and what they refer to. Parents come first, as far as there is an order.
pub fn order(facts: &Facts, read: &BTreeSet<usize>) -> Vec<usize> {
    fn visit(facts: &Facts, place: usize, seen: &mut BTreeSet<usize>, order: &mut Vec<usize>) {
        if !seen.insert(place) {
            return;
        }
        for foreign in &facts.tables[place].foreign {
            visit(facts, foreign.target, seen, order);
        }
        order.push(place);
    }
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    read.iter().for_each(|place| visit(facts, *place, &mut seen, &mut order));
    order
}

pub fn fill(
    client: &mut Client,
    data: &mut Data,
    order: &[usize],
    read: &BTreeSet<usize>,
    random: &mut Random,
) -> Empty {
    start_sequences_high(client);
    let mut empty = Empty::new();
    // Twice, so that what refers to later tables finds rows there.
    for pass in 0..2 {
        for place in order {
            let most = if read.contains(place) { ROWS } else { ROWS_BESIDE };
            let count = if pass == 0 { most / 2 } else { most - most / 2 };
            empty.remove(place);
            if data.rows(client, *place).is_empty() {
                first_of_cycle(client, data, *place, random);
            }
            for _ in 0..count {
                if let Err(why) = insert(client, data, *place, random) {
                    if data.rows(client, *place).is_empty() {
                        empty.insert(*place, why);
                    }
                    break;
                }
            }
        }
    }
    empty
}

/// Rows that jobs make get other ids than those that are drawn.
fn start_sequences_high(client: &mut Client) {
    let sql = "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind = 'S' AND nspname <> 'bear'";
    for row in super::sql::rows(client, sql).unwrap_or_default() {
        let Some(name) = &row[0] else { continue };
        // One that ends before stays as it is.
        let _ = client.batch_execute(&format!("SELECT setval({}, 1000)", super::sql::quote(name)));
    }
}

fn insert(client: &mut Client, data: &mut Data, place: usize, random: &mut Random) -> Result<(), String> {
    let table = &data.facts.tables[place];
    let Some(mut row) = data.row(client, place, random) else {
        return Err("it needs a row of a table that has none".to_owned());
    };
    let mut why = String::new();
    for _ in 0..TRIES {
        let values: Vec<(usize, Value)> = row.iter().map(|(at, value)| (*at, value.clone())).collect();
        let error = match client.batch_execute(&table.insert(&values)) {
            Ok(()) => {
                data.forget_table(place);
                return Ok(());
            }
            Err(error) => error,
        };
        why = said(&error);
        match blamed(table, &error) {
            Some(columns) => columns.into_iter().for_each(|at| match data.column(table, place, at, random) {
                Some(value) => drop(row.insert(at, value)),
                None => drop(row.remove(&at)),
            }),
            None => row = data.row(client, place, random).unwrap_or(row),
        }
    }
    Err(why)
}

/// Columns that another value may help; None: all of them.
fn blamed(table: &Table, error: &postgres::Error) -> Option<BTreeSet<usize>> {
    let error = error.as_db_error()?;
    let by_name = |name: &str| table.columns.iter().position(|column| column.name == name);
    let columns: BTreeSet<usize> = if *error.code() == SqlState::NOT_NULL_VIOLATION {
        error.column().and_then(by_name).into_iter().collect()
    } else if *error.code() == SqlState::UNIQUE_VIOLATION {
        let (_, columns) = table.unique.iter().find(|(name, _)| Some(&**name) == error.constraint())?;
        columns.iter().copied().collect()
    } else if *error.code() == SqlState::CHECK_VIOLATION {
        let check = table.checks.iter().find(|(name, _)| Some(&**name) == error.constraint());
        let (_, check) = check.or_else(|| table.checks.iter().find(|(name, _)| name.is_empty()))?;
        let names = tokens(check).into_iter().filter_map(|(token, ..)| match token {
            Token::Name(name) => by_name(&name),
            _ => None,
        });
        names.collect()
    } else {
        return None;
    };
    let refers = |at: &usize| table.foreign.iter().any(|foreign| foreign.columns.contains(at));
    (!columns.is_empty() && !columns.iter().any(refers)).then_some(columns)
}

/// Where tables refer to each other by columns that must not be NULL, all get their first rows by one statement.
fn first_of_cycle(client: &mut Client, data: &mut Data, place: usize, random: &mut Random) {
    let facts = data.facts;
    let mut members = vec![place];
    let mut next = 0;
    while let Some(member) = members.get(next).copied() {
        next += 1;
        for foreign in &facts.tables[member].foreign {
            let must = foreign.columns.iter().all(|at| facts.tables[member].columns[*at].is_required);
            if must && !members.contains(&foreign.target) && data.rows(client, foreign.target).is_empty() {
                members.push(foreign.target);
            }
        }
    }
    let refers_within =
        |member: &usize| facts.tables[*member].foreign.iter().any(|foreign| members.contains(&foreign.target));
    if !members.iter().any(refers_within) {
        return;
    }
    for _ in 0..TRIES {
        let rows = rows_of_cycle(client, data, &members, random);
        let insert =
            |member: &usize| facts.tables[*member].insert(&rows[member].clone().into_iter().collect::<Vec<_>>());
        let (first, others) = members.split_first().expect("it has one");
        let others: Vec<String> =
            others.iter().enumerate().map(|(n, member)| format!("i{n} AS ({})", insert(member))).collect();
        let with = if others.is_empty() { String::new() } else { format!("WITH {} ", others.join(", ")) };
        if client.batch_execute(&format!("{with}{}", insert(first))).is_ok() {
            break;
        }
    }
    data.forget();
}

/// A row of each, that refer to each other.
fn rows_of_cycle(client: &mut Client, data: &mut Data, members: &[usize], random: &mut Random) -> BTreeMap<usize, Row> {
    let facts = data.facts;
    let mut rows: BTreeMap<usize, Row> = BTreeMap::new();
    for member in members {
        let table = &facts.tables[*member];
        let columns = (0..table.columns.len()).filter(|at| !table.columns[*at].is_generated);
        rows.insert(*member, columns.map(|at| (at, data.draw(*member, at, random))).collect());
    }
    // Twice: a column that refers may be referred to.
    for _ in 0..2 {
        for member in members {
            for foreign in &facts.tables[*member].foreign {
                let of_target: Option<Vec<Value>> = match rows.get(&foreign.target) {
                    Some(row) => Some(foreign.target_columns.iter().map(|at| row.get(at).cloned().flatten()).collect()),
                    None => {
                        let all = data.rows(client, foreign.target);
                        random.pick(&all).map(|row| foreign.target_columns.iter().map(|at| row[*at].clone()).collect())
                    }
                };
                let values = of_target.unwrap_or_else(|| vec![None; foreign.columns.len()]);
                let row = rows.get_mut(member).expect("each has one");
                foreign.columns.iter().zip(values).for_each(|(at, value)| drop(row.insert(*at, value)));
            }
        }
    }
    rows
}

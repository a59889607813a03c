//! Random changes of rows, as a psql session and the catalog's jobs make them.

use std::collections::BTreeSet;

use postgres::Client;

use crate::support::Random;

use super::calls::shell;
use super::catalog::Job;
use super::data::{mentioned, Data, Row};
use super::facts::Facts;
use super::sql::{literal, quote, quote_name, Value};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Statements of one transaction; the last is COMMIT or ROLLBACK.
    Transaction(Vec<String>),
    Job {
        space: String,
        name: String,
        data: String,
    },
}

impl Step {
    /// Statements that change something.
    pub fn weight(&self) -> usize {
        match self {
            Step::Transaction(statements) => statements.iter().filter(|sql| !is_bracket(sql)).count(),
            Step::Job { .. } => 1,
        }
    }

    pub fn sql(&self) -> Option<String> {
        let Step::Transaction(statements) = self else { return None };
        match self.weight() == 1 && statements.last().is_some_and(|last| last == "COMMIT") {
            true => Some(format!("{};", statements.iter().find(|sql| !is_bracket(sql))?)),
            false => Some(format!("BEGIN; {};", statements.join("; "))),
        }
    }

    pub fn line(&self) -> Option<String> {
        let Step::Job { space, name, data } = self else { return None };
        Some(format!("redis-cli BEAR.ENQUEUE {} {name} {} ATTEMPTS 1 BLOCK 0", shell(space), shell(data)))
    }
}

/// Transactions are made of these, and nothing is changed by them alone.
pub fn is_bracket(sql: &str) -> bool {
    ["COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE"].iter().any(|word| sql.starts_with(word))
}

/// What may be changed, the tables that queries read before all.
pub struct Changer {
    read: Vec<usize>,
    beside: Vec<usize>,
    /// Tables and columns whose values stay.
    kept: BTreeSet<(usize, usize)>,
}

impl Changer {
    /// `order`: tables that have rows; `held`: those whose changes the feed says that it does not tell; `kept`: columns of which it
    /// does not tell what they were.
    pub fn new(
        order: &[usize],
        read: &BTreeSet<usize>,
        held: &BTreeSet<usize>,
        kept: BTreeSet<(usize, usize)>,
    ) -> Changer {
        let (read, beside) = order.iter().filter(|place| !held.contains(place)).partition(|place| read.contains(place));
        Changer { read, beside, kept }
    }

    pub fn transaction(&self, client: &mut Client, data: &mut Data, random: &mut Random) -> Option<Step> {
        let count = [1, 1, 1, 2, 2, 3, 4][random.below(7)];
        let mut statements: Vec<String> = (0..count).filter_map(|_| self.statement(client, data, random)).collect();
        if statements.is_empty() {
            return None;
        }
        match random.below(20) {
            0 => statements.push("ROLLBACK".to_owned()),
            1 if statements.len() > 1 => {
                let at = random.below(statements.len() - 1) + 1;
                statements.insert(at, "SAVEPOINT one".to_owned());
                statements.extend(["ROLLBACK TO one".to_owned(), "COMMIT".to_owned()]);
            }
            _ => statements.push("COMMIT".to_owned()),
        }
        Some(Step::Transaction(statements))
    }

    fn statement(&self, client: &mut Client, data: &mut Data, random: &mut Random) -> Option<String> {
        let of =
            if self.beside.is_empty() || (random.is(88) && !self.read.is_empty()) { &self.read } else { &self.beside };
        let place = *random.pick(of)?;
        let table = &data.facts.tables[place];
        let rows = data.rows(client, place);
        if random.is(1) && random.is(60) {
            return Some(format!("TRUNCATE {} CASCADE", table.quoted()));
        }
        let Some(row) = random.pick(&rows).filter(|_| random.is(72)) else {
            let row = data.row(client, place, random)?;
            return Some(table.insert(&row.into_iter().collect::<Vec<_>>()));
        };
        let condition = table.condition(row);
        if random.is(16) {
            return Some(format!("DELETE FROM {} WHERE {condition}", table.quoted()));
        }
        let sets = self.sets(client, data, place, row, random)?;
        // Of several rows now and then: those that have a value in common.
        let condition = match (random.is(6), random.below(row.len())) {
            (true, at) if !table.key.contains(&at) && sets.keys().all(|set| !table.key.contains(set)) => {
                let name = quote_name(&table.columns[at].name);
                row[at]
                    .as_ref()
                    .map_or_else(|| format!("{name} IS NULL"), |text| format!("{name}::text = {}", quote(text)))
            }
            _ => condition,
        };
        let set =
            |(at, value): (&usize, &Value)| format!("{} = {}", quote_name(&table.columns[*at].name), literal(value));
        Some(format!(
            "UPDATE {} SET {} WHERE {condition}",
            table.quoted(),
            sets.iter().map(set).collect::<Vec<_>>().join(", ")
        ))
    }

    /// One column, a foreign key's columns together, or two.
    fn sets(
        &self,
        client: &mut Client,
        data: &mut Data,
        place: usize,
        row: &[Value],
        random: &mut Random,
    ) -> Option<Row> {
        let table = &data.facts.tables[place];
        let open = |at: &usize| {
            let column = &table.columns[*at];
            !column.is_generated && !column.is_always_identity && !table.key.contains(at)
        };
        let mut candidates: Vec<usize> = (0..table.columns.len()).filter(open).collect();
        if candidates.is_empty() || random.is(4) {
            candidates = (0..table.columns.len()).filter(|at| !table.columns[*at].is_generated).collect();
        }
        let mut sets = Row::new();
        for _ in 0..if random.is(20) { 2 } else { 1 } {
            let at = *random.pick(&candidates)?;
            let moved = table.foreign.iter().find(|foreign| foreign.columns.contains(&at));
            match moved {
                Some(foreign) => {
                    let other = data.row(client, place, random)?;
                    let columns = foreign.columns.iter().filter(|at| !table.columns[**at].is_generated);
                    sets.extend(columns.filter_map(|at| Some((*at, other.get(at)?.clone()))));
                }
                None => {
                    let all = data.rows(client, place);
                    // What another row has meets more than what nobody has.
                    let value = match random.pick(&all).filter(|_| random.is(40)) {
                        Some(other) => other[at].clone(),
                        None => data.column(table, place, at, random)?,
                    };
                    sets.insert(at, value);
                }
            }
        }
        sets.retain(|at, _| !self.kept.contains(&(place, *at)));
        // An UPDATE that changes nothing is made, too, but seldom.
        let is_same = sets.iter().all(|(at, value)| row[*at] == *value);
        (!sets.is_empty() && (!is_same || random.is(10))).then_some(sets)
    }
}

/// Draws the payloads of a job: values of columns of its fields' names.
pub struct Enqueuer {
    job: Job,
    columns: Vec<(String, Vec<(usize, usize)>)>,
    tables: BTreeSet<usize>,
}

impl Enqueuer {
    pub fn new(facts: &Facts, job: &Job) -> Enqueuer {
        let tables = mentioned(facts, &job.sql);
        let tenant = job.tenant.iter().filter_map(|(_, column)| column.clone());
        let names = job.data.iter().map(|(name, _)| name.clone()).chain(tenant);
        let columns = names.map(|name| {
            let of = |place: &usize| {
                Some((*place, facts.tables[*place].columns.iter().position(|column| column.name == name)?))
            };
            (name.clone(), tables.iter().filter_map(of).collect())
        });
        Enqueuer { job: job.clone(), columns: columns.collect(), tables }
    }

    pub fn tables(&self) -> &BTreeSet<usize> {
        &self.tables
    }

    pub fn draw(&self, client: &mut Client, data: &mut Data, random: &mut Random) -> Option<Step> {
        let mut object = serde_json::Map::new();
        for (name, kind) in &self.job.data {
            let (kind, is_optional) = kind.strip_suffix('?').map_or((&**kind, false), |kind| (kind, true));
            if is_optional && random.is(40) {
                continue;
            }
            object.insert(name.clone(), self.value(client, data, name, kind, random)?);
        }
        let mut space = self.job.space.clone();
        if let Some((_, column)) = &self.job.tenant {
            let tenant = self.text(client, data, column.as_deref()?, random)?;
            space = format!("{{{tenant}}}:{space}");
        }
        let data = serde_json::Value::Object(object).to_string();
        Some(Step::Job { space, name: self.job.name.clone(), data })
    }

    fn text(&self, client: &mut Client, data: &mut Data, name: &str, random: &mut Random) -> Value {
        let (_, columns) = self.columns.iter().find(|(known, _)| known == name)?;
        let (place, column) = *random.pick(columns)?;
        match random.is(if name == "id" { 92 } else { 50 }) {
            true => random.pick(&data.rows(client, place)).and_then(|row| row[column].clone()),
            false => data.draw(place, column, random),
        }
    }

    fn value(
        &self,
        client: &mut Client,
        data: &mut Data,
        name: &str,
        kind: &str,
        random: &mut Random,
    ) -> Option<serde_json::Value> {
        use serde_json::Value as Json;
        if let Some(kind) = kind.strip_suffix("[]") {
            let count = random.below(3);
            let values =
                (0..count).map(|_| self.value(client, data, name, kind, random)).collect::<Option<Vec<Json>>>();
            return values.map(Json::Array);
        }
        let text = self.text(client, data, name, random);
        Some(match kind {
            "int" => {
                let number = text.and_then(|text| text.parse::<i64>().ok());
                Json::from(number.unwrap_or_else(|| random.below(40) as i64 + 1))
            }
            "numeric" | "float" => {
                let number = text.and_then(|text| text.parse::<f64>().ok()).filter(|number| number.is_finite());
                serde_json::Number::from_f64(number.unwrap_or_else(|| random.below(12) as f64)).map(Json::Number)?
            }
            "bool" => Json::Bool(random.is(50)),
            "uuid" => Json::String(
                text.filter(|text| text.len() == 36)
                    .unwrap_or_else(|| format!("00000000-0000-4000-8000-{:012}", random.below(60) + 1)),
            ),
            "date" => Json::String(
                text.and_then(|text| text.get(..10).map(str::to_owned)).unwrap_or_else(|| "2030-01-01".to_owned()),
            ),
            "timestamp" | "timestamptz" => {
                let day =
                    text.and_then(|text| text.get(..10).map(str::to_owned)).unwrap_or_else(|| "2030-01-01".to_owned());
                Json::String(format!("{day}T10:00:00{}", if kind == "timestamp" { "" } else { "Z" }))
            }
            "json" => {
                text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_else(|| serde_json::json!({ "a": 1 }))
            }
            _ => Json::String(text.filter(|text| !text.is_empty()).unwrap_or_else(|| "red".to_owned())),
        })
    }
}

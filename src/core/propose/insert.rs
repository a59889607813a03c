//! The job that inserts a row. Its key is drawn before, where Postgres chooses it, for RETURNING tells no `n`: the job is joined back
//! by the key.

use std::collections::BTreeMap;

use super::defaults::{is_next_value, is_number, of_its_type};
use super::facts::{Column, Identity};
use super::job::{needs_text, renamed, Field, Job, Jobs};
use super::names::Taken;
use super::parents::is_secret;
use crate::core::sql::spelling::as_needed;

/// Does Postgres choose a value where none is said?
fn has_default(column: &&Column) -> bool {
    column.default.is_some() || column.identity != Identity::None
}

/// The job's result: what was drawn of the key, of several columns by their names.
fn result(drawn: &[&Column]) -> String {
    let own = |column: &Column| {
        let own = format!("added.{}", as_needed(&column.name));
        if needs_text(column) {
            format!("{own}::text")
        } else {
            own
        }
    };
    match drawn {
        [] => String::new(),
        [one] => format!(", {} AS result", own(one)),
        several => {
            let pairs = several.iter().map(|column| format!("'{}', {}", column.name.replace('\'', "''"), own(column)));
            format!(", json_build_object({}) AS result", pairs.collect::<Vec<_>>().join(", "))
        }
    }
}

/// A longer default is not repeated.
const MAX_DEFAULT: usize = 120;

#[derive(Default)]
struct Plan {
    /// The relation that the values are of.
    jobs: &'static str,
    data: Vec<(String, String)>,
    columns: Vec<String>,
    values: Vec<String>,
    /// What is worked out before, for ids are joined back by it.
    drawn: Vec<String>,
    /// Values of the key's columns.
    key: BTreeMap<i16, String>,
}

impl Jobs<'_> {
    pub fn insert(&self) -> Result<Option<Job>, &'static str> {
        let Plan { jobs, mut data, columns, values, drawn, key } = self.plan()?;
        let relation = self.relation();
        let returned: Vec<String> = self.table.key.iter().map(|column| as_needed(&column.name)).collect();
        let from = match drawn.is_empty() {
            true => "{jobs} job".to_owned(),
            false => "drawn".to_owned(),
        };
        let overriding = match self.table.key.iter().any(|column| column.identity == Identity::Always) {
            true => "OVERRIDING SYSTEM VALUE\n                 ",
            false => "",
        };
        let insert = format!(
            "added AS (INSERT INTO {relation} ({})\n                 {overriding}SELECT {}\n                 FROM {from} RETURNING {})",
            columns.join(", "),
            values.join(", "),
            returned.join(", ")
        );
        let with = match drawn.is_empty() {
            true => format!("WITH {insert}"),
            false => format!(
                "WITH drawn AS MATERIALIZED (SELECT job.*, {} FROM {{jobs}} job),\n               {insert}",
                drawn.join(", ")
            ),
        };
        let joins: Vec<String> = self
            .table
            .key
            .iter()
            .filter_map(|column| Some((column, key.get(&column.number)?)))
            .map(|(column, value)| column.equal(&format!("added.{}", as_needed(&column.name)), value))
            .collect();
        let joined = format!("{from} JOIN added ON {}", joins.join(" AND "));
        let chosen: Vec<&Column> = self.table.key.iter().copied().filter(has_default).collect();
        let result = result(&chosen);
        let told = match &self.table.places[..] {
            [(_, id)] => {
                let own = format!("added.{}", as_needed(&id.name));
                let own = if needs_text(id) { format!("{own}::text") } else { own };
                let id = renamed(&own, id);
                format!("SELECT {jobs}.n, {id}{result} FROM {joined}")
            }
            _ => {
                let told = self.ids(self.table, &format!("{jobs}.n{result}"), "added", &joined);
                told.join("\n          UNION ALL ")
            }
        };
        let names: Vec<&str> = chosen.iter().map(|column| &*column.name).collect();
        let about = match (chosen.len(), self.table.key.len()) {
            (0, _) => "Inserts one".to_owned(),
            (some, all) if some == all => "Inserts one; its key is drawn here, and is the job's result".to_owned(),
            _ => format!("Inserts one; of its key {} is drawn here, and is the job's result", names.join(", ")),
        };
        let order = self.order().filter(|order| data.iter().any(|(name, _)| name == order));
        data.sort_by_key(|(_, ty)| ty.ends_with('?'));
        Ok(Some(Job {
            name: "INSERT",
            about,
            notes: self.notes(&data),
            data,
            order,
            sql: format!("{with}\n          {told}"),
        }))
    }

    /// Which columns an INSERT fills, and with what.
    fn plan(&self) -> Result<Plan, &'static str> {
        let jobs = if self.table.key.iter().any(has_default) { "drawn" } else { "job" };
        let mut plan = Plan { jobs, ..Plan::default() };
        let mut taken = Taken::default();
        self.fields.values().for_each(|field| drop(taken.give(&field.name)));
        for column in &self.table.relation.columns {
            let is_key = self.is_key(column);
            let is_needed = column.refuses_null() && !column.is_generated && !has_default(&column);
            let field = self.fields.get(&column.number).filter(|_| column.rights.insert && !column.is_generated);
            let Some(field) = field else {
                match (is_key || is_needed, column.rights.insert) {
                    (true, false) => return Err("the role may not"),
                    (true, true) => return Err("no job can bring a value of a column that is needed"),
                    (false, _) => continue,
                }
            };
            if is_key && !column.rights.select {
                return Err("the role may not read its key");
            }
            if is_key {
                plan.columns.push(as_needed(&column.name));
                let value = match has_default(&column) {
                    true => self.draw(field, &mut taken, &mut plan)?,
                    false => {
                        plan.data.push(field.required());
                        field.value(jobs)
                    }
                };
                plan.values.push(value.clone());
                plan.key.insert(column.number, value);
                continue;
            }
            if column.identity == Identity::Always || (is_secret(&column.name) && !is_needed) {
                continue;
            }
            match (is_needed, &column.default) {
                (true, _) => {
                    plan.data.push(field.required());
                    plan.values.push(field.value(jobs));
                }
                (false, Some(default))
                    if default.len() <= MAX_DEFAULT && column.sequence.is_none() && column.ty.is_open =>
                {
                    let value = field.value(jobs);
                    let default = of_its_type(default, column);
                    plan.values
                        .push(format!("CASE WHEN {jobs}.data ? '{}' THEN {value} ELSE {default} END", field.name));
                    plan.data.push(field.optional());
                }
                (false, None) if column.identity == Identity::None => {
                    plan.data.push(field.optional());
                    plan.values.push(field.value(jobs));
                }
                _ => continue,
            }
            plan.columns.push(as_needed(&column.name));
        }
        Ok(plan)
    }

    /// A key's value that Postgres chooses.
    fn draw(&self, field: &Field, taken: &mut Taken, plan: &mut Plan) -> Result<String, &'static str> {
        let column = field.column;
        let drawn = taken.give(&format!("new_{}", field.name));
        let expression = match (&column.sequence, &column.default) {
            (Some(sequence), _) if !sequence.may_draw => {
                return Err("the role may not draw from the sequence of its key")
            }
            (Some(sequence), default) if default.as_deref().is_none_or(|default| is_next_value(default, column)) => {
                let name = match sequence.is_visible {
                    true => as_needed(&sequence.name),
                    false => format!("{}.{}", as_needed(&sequence.schema), as_needed(&sequence.name)),
                };
                let next = format!("nextval('{}')", name.replace('\'', "''"));
                if is_number(column) {
                    next
                } else {
                    format!("{next}::{}", column.ty.sql)
                }
            }
            (_, Some(default)) if column.ty.is_open => {
                plan.data.push(field.optional());
                format!("coalesce({}, {})", field.value("job"), of_its_type(default, column))
            }
            _ => return Err("nobody knows what its key is drawn from"),
        };
        plan.drawn.push(format!("{expression} AS {drawn}"));
        Ok(format!("drawn.{drawn}"))
    }
}

//! The jobs that change a row, and that delete one.

use super::cascades::Cascades;
use super::facts::{Column, Follows, Identity, Relation};
use super::job::{Field, Job, Jobs};
use super::parents::is_secret;
use super::tell::tell;
use crate::core::sql::spelling::as_needed;

impl Jobs<'_> {
    pub fn update(&self) -> Result<Option<Job>, &'static str> {
        let key = self.key_fields()?;
        let is_changed = |field: &&Field| {
            let column = field.column;
            column.rights.update && column.rights.select && !column.is_generated && column.identity != Identity::Always
        };
        let fields: Vec<&Field> = self
            .fields
            .values()
            .filter(|field| !self.is_key(field.column) && !is_secret(&field.column.name))
            .filter(|field| !self.is_followed(field.column))
            .filter(|field| !self.table.places.iter().any(|(_, column)| column.number == field.column.number))
            .collect();
        let changed: Vec<&&Field> = fields.iter().filter(|field| is_changed(field)).collect();
        if changed.is_empty() {
            let is_open = fields.is_empty() || self.table.relation.rights.update;
            return if is_open { Ok(None) } else { Err("the role may not") };
        }
        let sets: Vec<String> = changed
            .iter()
            .map(|field| {
                let (name, own, value) = (as_needed(&field.column.name), self.own(field.column), field.value("job"));
                // A null that is sent is refused by what is NOT NULL.
                format!("{name} = CASE WHEN job.data ? '{}' THEN {value} ELSE {own} END", field.name)
            })
            .collect();
        let wheres: Vec<String> =
            key.iter().map(|field| field.column.equal(&self.own(field.column), &field.value("job"))).collect();
        let change = format!(
            "UPDATE {} {}\n          SET {}\n          FROM {{jobs}} job WHERE {}",
            self.relation(),
            self.alias,
            sets.join(",\n              "),
            wheres.join(" AND ")
        );
        let mut data: Vec<_> = key.iter().map(|field| field.required()).collect();
        data.extend(changed.iter().map(|field| field.optional()));
        let about = "Changes those of its columns that are sent".to_owned();
        Ok(Some(Job {
            name: "UPDATE",
            about,
            notes: self.notes(&data),
            data,
            order: self.order(),
            sql: self.told("changed", &change),
        }))
    }

    /// Do rows of other tables follow what it is changed to? A statement sees no more of them afterwards than before.
    fn is_followed(&self, column: &Column) -> bool {
        let mut following = self.chosen.following(self.table.relation.oid);
        following.any(|(_, key)| key.on_update != Follows::Nothing && key.referenced.contains(&column.number))
    }

    pub fn delete(&self) -> Result<Option<Job>, &'static str> {
        if !self.table.relation.rights.delete {
            return Err("the role may not");
        }
        let key = self.key_fields()?;
        let wheres: Vec<String> =
            key.iter().map(|field| field.column.equal(&self.own(field.column), &field.value("job"))).collect();
        let change =
            format!("DELETE FROM {} {} USING {{jobs}} job WHERE {}", self.relation(), self.alias, wheres.join(" AND "));
        let cascades = Cascades::of(self.table.relation, self.chosen);
        let mut about = "Deletes one".to_owned();
        if !cascades.edges.is_empty() {
            about += ", and tells of the rows that go, or lose their reference, with it";
        }
        let (told, untold): (Vec<&Relation>, Vec<&Relation>) =
            cascades.beyond.iter().copied().partition(|relation| self.chosen.table(relation.oid).is_some());
        if !untold.is_empty() {
            about += "; there are more, of which the change feed alone tells";
        }
        let sql = match cascades.edges.is_empty() && cascades.beyond.is_empty() {
            true => self.told("gone", &change),
            false => tell(&cascades, self.chosen, &change, &self.alias),
        };
        let data: Vec<_> = key.iter().map(|field| field.required()).collect();
        let mut notes = self.notes(&data);
        let told: Vec<String> = told.into_iter().map(Relation::sql_name).collect();
        notes.extend(
            (!told.is_empty())
                .then(|| format!("It cannot tell which rows of these go: any counts of {}", told.join(", "))),
        );
        Ok(Some(Job { name: "DELETE", about, notes, data, order: self.order(), sql }))
    }
}

//! What all jobs of a table have in common: their fields, how they tell which rows they changed, how they are written.

use std::collections::BTreeMap;

use super::choose::{Chosen, Table};
use super::facts::Column;
use super::names::{self, Taken};
use super::types::passed;
use super::write;
use crate::core::sql::spelling::as_needed;
use crate::core::sql::template::Template;

/// Columns and placeholders with a meaning of their own.
const RESERVED: [&str; 4] = ["n", "data", "jobs", "tenant"];

const BYTEA: u32 = 17;

/// Characters of `data` on one line.
const LINE: usize = 120;

/// A job, as lines of the file.
pub(super) struct Job {
    pub name: &'static str,
    pub about: String,
    /// Lines of comment below that.
    pub notes: Vec<String>,
    /// Fields and their types.
    pub data: Vec<(String, String)>,
    pub order: Option<String>,
    pub sql: String,
}

impl Job {
    pub fn text(&self, section: &str) -> String {
        let fields: Vec<String> =
            self.data.iter().map(|(name, ty)| format!("{} = {}", write::key(name), write::quoted(ty))).collect();
        let line = fields.join(", ");
        let comments = std::iter::once(&self.about).chain(&self.notes);
        let comments: Vec<String> = comments.map(|line| write::comment(line)).collect();
        let head = format!("\n{}\n[{section}.job.{}]\n", comments.join("\n"), self.name);
        let order = self.order.as_ref().map(|field| format!("order = [\"{field}\"]\n")).unwrap_or_default();
        let sql = format!("sql  = {}\n", write::statement(&self.sql));
        if line.len() <= LINE {
            return format!("{head}data = {{ {line} }}\n{order}{sql}");
        }
        format!("{head}{order}{sql}[{section}.job.{}.data]\n{}\n", self.name, fields.join("\n"))
    }

    /// Does it read as a statement over jobs?
    pub fn is_legal(&self) -> bool {
        Template::with_relation(&self.sql, &["jobs"], |number| format!("${number}")).is_ok()
    }
}

/// A column as a job brings it.
pub(super) struct Field<'a> {
    pub column: &'a Column,
    pub name: String,
    /// Its type, without the mark of an optional one.
    pub ty: String,
    cast: Option<Box<str>>,
}

impl Field<'_> {
    /// The value in the relation of jobs that is called so.
    pub fn value(&self, jobs: &str) -> String {
        let name = as_needed(&self.name);
        match &self.cast {
            // A cast takes any text for bytes, base64 as well as hex, as its letters.
            Some(_) if self.is_bytes() => format!("decode(ltrim({jobs}.{name}, '\\x'), 'hex')"),
            Some(cast) => format!("{jobs}.{name}::{cast}"),
            None => format!("{jobs}.{name}"),
        }
    }

    pub fn is_bytes(&self) -> bool {
        self.column.ty.base == BYTEA && self.column.ty.element.is_none()
    }

    pub fn required(&self) -> (String, String) {
        (self.name.clone(), self.ty.clone())
    }

    pub fn optional(&self) -> (String, String) {
        (self.name.clone(), format!("{}?", self.ty))
    }
}

/// What jobs of a table are made of.
pub(super) struct Jobs<'a> {
    pub table: &'a Table<'a>,
    pub chosen: &'a Chosen<'a>,
    pub alias: String,
    /// By column.
    pub fields: BTreeMap<i16, Field<'a>>,
}

impl<'a> Jobs<'a> {
    pub fn of(table: &'a Table<'a>, chosen: &'a Chosen<'a>) -> Jobs<'a> {
        let mut taken = Taken::default();
        let mut fields = BTreeMap::new();
        for column in &table.relation.columns {
            let Some(passed) = passed(&column.ty) else { continue };
            let name = taken.give(&names::argument(&column.name, &RESERVED));
            fields.insert(column.number, Field { column, name, ty: passed.ty.to_string(), cast: passed.cast });
        }
        // Other than the relations of statements are called.
        let alias = Taken::of(["job"]).give(&names::alias(&table.relation.name));
        Jobs { table, chosen, alias, fields }
    }

    /// None: no payload has such a value.
    pub fn field(&self, column: &Column) -> Option<&Field<'a>> {
        self.fields.get(&column.number)
    }

    /// What is to be known of a payload's fields.
    pub fn notes(&self, data: &[(String, String)]) -> Vec<String> {
        let is_sent = |field: &&Field<'_>| field.is_bytes() && data.iter().any(|(name, _)| *name == field.name);
        let bytes: Vec<&str> = self.fields.values().filter(is_sent).map(|field| &*field.name).collect();
        let is_other =
            |field: &&Field<'_>| data.iter().any(|(name, _)| *name == field.name && *name != *field.column.name);
        let others = self.fields.values().filter(is_other);
        let others: Vec<String> = others.map(|field| format!("{} is {}", field.name, field.column.name)).collect();
        let bytes = (!bytes.is_empty()).then(|| format!("Bytes are sent in hex: {}", bytes.join(", ")));
        let others = (!others.is_empty()).then(|| format!("Of columns: {}", others.join(", ")));
        bytes.into_iter().chain(others).collect()
    }

    pub fn relation(&self) -> String {
        self.table.relation.sql_name()
    }

    pub fn own(&self, column: &Column) -> String {
        format!("{}.{}", self.alias, as_needed(&column.name))
    }

    pub fn key_fields(&self) -> Result<Vec<&Field<'a>>, &'static str> {
        let field = |column: &&Column| self.fields.get(&column.number);
        self.table.key.iter().map(field).collect::<Option<_>>().ok_or("no job can name a value of its key's type")
    }

    /// Whose order the job keeps, where data has no `id`.
    pub fn order(&self) -> Option<String> {
        let id = self.table.places[0].1.number;
        let field = self.fields.get(&id).filter(|field| field.name != "id" && !field.ty.ends_with("[]"))?;
        Some(field.name.clone())
    }

    /// The ids that a changed row has in the table's sections, of rows of `rows`, whose `n` is `n`.
    pub fn ids(&self, table: &Table<'_>, n: &str, rows: &str, from: &str) -> Vec<String> {
        let one = |(section, column): &(String, &Column)| {
            format!("SELECT {n}, '{section}' AS section, {rows}.{}::text AS id FROM {from}", as_needed(&column.name))
        };
        table.places.iter().map(one).collect()
    }

    /// A statement that changes rows and returns `n` and the columns of ids, as one that tells all of their sections.
    pub fn told(&self, name: &str, change: &str) -> String {
        if let [(_, id)] = &self.table.places[..] {
            let own = self.own(id);
            let shown = if needs_text(id) { format!("{own}::text AS id") } else { renamed(&own, id) };
            return format!("{change}\n          RETURNING job.n, {shown}");
        }
        let mut columns: Vec<String> = self.table.key.iter().map(|column| self.own(column)).collect();
        for (_, column) in &self.table.places {
            let own = self.own(column);
            if !columns.contains(&own) {
                columns.push(own);
            }
        }
        let number = self.number_name();
        let (returned, shown) = match number.as_str() {
            "n" => ("job.n".to_owned(), format!("{name}.n")),
            number => (format!("job.n AS {number}"), format!("{name}.{number} AS n")),
        };
        let told = self.ids(self.table, &shown, name, name);
        format!(
            "WITH {name} AS ({change}\n          RETURNING {returned}, {})\n          {}",
            columns.join(", "),
            told.join("\n          UNION ALL ")
        )
    }

    /// What the job's number is called beside the table's columns.
    fn number_name(&self) -> String {
        let mut name = "n".to_owned();
        while self.table.relation.columns.iter().any(|column| *column.name == name) {
            name = format!("job_{name}");
        }
        name
    }

    pub fn is_key(&self, column: &Column) -> bool {
        self.table.key.iter().any(|key| key.number == column.number)
    }
}

/// An id whose type is read as a text.
pub(super) fn needs_text(column: &Column) -> bool {
    passed(&column.ty).is_none_or(|passed| passed.cast.is_some() || column.ty.oid != column.ty.base)
}

/// A column as `id`.
pub(super) fn renamed(own: &str, column: &Column) -> String {
    match &*column.name == "id" && !own.ends_with("::text") {
        true => own.to_owned(),
        false => format!("{own} AS id"),
    }
}

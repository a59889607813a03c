//! A job of the catalog: the payload it takes, and the SQL that applies it, or how workers claim it.

use super::claim::ClaimSpec;
use crate::core::sql::template::Template;
use crate::core::values::value::{ArgType, ScalarType};

#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub name: Box<str>,
    /// Fields of the payload, by name.
    pub data: Vec<Field>,
    pub body: JobBody,
    pub order: Order,
    /// May its statement read the whole payload, `job.data`? Where not, it is sent once, as fields.
    pub reads_data: bool,
}

impl Job {
    /// Its SQL.
    pub fn statements(&self) -> impl Iterator<Item = &Template> {
        let templates = match &self.body {
            JobBody::Set(template) => std::slice::from_ref(template),
            JobBody::Each(templates) => templates,
            JobBody::Claim(_) => &[],
        };
        templates.iter()
    }

    /// Of a job that workers claim; None of one that is SQL.
    pub fn claim(&self) -> Option<&ClaimSpec> {
        match &self.body {
            JobBody::Claim(claim) => Some(claim),
            JobBody::Set(_) | JobBody::Each(_) => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: Box<str>,
    pub ty: ArgType,
    /// May be absent or null.
    pub optional: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum JobBody {
    /// One statement for any number of jobs. Its parameters are `jobs`, the JSON text of the records, and `tenant`.
    Set(Template),
    /// Statements run for each job. Their parameters are payload fields and `tenant`.
    Each(Vec<Template>),
    /// No SQL: workers claim it.
    Claim(ClaimSpec),
}

/// Which jobs must be applied, or claimed, in the order in which they were enqueued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    None,
    /// Those that share a value of these payload fields, whichever of them: `order = ["from", "to"]` puts a transfer
    /// behind all earlier jobs of either account.
    Fields(Vec<Box<str>>),
    /// All before it, and all after it.
    Barrier,
}

/// The relation that `{jobs}` stands for, of the parameter `$number`: `n`, the payload as `data`, in a section with
/// tenants the job's `tenant`, so that one statement may serve many of them, and the payload's fields.
///
/// The parameter is the text of a JSON array of objects `{"n":1,"data":{…},"id":5,…}`. Not of jsonb, whose numbers have no
/// negative zero. Neither it nor the relation has `data` where the statement does not read it.
pub fn relation(fields: &[Field], tenant: Option<ScalarType>, reads_data: bool, number: usize) -> String {
    // Names are quoted, so that `order` may be a field; they are letters, digits and `_`.
    let columns: String =
        fields.iter().map(|field| format!(", \"{}\" pg_catalog.{}", field.name, field.ty.postgres_name())).collect();
    let tenant = tenant.map(|ty| format!(", tenant pg_catalog.{}", ty.postgres_name())).unwrap_or_default();
    let data = if reads_data { ", data pg_catalog.jsonb" } else { "" };
    format!("(SELECT * FROM pg_catalog.json_to_recordset(${number}::pg_catalog.json) AS r(n pg_catalog.int8{data}{tenant}{columns}))")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_columns_of_their_types() {
        let field =
            |name: &str, ty: &str| Field { name: name.into(), ty: ArgType::parse(ty).unwrap(), optional: false };
        assert_eq!(
            relation(&[field("id", "int")], Some(ScalarType::Uuid), true, 1),
            r#"(SELECT * FROM pg_catalog.json_to_recordset($1::pg_catalog.json) AS r(n pg_catalog.int8, data pg_catalog.jsonb, tenant pg_catalog.uuid, "id" pg_catalog.int8))"#
        );
        assert_eq!(
            relation(&[field("id", "int"), field("order", "text[]"), field("x", "json")], None, false, 2),
            r#"(SELECT * FROM pg_catalog.json_to_recordset($2::pg_catalog.json) AS r(n pg_catalog.int8, "id" pg_catalog.int8, "order" pg_catalog.text[], "x" pg_catalog.jsonb))"#
        );
    }
}

//! Reads the jobs of a section.

use toml::Table;

use super::job::{relation, Field, Job, JobBody, Order};
use super::read_claim::{self, check_order_field};
use super::toml_reader::{Fields, Report};
use crate::core::calls::pattern::is_name;
use crate::core::sql::template::{may_read, Template};
use crate::core::values::value::{ArgType, ScalarType};

const JOB_KEYS: [&str; 5] = ["data", "sql", "each", "claim", "order"];

/// What a job's statement may begin with. Commands that control the transaction would break the batch, whose effects and
/// ledger are one.
const STATEMENTS: [&str; 7] = ["select", "insert", "update", "delete", "merge", "with", "values"];

/// Columns and placeholders with a meaning of their own.
const RESERVED_FIELDS: [&str; 4] = ["n", "data", "jobs", "tenant"];

/// The barrier, as `order = "*"`.
const BARRIER: &str = "*";

pub(in crate::core) fn read(jobs: &Table, tenant: Option<ScalarType>, report: &mut Report) -> Vec<Job> {
    let mut read = Vec::new();
    for (name, job) in jobs {
        let job = report.within(format!("job '{name}'"), |report| match job.as_table() {
            Some(job) => read_job(name, job, tenant, report),
            None => {
                report.problem("a job is a table with data and sql, or data and claim");
                None
            }
        });
        read.extend(job);
    }
    read
}

fn read_job(name: &str, table: &Table, tenant: Option<ScalarType>, report: &mut Report) -> Option<Job> {
    if !is_job_name(name) {
        report.problem("a job's name is letters, digits and _, beginning with a letter, of at most 64 bytes");
    }
    let fields = Fields::new(table, &JOB_KEYS, report);
    let data = read_data(fields, report);
    let order = match fields.has("claim") {
        true => read_claim::read_order(fields, &data, report),
        false => read_order(fields, &data, report),
    };
    let (body, reads_data) = read_body(fields, &data, tenant, report)?;
    Some(Job { name: name.into(), data, body, order, reads_data })
}

fn is_job_name(name: &str) -> bool {
    is_name(name) && name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.len() <= 64
}

fn read_data(fields: Fields<'_>, report: &mut Report) -> Vec<Field> {
    let mut data = Vec::new();
    for (name, ty) in fields.string_table("data", report).unwrap_or_default() {
        if !is_name(name) || name.len() > 63 {
            report.problem(format!(
                "data.{name}: a field's name is letters, digits and _, not beginning with a digit, of at most 63 bytes"
            ));
        }
        if RESERVED_FIELDS.contains(&name) && !fields.has("claim") {
            report.problem(format!("data.{name}: a field cannot be called '{name}', which is reserved"));
        }
        let (ty, optional) = match ty.strip_suffix('?') {
            Some(ty) => (ty, true),
            None => (ty, false),
        };
        if let Some(ty) = report.keep(&format!("data.{name}"), ArgType::parse(ty)) {
            if ty.array && ty.scalar == ScalarType::Json {
                report.problem(format!("data.{name}: json has no array type; json itself may hold an array"));
            }
            data.push(Field { name: name.into(), ty, optional });
        }
    }
    data
}

/// Also says whether the statement may read the payload as a whole.
fn read_body(
    fields: Fields<'_>,
    data: &[Field],
    tenant: Option<ScalarType>,
    report: &mut Report,
) -> Option<(JobBody, bool)> {
    if fields.has("claim") {
        if fields.has("sql") || fields.has("each") {
            report.problem("claim, for workers, and sql or each, for Postgres, exclude each other; keep one");
        }
        return Some((JobBody::Claim(read_claim::read_claim(fields, report)), false));
    }
    let placeholder = tenant.map(|_| "tenant");
    match (fields.has("sql"), fields.has("each")) {
        (true, false) => {
            let known: Vec<&str> = ["jobs"].into_iter().chain(placeholder).collect();
            let sql = fields.string("sql", report)?;
            let reads_data = may_read(sql, &known, "data");
            let template = Template::with_relation(sql, &known, |number| relation(data, tenant, reads_data, number));
            let template = report.keep("sql", template)?;
            check_statement("sql", &template, report);
            if !template.params.iter().any(|name| &**name == "jobs") {
                report.problem("sql must use {jobs}, the relation of the jobs to apply; statements for one job at a time are each = [\"…\"]");
            }
            Some((JobBody::Set(template), reads_data))
        }
        (false, true) => {
            let known: Vec<&str> = data.iter().map(|field| &*field.name).chain(placeholder).collect();
            let statements = fields.strings("each", report)?;
            if statements.is_empty() {
                report.problem("each has no statement");
            }
            let templates: Vec<Template> =
                statements.into_iter().filter_map(|sql| report.keep("each", Template::parse(sql, &known))).collect();
            templates.iter().for_each(|template| check_statement("each", template, report));
            Some((JobBody::Each(templates), false))
        }
        (true, true) => {
            report.problem("sql and each exclude each other; keep one");
            None
        }
        (false, false) => {
            report.problem("sql (or each, or claim) is missing");
            None
        }
    }
}

fn check_statement(what: &str, template: &Template, report: &mut Report) {
    let word = first_word(&template.text).to_ascii_lowercase();
    if !STATEMENTS.contains(&word.as_str()) {
        report.problem(format!("{what}: a statement begins with one of {}, not with '{word}'", STATEMENTS.join(", ")));
    }
}

/// The first word of a statement, behind comments and brackets.
fn first_word(sql: &str) -> &str {
    let mut rest = sql.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    loop {
        let after = if let Some(comment) = rest.strip_prefix("--") {
            comment.find('\n').map_or("", |end| &comment[end..])
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.find("*/").map_or("", |end| &comment[end + 2..])
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            return &rest[..end];
        };
        rest = after.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    }
}

fn read_order(fields: Fields<'_>, data: &[Field], report: &mut Report) -> Order {
    if !fields.has("order") {
        let by_id = data.iter().any(|field| &*field.name == "id");
        return if by_id { Order::Fields(vec!["id".into()]) } else { Order::None };
    }
    if fields.is_string("order", BARRIER) {
        return Order::Barrier;
    }
    let Some(names) = fields.strings("order", report) else {
        return Order::None;
    };
    match names[..] {
        [] => return Order::None,
        [BARRIER] => return Order::Barrier,
        _ => {}
    }
    for name in &names {
        check_order_field(name, data, report);
    }
    Order::Fields(names.into_iter().map(Into::into).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_stands_behind_comments_and_brackets() {
        for (sql, word) in [
            ("UPDATE bear SET x = 1", "UPDATE"),
            ("  -- a\n /* b */ (SELECT 1)", "SELECT"),
            ("/**/COMMIT", "COMMIT"),
            ("-- nothing", ""),
            ("", ""),
        ] {
            assert_eq!(first_word(sql), word, "{sql}");
        }
    }

    #[test]
    fn statements_that_control_the_transaction_are_refused() {
        for (sql, taken) in [("DELETE FROM x WHERE id = {id}", true), ("COMMIT", false), ("release savepoint a", false)]
        {
            let text = format!("[x]\nid = \"int\"\n[x.job.A]\ndata = {{ id = \"int\" }}\neach = [\"{sql}\"]");
            let parsed = crate::core::catalog::read_catalog::parse(&text, &mut || 0);
            assert_eq!(parsed.is_ok(), taken, "{sql}: {parsed:?}");
        }
    }
}

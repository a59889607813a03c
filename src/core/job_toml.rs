//! Reads the jobs of a section.

use toml::Table;

use super::call::is_name;
use super::job::{relation, Field, Job, JobBody, Order};
use super::sql::Template;
use super::toml_reader::{Fields, Report};
use super::value::{ArgType, ScalarType};

const JOB_KEYS: [&str; 4] = ["data", "sql", "each", "order"];

/// Columns and placeholders with a meaning of their own.
const RESERVED_FIELDS: [&str; 4] = ["n", "data", "jobs", "tenant"];

/// The barrier, as `order = "*"`.
const BARRIER: &str = "*";

pub(super) fn read(jobs: &Table, tenant: Option<ScalarType>, report: &mut Report) -> Vec<Job> {
    let mut read = Vec::new();
    for (name, job) in jobs {
        let job = report.within(format!("job '{name}'"), |report| match job.as_table() {
            Some(job) => read_job(name, job, tenant, report),
            None => {
                report.problem("a job is a table with data and sql");
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
    let order = read_order(fields, &data, report);
    let body = read_body(fields, &data, tenant, report)?;
    Some(Job { name: name.into(), data, body, order })
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
        if RESERVED_FIELDS.contains(&name) {
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

fn read_body(fields: Fields<'_>, data: &[Field], tenant: Option<ScalarType>, report: &mut Report) -> Option<JobBody> {
    let placeholder = tenant.map(|_| "tenant");
    match (fields.has("sql"), fields.has("each")) {
        (true, false) => {
            let known: Vec<&str> = ["jobs"].into_iter().chain(placeholder).collect();
            let template =
                Template::with_relation(fields.string("sql", report)?, &known, |number| relation(data, tenant, number));
            let template = report.keep("sql", template)?;
            if !template.params.iter().any(|name| &**name == "jobs") {
                report.problem("sql must use {jobs}, the relation of the jobs to apply; statements for one job at a time are each = [\"…\"]");
            }
            Some(JobBody::Set(template))
        }
        (false, true) => {
            let known: Vec<&str> = data.iter().map(|field| &*field.name).chain(placeholder).collect();
            let statements = fields.strings("each", report)?;
            if statements.is_empty() {
                report.problem("each has no statement");
            }
            Some(JobBody::Each(
                statements.into_iter().filter_map(|sql| report.keep("each", Template::parse(sql, &known))).collect(),
            ))
        }
        (true, true) => {
            report.problem("sql and each exclude each other; keep one");
            None
        }
        (false, false) => {
            report.problem("sql (or each) is missing");
            None
        }
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
        match data.iter().find(|field| &*field.name == *name) {
            None => {
                let known: Vec<_> = data.iter().map(|field| &*field.name).collect();
                report.problem(format!("order: data has no field '{name}'; it has {}", known.join(", ")));
            }
            Some(field) if field.ty.array || field.ty.scalar == ScalarType::Json => {
                report.problem(format!("order: '{name}' is {}; order needs fields with a single value", field.ty));
            }
            Some(_) => {}
        }
    }
    Order::Fields(names.into_iter().map(Into::into).collect())
}

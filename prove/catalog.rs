//! A catalog as its author wrote it: queries, with the SQL that Postgres itself is asked, and jobs.
//!
//! Nothing here is the module's own reading: what it derived, and how it renders a statement, is what is on trial.

use std::collections::BTreeSet;

use super::sql::{tokens, Token};

/// What a call takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    pub name: String,
    /// A type of the catalog: `int`, `text[]`.
    pub kind: String,
    pub default: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Word(String),
    Argument(Argument),
    /// All of it, or nothing.
    Group(Vec<Part>),
}

#[derive(Debug, Clone)]
pub struct Query {
    pub section: String,
    /// The name of its space, but for a tenant.
    pub space: String,
    /// The type of the tenant, where the section has one, and the column that holds it.
    pub tenant: Option<(String, Option<String>)>,
    pub call: String,
    pub parts: Vec<Part>,
    pub sql: String,
    pub has_ttl: bool,
    pub is_trusted: bool,
}

#[derive(Debug, Clone)]
pub struct Job {
    pub section: String,
    pub space: String,
    pub tenant: Option<(String, Option<String>)>,
    pub name: String,
    pub sql: String,
    /// Names and types; a `?` at the end of these: it may be left out.
    pub data: Vec<(String, String)>,
}

#[derive(Debug, Clone, Default)]
pub struct Catalog {
    pub queries: Vec<Query>,
    /// Those that are SQL.
    pub jobs: Vec<Job>,
}

impl Catalog {
    /// Columns that hold the tenants of sections.
    pub fn tenant_columns(&self) -> BTreeSet<&str> {
        let of_queries = self.queries.iter().filter_map(|query| query.tenant.as_ref());
        let tenants = of_queries.chain(self.jobs.iter().filter_map(|job| job.tenant.as_ref()));
        tenants.filter_map(|(_, column)| column.as_deref()).collect()
    }

    /// What the module would refuse it says better.
    pub fn read(text: &str) -> Result<Catalog, String> {
        let file: toml::Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
        let mut catalog = Catalog::default();
        for (section, value) in file.iter().filter_map(|(name, value)| Some((name, value.as_table()?))) {
            let tenant = text_of(value, "tenant").map(|kind| (kind, text_of(value, "tenant_column")));
            let space =
                text_of(value, "group").map_or_else(|| section.clone(), |group| format!("{{{group}}}:{section}"));
            let names = (section.as_str(), space.as_str());
            for query in value.get("query").and_then(toml::Value::as_array).into_iter().flatten() {
                let Some(query) = query.as_table() else { continue };
                catalog.queries.extend(read_query(names, &tenant, query));
            }
            let jobs = value.get("job").and_then(toml::Value::as_table);
            for (name, job) in jobs.into_iter().flatten().filter_map(|(name, job)| Some((name, job.as_table()?))) {
                catalog.jobs.extend(read_job(names, &tenant, name, job));
            }
        }
        Ok(catalog)
    }
}

fn text_of(table: &toml::Table, key: &str) -> Option<String> {
    table.get(key).and_then(toml::Value::as_str).map(str::to_owned)
}

type Tenant = Option<(String, Option<String>)>;

fn read_query((section, space): (&str, &str), tenant: &Tenant, query: &toml::Table) -> Option<Query> {
    let (call, sql) = (text_of(query, "call")?, text_of(query, "sql")?);
    Some(Query {
        section: section.to_owned(),
        space: space.to_owned(),
        tenant: tenant.clone(),
        parts: parts(&call),
        call,
        sql: sql.trim().trim_end_matches(';').to_owned(),
        has_ttl: query.contains_key("ttl"),
        is_trusted: query.contains_key("trust"),
    })
}

fn read_job((section, space): (&str, &str), tenant: &Tenant, name: &str, job: &toml::Table) -> Option<Job> {
    let sql = match (text_of(job, "sql"), job.get("each").and_then(toml::Value::as_array)) {
        (Some(sql), _) => sql,
        (None, Some(each)) => each.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join("\n"),
        (None, None) => return None,
    };
    let fields = job.get("data").and_then(toml::Value::as_table);
    let data = fields.into_iter().flatten().filter_map(|(name, kind)| Some((name.clone(), kind.as_str()?.to_owned())));
    let (section, space) = (section.to_owned(), space.to_owned());
    Some(Job { section, space, tenant: tenant.clone(), name: name.to_owned(), sql, data: data.collect() })
}

/// Of `size {start:int} [limit {limit:int}]`.
fn parts(call: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut group: Option<Vec<Part>> = None;
    let mut word = String::new();
    let mut depth = 0;
    for c in call.chars().chain([' ']) {
        depth = match c {
            '{' => depth + 1,
            '}' => depth - 1,
            _ => depth,
        };
        let ends = depth == 0 && (c.is_whitespace() || c == '[' || c == ']');
        if !ends {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            group.as_mut().unwrap_or(&mut parts).push(part(&std::mem::take(&mut word)));
        }
        match c {
            '[' => group = Some(Vec::new()),
            ']' => parts.extend(group.take().map(Part::Group)),
            _ => {}
        }
    }
    parts
}

fn part(word: &str) -> Part {
    let Some(inner) = word.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return Part::Word(word.to_owned());
    };
    let (name, kind) = inner.split_once(':').unwrap_or((inner, "text"));
    let (kind, default) = match kind.split_once('=') {
        Some((kind, default)) => (kind, Some(default.to_owned())),
        None => (kind, None),
    };
    Part::Argument(Argument { name: name.trim().to_owned(), kind: kind.trim().to_owned(), default })
}

impl Query {
    /// As reports call it.
    pub fn name(&self) -> String {
        format!("{} {}", self.section, self.call)
    }

    /// All arguments, in the order of the call.
    pub fn arguments(&self) -> Vec<&Argument> {
        fn gather<'a>(parts: &'a [Part], into: &mut Vec<&'a Argument>) {
            for part in parts {
                match part {
                    Part::Word(_) => {}
                    Part::Argument(argument) => into.push(argument),
                    Part::Group(parts) => gather(parts, into),
                }
            }
        }
        let mut arguments = Vec::new();
        gather(&self.parts, &mut arguments);
        arguments
    }

    /// The statement with `$1 … $n` for its placeholders, and whose each is: `tenant` is the tenant's.
    pub fn rendered(&self) -> (String, Vec<String>) {
        let (mut text, mut names, mut from) = (String::new(), Vec::<String>::new(), 0);
        for (token, begin, end) in tokens(&self.sql) {
            let Token::Placeholder(name) = token else { continue };
            let number = names.iter().position(|known| *known == name).unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            });
            text += &self.sql[from..begin];
            text += &format!("${}", number + 1);
            from = end;
        }
        (text + &self.sql[from..], names)
    }

    /// Time or chance decide what it answers, for as long as its TTL is.
    pub fn changes_by_itself(&self) -> bool {
        const NAMES: [&str; 14] = [
            "now",
            "current_date",
            "current_time",
            "current_timestamp",
            "localtime",
            "localtimestamp",
            "clock_timestamp",
            "statement_timestamp",
            "transaction_timestamp",
            "timeofday",
            "random",
            "gen_random_uuid",
            "age",
            "setseed",
        ];
        self.has_ttl
            && !self.is_trusted
            && tokens(&self.sql)
                .iter()
                .any(|(token, ..)| matches!(token, Token::Name(name) if NAMES.contains(&&**name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_as_the_catalog_spells_them() {
        let argument = |name: &str, kind: &str, default: Option<&str>| {
            Part::Argument(Argument { name: name.into(), kind: kind.into(), default: default.map(str::to_owned) })
        };
        let word = |text: &str| Part::Word(text.into());
        assert_eq!(
            parts("in {c:text[]} {page:int=1} [max {max:numeric}] [all]"),
            [
                word("in"),
                argument("c", "text[]", None),
                argument("page", "int", Some("1")),
                Part::Group(vec![word("max"), argument("max", "numeric", None)]),
                Part::Group(vec![word("all")]),
            ]
        );
    }

    #[test]
    fn placeholders_become_numbers_where_they_are_code() {
        let text = "[a]\n[[a.query]]\ncall = 'x {v:int} {w:text}'\nsql = \"SELECT '{v}', {w}, {v}, \\\"{v}\\\" -- {w}\\n + {w}\"";
        let catalog = Catalog::read(text).unwrap();
        let (sql, names) = catalog.queries[0].rendered();
        assert_eq!(sql, "SELECT '{v}', $1, $2, \"{v}\" -- {w}\n + $1");
        assert_eq!(names, ["w", "v"]);
    }
}

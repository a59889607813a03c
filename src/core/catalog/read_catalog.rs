//! Reads a catalog from TOML and checks it: names, types, placeholders, and what sections say of each other.
//!
//! Two passes, since sections name each other: the outlines (types of ids and tenants) first, then the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use toml::Table as TomlTable;

use super::additions::Additions;
use super::life::Life;
use super::outline::Outline;
use super::read_claim;
use super::read_job;
use super::read_life;
use super::read_limit;
use super::read_query::QueryReader;
use super::read_schedule;
use super::read_value;
use super::section_names::SectionNames;
use super::sections::{Catalog, CatalogError, On, OnRule, Query, Section, Table, TableRows, DEFAULT_TTL_MS};
use super::toml_reader::Report;
use crate::core::calls::lookup::Calls;
use crate::core::sql::spelling;
use crate::core::sql::template::Template;

/// `plan_id` gives numbers that are unique over the life of the process, for [`super::fetch_plan::FetchPlan::id`].
pub fn parse(text: &str, plan_id: &mut dyn FnMut() -> u64) -> Result<Catalog, CatalogError> {
    parse_with(text, &Additions::default(), plan_id)
}

/// The same with what the file leaves unsaid.
pub fn parse_with(
    text: &str,
    additions: &Additions,
    plan_id: &mut dyn FnMut() -> u64,
) -> Result<Catalog, CatalogError> {
    let mut file: TomlTable = match toml::from_str(text) {
        Ok(file) => file,
        Err(error) => return Err(CatalogError { problems: vec![syntax_problem(text, &error)] }),
    };
    additions.apply(&mut file);
    let mut report = Report::default();
    let mut outlines = Vec::new();
    for (name, value) in &file {
        report.within(format!("section '{name}'"), |report| match value.as_table() {
            None => report.problem(format!("a section is a table: [{name}]")),
            Some(table) => outlines.push(Outline::read(name, table, report)),
        });
    }
    if file.is_empty() {
        report.problem("the catalog has no section");
    }
    for group in outlines.iter().filter_map(|outline| outline.group) {
        // Its prefix in a cluster is that of the group's spaces.
        if outlines.iter().any(|of| of.name == group && of.group.is_none()) {
            report.problem(format!("group '{group}' is the name of a section that is in no group; give it that section, or take another name"));
        }
    }
    let names = SectionNames::new(outlines.iter().map(|outline| outline.name));
    let all_sections = digest(&outlines);
    let mut reader = QueryReader { outlines: &outlines, names: &names, all_sections, plan_id };
    let sections = (0..outlines.len()).filter_map(|i| {
        report.within(format!("section '{}'", outlines[i].name), |report| read_section(i, &mut reader, report))
    });
    let mut sections: Vec<Section> = sections.collect();
    report.finish()?;
    for index in with_predicates(&sections) {
        sections[index].has_predicates = true;
    }
    let (mut read, mut compared) = (columns_read(&sections), columns_compared(&sections));
    for (index, section) in sections.iter_mut().enumerate() {
        section.columns_read = read.remove(&section.name).map(|columns| columns.into_iter().collect());
        section.columns_compared = compared.remove(&index).flatten().map(|columns| columns.into_iter().collect());
    }
    let mut catalog = Catalog::new(sections);
    catalog.text = text.into();
    catalog.additions = Arc::new(additions.clone());
    Ok(catalog)
}

/// Of the sections' names and their types, which may be thousands.
fn digest(outlines: &[Outline<'_>]) -> u64 {
    let mut all = DefaultHasher::new();
    for of in outlines {
        (of.name, of.id.map(|id| id.name()), of.tenant.map(|id| id.name()), of.group).hash(&mut all);
    }
    all.finish()
}

/// What is wrong and where. Not the line: the file may be anything that somebody has named, and hold secrets.
fn syntax_problem(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: {}", error.message().replace('\n', ", "))
}

fn read_section(index: usize, reader: &mut QueryReader<'_, '_>, report: &mut Report) -> Option<Section> {
    let outline = &reader.outlines[index];
    let fields = outline.fields;
    let life = read_life::read(fields, Life::of_ttl(DEFAULT_TTL_MS), report);
    let tenant_column = fields.string("tenant_column", report);
    if tenant_column.is_some() && !fields.has("tenant") {
        report.problem("tenant_column needs tenant, the type of its values");
    }
    let tables = read_tables(outline, report);
    // That there are none may be said of any section.
    for (key, is_given) in [("tables", !tables.is_empty()), ("row", fields.has("row"))] {
        if is_given && !fields.has("id") {
            report.problem(format!("{key} needs id, the type of the row ids"));
        }
    }
    if fields.has("table") && fields.has("tables") {
        report.problem("table and tables say the same; keep one");
    }
    let row = fields.string("row", report).and_then(|sql| with_ids("row", sql, outline, report));
    let mut queries: Vec<Query> = fields
        .tables("query", report)
        .unwrap_or_default()
        .into_iter()
        .enumerate()
        .filter_map(|(i, query)| reader.query(index, i, query, life, report))
        .collect();
    let values = fields.tables("value", report).unwrap_or_default().into_iter().enumerate();
    let before = queries.len();
    queries.extend(values.filter_map(|(i, value)| read_value::read(reader, (index, i), value, life, report)));
    let calls = Calls::new(outline.name, queries.iter().map(|query| query.call.clone()).collect());
    let calls = calls.map_err(|conflicts| conflicts.into_iter().for_each(|conflict| report.problem(conflict))).ok();
    let jobs = fields.table("job", report).map(|jobs| read_job::read(jobs, outline.tenant, report)).unwrap_or_default();
    let parts = report.within("limit".to_owned(), |report| read_limit::Parts::read(fields, report));
    let (limits, open) = read_claim::read_section(fields, &parts.claimed, &jobs, report);
    let named_limits = parts.named(report);
    let of = read_schedule::Of {
        section: outline.name,
        has_tenant: outline.tenant.is_some(),
        calls: calls.as_ref(),
        queries: before,
    };
    let schedules = read_schedule::read(fields, &of, report);
    let related = related(reader.names, &queries);
    let has_values = queries.len() > before;
    Some(Section {
        name: outline.name.into(),
        id: outline.id,
        life,
        has_soft_life: queries.iter().any(|query| query.life.is_soft()),
        has_rewarm: queries.iter().any(|query| query.rewarm.is_some()),
        tenant: outline.tenant,
        group: outline.group.map(Into::into),
        tenant_column: tenant_column.map(Into::into),
        tables,
        table: match fields.has("tables") {
            true => None,
            false => Some(fields.string("table", report).unwrap_or(outline.name).into()),
        },
        row,
        has_predicates: false,
        columns_read: None,
        columns_compared: None,
        demand: None,
        calls: calls?,
        source: source(outline, reader.outlines, &related, has_values.then_some(reader.all_sections)),
        queries,
        has_values,
        jobs,
        schedules,
        limits,
        named_limits,
        open,
        events: fields.boolean("events", report),
    })
}

/// See [`Section::has_predicates`].
fn with_predicates(sections: &[Section]) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    for (index, query) in sections.iter().enumerate().flat_map(|(i, of)| of.queries.iter().map(move |q| (i, q))) {
        found.extend(query.match_.is_some().then_some(index));
        let is_rows = |on: &&On| matches!(on.rule, OnRule::Rows(_));
        found.extend(query.on.iter().filter(is_rows).map(|on| on.section));
    }
    found
}

/// See [`Section::columns_read`].
fn columns_read(sections: &[Section]) -> BTreeMap<Box<str>, BTreeSet<Box<str>>> {
    let mut found: BTreeMap<Box<str>, BTreeSet<Box<str>>> = BTreeMap::new();
    let reads = sections.iter().flat_map(|section| &section.queries).filter_map(|query| query.reads.as_ref());
    for (section, columns) in reads.flat_map(|reads| reads.sections()) {
        found.entry(section.into()).or_default().extend(columns.iter().cloned());
    }
    found
}

/// See [`Section::columns_compared`].
fn columns_compared(sections: &[Section]) -> BTreeMap<usize, Option<BTreeSet<Box<str>>>> {
    let mut found: BTreeMap<usize, Option<BTreeSet<Box<str>>>> = BTreeMap::new();
    for (index, query) in sections.iter().enumerate().flat_map(|(i, of)| of.queries.iter().map(move |q| (i, q))) {
        let own = query.match_.as_ref().map(|_| index);
        let others = query.on.iter().filter(|on| matches!(on.rule, OnRule::Rows(_))).map(|on| on.section);
        for compared in own.into_iter().chain(others) {
            let read = query.reads.as_ref().and_then(|reads| reads.of(sections[compared].name.as_bytes()));
            match (found.entry(compared).or_insert_with(|| Some(BTreeSet::new())), read) {
                (Some(columns), Some(read)) => columns.extend(read.iter().cloned()),
                (all, _) => *all = None,
            }
        }
    }
    found
}

/// Sections that queries depend on by `on`, or name in a column `_<section>`; one that only looks named may be among them.
fn related(names: &SectionNames, queries: &[Query]) -> Box<[usize]> {
    let mut related = BTreeSet::new();
    for query in queries {
        related.extend(query.on.iter().map(|on| on.section));
        if let Some(plan) = query.plan() {
            names.find_columns(&plan.sql, &mut related);
            related.extend(plan.lists.iter().filter(|list| list.of_rows).filter_map(|list| names.index_of(&list.name)));
        }
    }
    related.into_iter().collect()
}

/// See [`Section::source`]. `all` stands for all sections, of which values may name rows.
fn source(outline: &Outline<'_>, outlines: &[Outline<'_>], related: &[usize], all: Option<u64>) -> Box<str> {
    let mut toml = outline.toml.clone();
    // They do not change what is cached.
    toml.remove("schedule");
    toml.remove("limit");
    toml.remove("events");
    let mut source = toml.to_string();
    for other in related.iter().map(|index| &outlines[*index]) {
        source += &format!("\n# {} {:?} {:?} {:?}", other.name, other.id, other.tenant, other.group);
    }
    if let Some(all) = all {
        source += &format!("\n# all {all}");
    }
    source.into()
}

/// A statement about the rows `{ids}`.
fn with_ids(key: &str, sql: &str, outline: &Outline<'_>, report: &mut Report) -> Option<Template> {
    let template = report.keep(key, Template::parse(sql, &outline.placeholders(["ids"].into_iter())))?;
    if !template.params.iter().any(|name| &**name == "ids") {
        report.problem(format!("{key} must say which rows: … WHERE id = ANY({{ids}})"));
    }
    Some(template)
}

fn read_tables(outline: &Outline<'_>, report: &mut Report) -> Vec<Table> {
    let mut tables = Vec::new();
    for (name, rows) in outline.fields.string_table("tables", report).unwrap_or_default() {
        let key = format!("tables.{name}");
        let rows = match spelling::column_name(rows) {
            Some(column) => Some(TableRows::Column(column.into())),
            None => with_ids(&key, rows, outline, report).map(TableRows::Select),
        };
        tables.extend(rows.map(|rows| Table { name: name.into(), rows }));
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calls::predicate::{Operand, Test};
    use crate::core::catalog::fetch_plan::FetchPlan;
    use crate::core::catalog::job::{Job, JobBody, Order};
    use crate::core::catalog::sections::{ParamSource, Source};
    use crate::core::values::value::{ArgType, ScalarType};

    fn job<'a>(section: &'a Section, name: &str) -> &'a Job {
        section.jobs.iter().find(|job| *job.name == *name).unwrap()
    }

    fn plan(query: &Query) -> &FetchPlan {
        query.plan().expect("a query of SQL")
    }

    fn params(query: &Query) -> &[ParamSource] {
        match &query.source {
            Source::Sql { params, .. } => params,
            Source::Computed(_) => &[],
        }
    }

    fn load(text: &str) -> Result<Catalog, String> {
        let mut next = 0;
        let mut plan_id = || {
            next += 1;
            next
        };
        parse(text, &mut plan_id).map_err(|error| error.to_string())
    }

    const EXAM: &str = include_str!("../../../catalogs/exam.toml");
    const SALON: &str = include_str!("../../../catalogs/salon.toml");

    #[test]
    fn the_bear_catalog_loads() {
        let catalog = load(crate::core::catalog::sections::DEFAULT).unwrap();
        let (_, bear) = catalog.section(b"bear").unwrap();
        assert_eq!((bear.id, bear.life.ttl_ms, bear.tenant), (Some(ScalarType::Int), 300_000, None));
        assert_eq!(bear.row.as_ref().unwrap().params, ["ids".into()]);
        let tables: Vec<_> = bear.tables.iter().map(|t| (&*t.name, matches!(t.rows, TableRows::Column(_)))).collect();
        assert_eq!(tables, [("bear", true), ("bear_colors", true), ("color", false)]);

        let calls: Vec<_> = bear.queries.iter().map(|q| q.call.to_string()).collect();
        assert_eq!(
            calls,
            [
                "all",
                "size {start} {end} [limit {limit}] [after {after}]",
                "colors {colors}",
                "colors {colors} size {start} {end}"
            ]
        );
        let size = &bear.queries[1];
        assert!(
            plan(size).sql.contains("BETWEEN $1 AND $2 AND b.id > coalesce($3, 0) ORDER BY b.id LIMIT $4"),
            "{}",
            plan(size).sql
        );
        assert_eq!(params(size), [0, 1, 3, 2].map(ParamSource::Arg));
        assert_eq!(plan(size).params, [ArgType::scalar(ScalarType::Int); 4]);
        assert_eq!(size.match_.as_ref().unwrap().terms[0].test, Test::Between(Operand::Arg(0), Operand::Arg(1)));
        assert_eq!(plan(size).tag_columns, ["colors".into()]);
        assert_eq!(plan(size).row_id, Some(ScalarType::Int));
        assert_eq!(plan(size).sections.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["bear", "color"]);
        let ids: Vec<_> = catalog.sections.iter().flat_map(|s| &s.queries).map(|q| plan(q).id).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5]);

        let update = job(bear, "UPDATE_BEAR");
        assert_eq!(update.order, Order::Fields(vec!["id".into()]));
        assert_eq!(
            update.data.iter().map(|f| (&*f.name, f.optional)).collect::<Vec<_>>(),
            [("id", false), ("name", true), ("size", true)]
        );
        let JobBody::Set(sql) = &update.body else { panic!() };
        assert!(sql.text.contains(r#"FROM (SELECT * FROM pg_catalog.json_to_recordset($1::pg_catalog.json) AS r(n pg_catalog.int8, "id" pg_catalog.int8, "name" pg_catalog.text, "size" pg_catalog.int8)) job"#), "{}", sql.text);
        assert_eq!(job(bear, "CREATE_BEAR").order, Order::None);
        let (_, color) = catalog.section(b"color").unwrap();
        assert_eq!(job(color, "CREATE_COLOR").order, Order::Fields(vec!["name".into()]));
        assert!(catalog.section(b"colour").is_none());
    }

    #[test]
    fn the_exam_catalog_loads() {
        let catalog = load(EXAM).unwrap();
        let (_, exam) = catalog.section(b"exam").unwrap();
        let open = &exam.queries[2];
        assert_eq!((open.life.ttl_ms, open.rows, plan(open).row_id), (30_000, false, None));
        assert!(exam.tables.is_empty() && exam.id.is_none(), "they are derived");
        let (_, user) = catalog.section(b"user").unwrap();
        assert_eq!(user.table.as_deref(), Some("users"));
    }

    #[test]
    fn on_of_the_own_section_is_match() {
        let text = r#"
[exam]
id = "int"
tables = { exam = "id" }
row = "SELECT id FROM exam WHERE id = ANY({ids})"
[[exam.query]]
call = "{id:int} questions"
sql = "SELECT q.id, q.id AS _question, q.exam_id AS _exam FROM question q WHERE q.exam_id = {id}"
on = { question = "exam_id = {id}", exam = "id = {id}" }
[question]
id = "int"
tables = { question = "id" }
row = "SELECT id, exam_id FROM question WHERE id = ANY({ids})"
[user]
id = "uuid"
"#;
        let catalog = load(text).unwrap();
        let (_, exam) = catalog.section(b"exam").unwrap();
        assert!(exam.queries[0].match_.is_some());
        let (question, _) = catalog.section(b"question").unwrap();
        assert_eq!(exam.queries[0].on.iter().map(|on| on.section).collect::<Vec<_>>(), [question]);
        assert!(exam.source.contains("# question"), "a column names the section");
        assert!(!exam.source.contains("# user"));
    }

    #[test]
    fn the_salon_catalog_loads() {
        let catalog = load(SALON).unwrap();
        let (_, booking) = catalog.section(b"booking").unwrap();
        assert_eq!(booking.tenant, Some(ScalarType::Uuid));
        assert_eq!(booking.row.as_ref().unwrap().params, ["ids".into(), "tenant".into()]);
        let one = &booking.queries[0];
        let id = crate::core::values::value::Value::Scalar("b".into());
        assert_eq!(one.bind_params(&[id], Some("t")), [Some("t".to_owned()), Some("b".to_owned())]);
        assert_eq!(params(one), [ParamSource::Tenant, ParamSource::Arg(0)]);
        assert_eq!(plan(one).tag_columns, ["customer_id".into(), "status".into()]);
        assert!(one.single && plan(one).single);
        let (_, dashboard) = catalog.section(b"dashboard").unwrap();
        assert_eq!(dashboard.id, None);
        assert!(dashboard.queries[0].on.iter().all(|on| on.rule == OnRule::Any));
        assert_eq!(dashboard.queries[0].on.len(), 2);
    }

    /// A section with an id and a row statement, to which a test adds what is wrong.
    fn with(rest: &str) -> String {
        format!("[bear]\nid = \"int\"\nrow = \"SELECT id FROM bear WHERE id = ANY({{ids}})\"\n{rest}")
    }

    fn query(rest: &str) -> String {
        with(&format!("[[bear.query]]\ncall = \"size {{x:int}}\"\nsql = \"SELECT {{x}}\"\n{rest}"))
    }

    #[test]
    fn wrong_catalogs_say_where_and_what_would_be_right() {
        for (text, reason) in [
            (String::new(), "the catalog has no section"),
            ("x = ".to_owned(), "line 1, column 5"),
            ("[Bear]".to_owned(), "section 'Bear': a section's name is lower-case"),
            ("[meta]".to_owned(), "section 'meta': a section cannot be called"),
            ("bear = 1".to_owned(), "section 'bear': a section is a table"),
            (with("idd = 1"), "section 'bear': unknown key 'idd'; the keys are id, ttl, stale, refresh_ahead, jitter, compress, tenant, tenant_column, group, table, tables, row, query, value, job, schedule"),
            ("[bear]\nid = \"json\"".to_owned(), "section 'bear': id must be int, numeric,"),
            ("[bear]\nid = 5".to_owned(), "section 'bear': id must be a string, got 5"),
            ("[bear]\nrow = \"SELECT {ids}\"".to_owned(), "row needs id"),
            ("[bear]\ntables = { a = \"id\" }".to_owned(), "tables needs id"),
            (with("ttl = \"5 minutes\""), "section 'bear': ttl: a duration is"),
            (with("tenant_column = \"x\""), "tenant_column needs tenant"),
            (with("group = 5"), "section 'bear': group must be a string, got 5"),
            (with("group = \"A b\""), "section 'bear': group is lower-case letters, digits, _ and -"),
            (with("group = \"a\"\ntenant = \"int\""), "section 'bear': group and tenant exclude each other"),
            (with("[a]\ngroup = \"bear\""), "group 'bear' is the name of a section that is in no group"),
            (with("tables = { a = \"SELECT 1\" }"), "tables.a must say which rows"),
            (with("tables = { a = \"SELECT {id}\" }"), "tables.a: unknown placeholder {id}; there are {ids}"),
            (with("query = 5"), "query must be an array of tables, got 5"),
            (with("[[bear.query]]\nsql = \"SELECT 1\""), "section 'bear', query 1: call is missing"),
            (with("[[bear.query]]\ncall = \"all\""), "section 'bear', query 'all': sql is missing"),
            (with("[[bear.query]]\ncall = \"all {x}\"\nsql = \"SELECT 1\""), "section 'bear', query 'all {x}': call: the argument '{x}' has no type"),
            (query("sqll = 1"), "section 'bear', query 'size {x:int}': unknown key 'sqll'; the keys are call, sql,"),
            (query("match = \"size = {y}\""), "match: the call has no argument {y}; it has {x}"),
            (query("match = \"size = {x}\"\nrows = false"), "match cannot decide where rows = false"),
            (query("on = { beer = \"*\" }"), "on.beer: no section is called 'beer'; there are bear"),
            (query("on = { bear = \"id = 1\" }\nmatch = \"id = 1\""), "on.bear and match say the same"),
            (query("on = { zoo = \"id = {x}\" }\n[zoo]\nid = \"int\""), "on.zoo compares rows, for which section 'zoo' must say row ="),
            (query("on = { zoo = \"*\" }\n[zoo]\ntenant = \"int\""), "on.zoo: 'zoo' is kept per tenant"),
            (with("compress = \"4k\""), "section 'bear': compress: a size is \"off\" or a whole number and b, kb or mb"),
            (query("compress = 4096"), "query 'size {x:int}': compress must be a string, got 4096"),
            (with("[[bear.query]]\ncall = \"raw {x:int}\"\nsql = \"SELECT {x}\""), "a call cannot begin with 'raw', which is reserved"),
            (query("tags = [\"{y}\"]"), "tags: unknown placeholder {y}; a tag may use {x} {row.<column>}"),
            (query("tags = \"x\""), "tags must be an array of strings"),
            (query("single = 1"), "single must be true or false, got 1"),
            (query("ttl = \"0s\""), "ttl: a duration"),
            (with("[[bear.query]]\ncall = \"all\"\nsql = \"SELECT {tenant}\""), "sql: unknown placeholder {tenant}; there are none here"),
            (query("[[bear.query]]\ncall = \"size {y:text}\"\nsql = \"SELECT 1\""), "section 'bear': the calls 'size {x:int}' and 'size {y:text}' fit the same words"),
            ("[bear]\n[[bear.query]]\ncall = \"all\"\nsql = \"SELECT 1\"\nrows = true".to_owned(), "say rows = false"),
            ("[bear]\nid = \"int\"\ntable = \"x\"\ntables = { bear = \"id\" }".to_owned(), "table and tables say the same"),
            ("[bear]\n[[bear.query]]\ncall = \"all\"\nsql = \"SELECT 1\"\nrows = false\nmatch = \"id = 1\"".to_owned(), "match compares rows"),
            (with("[bear.job.A-B]\nsql = \"SELECT 1 FROM {jobs} j\""), "section 'bear', job 'A-B': a job's name"),
            (with("[bear.job.A]"), "section 'bear', job 'A': sql (or each, or claim) is missing"),
            (with("[bear.job.A]\nsql = \"SELECT 1\""), "sql must use {jobs}"),
            (with("[bear.job.A]\nsql = \"SELECT 1 FROM {jobs} j\"\neach = [\"SELECT 1\"]"), "exclude each other"),
            (with("[bear.job.A]\neach = []"), "each has no statement"),
            (with("[bear.job.A]\neach = [\"SELECT {id}\"]"), "each: unknown placeholder {id}"),
            (with("[bear.job.A]\ndata = { id = \"integer\" }\neach = [\"SELECT 1\"]"), "data.id: 'integer' is not a type"),
            (with("[bear.job.A]\ndata = { n = \"int\" }\neach = [\"SELECT 1\"]"), "data.n: a field cannot be called 'n'"),
            (with("[bear.job.A]\norder = [\"id\"]\neach = [\"SELECT 1\"]"), "order: data has no field 'id'"),
            (with("[bear.job.A]\ndata = { x = \"json\" }\norder = [\"x\"]\neach = [\"SELECT 1\"]"), "order: 'x' is json"),
            (with("[bear.job.A]\norder = \"id\"\neach = [\"SELECT 1\"]"), "order must be an array of strings, got a string"),
        ] {
            let error = load(&text).expect_err(&text);
            assert!(error.contains(reason), "{text}\n-> {error}");
        }
    }

    #[test]
    fn a_file_that_is_no_catalog_is_not_quoted() {
        for text in [
            "HOME=/root\0SECRET=hunter2",
            "root:$y$hunter2:19000:0:99999:7:::\n",
            "a = \"hunter2\nb",
            "id = \"hunter2\"",
            "[x]\nid = 1\ntables = \"hunter2\"",
            "[x]\nid = [\"hunter2\"]",
        ] {
            let error = load(text).expect_err(text);
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn any_section_may_say_that_it_has_no_tables() {
        let catalog = load("[page]\ntables = {}\n[[page.value]]\ncall = \"shelf {c:int}\"").unwrap();
        assert!(catalog.sections[0].tables.is_empty() && catalog.sections[0].has_values);
    }

    #[test]
    fn several_problems_are_reported_together() {
        let error = load(&query("single = 1\nrows = 2\nttl = 3")).unwrap_err();
        assert_eq!(error.lines().count(), 3, "{error}");
        let many: String = (0..15).map(|i| format!("[X{i}]\n")).collect();
        let error = load(&many).unwrap_err();
        assert_eq!(error.lines().count(), 11);
        assert!(error.ends_with("… and 5 more"), "{error}");
    }

    #[test]
    fn a_query_compresses_as_its_section_does_unless_it_says_otherwise() {
        let text = "[a]\ncompress = \"4kb\"\n[[a.query]]\ncall = \"x\"\nsql = \"SELECT 1\"\nrows = false\n\
                    [[a.query]]\ncall = \"y\"\nsql = \"SELECT 1\"\nrows = false\ncompress = \"off\"\n\
                    [b]\n[[b.query]]\ncall = \"x\"\nsql = \"SELECT 1\"\nrows = false\n\
                    [[b.query]]\ncall = \"y\"\nsql = \"SELECT 1\"\nrows = false\ncompress = \"1mb\"\n";
        let catalog = load(text).unwrap();
        let of =
            |section: usize| catalog.sections[section].queries.iter().map(|query| query.compress).collect::<Vec<_>>();
        assert_eq!((of(0), of(1)), (vec![Some(4_096), None], vec![None, Some(1 << 20)]));
        let other = load(&text.replace("4kb", "5kb")).unwrap();
        assert!(catalog.sections[0].source != other.sections[0].source, "what is stored is another");
    }

    #[test]
    fn jobs_of_one_statement_each_and_barriers() {
        let catalog = load(&with("[bear.job.A]\ndata = { id = \"int\", x = \"text[]?\" }\norder = \"*\"\neach = [\"DELETE FROM a WHERE id = {id};\", \"SELECT {x}, {id}\"]")).unwrap();
        let job = &catalog.sections[0].jobs[0];
        assert_eq!(job.order, Order::Barrier);
        let JobBody::Each(statements) = &job.body else { panic!() };
        assert_eq!(statements[0].text, "DELETE FROM a WHERE id = $1");
        assert_eq!(statements[1].params, ["x".into(), "id".into()]);
    }

    #[test]
    fn a_section_that_did_not_change_has_the_same_source() {
        let (a, b) =
            (load(EXAM).unwrap(), load(&EXAM.replace("[question]\nttl = \"2h\"", "[question]\nttl = \"3h\"")).unwrap());
        for (x, y) in a.sections.iter().zip(b.sections.iter()) {
            assert_eq!(x.source == y.source, &*x.name != "question", "{}", x.name);
        }
        let commented = load(&format!("# a comment\n{EXAM}")).unwrap();
        assert!(a.sections.iter().zip(commented.sections.iter()).all(|(x, y)| x.source == y.source));
    }
}

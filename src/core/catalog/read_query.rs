//! Reads the queries of a section.

use std::sync::Arc;
use std::time::Duration;

use toml::Table;

use super::fetch_plan::FetchPlan;
use super::life::Life;
use super::lists::{ListOf, PageSize};
use super::outline::Outline;
use super::read_columns;
use super::read_life;
use super::read_lists::{self, Lists};
use super::section_names::SectionNames;
use super::sections::{On, OnRule, ParamSource, Query, Source};
use super::toml_reader::{Fields, Report};
use crate::core::calls::pattern::CallPattern;
use crate::core::calls::predicate::{Listing, Predicate};
use crate::core::calls::tags::TagTemplate;
use crate::core::sql::template::Template;
use crate::core::values::duration;
use crate::core::values::value::{ArgType, ScalarType};

const QUERY_KEYS: [&str; 17] = [
    "call",
    "sql",
    "single",
    "rows",
    "ttl",
    "stale",
    "refresh_ahead",
    "jitter",
    "compress",
    "rewarm",
    "match",
    "on",
    "lists",
    "reads",
    "page",
    "tags",
    "trust",
];

/// Reads queries of any section.
pub(in crate::core) struct QueryReader<'a, 'p> {
    pub outlines: &'a [Outline<'a>],
    pub names: &'a SectionNames,
    /// Changes with the names and types of sections.
    pub all_sections: u64,
    /// See [`super::read_catalog::parse`].
    pub plan_id: &'p mut dyn FnMut() -> u64,
}

impl QueryReader<'_, '_> {
    pub(in crate::core) fn query(
        &mut self,
        section: usize,
        index: usize,
        table: &Table,
        section_life: Life,
        report: &mut Report,
    ) -> Option<Query> {
        let call = table.get("call").and_then(|call| call.as_str());
        let place = call.map_or_else(|| format!("query {}", index + 1), |call| format!("query '{call}'"));
        report.within(place, |report| {
            let fields = Fields::new(table, &QUERY_KEYS, report);
            self.query_body(section, fields, section_life, report)
        })
    }

    fn query_body(
        &mut self,
        section: usize,
        fields: Fields<'_>,
        section_life: Life,
        report: &mut Report,
    ) -> Option<Query> {
        let outline = &self.outlines[section];
        for key in ["call", "sql"] {
            if !fields.has(key) {
                report.problem(format!("{key} is missing"));
            }
        }
        let call = CallPattern::parse(fields.string("call", report)?);
        let call = Arc::new(report.keep("call", call)?);
        let known = outline.placeholders(call.args().iter().map(|arg| &*arg.name));
        let template = fields.string("sql", report).and_then(|sql| report.keep("sql", Template::parse(sql, &known)));
        let single = fields.boolean("single", report).unwrap_or(false);
        let says_rows = fields.has("rows");
        let rows = fields.boolean("rows", report).unwrap_or(outline.id.is_some());
        if rows && !outline.fields.has("id") {
            report.problem("the section has no id, so its rows cannot be tracked: say rows = false");
        }
        let life = read_life::read(fields, section_life, report);
        let compress = read_life::compress(fields, outline.compress, report);
        let rewarm = fields.string("rewarm", report).and_then(|text| report.keep("rewarm", duration::parse_ms(text)));
        let rewarm = rewarm.map(Duration::from_millis);
        let mut params = template.as_ref().map(|template| template.params.clone()).unwrap_or_default();
        let page = page(fields, &call, report);
        let mut lists = Lists::default();
        lists.last = page.map(|_| Vec::new());
        let statements = read_lists::read(fields, self.names, &known, &mut params, &mut lists, report);
        for list in statements.iter().filter(|list| list.of_rows) {
            if let Some(other) = self.names.index_of(&list.name) {
                check_tenants(&format!("lists.{}", list.name), outline, &self.outlines[other], report);
            }
        }
        let (match_, on) = self.predicates(section, fields, &call, &mut lists, report);
        let lists_own = statements.iter().any(|list| *list.name == *outline.name)
            || template.as_ref().is_some_and(|sql| sql.text.contains(&format!("_{}", outline.name)));
        let last = lists.last.unwrap_or_default();
        if page.is_some() && last.is_empty() {
            report.problem(
                "page says nothing alone: match or on must compare with the last row, as (price:numeric desc, id:int) <= _last",
            );
        }
        if match_.is_some() && !rows && !lists_own {
            report.problem(format!(
                "match cannot decide where rows = false, for nobody knows which rows are in the result; remove one of \
                 the two, or list the rows in a column _{}",
                outline.name
            ));
        }
        let of_on = on.iter().filter_map(|on| match &on.rule {
            OnRule::Rows(predicate) => Some((self.outlines[on.section].name, predicate)),
            OnRule::Any => None,
        });
        let compared = match_.iter().map(|predicate| (outline.name, predicate)).chain(of_on);
        let compared: Vec<_> = compared.map(|(of, predicate)| (of, predicate.columns().collect())).collect();
        let of_lists = statements.iter().map(|list| &*list.sql);
        let reads = read_columns::read(fields, self.names, &compared, of_lists, report);
        let mut tag_columns = Vec::new();
        let tags = fields.strings("tags", report).unwrap_or_default();
        let parse_tag = |text: &str| TagTemplate::parse(text, &call, outline.tenancy(), &mut tag_columns);
        let tags: Vec<_> = tags.into_iter().map(parse_tag).collect();
        let tags = tags.into_iter().filter_map(|tag| report.keep("tags", tag)).collect();

        let says_ttl = fields.has("ttl");
        let trust = fields.string("trust", report).map(str::trim);
        if trust == Some("") {
            report.problem(
                "trust must say why the SQL may be cached as it is declared, such as trust = \"only admins rename\"",
            );
        }
        let trust = trust.map(Box::from);

        let Template { text: sql, .. } = template?;
        let sources = params
            .iter()
            .map(|name| call.arg_index(name).map_or(ParamSource::Tenant, ParamSource::Arg))
            .collect::<Vec<_>>();
        let tenant = outline.tenant.map(ArgType::scalar);
        let types = sources.iter().filter_map(|source| match source {
            ParamSource::Arg(index) => Some(call.args()[*index].ty),
            ParamSource::Tenant => tenant,
        });
        let plan = FetchPlan {
            id: (self.plan_id)(),
            section: outline.name.into(),
            sql,
            params: types.collect(),
            single,
            row_id: outline.id.filter(|_| rows),
            sections: self.names.all(),
            tag_columns,
            lists: statements,
            compared: lists
                .named
                .iter()
                .filter(|list| matches!(list.of, ListOf::Rows(_)))
                .map(|list| list.name.clone())
                .collect(),
            last,
        };
        let source = Source::Sql { plan: Arc::new(plan), params: sources };
        Some(Query {
            call,
            source,
            life,
            compress,
            rewarm,
            single,
            rows,
            match_,
            on,
            lists: lists.named,
            reads,
            page,
            tags,
            says_ttl,
            says_rows,
            says_match: fields.has("match"),
            trust,
        })
    }

    /// `match` and `on`. An `on` for the own section is its `match`.
    pub(in crate::core) fn predicates(
        &self,
        section: usize,
        fields: Fields<'_>,
        call: &CallPattern,
        lists: &mut Lists,
        report: &mut Report,
    ) -> (Option<Arc<Predicate>>, Vec<On>) {
        let own = &self.outlines[section];
        let mut match_ = None;
        if let Some(text) = fields.string("match", report).filter(|text| text.trim() != "*") {
            match_ = self.predicate("match", text, own, call, lists, report);
        }
        let mut on = Vec::new();
        for (name, text) in fields.string_table("on", report).unwrap_or_default() {
            let key = format!("on.{name}");
            let Some(index) = self.names.index_of(name) else {
                let known = self.names.listed();
                report.problem(format!("{key}: no section is called '{name}'; there are {known}"));
                continue;
            };
            let other = &self.outlines[index];
            let rule = match text.trim() {
                "*" => Some(OnRule::Any),
                text => self.predicate(&key, text, other, call, lists, report).map(OnRule::Rows),
            };
            if index == section {
                if fields.has("match") {
                    report.problem(format!("{key} and match say the same; keep one"));
                }
                if let Some(OnRule::Rows(predicate)) = rule {
                    match_ = Some(predicate);
                }
                continue;
            }
            check_tenants(&key, own, other, report);
            on.extend(rule.map(|rule| On { section: index, rule }));
        }
        (match_, on)
    }

    fn predicate(
        &self,
        key: &str,
        text: &str,
        of: &Outline<'_>,
        call: &CallPattern,
        lists: &mut Lists,
        report: &mut Report,
    ) -> Option<Arc<Predicate>> {
        if !of.has_row() {
            report.problem(format!(
                "{key} compares rows, for which section '{}' must say row = \"SELECT … WHERE id = ANY({{ids}})\"",
                of.name
            ));
        }
        let find = &mut |listing: Listing| lists.find(listing, self.names, self.outlines);
        report.keep(key, Predicate::parse_linked(text, call.args(), find)).map(Arc::new)
    }
}

/// `page`: a number, or the argument that the statement's LIMIT takes.
fn page(fields: Fields<'_>, call: &CallPattern, report: &mut Report) -> Option<PageSize> {
    enum Said<'a> {
        Rows(u64),
        Arg(&'a str),
    }
    let read = |value| match value {
        &toml::Value::Integer(rows) => u64::try_from(rows).ok().filter(|rows| *rows > 0).map(Said::Rows),
        toml::Value::String(text) => Some(Said::Arg(text.strip_prefix('{')?.strip_suffix('}')?)),
        _ => None,
    };
    let expected = "the rows that LIMIT allows, a whole number such as 20 or an argument of the call such as \"{n}\"";
    match fields.typed("page", expected, read, report)? {
        Said::Rows(rows) => Some(PageSize::Rows(rows)),
        Said::Arg(name) => {
            let index = call.arg_index(name).filter(|index| call.args()[*index].ty == ArgType::scalar(ScalarType::Int));
            if index.is_none() {
                report.problem(format!("page: {{{name}}} is no argument of the call that is int"));
            }
            index.map(PageSize::Arg)
        }
    }
}

fn check_tenants(key: &str, own: &Outline<'_>, other: &Outline<'_>, report: &mut Report) {
    match (own.tenant, other.tenant) {
        (_, None) => {}
        (Some(a), Some(b)) if a == b => {}
        (Some(a), Some(b)) => {
            report.problem(format!("{key}: the tenants are of different types: {a} here, {b} of '{}'", other.name))
        }
        (None, Some(_)) => {
            report.problem(format!("{key}: '{}' is kept per tenant, so this section needs a tenant too", other.name))
        }
    }
}

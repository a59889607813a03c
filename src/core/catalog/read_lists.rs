//! Reads `lists` of a query, and finds what its predicates mean by `_<list>`.

use super::lists::{List, ListOf, ListStatement};
use super::outline::Outline;
use super::section_names::SectionNames;
use super::toml_reader::{Fields, Report};
use crate::core::calls::names;
use crate::core::sql::template::Template;
use crate::core::values::value::ScalarType;

/// Statements of one query.
const MAX_STATEMENTS: usize = 32;

/// Of one query, while it is read.
#[derive(Default)]
pub(in crate::core) struct Lists {
    /// Those of `lists` that are no section's rows, with their types.
    values: Vec<(Box<str>, ScalarType)>,
    /// In the order in which predicates have named them.
    pub named: Vec<List>,
}

/// What `lists` says: the statements and the parameters that they and the query's own statement take.
pub(in crate::core) fn read(
    fields: Fields<'_>,
    sections: &SectionNames,
    placeholders: &[&str],
    params: &mut Vec<Box<str>>,
    lists: &mut Lists,
    report: &mut Report,
) -> Vec<ListStatement> {
    let mut statements = Vec::new();
    for (key, sql) in fields.string_table("lists", report).unwrap_or_default() {
        let place = format!("lists.{key}");
        let (name, ty) = match key.split_once(':') {
            None => (key, None),
            Some((name, ty)) => (name, Some(ty)),
        };
        match ty {
            None if sections.index_of(name).is_none() => {
                let known = sections.listed();
                report.problem(format!(
                    "{place}: no section is called '{name}'; there are {known}. Other values have a type: \"{name}:int\""
                ));
            }
            None => {}
            Some(_) if sections.index_of(name).is_some() => {
                report.problem(format!("{place}: ids of rows of '{name}' have the type that the section says"))
            }
            Some(ty) => match ScalarType::parse_name(ty).filter(|ty| *ty != ScalarType::Json) {
                Some(ty) => {
                    if let Err(error) = names::check_section_name(name) {
                        report.problem(format!("{place}: {error}"));
                    }
                    lists.values.push((name.into(), ty));
                }
                None => report.problem(format!("{place}: '{ty}' is no type of values that can be compared")),
            },
        }
        let template = Template::parse_after(sql, placeholders, std::mem::take(params));
        let Some(template) = report.keep(&place, template) else { continue };
        *params = template.params;
        statements.push(ListStatement { name: name.into(), of_rows: ty.is_none(), sql: template.text });
    }
    if statements.len() > MAX_STATEMENTS {
        report.problem(format!("lists may hold {MAX_STATEMENTS} statements"));
    }
    statements
}

impl Lists {
    /// The number of a list by its name, and the type of its values.
    pub fn find(
        &mut self,
        name: &str,
        sections: &SectionNames,
        outlines: &[Outline<'_>],
    ) -> Result<(usize, ScalarType), String> {
        if let Some(at) = self.named.iter().position(|list| *list.name == *name) {
            return Ok((at, self.named[at].ty));
        }
        let values = self.values.iter().find(|(known, _)| **known == *name).map(|(_, ty)| (*ty, ListOf::Values));
        let rows = || {
            let index = sections.index_of(name)?;
            Some((outlines[index].id?, ListOf::Rows(index)))
        };
        let Some((ty, of)) = values.or_else(rows) else {
            return Err(format!(
                "'_{name}' is neither a section with an id nor in lists; there are the sections {}",
                sections.listed()
            ));
        };
        self.named.push(List { name: name.into(), ty, of });
        Ok((self.named.len() - 1, ty))
    }
}

#[cfg(test)]
mod tests {
    use crate::core::catalog::lists::{List, ListOf};
    use crate::core::catalog::read_catalog;
    use crate::core::catalog::sections::Catalog;
    use crate::core::values::value::ScalarType;

    fn load(query: &str) -> Result<Catalog, String> {
        let text = format!(
            "[review]\nid = \"int\"\nrow = \"SELECT id FROM review WHERE id = ANY({{ids}})\"\n[page]\n[seat]\nid = \"int\"\ntenant = \"int\"\n[product]\nid = \"uuid\"\n\
             row = \"SELECT id FROM product WHERE id = ANY({{ids}})\"\n[[product.query]]\ncall = \"of {{a:int}} {{b:int}}\"\n\
             sql = \"SELECT id FROM product WHERE b = {{b}}\"\n{query}"
        );
        read_catalog::parse(&text, &mut || 1).map_err(|error| error.to_string())
    }

    #[test]
    fn statements_share_their_parameters_with_the_query() {
        let catalog = load(
            "match = \"b = {b} and c in _names\"\non = { review = \"product_id in _product and x in _names\" }\n\
             lists = { review = \"SELECT id FROM review WHERE a = {a} AND b = {b}\", \"names:text\" = \"SELECT name FROM x WHERE a = {a}\" }",
        )
        .expect("a catalog");
        let (product, section) = catalog.section(b"product").expect("a section");
        let query = &section.queries[0];
        let plan = query.plan().expect("SQL");
        assert_eq!(plan.sql, "SELECT id FROM product WHERE b = $1");
        let statements: Vec<_> = plan.lists.iter().map(|list| (&*list.name, list.of_rows, &*list.sql)).collect();
        assert_eq!(
            statements,
            [
                ("names", false, "SELECT name FROM x WHERE a = $2"),
                ("review", true, "SELECT id FROM review WHERE a = $2 AND b = $1"),
            ]
        );
        assert_eq!(plan.params.len(), 2);
        let list = |name: &str, ty, of| List { name: name.into(), ty, of };
        assert_eq!(
            query.lists,
            [list("names", ScalarType::Text, ListOf::Values), list("product", ScalarType::Uuid, ListOf::Rows(product))]
        );
        assert_eq!(plan.compared, ["product".into()]);
        assert!(catalog.named_by(product).contains(&catalog.section(b"review").expect("a section").0));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_would_be_right() {
        for (query, reason) in [
            ("lists = { brand = \"SELECT 1\" }", "lists.brand: no section is called 'brand'; there are page, product, review, seat. Other values have a type"),
            ("lists = { \"review:int\" = \"SELECT 1\" }", "lists.review:int: ids of rows of 'review' have the type that the section says"),
            ("lists = { \"x:json\" = \"SELECT 1\" }", "lists.x:json: 'json' is no type of values that can be compared"),
            ("lists = { \"X:int\" = \"SELECT 1\" }", "lists.X:int: a section's name is lower-case letters"),
            ("lists = { review = \"SELECT {c}\" }", "lists.review: unknown placeholder {c}; there are {a} {b}"),
            (
                "lists = { seat = \"SELECT 1\" }",
                "lists.seat: 'seat' is kept per tenant, so this section needs a tenant too",
            ),
            ("lists = { review = 5 }", "lists must be a table of strings"),
            ("match = \"id in _brand\"", "match: '_brand' is neither a section with an id nor in lists; there are the sections page, product, review, seat"),
            ("match = \"id in _page\"", "match: '_page' is neither a section with an id nor in lists"),
        ] {
            let error = load(query).expect_err(query);
            assert!(error.contains(reason), "{query}\n-> {error}");
        }
    }
}

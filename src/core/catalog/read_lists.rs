//! Reads `lists` of a query, and finds what its predicates mean by `_<list>`.

use super::lists::{List, ListOf, ListStatement};
use super::outline::Outline;
use super::section_names::SectionNames;
use super::toml_reader::{Fields, Report};
use crate::core::calls::names;
use crate::core::calls::predicate::Listing;
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
    /// Columns of the last row that they have named; None of what has no pages.
    pub last: Option<Vec<(Box<str>, ScalarType)>>,
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
    /// The number of what a predicate names, and the type of its values.
    pub fn find(
        &mut self,
        listing: Listing,
        sections: &SectionNames,
        outlines: &[Outline<'_>],
    ) -> Result<(usize, ScalarType), String> {
        match listing {
            Listing::List(name) => self.find_list(name, sections, outlines),
            Listing::Last(column, ty) => self.find_last(column, ty),
        }
    }

    /// A column of the last row.
    fn find_last(&mut self, column: &str, ty: ScalarType) -> Result<(usize, ScalarType), String> {
        let Some(last) = &mut self.last else {
            return Err("'_last' is the last row of a full page: say page = 20, the rows that LIMIT allows".to_owned());
        };
        let at = last.iter().position(|(name, of)| **name == *column && *of == ty).unwrap_or_else(|| {
            last.push((column.into(), ty));
            last.len() - 1
        });
        let of = ListOf::Last(at);
        let known = self.named.iter().position(|list| list.of == of);
        let number = known.unwrap_or_else(|| {
            self.named.push(List { name: column.into(), ty, of });
            self.named.len() - 1
        });
        Ok((number, ty))
    }

    fn find_list(
        &mut self,
        name: &str,
        sections: &SectionNames,
        outlines: &[Outline<'_>],
    ) -> Result<(usize, ScalarType), String> {
        let is_it = |list: &List| *list.name == *name && !matches!(list.of, ListOf::Last(_));
        if let Some(at) = self.named.iter().position(is_it) {
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
    use crate::core::catalog::lists::{List, ListOf, PageSize};
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
    fn a_page_is_bound_by_columns_of_its_last_row() {
        let catalog = load(
            "match = \"b = {b} and (p:numeric desc, id:uuid) <= _last (cost, id) and id in _product\"\npage = 20\n\
             on = { review = \"(x:int, p:numeric) <= _last (x, cost)\" }",
        )
        .expect("a catalog");
        let (product, section) = catalog.section(b"product").expect("a section");
        let query = &section.queries[0];
        let plan = query.plan().expect("SQL");
        assert_eq!(query.page, Some(PageSize::Rows(20)));
        let last: Vec<_> = plan.last.iter().map(|(column, ty)| (&**column, *ty)).collect();
        assert_eq!(last, [("cost", ScalarType::Numeric), ("id", ScalarType::Uuid), ("x", ScalarType::Int)]);
        let of: Vec<ListOf> = query.lists.iter().map(|list| list.of).collect();
        assert_eq!(of, [ListOf::Last(0), ListOf::Last(1), ListOf::Rows(product), ListOf::Last(2)]);
        assert_eq!(plan.compared, ["product".into()]);
        let of_argument = load("match = \"(id:uuid) <= _last\"\npage = \"{b}\"").expect("a catalog");
        assert_eq!(of_argument.section(b"product").expect("a section").1.queries[0].page, Some(PageSize::Arg(1)));
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
            ("match = \"(id:uuid) <= _last\"", "match: '_last' is the last row of a full page: say page = 20"),
            ("match = \"(id:uuid) <= _last\"\npage = 0", "page must be the rows that LIMIT allows, a whole number such as 20 or an argument of the call such as \"{n}\""),
            ("match = \"(id:uuid) <= _last\"\npage = \"{c}\"", "page: {c} is no argument of the call that is int"),
            ("match = \"(id:uuid) <= _last\"\npage = \"b\"", "page must be the rows that LIMIT allows"),
            ("page = 20", "page says nothing alone: match or on must compare with the last row, as (price:numeric desc, id:int) <= _last"),
            ("lists = { review = 5 }", "lists must be a table of strings"),
            ("match = \"id in _brand\"", "match: '_brand' is neither a section with an id nor in lists; there are the sections page, product, review, seat"),
            ("match = \"id in _page\"", "match: '_page' is neither a section with an id nor in lists"),
        ] {
            let error = load(query).expect_err(query);
            assert!(error.contains(reason), "{query}\n-> {error}");
        }
    }
}

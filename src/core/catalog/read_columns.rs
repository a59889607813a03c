//! Reads what the results of a query read of sections' rows.

use std::sync::Arc;

use super::columns_read::ColumnsRead;
use super::section_names::SectionNames;
use super::toml_reader::{Fields, Report};
use crate::core::sql::tokens::{tokens, Token};

/// Columns that Postgres changes by itself, with each version of a row.
const OF_SYSTEM: [&str; 6] = ["tableoid", "cmax", "xmax", "cmin", "xmin", "ctid"];

/// What `reads` of a query says. `compared` are the columns, by section, that its predicates name; `lists` its other statements:
/// what links a result to rows is read, said or not.
pub(in crate::core) fn read<'a>(
    fields: Fields<'_>,
    sections: &SectionNames,
    compared: &[(&'a str, Vec<&'a str>)],
    lists: impl Iterator<Item = &'a str>,
    report: &mut Report,
) -> Option<Arc<ColumnsRead>> {
    let said = fields.string_table("reads", report)?;
    let mut listed: Vec<String> = Vec::new();
    for sql in lists {
        match words(sql) {
            Some(words) => listed.extend(words),
            None => report.problem(
                "reads: which columns a statement of lists reads is not told by * or NATURAL; let it name its columns",
            ),
        }
    }
    let mut by_section: Vec<(Box<str>, Vec<Box<str>>)> = Vec::new();
    for (section, text) in said {
        let key = format!("reads.{section}");
        if sections.index_of(section).is_none() {
            let known = sections.listed();
            report.problem(format!("{key}: no section is called '{section}'; there are {known}"));
            continue;
        }
        let Some(names) = report.keep(&key, names(text)) else { continue };
        let compared = compared.iter().filter(|(of, _)| *of == section).flat_map(|(_, columns)| columns);
        let more = compared.map(|name| Box::from(*name)).chain(listed.iter().map(|word| word.as_str().into()));
        by_section.push((section.into(), names.into_iter().chain(more).collect()));
    }
    Some(Arc::new(ColumnsRead::of_sections(by_section)))
}

/// Names with commas between them, each as it stands, or in quotes.
fn names(text: &str) -> Result<Vec<Box<str>>, String> {
    let mut names = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let quoted = rest.strip_prefix('"');
        let (name, after) = match quoted {
            Some(quoted) => quoted_name(quoted).ok_or("a name's quotes do not end")?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        if name.is_empty() || (name == "*" && quoted.is_none()) {
            return Err(format!(
                "'{text}' is no list of columns, such as \"name, price\"; of a section that is not named all are read"
            ));
        }
        if OF_SYSTEM.contains(&&*name) {
            return Err(format!("{name} is another with each change of a row: leave the section out"));
        }
        names.push(name.into());
        rest = after.trim_start();
        if !rest.is_empty() {
            rest = rest
                .strip_prefix(',')
                .ok_or_else(|| format!("'{text}' lacks a comma between two columns"))?
                .trim_start();
            if rest.is_empty() {
                return Err(format!("'{text}' ends in a comma"));
            }
        }
    }
    Ok(names)
}

/// The name that ends at the next quote that stands alone, and what follows.
fn quoted_name(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"')?;
        name += part;
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Some((name, after)),
        }
    }
}

/// All that may be a column's name in a statement; None: it reads columns that it does not name.
fn words(sql: &str) -> Option<Vec<String>> {
    let tokens = tokens(sql)?;
    let hides = |token: &Token| *token == Token::Sign('*') || token.is_word("natural");
    (!tokens.iter().any(hides)).then(|| tokens.iter().filter_map(Token::as_name).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use crate::core::catalog::read_catalog;

    fn load(query: &str) -> Result<Vec<String>, String> {
        let text = format!(
            r#"
            [product]
            id = "int"
            row = "SELECT id, name, price FROM product WHERE id = ANY({{ids}})"
            [[product.query]]
            call = "of {{c:int}} [named {{n:text}}]"
            sql = "SELECT id FROM product WHERE {{c}} IS NULL OR {{n}} IS NULL"
            {query}
            [category]
            id = "int"
            row = "SELECT id, name FROM category WHERE id = ANY({{ids}})"
            "#
        );
        let catalog = read_catalog::parse(&text, &mut || 1).map_err(|error| error.to_string())?;
        let (_, product) = catalog.section(b"product").expect("a section");
        let reads = product.queries[0].reads.as_ref().expect("it says what it reads");
        Ok(reads.sections().map(|(section, columns)| format!("{section}: {}", columns.join(","))).collect())
    }

    #[test]
    fn columns_are_said_by_section_and_what_links_rows_is_read_too() {
        for (query, expected) in [
            (r#"reads = { product = "price, name,price", category = "" }"#, vec!["category: ", "product: name,price"]),
            (r#"reads = { product = '"User Id", "a, ""b""", total sum' }"#, vec!["product: User Id,a, \"b\",total sum"]),
            (r#"reads = { product = '"*", price' }"#, vec!["product: *,price"]),
            (
                "reads = { product = \"price\", category = \"name\" }\nmatch = \"category_id = {c} or not name = {n}\"\n\
                 on = { category = \"rank = {c}\" }",
                vec!["category: name,rank", "product: category_id,name,price"],
            ),
            (
                "reads = { product = \"price\" }\nlists = { category = \"SELECT c.id FROM category c WHERE c.\\\"Kind Of\\\" = {c}\" }",
                vec!["product: Kind Of,c,category,from,id,price,select,where"],
            ),
        ] {
            assert_eq!(load(query), Ok(expected.into_iter().map(str::to_owned).collect()), "{query}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_what_would_be_right() {
        for (query, reason) in [
            (r#"reads = { brand = "x" }"#, "reads.brand: no section is called 'brand'; there are category, product"),
            (r#"reads = { product = "*" }"#, "reads.product: '*' is no list of columns"),
            (r#"reads = { product = "a,,b" }"#, "reads.product: 'a,,b' is no list of columns"),
            (r#"reads = { product = "a," }"#, "reads.product: 'a,' ends in a comma"),
            (r#"reads = { product = '"a" b' }"#, "lacks a comma"),
            (r#"reads = { product = '"a' }"#, "a name's quotes do not end"),
            (r#"reads = { product = "name, xmin" }"#, "reads.product: xmin is another with each change of a row"),
            (r#"reads = "name""#, "reads must be a table of strings"),
            (
                "reads = { product = \"a\" }\nlists = { category = \"SELECT * FROM category\" }",
                "reads: which columns a statement of lists reads is not told by * or NATURAL",
            ),
        ] {
            let error = load(query).expect_err(query);
            assert!(error.contains(reason), "{query}\n-> {error}");
        }
    }
}

//! Tags of an entry: `color:{colors}` from the call, `customer:{row.customer_id}` from the result, both from `a:{colors}:{row.id}`.
//!
//! A list gives one tag an element, several lists every combination, NULL none. A tag without `{row.…}` is carried even
//! by an empty result.

use std::collections::BTreeSet;
use std::fmt;

use super::pattern::CallPattern;
use crate::core::values::value::Value;

/// A checked template of tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagTemplate {
    pieces: Vec<Piece>,
    /// As the catalog writes it.
    text: Box<str>,
}

impl fmt::Display for TagTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Tenant,
    /// Index into the call's arguments.
    Arg(usize),
    /// Index into the plan's `tag_columns`.
    Column(usize),
}

/// Why a template is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    #[error("a tag cannot be empty")]
    Empty,
    #[error("'}}' is missing after '{{{0}'")]
    Unclosed(Box<str>),
    #[error("'}}' without '{{' in a tag")]
    Unopened,
    #[error("unknown placeholder {{{name}}}; a tag may use {known}")]
    Unknown { name: Box<str>, known: Box<str> },
}

/// An entry would carry more tags than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the result carries more than {limit} tags")]
pub struct TooManyTags {
    pub limit: usize,
}

/// Whether the section has a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenancy {
    Shared,
    PerTenant,
}

impl TagTemplate {
    /// Columns that the template takes from the result are added to `columns` where they are not yet there.
    pub fn parse(
        text: &str,
        call: &CallPattern,
        tenancy: Tenancy,
        columns: &mut Vec<Box<str>>,
    ) -> Result<TagTemplate, TagError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            push_text(&mut pieces, &rest[..open])?;
            let inner = &rest[open + 1..];
            let Some(close) = inner.find('}') else {
                return Err(TagError::Unclosed(inner.into()));
            };
            pieces.push(placeholder(&inner[..close], call, tenancy, columns)?);
            rest = &inner[close + 1..];
        }
        push_text(&mut pieces, rest)?;
        if pieces.is_empty() {
            return Err(TagError::Empty);
        }
        Ok(TagTemplate { pieces, text: text.into() })
    }

    /// Adds the tags of one entry. `tag_values` are those of [`crate::core::cache::fetch::Fetched`]; `limit` bounds `out`.
    pub fn render(
        &self,
        args: &[Value],
        tenant: Option<&str>,
        tag_values: &[Vec<Vec<Box<str>>>],
        limit: usize,
        out: &mut BTreeSet<Box<str>>,
    ) -> Result<(), TooManyTags> {
        let mut rendering = Rendering { args, tenant, row: &[], limit, out };
        if !self.pieces.iter().any(|piece| matches!(piece, Piece::Column(_))) {
            return rendering.combine(&self.pieces, &mut String::new());
        }
        for row in tag_values {
            rendering.row = row;
            rendering.combine(&self.pieces, &mut String::new())?;
        }
        Ok(())
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) -> Result<(), TagError> {
    if text.contains('}') {
        return Err(TagError::Unopened);
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into()));
    }
    Ok(())
}

fn placeholder(
    name: &str,
    call: &CallPattern,
    tenancy: Tenancy,
    columns: &mut Vec<Box<str>>,
) -> Result<Piece, TagError> {
    if name == "tenant" && tenancy == Tenancy::PerTenant {
        return Ok(Piece::Tenant);
    }
    if let Some(column) = name.strip_prefix("row.").filter(|column| !column.is_empty()) {
        let index = columns.iter().position(|known| &**known == column).unwrap_or_else(|| {
            columns.push(column.into());
            columns.len() - 1
        });
        return Ok(Piece::Column(index));
    }
    match call.arg_index(name) {
        Some(index) => Ok(Piece::Arg(index)),
        None => {
            let mut known: Vec<String> = call.args().iter().map(|arg| format!("{{{}}}", arg.name)).collect();
            if tenancy == Tenancy::PerTenant {
                known.push("{tenant}".to_owned());
            }
            known.push("{row.<column>}".to_owned());
            Err(TagError::Unknown { name: name.into(), known: known.join(" ").into() })
        }
    }
}

struct Rendering<'a> {
    args: &'a [Value],
    tenant: Option<&'a str>,
    row: &'a [Vec<Box<str>>],
    limit: usize,
    out: &'a mut BTreeSet<Box<str>>,
}

impl Rendering<'_> {
    /// Every combination of the pieces' values, after what `tag` already holds. As deep as a template has pieces.
    fn combine(&mut self, pieces: &[Piece], tag: &mut String) -> Result<(), TooManyTags> {
        let Some((piece, rest)) = pieces.split_first() else {
            if !self.out.contains(tag.as_str()) {
                if self.out.len() >= self.limit {
                    return Err(TooManyTags { limit: self.limit });
                }
                self.out.insert(tag.as_str().into());
            }
            return Ok(());
        };
        let (row, args) = (self.row, self.args);
        let one: [&str; 1];
        let many: &[Box<str>] = match piece {
            Piece::Text(text) => {
                one = [text];
                return self.each(one.into_iter(), rest, tag);
            }
            Piece::Tenant => return self.each(self.tenant.into_iter(), rest, tag),
            Piece::Column(index) => row.get(*index).map_or(&[], Vec::as_slice),
            Piece::Arg(index) => match args.get(*index) {
                Some(Value::Scalar(text)) => std::slice::from_ref(text),
                Some(Value::Array(elements)) => elements,
                Some(Value::Null) | None => &[],
            },
        };
        self.each(many.iter().map(|value| &**value), rest, tag)
    }

    fn each<'v>(
        &mut self,
        values: impl Iterator<Item = &'v str>,
        rest: &[Piece],
        tag: &mut String,
    ) -> Result<(), TooManyTags> {
        let len = tag.len();
        for value in values {
            tag.push_str(value);
            self.combine(rest, tag)?;
            tag.truncate(len);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> CallPattern {
        CallPattern::parse("x {colors:text[]} [limit {limit:int}]").unwrap()
    }

    fn strings(texts: &[&str]) -> Vec<Box<str>> {
        texts.iter().map(|t| (*t).into()).collect()
    }

    fn render(text: &str, limit: usize) -> Result<Vec<String>, TooManyTags> {
        let mut columns = Vec::new();
        let template = TagTemplate::parse(text, &call(), Tenancy::PerTenant, &mut columns).unwrap();
        // Two rows: customer 7 with two colours, and one of no customer.
        let rows: Vec<Vec<Vec<Box<str>>>> = [[strings(&["7"]), strings(&["x", "y"])], [strings(&[]), strings(&["z"])]]
            .iter()
            .map(|[customer, colors]| {
                columns.iter().map(|c| if &**c == "customer" { customer.clone() } else { colors.clone() }).collect()
            })
            .collect();
        let args = [Value::Array(strings(&["black", "brown"]).into()), Value::Null];
        let mut out = BTreeSet::new();
        template.render(&args, Some("salon"), &rows, limit, &mut out)?;
        Ok(out.into_iter().map(String::from).collect())
    }

    #[test]
    fn values_are_combined() {
        for (text, tags) in [
            ("all", &["all"][..]),
            ("color:{colors}", &["color:black", "color:brown"]),
            ("limit:{limit}", &[]),
            ("{tenant}!", &["salon!"]),
            ("customer:{row.customer}", &["customer:7"]),
            ("{row.colors}", &["x", "y", "z"]),
            ("{row.customer}/{row.colors}", &["7/x", "7/y"]),
            ("{colors}-{row.colors}", &["black-x", "black-y", "black-z", "brown-x", "brown-y", "brown-z"]),
        ] {
            assert_eq!(render(text, 100).unwrap(), tags, "{text}");
        }
    }

    #[test]
    fn tags_are_bounded() {
        assert_eq!(render("{colors}-{row.colors}", 6).unwrap().len(), 6);
        assert_eq!(render("{colors}-{row.colors}", 5), Err(TooManyTags { limit: 5 }));
    }

    #[test]
    fn columns_are_shared_and_mistakes_are_named() {
        let mut columns = Vec::new();
        let mut parse =
            |text: &str, tenancy| TagTemplate::parse(text, &call(), tenancy, &mut columns).map_err(|e| e.to_string());
        parse("a:{row.x}", Tenancy::Shared).unwrap();
        parse("b:{row.y}:{row.x}", Tenancy::Shared).unwrap();
        assert_eq!(
            parse("{color}", Tenancy::Shared).unwrap_err(),
            "unknown placeholder {color}; a tag may use {colors} {limit} {row.<column>}"
        );
        assert!(parse("{tenant}", Tenancy::Shared).unwrap_err().contains("unknown placeholder {tenant}"));
        assert!(parse("{row.}", Tenancy::Shared).unwrap_err().contains("unknown"));
        assert!(parse("", Tenancy::Shared).unwrap_err().contains("empty"));
        assert!(parse("a{b", Tenancy::Shared).unwrap_err().contains("missing"));
        assert!(parse("a}b", Tenancy::Shared).unwrap_err().contains("without '{'"));
        assert_eq!(columns, strings(&["x", "y"]));
    }
}

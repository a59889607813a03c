//! How a catalog may spell the tables and columns of `tables`: as SQL does, or as they are.
//!
//! Rule: whatever a name holds (blanks, capitals, quotes, dots, keywords), there is a spelling that means it and nothing
//! else: in quotes.

use super::template::is_word_char;
use super::tokens::{tokens, Token};

/// What a relation's name may mean, the likeliest first, each as SQL writes it, all parts in quotes: as SQL reads it, then
/// as it is, then as it is with a schema before one of its dots.
pub fn relation_names(name: &str) -> Vec<String> {
    if name.is_empty() || name.contains('\0') {
        return Vec::new();
    }
    let mut names = Vec::new();
    names.extend(as_sql(name));
    names.push(in_quotes(name));
    let dots = name.char_indices().filter(|(at, c)| *c == '.' && *at > 0 && at + 1 < name.len());
    names.extend(dots.map(|(at, _)| format!("{}.{}", in_quotes(&name[..at]), in_quotes(&name[at + 1..]))));
    let mut known = std::collections::BTreeSet::new();
    names.retain(|name| known.insert(name.clone()));
    names
}

/// The column that a value of `tables` names; None: it is a statement.
///
/// In quotes it is the column of just that name. Without, it is a statement if it begins as one or holds `{ids}`, and else
/// the name as it stands.
pub fn column_name(value: &str) -> Option<String> {
    if let Some(name) = unquoted(value) {
        return Some(name);
    }
    let is_statement = value.trim().is_empty() || value.contains("{ids}") || begins_a_statement(value);
    (!is_statement).then(|| value.to_owned())
}

/// A name of SQL in quotes.
pub fn in_quotes(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Words that are no names without quotes: those that `pg_get_keywords()` calls reserved, in any version.
const RESERVED: [&str; 78] = [
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "system_user",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
];

/// A name as SQL needs it: in quotes where it must be. Names of types and functions (`left`) are in quotes, too, for they are no
/// aliases everywhere.
pub fn as_needed(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let is_type_or_function = [
        "authorization",
        "binary",
        "collation",
        "concurrently",
        "cross",
        "current_schema",
        "freeze",
        "full",
        "ilike",
        "inner",
        "is",
        "isnull",
        "join",
        "left",
        "like",
        "natural",
        "notnull",
        "outer",
        "overlaps",
        "right",
        "similar",
        "tablesample",
        "verbose",
    ]
    .contains(&name);
    match is_plain && !is_type_or_function && !RESERVED.contains(&name) {
        true => name.to_owned(),
        false => in_quotes(name),
    }
}

/// The name, where all of the text is one name in quotes.
fn unquoted(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let name = inner.replace("\"\"", "\u{0}");
    (!inner.is_empty() && !name.contains('"')).then(|| name.replace('\u{0}', "\""))
}

/// A name, or two with a dot between them, folded as Postgres folds them.
fn as_sql(name: &str) -> Option<String> {
    let starts_a_name = |word: &str| word.starts_with(|c: char| is_word_char(c) && !c.is_ascii_digit());
    let mut parts = Vec::new();
    for (at, token) in tokens(name)?.into_iter().enumerate() {
        match (at % 2, token) {
            (0, Token::Word(word)) if starts_a_name(&word) => parts.push(in_quotes(&word)),
            (0, Token::Name(quoted)) if !quoted.is_empty() => parts.push(in_quotes(&quoted)),
            (1, Token::Sign('.')) => {}
            _ => return None,
        }
    }
    let ends_in_a_name = !name.trim_end().ends_with('.');
    ((1..=2).contains(&parts.len()) && ends_in_a_name).then(|| parts.join("."))
}

fn begins_a_statement(value: &str) -> bool {
    let Some(tokens) = tokens(value) else { return false };
    let mut words = tokens.iter().skip_while(|token| **token == Token::Sign('('));
    let begins =
        matches!(words.next(), Some(Token::Word(word)) if matches!(&word[..], "select" | "with" | "values" | "table"));
    begins && words.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_in_quotes_where_sql_needs_them() {
        for (name, expected) in [
            ("bear", "bear"),
            ("_b2", "_b2"),
            ("order", "\"order\""),
            ("left", "\"left\""),
            ("User Id", "\"User Id\""),
            ("categoryId", "\"categoryId\""),
            ("2a", "\"2a\""),
            ("a\"b", "\"a\"\"b\""),
        ] {
            assert_eq!(as_needed(name), expected);
        }
    }

    #[test]
    fn a_relation_is_meant_as_sql_reads_it_or_as_it_is() {
        for (name, expected) in [
            ("bear", &["\"bear\""][..]),
            ("User", &["\"user\"", "\"User\""]),
            ("app.User", &["\"app\".\"user\"", "\"app.User\"", "\"app\".\"User\""]),
            ("app.\"User\"", &["\"app\".\"User\"", "\"app.\"\"User\"\"\"", "\"app\".\"\"\"User\"\"\""]),
            (
                "\"S p\".\"T'able\"",
                &["\"S p\".\"T'able\"", "\"\"\"S p\"\".\"\"T'able\"\"\"", "\"\"\"S p\"\"\".\"\"\"T'able\"\"\""],
            ),
            ("order", &["\"order\""]),
            ("my table", &["\"my table\""]),
            ("a.b.c", &["\"a.b.c\"", "\"a\".\"b.c\"", "\"a.b\".\"c\""]),
            ("a.b.c.d", &["\"a.b.c.d\"", "\"a\".\"b.c.d\"", "\"a.b\".\"c.d\"", "\"a.b.c\".\"d\""]),
            ("Größe", &["\"größe\"", "\"Größe\""]),
            ("ÄRA", &["\"Ära\"", "\"ÄRA\""]),
            ("2024", &["\"2024\""]),
            ("a.", &["\"a.\""]),
            (".a", &["\".a\""]),
            ("\"", &["\"\"\"\""]),
            ("a'b", &["\"a'b\""]),
        ] {
            assert_eq!(relation_names(name), expected, "{name}");
        }
    }

    #[test]
    fn a_column_may_have_any_name() {
        for (value, expected) in [
            ("id", Some("id")),
            ("Id", Some("Id")),
            ("person id", Some("person id")),
            ("order", Some("order")),
            ("select", Some("select")),
            ("select_id", Some("select_id")),
            ("a(b", Some("a(b")),
            ("a;b", Some("a;b")),
            ("{x}", Some("{x}")),
            ("a\"b", Some("a\"b")),
            ("it's", Some("it's")),
            ("\"with tax\"", Some("with tax")),
            ("\"a\"\"b\"", Some("a\"b")),
            ("\"\"\"a\"\"\"", Some("\"a\"")),
            ("\"{ids}\"", Some("{ids}")),
            ("\"a\" \"b\"", Some("\"a\" \"b\"")),
            ("größe", Some("größe")),
            (" id", Some(" id")),
            ("", None),
            ("  ", None),
            ("with tax", None),
            ("SELECT a FROM b WHERE c = ANY({ids})", None),
            ("(SELECT a FROM b)", None),
            ("-- the rows\nselect\n1", None),
            ("/* x */ WITH a AS (SELECT 1) SELECT 2", None),
            ("TABLE x", None),
            ("VALUES (1)", None),
            ("DELETE FROM a WHERE id = ANY({ids})", None),
        ] {
            assert_eq!(column_name(value).as_deref(), expected, "{value}");
        }
    }
}

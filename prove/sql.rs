//! SQL as text: names and literals as Postgres takes them, and what of a statement is code.

use postgres::{Client, SimpleQueryMessage};

/// A value in the form that Postgres prints it in; None is NULL.
pub type Value = Option<String>;

pub fn quote_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

pub fn literal(value: &Value) -> String {
    value.as_deref().map_or_else(|| "NULL".to_owned(), quote)
}

/// An element of an array, or of a row, in its text.
pub fn element(value: &Value) -> String {
    match value {
        None => "NULL".to_owned(),
        Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

pub fn array(values: &[Value]) -> String {
    format!("{{{}}}", values.iter().map(element).collect::<Vec<_>>().join(","))
}

/// The rows of a statement, each column as text.
pub fn rows(client: &mut Client, sql: &str) -> Result<Vec<Vec<Value>>, postgres::Error> {
    let messages = client.simple_query(sql)?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
        _ => None,
    });
    Ok(rows.collect())
}

/// What Postgres said, in one line.
pub fn said(error: &postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// A piece of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// As Postgres folds it.
    Name(String),
    Text(String),
    Number(String),
    /// `{name}`.
    Placeholder(String),
    Sign(char),
}

/// The tokens of a statement, each with where it begins and ends; comments are left out.
pub fn tokens(sql: &str) -> Vec<(Token, usize, usize)> {
    let bytes = sql.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (token, end) = token(sql, at);
        tokens.extend(token.map(|token| (token, at, end)));
        at = end;
    }
    tokens
}

fn token(sql: &str, at: usize) -> (Option<Token>, usize) {
    let rest = &sql[at..];
    let first = rest.chars().next().expect("it is not empty");
    let until =
        |end: &str, from: usize| rest[from..].find(end).map_or(sql.len(), |found| at + from + found + end.len());
    let while_ = |is: fn(char) -> bool| at + rest.find(|c| !is(c)).unwrap_or(rest.len());
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    if rest.starts_with("--") {
        return (None, until("\n", 0));
    }
    if rest.starts_with("/*") {
        return (None, until("*/", 2));
    }
    match first {
        '\'' | '"' => {
            let end = at + quoted(rest, first);
            let inner = sql[at + 1..(end - 1).max(at + 1)].replace(&format!("{first}{first}"), &first.to_string());
            (Some(if first == '"' { Token::Name(inner) } else { Token::Text(inner) }), end)
        }
        '{' => {
            let end = until("}", 1);
            (Some(Token::Placeholder(sql[at + 1..end.max(at + 2) - 1].to_owned())), end)
        }
        '$' => match rest[1..].find('$').filter(|end| rest[1..=*end].chars().all(char::is_alphanumeric)) {
            Some(end) => {
                let tag = &rest[..end + 2];
                let end = until(tag, tag.len());
                (Some(Token::Text(sql[at + tag.len()..(end - tag.len()).max(at + tag.len())].to_owned())), end)
            }
            None => (Some(Token::Sign('$')), at + 1),
        },
        c if c.is_ascii_digit() => {
            let end = while_(|c| c.is_ascii_digit() || c == '.');
            (Some(Token::Number(sql[at..end].to_owned())), end)
        }
        c if c.is_alphabetic() || c == '_' => {
            let end = at + rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            (Some(Token::Name(sql[at..end].to_lowercase())), end)
        }
        c if c.is_whitespace() => (None, at + c.len_utf8()),
        c => (Some(Token::Sign(c)), at + c.len_utf8()),
    }
}

/// Bytes of what `rest` begins with, quotes included; a doubled quote stands for one.
fn quoted(rest: &str, quote: char) -> usize {
    let mut at = 1;
    while let Some(found) = rest[at..].find(quote) {
        at += found + 1;
        if !rest[at..].starts_with(quote) {
            return at;
        }
        at += 1;
    }
    rest.len()
}

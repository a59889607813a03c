//! The words of a predicate.

use std::fmt;

use super::{refuse, Comparison, PredicateError};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(String),
    Operator(Comparison),
    NotEqual,
    Arg(String),
    Number(String),
    Text(String),
    Open,
    Close,
    Comma,
    Colon,
}

impl Token {
    pub(super) fn is_keyword(&self, keyword: &str) -> bool {
        matches!(self, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Word(text) | Token::Number(text) => f.write_str(text),
            Token::Operator(comparison) => f.write_str(comparison.symbol()),
            Token::NotEqual => f.write_str("<>"),
            Token::Arg(name) => write!(f, "{{{name}}}"),
            Token::Text(text) => write!(f, "'{text}'"),
            Token::Open => f.write_str("("),
            Token::Close => f.write_str(")"),
            Token::Comma => f.write_str(","),
            Token::Colon => f.write_str(":"),
        }
    }
}

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, PredicateError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, len) = match first {
            '=' => (Token::Operator(Comparison::Equal), 1),
            '<' if rest.starts_with("<=") => (Token::Operator(Comparison::LessOrEqual), 2),
            '<' if rest.starts_with("<>") => (Token::NotEqual, 2),
            '!' if rest.starts_with("!=") => (Token::NotEqual, 2),
            '<' => (Token::Operator(Comparison::Less), 1),
            '>' if rest.starts_with(">=") => (Token::Operator(Comparison::GreaterOrEqual), 2),
            '>' => (Token::Operator(Comparison::Greater), 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            ':' => (Token::Colon, 1),
            '{' => match rest.find('}') {
                Some(end) => (Token::Arg(rest[1..end].to_owned()), end + 1),
                None => return refuse(format!("'}}' is missing after '{rest}'")),
            },
            '\'' => text_literal(rest)?,
            c if c.is_ascii_alphabetic() || c == '_' => {
                let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
                (Token::Word(rest[..len].to_owned()), len)
            }
            c if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => {
                let len =
                    rest[1..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).map_or(rest.len(), |n| n + 1);
                (Token::Number(rest[..len].to_owned()), len)
            }
            c => {
                return refuse(format!("'{c}' was not expected; a term is such as size between {{start}} and {{end}}"))
            }
        };
        tokens.push(token);
        rest = rest[len..].trim_start();
    }
    Ok(tokens)
}

/// `'it''s'` at the front, and its length.
fn text_literal(text: &str) -> Result<(Token, usize), PredicateError> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\'' && chars.next_if(|(_, next)| *next == '\'').is_none() {
            return Ok((Token::Text(out), at + 1));
        }
        out.push(c);
    }
    refuse(format!("the literal is not closed: {text}"))
}

//! A statement as the tokens of Postgres' lexer, as far as names and keywords are to be told apart from all else.

use std::ops::Range;

use super::template::{block_comment, dollar_tag, is_word_char, quoted, Backslash};

/// A piece of a statement; blanks and comments are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::core) enum Token {
    /// A keyword, a number or a name without quotes, in lower case as Postgres folds it.
    Word(String),
    /// A name in quotes, without them.
    Name(String),
    /// A literal or a parameter.
    Value,
    Sign(char),
}

impl Token {
    pub(in crate::core) fn is_word(&self, word: &str) -> bool {
        matches!(self, Token::Word(found) if found == word)
    }

    /// As a name of Postgres', if it may be one.
    pub(in crate::core) fn as_name(&self) -> Option<&str> {
        match self {
            Token::Word(name) | Token::Name(name) => Some(name),
            Token::Value | Token::Sign(_) => None,
        }
    }
}

/// None: it is not closed somewhere, or holds what is not read here (names in `U&""`).
pub(in crate::core) fn tokens(sql: &str) -> Option<Vec<Token>> {
    placed_tokens(sql).map(|tokens| tokens.into_iter().map(|(_, token)| token).collect())
}

/// The same, each with the byte at which it begins.
pub(in crate::core) fn placed_tokens(sql: &str) -> Option<Vec<(usize, Token)>> {
    spanned_tokens(sql).map(|tokens| tokens.into_iter().map(|(span, token)| (span.start, token)).collect())
}

/// The same, each with its bytes.
pub(in crate::core) fn spanned_tokens(sql: &str) -> Option<Vec<(Range<usize>, Token)>> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let second = rest[first.len_utf8()..].chars().next();
        let (token, len) = match (first, second) {
            (c, _) if c.is_whitespace() => (None, c.len_utf8()),
            ('-', Some('-')) => (None, rest.find(['\n', '\r']).unwrap_or(rest.len())),
            ('/', Some('*')) => (None, block_comment(rest).ok()?),
            ('\'', _) => (Some(Token::Value), quoted(rest, b'\'', Backslash::Plain, "").ok()?),
            ('e' | 'E', Some('\'')) => {
                (Some(Token::Value), 1 + quoted(&rest[1..], b'\'', Backslash::Escapes, "").ok()?)
            }
            ('u' | 'U', Some('&')) => return None,
            ('"', _) => {
                let len = quoted(rest, b'"', Backslash::Plain, "").ok()?;
                (Some(Token::Name(rest[1..len - 1].replace("\"\"", "\""))), len)
            }
            ('$', _) => match dollar_tag(rest) {
                Some(tag) => (Some(Token::Value), rest[tag.len()..].find(tag)? + 2 * tag.len()),
                None => {
                    let digits = rest[1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - 1);
                    (Some(Token::Value), 1 + digits)
                }
            },
            (c, _) if is_word_char(c) => {
                let len = rest.find(|c| !is_word_char(c) && c != '$').unwrap_or(rest.len());
                (Some(Token::Word(rest[..len].to_ascii_lowercase())), len)
            }
            (c, _) => (Some(Token::Sign(c)), c.len_utf8()),
        };
        let begin = sql.len() - rest.len();
        tokens.extend(token.map(|token| (begin..begin + len, token)));
        rest = &rest[len..];
    }
    Some(tokens)
}

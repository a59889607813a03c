//! A statement as tokens that know where they stand, which bracket closes which, and what stands around them.

use std::ops::Range;

use super::Refused;
use crate::core::sql::spelling::as_needed;
use crate::core::sql::tokens::{spanned_tokens, Token};

/// A larger statement is none that an application has written.
const MAX_BYTES: usize = 256 << 10;

pub(super) struct Pieces<'a> {
    pub(super) text: &'a str,
    tokens: Vec<(Range<usize>, Token)>,
    /// Of a bracket, the other one.
    pairs: Vec<Option<usize>>,
    depths: Vec<usize>,
}

/// A column as the statement names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) qualifier: Option<String>,
    pub(super) name: String,
}

/// Words that are no names of columns, and stand where one may.
const NO_COLUMNS: [&str; 9] = ["between", "by", "interval", "values", "over", "escape", "time", "zone", "exists"];

impl<'a> Pieces<'a> {
    pub(super) fn of(text: &'a str) -> Result<Pieces<'a>, Refused> {
        if text.len() > MAX_BYTES {
            return Err(Refused::TooLong);
        }
        let tokens = spanned_tokens(text).ok_or(Refused::Unclosed)?;
        let mut pairs = vec![None; tokens.len()];
        let mut depths = Vec::with_capacity(tokens.len());
        let mut open: Vec<(usize, char)> = Vec::new();
        for (at, (_, token)) in tokens.iter().enumerate() {
            match token {
                Token::Sign(sign @ ('(' | '[')) => {
                    depths.push(open.len());
                    open.push((at, *sign));
                }
                Token::Sign(sign @ (')' | ']')) => {
                    let (other, _) =
                        open.pop().filter(|(_, other)| (*other == '(') == (*sign == ')')).ok_or(Refused::Brackets)?;
                    (pairs[at], pairs[other]) = (Some(other), Some(at));
                    depths.push(open.len());
                }
                _ => depths.push(open.len()),
            }
        }
        match open.is_empty() {
            true => Ok(Pieces { text, tokens, pairs, depths }),
            false => Err(Refused::Brackets),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn token(&self, at: usize) -> Option<&Token> {
        self.tokens.get(at).map(|(_, token)| token)
    }

    /// The bytes of the tokens from the first up to the other, which is not among them.
    pub(super) fn bytes(&self, tokens: Range<usize>) -> Range<usize> {
        match tokens.is_empty() {
            true => 0..0,
            false => self.tokens[tokens.start].0.start..self.tokens[tokens.end - 1].0.end,
        }
    }

    pub(super) fn source(&self, tokens: Range<usize>) -> &'a str {
        &self.text[self.bytes(tokens)]
    }

    pub(super) fn is_word(&self, at: usize, word: &str) -> bool {
        self.token(at).is_some_and(|token| token.is_word(word))
    }

    pub(super) fn is_one_of(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is_word(at, word))
    }

    pub(super) fn is_sign(&self, at: usize, sign: char) -> bool {
        self.token(at) == Some(&Token::Sign(sign))
    }

    /// The bracket that closes or opens this one.
    pub(super) fn pair(&self, at: usize) -> Option<usize> {
        self.pairs.get(at).copied().flatten()
    }

    /// How many brackets are open around it.
    pub(super) fn depth(&self, at: usize) -> usize {
        self.depths.get(at).copied().unwrap_or_default()
    }

    /// Do the two stand without a blank between them?
    pub(super) fn are_joined(&self, one: usize, other: usize) -> bool {
        self.tokens[one].0.end == self.tokens[other].0.start
    }

    /// A name, if it is no keyword and no number.
    pub(super) fn name(&self, at: usize) -> Option<&str> {
        match self.token(at)? {
            Token::Name(name) if !name.is_empty() => Some(name),
            Token::Word(word) => {
                let is_name = !word.starts_with(|c: char| c.is_ascii_digit())
                    && !NO_COLUMNS.contains(&&**word)
                    && (as_needed(word) == **word || !word.is_ascii());
                is_name.then_some(word)
            }
            _ => None,
        }
    }

    /// A whole number without a sign.
    pub(super) fn whole_number(&self, at: usize) -> Option<i64> {
        let Token::Word(word) = self.token(at)? else { return None };
        let is_whole = word.bytes().all(|byte| byte.is_ascii_digit()) && !self.is_sign(at + 1, '.');
        is_whole.then(|| word.parse().ok()).flatten()
    }

    /// The operator that ends before the token, and where it begins.
    pub(super) fn operator_before(&self, at: usize) -> Option<(usize, &'a str)> {
        let mut begin = at;
        while begin > 0 && self.is_operator(begin - 1) && (begin == at || self.are_joined(begin - 1, begin)) {
            begin -= 1;
        }
        (begin < at).then(|| (begin, self.source(begin..at)))
    }

    /// The operator that begins with the token, and where it has ended.
    pub(super) fn operator_after(&self, at: usize) -> Option<(usize, &'a str)> {
        let mut end = at;
        while self.is_operator(end) && (end == at || self.are_joined(end - 1, end)) {
            end += 1;
        }
        (end > at).then(|| (end, self.source(at..end)))
    }

    fn is_operator(&self, at: usize) -> bool {
        matches!(self.token(at), Some(Token::Sign(sign)) if "+-*/<>=~!@#%^&|`?".contains(*sign))
    }

    /// The column that an expression is of, by its last token: `"p"."name"`, `lower(p.name)`, `p.name::text`.
    pub(super) fn column_ending(&self, mut last: usize) -> Option<Column> {
        loop {
            if self.is_sign(last, ')') {
                return self.column_within(self.pair(last)?, last);
            }
            let first = self.first_of_name(last)?;
            // What follows `::` is a type.
            if first < 3 || !self.is_cast(first - 2) {
                return self.plain_column(first);
            }
            last = first - 3;
        }
    }

    /// The column that an expression is of, by its first token.
    pub(super) fn column_starting(&self, first: usize) -> Option<Column> {
        let last = self.last_of_name(first)?;
        match self.is_sign(last + 1, '(') {
            true => self.column_within(last + 1, self.pair(last + 1)?),
            false => self.plain_column(first),
        }
    }

    /// Is this `::`?
    pub(super) fn is_cast(&self, at: usize) -> bool {
        self.is_sign(at, ':') && self.is_sign(at + 1, ':') && self.are_joined(at, at + 1)
    }

    fn column_within(&self, open: usize, close: usize) -> Option<Column> {
        // A number of rows is no value of what is counted.
        if open > 0 && self.is_word(open - 1, "count") {
            return Some(Column { qualifier: None, name: "count".to_owned() });
        }
        (open + 1..close).find_map(|at| self.plain_column(at))
    }

    /// One that is no function's name.
    fn plain_column(&self, first: usize) -> Option<Column> {
        let last = self.last_of_name(first).filter(|last| !self.is_sign(last + 1, '('))?;
        let name = self.name(last)?.to_owned();
        let qualifier = (last > first).then(|| self.name(last - 2).map(str::to_owned)).flatten();
        Some(Column { qualifier, name })
    }

    fn last_of_name(&self, first: usize) -> Option<usize> {
        let mut last = first;
        self.name(last)?;
        while self.is_sign(last + 1, '.') && self.name(last + 2).is_some() {
            last += 2;
        }
        Some(last)
    }

    fn first_of_name(&self, last: usize) -> Option<usize> {
        let mut first = last;
        self.name(last)?;
        while first >= 2 && self.is_sign(first - 1, '.') && self.name(first - 2).is_some() {
            first -= 2;
        }
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_and_literals_must_be_closed() {
        for (sql, refused) in [
            ("SELECT (1", Refused::Brackets),
            ("SELECT 1)", Refused::Brackets),
            ("SELECT (1]", Refused::Brackets),
            ("SELECT '", Refused::Unclosed),
            ("SELECT /* /* */", Refused::Unclosed),
            ("SELECT $x$ $y$", Refused::Unclosed),
            (&"x".repeat(MAX_BYTES + 1), Refused::TooLong),
        ] {
            assert_eq!(Pieces::of(sql).err(), Some(refused));
        }
        assert!(Pieces::of("SELECT $$ ( $$, E'\\'(', '(', \"(\", /* ( /* ( */ */ a[1] -- (").is_ok());
    }

    #[test]
    fn an_expression_is_of_a_column() {
        for (sql, expected) in [
            ("\"p\".\"Name\"", Some(("p", "Name"))),
            ("shop.p.name", Some(("p", "name"))),
            ("lower(p.name)", Some(("p", "name"))),
            ("p.name::text", Some(("p", "name"))),
            ("coalesce('x', name)", Some(("", "name"))),
            ("größe", Some(("", "größe"))),
            ("5", None),
            ("NULL", None),
            ("(1 + 2)", None),
        ] {
            let pieces = Pieces::of(sql).unwrap();
            let found = pieces.column_ending(pieces.len() - 1);
            let found = found.as_ref().map(|of| (of.qualifier.as_deref().unwrap_or_default(), &*of.name));
            assert_eq!(found, expected, "{sql}");
        }
    }
}

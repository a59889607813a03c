//! `match` and `on`: which rows belong in the result of a call, as `colors overlaps {colors} and size between {start} and {end}`.
//!
//! A predicate is a conjunction of terms over columns of the section's `row` statement. A term on an argument whose
//! value is NULL (its optional group was left out) is true: the call did not restrict that column.

use std::fmt;
use std::sync::{Arc, LazyLock};

use super::pattern::Arg;
use crate::core::values::value::ScalarType;

/// All terms must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predicate {
    pub terms: Vec<Term>,
    /// As the catalog writes it.
    pub text: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// A column of the `row` statement.
    pub column: Box<str>,
    pub test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    Compare(Comparison, Operand),
    /// Both ends included.
    Between(Operand, Operand),
    /// The column's value is an element; the operand is an array argument.
    In(Operand),
    /// The column is an array that shares an element with the operand, an array argument.
    Overlaps(Operand),
    /// The column is an array that holds the operand, or every element of it.
    Contains(Operand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// Index into [`super::pattern::CallPattern::args`].
    Arg(usize),
    /// A number in canonical form.
    Number(Box<str>),
    Text(Box<str>),
    Bool(bool),
}

/// Why a predicate is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PredicateError(String);

fn refuse<T>(reason: impl Into<String>) -> Result<T, PredicateError> {
    Err(PredicateError(reason.into()))
}

const OPERATORS: &str = "= < <= > >= between in overlaps contains";

impl Predicate {
    pub fn parse(text: &str, args: &[Arg]) -> Result<Predicate, PredicateError> {
        let mut parser = Parser { tokens: tokens(text)?.into_iter(), args };
        let mut terms = vec![parser.term()?];
        loop {
            match parser.tokens.next() {
                None => return Ok(Predicate { terms, text: text.trim().into() }),
                Some(token) if token.is_keyword("and") => terms.push(parser.term()?),
                Some(token) => return refuse(format!("'and' or the end must follow a term, got '{token}'")),
            }
        }
    }

    /// Met by every row.
    pub fn any() -> Arc<Predicate> {
        static ANY: LazyLock<Arc<Predicate>> =
            LazyLock::new(|| Arc::new(Predicate { terms: Vec::new(), text: "*".into() }));
        ANY.clone()
    }

    /// Columns that the `row` statement must give, without duplicates.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let is_first = |i: usize| !self.terms[..i].iter().any(|term| term.column == self.terms[i].column);
        (0..self.terms.len()).filter(move |i| is_first(*i)).map(|i| &*self.terms[i].column)
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Operator(Comparison),
    Arg(String),
    Number(String),
    Text(String),
}

impl Token {
    fn is_keyword(&self, keyword: &str) -> bool {
        matches!(self, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Word(text) | Token::Number(text) => f.write_str(text),
            Token::Operator(comparison) => f.write_str(comparison.symbol()),
            Token::Arg(name) => write!(f, "{{{name}}}"),
            Token::Text(text) => write!(f, "'{text}'"),
        }
    }
}

impl Comparison {
    fn symbol(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, PredicateError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, len) = match first {
            '=' => (Token::Operator(Comparison::Equal), 1),
            '<' if rest.starts_with("<=") => (Token::Operator(Comparison::LessOrEqual), 2),
            '<' if rest.starts_with("<>") => {
                return refuse(format!("'<>' is not an operator here; the operators are {OPERATORS}"))
            }
            '<' => (Token::Operator(Comparison::Less), 1),
            '>' if rest.starts_with(">=") => (Token::Operator(Comparison::GreaterOrEqual), 2),
            '>' => (Token::Operator(Comparison::Greater), 1),
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

/// What an operator takes.
#[derive(Clone, Copy, PartialEq)]
enum Wants {
    Scalar,
    /// A scalar whose order does not depend on a collation.
    Ordered,
    Array,
    Either,
}

struct Parser<'a> {
    tokens: std::vec::IntoIter<Token>,
    args: &'a [Arg],
}

impl Parser<'_> {
    fn term(&mut self) -> Result<Term, PredicateError> {
        let column = match self.tokens.next() {
            Some(Token::Word(word)) => word,
            Some(token) => return refuse(format!("a term begins with a column, got '{token}'")),
            None => return refuse("a term is missing: a column, an operator and an argument, such as id = {id}"),
        };
        let Some(operator) = self.tokens.next() else {
            return refuse(format!("an operator must follow '{column}': {OPERATORS}"));
        };
        let test = match &operator {
            Token::Operator(Comparison::Equal) => Test::Compare(Comparison::Equal, self.operand("=", Wants::Scalar)?),
            Token::Operator(comparison) => {
                Test::Compare(*comparison, self.operand(comparison.symbol(), Wants::Ordered)?)
            }
            token if token.is_keyword("between") => {
                let low = self.operand("between", Wants::Ordered)?;
                match self.tokens.next() {
                    Some(token) if token.is_keyword("and") => {}
                    _ => return refuse(format!("'{column} between x' goes on with 'and y'")),
                }
                Test::Between(low, self.operand("between", Wants::Ordered)?)
            }
            token if token.is_keyword("in") => Test::In(self.operand("in", Wants::Array)?),
            token if token.is_keyword("overlaps") => Test::Overlaps(self.operand("overlaps", Wants::Array)?),
            token if token.is_keyword("contains") => Test::Contains(self.operand("contains", Wants::Either)?),
            token => return refuse(format!("an operator must follow '{column}': {OPERATORS}; got '{token}'")),
        };
        Ok(Term { column: column.into(), test })
    }

    fn operand(&mut self, operator: &str, wants: Wants) -> Result<Operand, PredicateError> {
        let Some(token) = self.tokens.next() else {
            return refuse(format!("an argument or a literal must follow '{operator}'"));
        };
        if let Token::Arg(name) = &token {
            return self.argument(name, operator, wants);
        }
        if wants == Wants::Array {
            return refuse(format!("'{operator}' takes an array argument, got '{token}'"));
        }
        match token {
            Token::Number(text) => {
                let mut number = Vec::new();
                match ScalarType::Numeric.write_canonical(text.as_bytes(), &mut number) {
                    Ok(()) => Ok(Operand::Number(String::from_utf8_lossy(&number).into())),
                    Err(_) => refuse(format!("'{text}' is not a number")),
                }
            }
            Token::Text(_) if wants == Wants::Ordered => {
                refuse(format!("'{operator}' cannot compare text, whose order depends on collations"))
            }
            Token::Text(text) => Ok(Operand::Text(text.into())),
            ref word if word.is_keyword("true") => Ok(Operand::Bool(true)),
            ref word if word.is_keyword("false") => Ok(Operand::Bool(false)),
            other => refuse(format!(
                "an argument such as {{id}}, a number, a 'text', true or false must follow '{operator}', got '{other}'"
            )),
        }
    }

    fn argument(&self, name: &str, operator: &str, wants: Wants) -> Result<Operand, PredicateError> {
        let Some(index) = self.args.iter().position(|arg| &*arg.name == name) else {
            let known: Vec<_> = self.args.iter().map(|arg| format!("{{{}}}", arg.name)).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(" ") };
            return refuse(format!("the call has no argument {{{name}}}; it has {known}"));
        };
        let ty = self.args[index].ty;
        match wants {
            Wants::Array if !ty.array => {
                refuse(format!("'{operator}' takes an array argument, but {{{name}}} is {ty}"))
            }
            Wants::Scalar | Wants::Ordered if ty.array => {
                refuse(format!("'{operator}' takes a single value, but {{{name}}} is {ty}"))
            }
            Wants::Ordered if ty.scalar == ScalarType::Text => refuse(format!(
                "'{operator}' cannot compare text, whose order depends on collations, but {{{name}}} is text"
            )),
            _ => Ok(Operand::Arg(index)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calls::pattern::CallPattern;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Predicate, String> {
        let call = CallPattern::parse("x {a:int} {b:int} {t:text} {list:text[]}").unwrap();
        Predicate::parse(text, call.args()).map_err(|e| e.to_string())
    }

    #[test]
    fn terms_are_parsed() {
        let terms = |text: &str| {
            parse(text).unwrap().terms.into_iter().map(|t| (t.column.into_string(), t.test)).collect::<Vec<_>>()
        };
        let column = |name: &str| name.to_owned();
        assert_eq!(
            terms("colors overlaps {list} AND size BETWEEN {a} and {b} and x in {list}"),
            [
                (column("colors"), Test::Overlaps(Operand::Arg(3))),
                (column("size"), Test::Between(Operand::Arg(0), Operand::Arg(1))),
                (column("x"), Test::In(Operand::Arg(3))),
            ]
        );
        assert_eq!(
            terms("a={a} and b<-1.50 and c <= {b} and d>2 and e>=0 and f = 'it''s' and g = TRUE and h contains {t}"),
            [
                (column("a"), Test::Compare(Comparison::Equal, Operand::Arg(0))),
                (column("b"), Test::Compare(Comparison::Less, Operand::Number("-1.5".into()))),
                (column("c"), Test::Compare(Comparison::LessOrEqual, Operand::Arg(1))),
                (column("d"), Test::Compare(Comparison::Greater, Operand::Number("2".into()))),
                (column("e"), Test::Compare(Comparison::GreaterOrEqual, Operand::Number("0".into()))),
                (column("f"), Test::Compare(Comparison::Equal, Operand::Text("it's".into()))),
                (column("g"), Test::Compare(Comparison::Equal, Operand::Bool(true))),
                (column("h"), Test::Contains(Operand::Arg(2))),
            ]
        );
        let predicate = parse("b = 1 and a = 2 and b > 3").unwrap();
        assert_eq!(predicate.columns().collect::<Vec<_>>(), ["b", "a"]);
    }

    #[test]
    fn wrong_predicates_are_refused() {
        for (text, reason) in [
            ("", "a term is missing"),
            ("id = {id}", "no argument {id}; it has {a} {b} {t} {list}"),
            ("id", "an operator must follow 'id'"),
            ("id =", "must follow '='"),
            ("id <> {a}", "not an operator"),
            ("id like {t}", "an operator must follow 'id'"),
            ("id = {a} or id = {b}", "'and' or the end"),
            ("id = {a} and", "a term is missing"),
            ("{a} = id", "begins with a column"),
            ("id = {list}", "takes a single value, but {list} is text[]"),
            ("id between {a}", "goes on with 'and y'"),
            ("id in {a}", "takes an array argument, but {a} is int"),
            ("id in 5", "takes an array argument"),
            ("id overlaps {t}", "takes an array argument"),
            ("name > {t}", "cannot compare text"),
            ("name between 'a' and 'b'", "cannot compare text"),
            ("id = 1x", "'1x' is not a number"),
            ("id = 'x", "not closed"),
            ("id = {a", "'}' is missing"),
            ("id = other", "must follow '='"),
            ("(id = {a})", "'(' was not expected"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a=<>{}' 1.-]{0,30}|(a|=|\\{a\\}|and|between|in|'|ü| ){0,12}|\\PC{0,30}") {
            let _ = parse(&text);
        }
    }
}

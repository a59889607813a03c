//! How the words of a predicate go together: `or` binds least, then `and`, then `not`; parentheses as usual.

use super::tokens::{tokens, Token};
use super::{refuse, Comparison, Condition, FindList, Operand, PredicateError, Term, Test, OPERATORS};
use crate::core::calls::pattern::Arg;
use crate::core::values::value::ScalarType;

/// Parentheses and `not`s within each other: more are nobody's intent.
const MAX_DEPTH: usize = 32;

/// What an operator takes.
#[derive(Clone, Copy, PartialEq)]
enum Wants {
    Scalar,
    /// A scalar whose order does not depend on a collation.
    Ordered,
    Array,
    Either,
}

pub(super) fn parse(text: &str, args: &[Arg], lists: FindList) -> Result<Condition, PredicateError> {
    let mut parser = Parser { tokens: tokens(text)?.into_iter().peekable(), args, lists, depth: 0 };
    let condition = parser.any()?;
    match parser.tokens.next() {
        None => Ok(condition),
        Some(token) => refuse(format!("'and', 'or' or the end must follow a term, got '{token}'")),
    }
}

struct Parser<'a, 'l> {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    args: &'a [Arg],
    lists: FindList<'l>,
    depth: usize,
}

/// One, or all of several.
fn joined(mut parts: Vec<Condition>, join: impl Fn(Vec<Condition>) -> Condition) -> Condition {
    match parts.len() {
        1 => parts.remove(0),
        _ => join(parts),
    }
}

impl Parser<'_, '_> {
    fn take_keyword(&mut self, keyword: &str) -> bool {
        self.tokens.next_if(|token| token.is_keyword(keyword)).is_some()
    }

    fn any(&mut self) -> Result<Condition, PredicateError> {
        let mut parts = vec![self.all()?];
        while self.take_keyword("or") {
            parts.push(self.all()?);
        }
        Ok(joined(parts, Condition::Any))
    }

    fn all(&mut self) -> Result<Condition, PredicateError> {
        let mut parts = vec![self.one()?];
        while self.take_keyword("and") {
            parts.push(self.one()?);
        }
        Ok(joined(parts, Condition::All))
    }

    fn one(&mut self) -> Result<Condition, PredicateError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return refuse(format!("'(' and 'not' are nested deeper than {MAX_DEPTH}"));
        }
        let condition = if self.take_keyword("not") {
            Condition::Not(Box::new(self.one()?))
        } else if self.tokens.next_if_eq(&Token::Open).is_some() {
            let inner = self.any()?;
            match self.tokens.next() {
                Some(Token::Close) => inner,
                Some(token) => return refuse(format!("'and', 'or' or ')' must follow a term, got '{token}'")),
                None => return refuse("')' is missing at the end"),
            }
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(condition)
    }

    fn test(&mut self) -> Result<Condition, PredicateError> {
        let column = match self.tokens.next() {
            Some(Token::Word(word)) => word,
            Some(token) => return refuse(format!("a term begins with a column, got '{token}'")),
            None => return refuse("a term is missing: a column, an operator and an argument, such as id = {id}"),
        };
        let Some(operator) = self.tokens.next() else {
            return refuse(format!("an operator must follow '{column}': {OPERATORS}"));
        };
        let term = |test| Condition::Term(Term { column: column.as_str().into(), test });
        let not = |condition| Condition::Not(Box::new(condition));
        Ok(match &operator {
            Token::Operator(Comparison::Equal) => {
                term(Test::Compare(Comparison::Equal, self.operand("=", Wants::Scalar)?))
            }
            Token::NotEqual => not(term(Test::Compare(Comparison::Equal, self.operand("<>", Wants::Scalar)?))),
            Token::Operator(comparison) => {
                term(Test::Compare(*comparison, self.operand(comparison.symbol(), Wants::Ordered)?))
            }
            token if token.is_keyword("between") => {
                let low = self.operand("between", Wants::Ordered)?;
                if !self.take_keyword("and") {
                    return refuse(format!("'{column} between x' goes on with 'and y'"));
                }
                term(Test::Between(low, self.operand("between", Wants::Ordered)?))
            }
            token if token.is_keyword("not") && self.take_keyword("in") => not(self.is_in(&term)?),
            token if token.is_keyword("in") => self.is_in(&term)?,
            token if token.is_keyword("is") => self.is(&column, &term)?,
            token if token.is_keyword("overlaps") => term(Test::Overlaps(self.operand("overlaps", Wants::Array)?)),
            token if token.is_keyword("contains") => term(Test::Contains(self.operand("contains", Wants::Either)?)),
            token => return refuse(format!("an operator must follow '{column}': {OPERATORS}; got '{token}'")),
        })
    }

    /// What follows `in`: an array argument, `_<list>`, or literals in parentheses.
    fn is_in(&mut self, term: &dyn Fn(Test) -> Condition) -> Result<Condition, PredicateError> {
        if self.tokens.next_if_eq(&Token::Open).is_none() {
            return Ok(term(Test::In(self.operand("in", Wants::Array)?)));
        }
        let mut parts = Vec::new();
        loop {
            parts.push(term(Test::Compare(Comparison::Equal, self.operand("in", Wants::Scalar)?)));
            match self.tokens.next() {
                Some(Token::Comma) => {}
                Some(Token::Close) => return Ok(joined(parts, Condition::Any)),
                Some(token) => return refuse(format!("',' or ')' must follow in a list, got '{token}'")),
                None => return refuse("')' is missing at the end of a list"),
            }
        }
    }

    /// What follows `is`.
    fn is(&mut self, column: &str, term: &dyn Fn(Test) -> Condition) -> Result<Condition, PredicateError> {
        let negated = self.take_keyword("not");
        let condition = if self.take_keyword("null") {
            term(Test::Null)
        } else if self.take_keyword("distinct") && self.take_keyword("from") {
            // A double negation: `is distinct from` is what is not the same.
            Condition::Not(Box::new(term(Test::NotDistinct(self.operand("is distinct from", Wants::Scalar)?))))
        } else {
            return refuse(format!(
                "'{column} is' goes on with 'null', 'not null', 'distinct from x' or 'not distinct from x'"
            ));
        };
        Ok(match (negated, condition) {
            (true, Condition::Not(inner)) => *inner,
            (true, condition) => Condition::Not(Box::new(condition)),
            (false, condition) => condition,
        })
    }

    fn operand(&mut self, operator: &str, wants: Wants) -> Result<Operand, PredicateError> {
        let Some(token) = self.tokens.next() else {
            return refuse(format!("an argument or a literal must follow '{operator}'"));
        };
        if let Token::Arg(name) = &token {
            return self.argument(name, operator, wants);
        }
        if wants == Wants::Array {
            if let Token::Word(word) = &token {
                if let (Some(list), "in") = (word.strip_prefix('_'), operator) {
                    let (at, ty) = (self.lists)(list).map_err(PredicateError)?;
                    return Ok(Operand::Listed(at, ty));
                }
            }
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

//! How the words of a predicate go together: `or` binds least, then `and`, then `not`; parentheses as usual.

use std::collections::VecDeque;

use super::tokens::{tokens, Token};
use super::{
    refuse, Comparison, Condition, FindList, Listing, Operand, PredicateError, SortKey, Term, Test, Within, OPERATORS,
};
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
    let tokens: VecDeque<Token> = tokens(text)?.into();
    let mut parser = Parser { tokens, args, lists, depth: 0 };
    let condition = parser.any()?;
    match parser.next() {
        None => Ok(condition),
        Some(token) => refuse(format!("'and', 'or' or the end must follow a term, got '{token}'")),
    }
}

struct Parser<'a, 'l> {
    tokens: VecDeque<Token>,
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
    fn next(&mut self) -> Option<Token> {
        self.tokens.pop_front()
    }

    fn take(&mut self, token: &Token) -> bool {
        let is_next = self.tokens.front() == Some(token);
        is_next && self.next().is_some()
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        let is_next = self.tokens.front().is_some_and(|token| token.is_keyword(keyword));
        is_next && self.next().is_some()
    }

    /// Does a list of sort keys follow, rather than a condition in parentheses? Its first key has a type.
    fn is_at_keys(&self) -> bool {
        matches!(self.tokens.front(), Some(Token::Open)) && matches!(self.tokens.get(2), Some(Token::Colon))
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
        } else if self.is_at_keys() {
            Condition::Within(self.within()?)
        } else if self.take(&Token::Open) {
            let inner = self.any()?;
            match self.next() {
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

    /// `(price:numeric desc nulls last, id:int) <= _last`; the last row's columns may have names of their own, `_last (cost, id)`.
    fn within(&mut self) -> Result<Within, PredicateError> {
        self.take(&Token::Open);
        let mut keys = vec![self.sort_key()?];
        loop {
            match self.next() {
                Some(Token::Comma) => keys.push(self.sort_key()?),
                Some(Token::Close) => break,
                Some(token) => return refuse(format!("',' or ')' must follow a sort key, got '{token}'")),
                None => return refuse("')' is missing after the sort keys"),
            }
        }
        let is_less = self.next() == Some(Token::Operator(Comparison::LessOrEqual));
        if !is_less || !self.take_keyword("_last") {
            return refuse("'<= _last' must follow sort keys: the last row of the result, which is a full page");
        }
        let mut columns: Vec<String> = keys.iter().map(|key| key.column.to_string()).collect();
        if self.take(&Token::Open) {
            columns.clear();
            loop {
                match self.next() {
                    Some(Token::Word(column)) => columns.push(column),
                    _ => return refuse("'_last (…)' takes columns of the result, one for each sort key"),
                }
                match self.next() {
                    Some(Token::Comma) => {}
                    Some(Token::Close) => break,
                    _ => return refuse("',' or ')' must follow a column in '_last (…)'"),
                }
            }
        }
        if columns.len() != keys.len() {
            return refuse(format!("'_last (…)' has {} columns for {} sort keys", columns.len(), keys.len()));
        }
        for (key, column) in keys.iter_mut().zip(&columns) {
            (key.last, _) = (self.lists)(Listing::Last(column, key.ty)).map_err(PredicateError)?;
        }
        Ok(Within { keys })
    }

    fn sort_key(&mut self) -> Result<SortKey, PredicateError> {
        let (Some(Token::Word(column)), true) = (self.next(), self.take(&Token::Colon)) else {
            return refuse("a sort key is a column with its type, such as price:numeric desc");
        };
        let ty = match self.next() {
            Some(Token::Word(word)) => ScalarType::parse_name(&word).ok_or(word),
            Some(token) => Err(token.to_string()),
            None => Err("the end".to_owned()),
        };
        let ty = match ty {
            Ok(ScalarType::Text) => {
                return refuse(format!(
                    "'{column}' is text, whose order depends on collations: end the sort keys before it"
                ))
            }
            Ok(ScalarType::Json) => return refuse(format!("'{column}' is json, which has no order")),
            Ok(ty) => ty,
            Err(got) => return refuse(format!("the type of the sort key '{column}' is missing, got '{got}'")),
        };
        let is_descending = self.take_keyword("desc");
        if !is_descending {
            self.take_keyword("asc");
        }
        let mut nulls_first = is_descending;
        if self.take_keyword("nulls") {
            nulls_first = self.take_keyword("first");
            if !nulls_first && !self.take_keyword("last") {
                return refuse("'nulls' goes on with 'first' or 'last'");
            }
        }
        Ok(SortKey { column: column.into(), ty, is_descending, nulls_first, last: 0 })
    }

    fn test(&mut self) -> Result<Condition, PredicateError> {
        let column = match self.next() {
            Some(Token::Word(word)) => word,
            Some(token) => return refuse(format!("a term begins with a column, got '{token}'")),
            None => return refuse("a term is missing: a column, an operator and an argument, such as id = {id}"),
        };
        let Some(operator) = self.next() else {
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
        if !self.take(&Token::Open) {
            return Ok(term(Test::In(self.operand("in", Wants::Array)?)));
        }
        let mut parts = Vec::new();
        loop {
            parts.push(term(Test::Compare(Comparison::Equal, self.operand("in", Wants::Scalar)?)));
            match self.next() {
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
        let Some(token) = self.next() else {
            return refuse(format!("an argument or a literal must follow '{operator}'"));
        };
        if let Token::Arg(name) = &token {
            return self.argument(name, operator, wants);
        }
        if wants == Wants::Array {
            if let Token::Word(word) = &token {
                if let (Some(list), "in") = (word.strip_prefix('_'), operator) {
                    let (at, ty) = (self.lists)(Listing::List(list)).map_err(PredicateError)?;
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

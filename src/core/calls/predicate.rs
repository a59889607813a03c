//! `match` and `on`: which rows belong in the result of a call, as `colors overlaps {colors} and size between {start} and {end}`.
//!
//! A predicate is made of tests of columns of the section's `row` statement, joined by `and`, `or` and `not`. A test of an argument
//! whose value is NULL (its optional group was left out) restricts nothing: the call did not restrict that column.
//!
//! | file | what |
//! |---|---|
//! | `tokens` | the words of a predicate |
//! | `parser` | how they go together |
//! | `alternatives` | a predicate with `or` as several, each of which can be looked up by values |

mod alternatives;
mod parser;
mod tokens;

use std::fmt;
use std::sync::{Arc, LazyLock};

use super::pattern::Arg;
use crate::core::values::value::ScalarType;

/// A condition on the columns of a row, as a conjunction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predicate {
    /// Tests that all hold.
    pub terms: Vec<Term>,
    /// What must hold beside them: more than a test of a column each.
    pub others: Vec<Condition>,
    /// What follows from these, to look up by: a row that sorts no later has no later first key.
    bounds: Vec<Term>,
    /// Where one of several is enough: these together say the same, and each can be looked up by values. Empty: the predicate
    /// itself is the one.
    alternatives: Vec<Arc<Predicate>>,
    /// As the catalog writes it.
    pub text: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    Term(Term),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Within(Within),
}

/// The row does not sort after the last row of the result, which is a full page: `(price:numeric desc, id:int) <= _last`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Within {
    /// As ORDER BY begins.
    pub keys: Vec<SortKey>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    /// A column of the `row` statement.
    pub column: Box<str>,
    pub ty: ScalarType,
    pub is_descending: bool,
    pub nulls_first: bool,
    /// What the last row has of it, among what a result lists.
    pub last: usize,
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
    /// The column's value is an element; the operand is an array argument, or a list of the result's own.
    In(Operand),
    /// The column is an array that shares an element with the operand, an array argument.
    Overlaps(Operand),
    /// The column is an array that holds the operand, or every element of it.
    Contains(Operand),
    Null,
    /// Both are NULL, or equal: an argument that was left out is NULL here.
    NotDistinct(Operand),
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
    /// What a result lists: an array, whose values come with it. They follow those of the arguments.
    Listed(usize, ScalarType),
    /// What the last row of a full page has in a column: one of those.
    Last(usize, ScalarType),
    /// A number in canonical form.
    Number(Box<str>),
    Text(Box<str>),
    Bool(bool),
}

/// What of a result a predicate compares with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing<'a> {
    /// A list, by its name without the underscore.
    List(&'a str),
    /// A column of its last row, of this type.
    Last(&'a str, ScalarType),
}

/// Finds what a result lists: its number and the type of its values; the error says which there are.
pub type FindList<'a> = &'a mut dyn FnMut(Listing) -> Result<(usize, ScalarType), String>;

/// Why a predicate is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PredicateError(String);

fn refuse<T>(reason: impl Into<String>) -> Result<T, PredicateError> {
    Err(PredicateError(reason.into()))
}

const OPERATORS: &str = "= <> < <= > >= between in overlaps contains is";

impl Predicate {
    /// Of a call with these arguments, whose results list nothing.
    #[cfg(test)]
    pub fn parse(text: &str, args: &[Arg]) -> Result<Predicate, PredicateError> {
        Predicate::parse_linked(text, args, &mut |_| Err("there are no lists".to_owned()))
    }

    /// Of a call with these arguments. `lists` finds what its results list.
    pub fn parse_linked(text: &str, args: &[Arg], lists: FindList) -> Result<Predicate, PredicateError> {
        let condition = parser::parse(text, args, lists)?;
        Ok(alternatives::of(condition, text.trim()))
    }

    /// Met by every row.
    pub fn any() -> Arc<Predicate> {
        static ANY: LazyLock<Arc<Predicate>> = LazyLock::new(|| Arc::new(Predicate::of_all(Vec::new(), "*")));
        ANY.clone()
    }

    fn of_all(conditions: Vec<Condition>, text: &str) -> Predicate {
        let (mut terms, mut others) = (Vec::new(), Vec::new());
        for condition in conditions {
            match condition {
                Condition::Term(term) => terms.push(term),
                condition => others.push(condition),
            }
        }
        let within = others.iter().filter_map(|condition| match condition {
            Condition::Within(within) => within.bound(),
            _ => None,
        });
        let bounds = within.collect();
        Predicate { terms, others, bounds, alternatives: Vec::new(), text: text.into() }
    }

    /// Is it met by every row?
    pub fn is_any(&self) -> bool {
        self.terms.is_empty() && self.others.is_empty()
    }

    /// Predicates one of which is met where this one is; mostly it alone.
    pub fn alternatives(self: &Arc<Self>) -> &[Arc<Predicate>] {
        match self.alternatives.is_empty() {
            true => std::slice::from_ref(self),
            false => &self.alternatives,
        }
    }

    /// Tests by which its calls are looked up: all of them hold where it is met.
    pub(in crate::core) fn look_ups(&self) -> impl Iterator<Item = &Term> {
        self.terms.iter().chain(&self.bounds)
    }

    /// One of them.
    pub(in crate::core) fn look_up(&self, at: usize) -> &Term {
        self.terms.get(at).unwrap_or_else(|| &self.bounds[at - self.terms.len()])
    }

    /// Columns that the `row` statement must give, without duplicates.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        fn gather<'a>(condition: &'a Condition, columns: &mut Vec<&'a str>) {
            match condition {
                Condition::Term(term) => columns.push(&term.column),
                Condition::Not(inner) => gather(inner, columns),
                Condition::All(inner) | Condition::Any(inner) => inner.iter().for_each(|one| gather(one, columns)),
                Condition::Within(within) => columns.extend(within.keys.iter().map(|key| &*key.column)),
            }
        }
        let mut columns: Vec<&str> = Vec::new();
        columns.extend(self.terms.iter().map(|term| &*term.column));
        self.others.iter().for_each(|condition| gather(condition, &mut columns));
        let is_first = |at: &usize| !columns[..*at].contains(&columns[*at]);
        (0..columns.len()).filter(is_first).map(|at| columns[at]).collect::<Vec<_>>().into_iter()
    }
}

impl Condition {
    /// Does a test in it compare with an argument, or with what the result lists?
    pub fn names_argument(&self) -> bool {
        match self {
            Condition::Term(term) => term.names_argument(),
            Condition::Not(inner) => inner.names_argument(),
            Condition::All(inner) | Condition::Any(inner) => inner.iter().any(Condition::names_argument),
            Condition::Within(_) => true,
        }
    }
}

impl Within {
    /// What it says of its first key.
    fn bound(&self) -> Option<Term> {
        let first = self.keys.first()?;
        let comparison = if first.is_descending { Comparison::GreaterOrEqual } else { Comparison::LessOrEqual };
        let test = Test::Compare(comparison, Operand::Last(first.last, first.ty));
        Some(Term { column: first.column.clone(), test })
    }
}

impl Term {
    /// Tests that do not are the same for all calls.
    pub fn names_argument(&self) -> bool {
        self.test.operands().any(|operand| !operand.is_literal())
    }
}

impl Operand {
    fn is_literal(&self) -> bool {
        matches!(self, Operand::Number(_) | Operand::Text(_) | Operand::Bool(_))
    }
}

impl Test {
    pub fn operands(&self) -> impl Iterator<Item = &Operand> {
        let (first, second) = match self {
            Test::Compare(_, operand)
            | Test::In(operand)
            | Test::Overlaps(operand)
            | Test::Contains(operand)
            | Test::NotDistinct(operand) => (Some(operand), None),
            Test::Between(low, high) => (Some(low), Some(high)),
            Test::Null => (None, None),
        };
        first.into_iter().chain(second)
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
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

#[cfg(test)]
mod tests;

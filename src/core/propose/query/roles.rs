//! What a parameter is for, by what stands beside it: which column it is compared with, and how.

use super::pieces::{Column, Pieces};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Equal,
    NotEqual,
    /// At most so much.
    Most,
    /// At least so much.
    Least,
    Like,
    /// A list of which a column is one.
    OneOf,
    /// A list of which a column is none.
    NoneOf,
    /// A list that is compared with a list: `tags && $1`.
    Shared,
    Limit,
    Offset,
    Other,
}

impl Role {
    /// May the parameter be of a wider type than the column, and the answer the same?
    pub(super) fn compares(self) -> bool {
        !matches!(self, Role::Like | Role::Shared | Role::Other)
    }

    /// Does neither the order of a list matter, nor how often it has a value?
    pub(super) fn takes_a_set(self) -> bool {
        matches!(self, Role::OneOf | Role::NoneOf | Role::Shared)
    }

    fn of_operator(operator: &str) -> Option<Role> {
        Some(match operator {
            "=" => Role::Equal,
            "<>" | "!=" => Role::NotEqual,
            "<" | "<=" => Role::Most,
            ">" | ">=" => Role::Least,
            "&&" | "@>" | "<@" => Role::Shared,
            "~~" | "~~*" | "~" | "~*" | "!~~" | "!~~*" | "!~" | "!~*" => Role::Like,
            _ => return None,
        })
    }

    /// The same with the sides changed.
    fn mirrored(self) -> Role {
        match self {
            Role::Most => Role::Least,
            Role::Least => Role::Most,
            other => other,
        }
    }
}

/// What stands beside a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beside {
    pub(super) role: Role,
    pub(super) column: Option<Column>,
    /// Is it asked whether it is NULL?
    pub(super) tests_null: bool,
    /// Is it passed to a function that takes another value for NULL?
    pub(super) is_coalesced: bool,
}

/// Of the parameter whose tokens, with its cast, begin and end there.
pub(super) fn beside(pieces: &Pieces, mut begin: usize, mut end: usize) -> Beside {
    // `CAST($1 AS date)`, and brackets around it alone.
    if begin >= 2 && pieces.is_sign(begin - 1, '(') && pieces.is_word(begin - 2, "cast") {
        if let Some(close) = pieces.pair(begin - 1) {
            (begin, end) = (begin - 2, close + 1);
        }
    }
    while begin > 0
        && pieces.is_sign(begin - 1, '(')
        && pieces.pair(begin - 1) == Some(end)
        && !is_called(pieces, begin - 1)
    {
        (begin, end) = (begin - 1, end + 1);
    }
    let tests_null = pieces.is_word(end, "is")
        && (pieces.is_word(end + 1, "null") || (pieces.is_word(end + 1, "not") && pieces.is_word(end + 2, "null")));
    let (role, column) = before(pieces, begin)
        .or_else(|| after(pieces, end))
        .or_else(|| within(pieces, begin))
        .unwrap_or_else(|| (Role::Other, alias(pieces, end)));
    let is_coalesced = begin >= 2 && pieces.is_sign(begin - 1, '(') && pieces.is_word(begin - 2, "coalesce");
    Beside { role, column, tests_null, is_coalesced }
}

/// Is the bracket that of a function, of IN or of ANY?
fn is_called(pieces: &Pieces, open: usize) -> bool {
    let words = ["in", "any", "some", "all", "array", "values", "exists"];
    open > 0 && (pieces.is_one_of(open - 1, &words) || pieces.name(open - 1).is_some())
}

fn before(pieces: &Pieces, begin: usize) -> Option<(Role, Option<Column>)> {
    let last = begin.checked_sub(1)?;
    if pieces.is_word(last, "limit") || is_fetch(pieces, last) {
        return Some((Role::Limit, None));
    }
    if pieces.is_word(last, "offset") {
        return Some((Role::Offset, None));
    }
    if pieces.is_word(last, "zone") && last > 0 && pieces.is_word(last - 1, "time") {
        return Some((Role::Other, Some(Column { qualifier: None, name: "time_zone".to_owned() })));
    }
    if pieces.is_one_of(last, &["like", "ilike", "to"]) {
        let of = if pieces.is_word(last, "to") { last.checked_sub(1)? } else { last };
        return Some((Role::Like, operand_before(pieces, of)));
    }
    if pieces.is_one_of(last, &["between", "symmetric"]) {
        return Some((
            Role::Least,
            operand_before(pieces, if pieces.is_word(last, "between") { last } else { last - 1 }),
        ));
    }
    if pieces.is_word(last, "and") {
        return between(pieces, last).map(|between| (Role::Most, operand_before(pieces, between)));
    }
    if pieces.is_sign(last, '(') && last > 0 {
        return list(pieces, last);
    }
    let (operator, text) = pieces.operator_before(begin)?;
    let column = operator.checked_sub(1).and_then(|last| pieces.column_ending(last));
    Some((Role::of_operator(text).unwrap_or(Role::Other), column))
}

/// `FETCH FIRST $1 ROWS ONLY`
fn is_fetch(pieces: &Pieces, last: usize) -> bool {
    pieces.is_one_of(last, &["first", "next"]) && last > 0 && pieces.is_word(last - 1, "fetch")
}

/// Before `IN (`, or `= ANY (`.
fn list(pieces: &Pieces, open: usize) -> Option<(Role, Option<Column>)> {
    let word = open - 1;
    if pieces.is_word(word, "in") {
        let is_not = word > 0 && pieces.is_word(word - 1, "not");
        return Some((if is_not { Role::NotEqual } else { Role::Equal }, operand_before(pieces, word)));
    }
    if !pieces.is_one_of(word, &["any", "some", "all"]) {
        return None;
    }
    let (operator, text) = pieces.operator_before(word)?;
    let is_all = pieces.is_word(word, "all");
    let role = match (Role::of_operator(text), is_all) {
        (Some(Role::Equal), false) => Role::OneOf,
        (Some(Role::NotEqual), true) => Role::NoneOf,
        _ => Role::Other,
    };
    Some((role, operator.checked_sub(1).and_then(|last| pieces.column_ending(last))))
}

/// The BETWEEN that the AND belongs to.
fn between(pieces: &Pieces, and: usize) -> Option<usize> {
    let ends = ["and", "or", "where", "on", "having", "when", "then", "select"];
    let mut at = and.checked_sub(1)?;
    loop {
        match pieces.pair(at) {
            Some(open) if open < at => at = open,
            Some(_) => return None,
            None if pieces.is_word(at, "between") => return Some(at),
            None if pieces.is_one_of(at, &ends) => return None,
            None => {}
        }
        at = at.checked_sub(1)?;
    }
}

/// What stands before a word such as LIKE, and before NOT.
fn operand_before(pieces: &Pieces, word: usize) -> Option<Column> {
    let last = word.checked_sub(1)?;
    pieces.column_ending(if pieces.is_word(last, "not") { last.checked_sub(1)? } else { last })
}

fn after(pieces: &Pieces, end: usize) -> Option<(Role, Option<Column>)> {
    let (next, text) = pieces.operator_after(end)?;
    let mut first = next;
    while pieces.is_sign(first, '(') {
        first += 1;
    }
    // `$1 = ANY(p.tags)` asks for one of a list, too.
    let is_any = pieces.is_one_of(first, &["any", "some", "all"]) && pieces.is_sign(first + 1, '(');
    let column = pieces.column_starting(if is_any { first + 2 } else { first });
    let role = Role::of_operator(text).map_or(Role::Other, Role::mirrored);
    Some((role, column))
}

/// Within the brackets of IN, or of a function that is compared: `lower($1)`.
fn within(pieces: &Pieces, begin: usize) -> Option<(Role, Option<Column>)> {
    let mut at = begin.checked_sub(1)?;
    let open = loop {
        match pieces.pair(at) {
            Some(open) if open < at => at = open,
            Some(_) => break at,
            None => {}
        }
        at = at.checked_sub(1)?;
    };
    if open > 0 && pieces.is_word(open - 1, "in") {
        return list(pieces, open);
    }
    let function = open.checked_sub(1)?;
    pieces.name(function)?;
    if function > 0 && pieces.is_one_of(function - 1, &["like", "ilike"]) {
        return Some((Role::Other, operand_before(pieces, function - 1)));
    }
    let (operator, text) = pieces.operator_before(open - 1)?;
    Role::of_operator(text)?;
    Some((Role::Other, Some(pieces.column_ending(operator.checked_sub(1)?)?)))
}

/// `$1 AS "a"`
fn alias(pieces: &Pieces, end: usize) -> Option<Column> {
    let name = pieces.is_word(end, "as").then(|| pieces.name(end + 1))??;
    Some(Column { qualifier: None, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::sql::tokens::Token;

    #[test]
    fn what_stands_beside_a_parameter_says_what_it_is_for() {
        for (sql, role, column) in [
            ("WHERE \"p\".\"id\" = $1", Role::Equal, "p.id"),
            ("WHERE p.id = ($1)", Role::Equal, "p.id"),
            ("WHERE $1 = p.id", Role::Equal, "p.id"),
            ("WHERE $1 >= price", Role::Most, ".price"),
            ("WHERE lower(name) = lower($1)", Role::Other, ".name"),
            ("WHERE lower(name) NOT LIKE lower($1)", Role::Other, ".name"),
            ("WHERE p.at >= CAST($1 AS date)", Role::Least, "p.at"),
            ("WHERE lower(p.name) = $1", Role::Equal, "p.name"),
            ("WHERE p.name::text LIKE $1", Role::Like, "p.name"),
            ("WHERE p.name NOT ILIKE $1", Role::Like, "p.name"),
            ("WHERE p.name !~ $1", Role::Like, "p.name"),
            ("WHERE price BETWEEN $1 AND 2", Role::Least, ".price"),
            ("WHERE price BETWEEN f(1, 2) AND $1", Role::Most, ".price"),
            ("WHERE a = 1 AND $1 < b", Role::Least, ".b"),
            ("WHERE x IN ($1, 2)", Role::Equal, ".x"),
            ("WHERE x NOT IN (2, $1)", Role::NotEqual, ".x"),
            ("WHERE x = ANY($1)", Role::OneOf, ".x"),
            ("WHERE x <> ALL ($1)", Role::NoneOf, ".x"),
            ("WHERE x > ALL ($1)", Role::Other, ".x"),
            ("WHERE $1 = ANY(p.tags)", Role::Equal, "p.tags"),
            ("HAVING count(c.id) > $1", Role::Least, ".count"),
            ("HAVING $1 <= count(*)", Role::Least, ".count"),
            ("SELECT p.at AT TIME ZONE $1", Role::Other, ".time_zone"),
            ("WHERE data @> $1", Role::Shared, ".data"),
            ("LIMIT $1", Role::Limit, ""),
            ("OFFSET $1 ROWS", Role::Offset, ""),
            ("FETCH NEXT $1 ROWS ONLY", Role::Limit, ""),
            ("SELECT $1 AS \"a\"", Role::Other, ".a"),
            ("SELECT f($1)", Role::Other, ""),
            ("SELECT x + $1", Role::Other, ".x"),
        ] {
            let pieces = Pieces::of(sql).unwrap();
            let at = (0..pieces.len()).find(|at| pieces.token(*at) == Some(&Token::Value)).unwrap();
            let found = beside(&pieces, at, at + 1);
            let named =
                found.column.map_or(String::new(), |of| format!("{}.{}", of.qualifier.unwrap_or_default(), of.name));
            assert_eq!((found.role, &*named), (role, column), "{sql}");
        }
    }

    #[test]
    fn a_parameter_that_may_be_null_is_seen() {
        for (sql, expected) in [
            ("WHERE $1 IS NULL OR x = 1", (true, false)),
            ("WHERE ($1) IS NOT NULL", (true, false)),
            ("WHERE x = coalesce($1, 2)", (false, true)),
            ("WHERE x = $1", (false, false)),
            ("WHERE $1 IS TRUE", (false, false)),
        ] {
            let pieces = Pieces::of(sql).unwrap();
            let at = (0..pieces.len()).find(|at| pieces.token(*at) == Some(&Token::Value)).unwrap();
            let found = beside(&pieces, at, at + 1);
            assert_eq!((found.tests_null, found.is_coalesced), expected, "{sql}");
        }
    }
}

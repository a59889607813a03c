//! Names of a result's columns: each its own, and none that means something to bear.
//!
//! Where the list of the SELECT can be told apart, what needs another name gets it there. Else the statement is put in a SELECT
//! whose alias names all columns, which is the same result, but says less to who derives from it.

use std::collections::BTreeSet;

use super::draft::{Draft, Edit};
use super::names::words_of;
use super::pieces::Pieces;
use crate::core::sql::spelling::as_needed;

/// A column of the result, as Postgres describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultColumn {
    pub name: String,
    /// The relation and the column that it is, if it is one.
    pub origin: Option<(u32, i16)>,
}

/// How a result's columns get their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    AsTheyAre,
    /// In the list of the SELECT.
    Aliased(Aliases),
    /// Around the statement.
    Wrapped(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aliases {
    pub names: Vec<String>,
    pub(super) edits: Vec<Edit>,
}

/// An item of the SELECT's list, by its tokens, and the columns that it gives.
struct Item {
    begin: usize,
    end: usize,
    first: usize,
    count: usize,
    is_star: bool,
}

impl Draft<'_> {
    pub fn naming(&self, columns: &[ResultColumn]) -> Naming {
        let items = self.items(columns);
        let names = self.names(columns, items.as_deref());
        if names.iter().zip(columns).all(|(name, column)| *name == column.name) {
            return Naming::AsTheyAre;
        }
        match items.and_then(|items| self.aliases(columns, &names, &items)) {
            Some(edits) => Naming::Aliased(Aliases { names, edits }),
            None => Naming::Wrapped(names),
        }
    }

    fn names(&self, columns: &[ResultColumn], items: Option<&[Item]>) -> Vec<String> {
        let bare = bare_names(&self.pieces);
        let own: BTreeSet<&str> = columns.iter().map(|column| &*column.name).collect();
        let mut taken: BTreeSet<String> = BTreeSet::new();
        let mut names = Vec::with_capacity(columns.len());
        for (at, column) in columns.iter().enumerate() {
            let is_fit = column.name != "?column?" && !column.name.starts_with('_') && !column.name.is_empty();
            let name = if is_fit && !taken.contains(&column.name) {
                column.name.clone()
            } else {
                let is_free = |name: &String| !(taken.contains(name) || own.contains(&**name) || bare.contains(name));
                let base = match column.name.trim_start_matches('_') {
                    "" | "?column?" => format!("column_{}", at + 1),
                    base => base.to_owned(),
                };
                let numbered = (2..).map(|number| format!("{base}_{number}"));
                let qualified = self.qualified(items, at, &base).into_iter();
                let plain = Some(base.clone()).filter(|_| !is_fit);
                let mut wanted = plain.into_iter().chain(qualified).chain(numbered);
                wanted.find(is_free).unwrap_or_else(|| column.name.clone())
            };
            taken.insert(name.clone());
            names.push(name);
        }
        names
    }

    /// `category_id` of `c.id`, `t2_id` where `t2` is one of two of the same relation.
    fn qualified(&self, items: Option<&[Item]>, at: usize, base: &str) -> Vec<String> {
        let item =
            items.and_then(|items| items.iter().find(|item| (item.first..item.first + item.count).contains(&at)));
        let Some(item) = item.filter(|item| self.pieces.is_sign(item.begin + 1, '.')) else { return Vec::new() };
        let Some(alias) = self.pieces.name(item.begin) else { return Vec::new() };
        let of_alias = format!("{}_{base}", words_of(alias));
        match self.relations.by_alias(alias).filter(|of| !self.relations.is_twice(of)) {
            Some(of) => vec![format!("{}_{base}", words_of(&of.name)), of_alias],
            None => vec![of_alias],
        }
    }

    /// The items of the list; None: which columns are whose cannot be told.
    fn items(&self, columns: &[ResultColumn]) -> Option<Vec<Item>> {
        let pieces = &self.pieces;
        let select = (0..pieces.len()).find(|at| pieces.depth(*at) == 0 && pieces.is_word(*at, "select"))?;
        let mut begin = after_distinct(pieces, select + 1);
        let mut items = Vec::new();
        let mut at = begin;
        loop {
            let is_end = at >= pieces.len() || (pieces.depth(at) == 0 && ends_list(pieces, at));
            if is_end || (pieces.depth(at) == 0 && pieces.is_sign(at, ',')) {
                if begin == at {
                    return None;
                }
                let is_star = pieces.is_sign(at - 1, '*') && (at - 1 == begin || pieces.is_sign(at - 2, '.'));
                items.push(Item { begin, end: at, first: 0, count: 1, is_star });
                begin = at + 1;
            }
            if is_end {
                break;
            }
            at += 1;
        }
        count_stars(&mut items, columns)?;
        Some(items)
    }

    fn aliases(&self, columns: &[ResultColumn], names: &[String], items: &[Item]) -> Option<Vec<Edit>> {
        let mut edits = Vec::new();
        for item in items {
            let own = item.first..item.first + item.count;
            if names[own.clone()].iter().zip(&columns[own.clone()]).all(|(name, column)| *name == column.name) {
                continue;
            }
            let bytes = self.pieces.bytes(item.begin..item.end);
            if item.is_star {
                // `*` alone says not whose column each is.
                let qualifier =
                    self.pieces.source(item.begin..item.end).strip_suffix('*').filter(|of| !of.is_empty())?;
                let shown = names[own.clone()].iter().zip(&columns[own]).map(|(name, column)| {
                    let of = format!("{}{}", qualifier.trim_end(), as_needed(&column.name));
                    if *name == column.name {
                        of
                    } else {
                        format!("{of} AS {}", as_needed(name))
                    }
                });
                edits.push(Edit { bytes, text: shown.collect::<Vec<_>>().join(", ") });
                continue;
            }
            let name = as_needed(&names[item.first]);
            let end = match self.alias_of(item) {
                Some(alias) => alias,
                None => item.end,
            };
            let bytes = self.pieces.bytes(item.begin..end).end..bytes.end;
            edits.push(Edit { bytes, text: format!(" AS {name}") });
        }
        Some(edits)
    }

    /// Where the alias of an item begins, with its AS.
    fn alias_of(&self, item: &Item) -> Option<usize> {
        const UNITS: [&str; 6] = ["year", "month", "day", "hour", "minute", "second"];
        let pieces = &self.pieces;
        let last = item.end - 1;
        if last < item.begin + 1 {
            return None;
        }
        if pieces.is_word(last - 1, "as") {
            return Some(last - 1);
        }
        let is_name = pieces.name(last).is_some() && !pieces.is_one_of(last, &UNITS);
        let follows = pieces.is_sign(last - 1, ')')
            || pieces.is_sign(last - 1, '}')
            || pieces.name(last - 1).is_some()
            || matches!(pieces.token(last - 1), Some(crate::core::sql::tokens::Token::Value));
        (is_name && follows).then_some(last)
    }
}

/// `DISTINCT`, `DISTINCT ON (…)`, `ALL`
fn after_distinct(pieces: &Pieces, at: usize) -> usize {
    if pieces.is_word(at, "all") {
        return at + 1;
    }
    if !pieces.is_word(at, "distinct") {
        return at;
    }
    match (pieces.is_word(at + 1, "on"), pieces.pair(at + 2)) {
        (true, Some(close)) => close + 1,
        _ => at + 1,
    }
}

fn ends_list(pieces: &Pieces, at: usize) -> bool {
    let is_from = pieces.is_word(at, "from") && !pieces.is_word(at - 1, "distinct");
    let others = [
        "where",
        "group",
        "having",
        "window",
        "order",
        "limit",
        "offset",
        "fetch",
        "union",
        "intersect",
        "except",
        "for",
    ];
    is_from || pieces.is_sign(at, ';') || pieces.is_one_of(at, &others)
}

/// How many columns each star gives: all that are left, where there is one; else those of one relation, in its order.
fn count_stars(items: &mut [Item], columns: &[ResultColumn]) -> Option<()> {
    let stars = items.iter().filter(|item| item.is_star).count();
    let others = items.len() - stars;
    let left = columns.len().checked_sub(others)?;
    if stars == 0 && left > 0 {
        return None;
    }
    let mut first = 0;
    for item in items.iter_mut() {
        item.first = first;
        if item.is_star {
            item.count = match stars {
                1 => left,
                _ => of_one_relation(columns.get(first..)?)?,
            };
        }
        first += item.count;
    }
    (first == columns.len()).then_some(())
}

fn of_one_relation(columns: &[ResultColumn]) -> Option<usize> {
    let (relation, mut last) = columns.first()?.origin?;
    let mut count = 1;
    for column in &columns[1..] {
        match column.origin {
            Some((of, number)) if of == relation && number > last => last = number,
            _ => break,
        }
        count += 1;
    }
    Some(count)
}

/// Names without a qualifier, which a new alias would be taken for.
fn bare_names(pieces: &Pieces) -> BTreeSet<String> {
    let is_bare = |at: &usize| *at == 0 || !pieces.is_sign(at - 1, '.');
    (0..pieces.len()).filter(is_bare).filter_map(|at| pieces.name(at)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name`, `name:1` of the first relation; its number is its place.
    fn columns(text: &str) -> Vec<ResultColumn> {
        let column = |(at, word): (usize, &str)| match word.split_once(':') {
            Some((name, relation)) => {
                ResultColumn { name: name.to_owned(), origin: Some((relation.parse().unwrap(), at as i16 + 1)) }
            }
            None => ResultColumn { name: word.to_owned(), origin: None },
        };
        text.split(' ').enumerate().map(column).collect()
    }

    #[test]
    fn each_column_gets_a_name_of_its_own() {
        for (sql, has, expected) in [
            ("SELECT p.id, p.name FROM p", "id name", "as they are"),
            (
                "SELECT p.id, c.id FROM product p JOIN category c ON true",
                "id id",
                "SELECT p.id, c.id AS category_id FROM product p JOIN category c ON true",
            ),
            (
                "SELECT p.id, p.category_id, \"c\".\"id\" FROM product p JOIN category c ON true",
                "id category_id id",
                "SELECT p.id, p.category_id, \"c\".\"id\" AS c_id FROM product p JOIN category c ON true",
            ),
            (
                "SELECT category.id, T2.\"id\" FROM category JOIN category T2 ON true",
                "id id",
                "SELECT category.id, T2.\"id\" AS t2_id FROM category JOIN category T2 ON true",
            ),
            (
                "SELECT p.id, c.id FROM product p JOIN category c ON true ORDER BY category_id",
                "id id",
                "SELECT p.id, c.id AS c_id FROM product p JOIN category c ON true ORDER BY category_id",
            ),
            (
                "SELECT count(a), count(b) AS count, count(c) \"count\" FROM t",
                "count count count",
                "SELECT count(a), count(b) AS count_2, count(c) AS count_3 FROM t",
            ),
            (
                "SELECT 1, _x, 'a' || 'b' FROM t",
                "?column? _x ?column?",
                "SELECT 1 AS column_1, _x AS x, 'a' || 'b' AS column_3 FROM t",
            ),
            ("SELECT DISTINCT ON (a, b) a, a FROM t", "a a", "SELECT DISTINCT ON (a, b) a, a AS a_2 FROM t"),
            ("SELECT p.*, c.id FROM p JOIN c ON true", "id name id", "SELECT p.*, c.id AS c_id FROM p JOIN c ON true"),
            (
                "SELECT p.*, \"c\".* FROM p JOIN c ON true",
                "id:1 name:1 id:2 Name:2",
                "SELECT p.*, \"c\".id AS c_id, \"c\".\"Name\" FROM p JOIN c ON true",
            ),
            ("SELECT * FROM p JOIN c ON true", "id:1 name:1 id:2", "SELECT * FROM (…) (id, name, id_2)"),
            ("(SELECT a, a FROM t) UNION (SELECT 1, 2)", "a a", "SELECT * FROM (…) (a, a_2)"),
            (
                "WITH x AS (SELECT 1 AS a) SELECT a, a FROM x UNION SELECT 1, 2",
                "a a",
                "WITH x AS (SELECT 1 AS a) SELECT a, a AS a_2 FROM x UNION SELECT 1, 2",
            ),
            (
                "SELECT a IS DISTINCT FROM b, c::int FROM t",
                "?column? ?column?",
                "SELECT a IS DISTINCT FROM b AS column_1, c::int AS column_2 FROM t",
            ),
            (
                "SELECT (SELECT x FROM y), date '2020-01-01' FROM t",
                "x x",
                "SELECT (SELECT x FROM y), date '2020-01-01' AS x_2 FROM t",
            ),
            ("TABLE t", "id _x", "SELECT * FROM (…) (id, x)"),
        ] {
            let draft = Draft::read(sql).unwrap();
            let found = match draft.naming(&columns(has)) {
                Naming::AsTheyAre => "as they are".to_owned(),
                Naming::Aliased(aliases) => draft.probe(&aliases.edits),
                Naming::Wrapped(names) => format!("SELECT * FROM (…) ({})", names.join(", ")),
            };
            assert_eq!(found, expected, "{sql}");
        }
    }
}

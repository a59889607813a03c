//! The relations that a statement names in FROM, and what it calls them.

use std::collections::BTreeSet;

use super::pieces::Pieces;
use crate::core::sql::spelling::in_quotes;

/// A relation in FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) schema: Option<String>,
    pub(super) name: String,
    /// What columns of it are qualified with.
    pub(super) alias: String,
    depth: usize,
}

pub(super) struct Relations {
    /// In the order in which they stand, those of the statement itself first.
    pub(super) named: Vec<Named>,
}

impl Relations {
    pub(super) fn of(pieces: &Pieces) -> Relations {
        let with = with_names(pieces);
        let mut named = Vec::new();
        let mut at = 0;
        while at < pieces.len() {
            let is_from = pieces.is_word(at, "from") && !(at > 0 && pieces.is_word(at - 1, "distinct"));
            // `TABLE product`
            let is_table = pieces.is_word(at, "table") && (at == 0 || pieces.is_sign(at - 1, '('));
            if is_from || is_table || pieces.is_word(at, "join") {
                items(pieces, at + 1, is_from, &mut named);
            }
            at += 1;
        }
        named.retain(|of: &Named| of.schema.is_some() || !with.contains(&*of.name));
        named.sort_by_key(|of| of.depth);
        Relations { named }
    }

    /// What Postgres is to be asked for, as SQL writes it: the main relation is the first that there is.
    pub(super) fn in_sql(&self) -> Vec<String> {
        let sql = |of: &Named| match &of.schema {
            Some(schema) => format!("{}.{}", in_quotes(schema), in_quotes(&of.name)),
            None => in_quotes(&of.name),
        };
        self.named.iter().map(sql).collect()
    }

    pub(super) fn by_alias(&self, alias: &str) -> Option<&Named> {
        self.named.iter().find(|of| of.alias == alias)
    }

    /// Is it the one that all others are joined to?
    pub(super) fn is_main(&self, of: &Named) -> bool {
        self.named.first().is_some_and(|first| first.name == of.name)
    }

    pub(super) fn is_twice(&self, of: &Named) -> bool {
        self.named.iter().filter(|other| other.name == of.name && other.schema == of.schema).count() > 1
    }
}

/// The relation that begins with the token and, in FROM, those after commas.
fn items(pieces: &Pieces, first: usize, is_from: bool, named: &mut Vec<Named>) {
    let mut next = first;
    loop {
        let begin = next;
        while pieces.is_one_of(next, &["only", "lateral"]) || pieces.is_sign(next, '(') {
            next += 1;
        }
        named.extend(item(pieces, next));
        if !is_from {
            return;
        }
        match comma_after(pieces, begin) {
            Some(comma) => next = comma + 1,
            None => return,
        }
    }
}

/// The comma after an item of FROM, unless the list ends before.
fn comma_after(pieces: &Pieces, begin: usize) -> Option<usize> {
    let ends = ["where", "join", "group", "having", "order", "limit", "offset", "fetch", "union", "for"];
    let mut at = begin;
    while at < pieces.len() {
        match pieces.pair(at) {
            Some(close) if close > at => at = close,
            // Of the brackets around the list.
            Some(_) => return None,
            None if pieces.is_sign(at, ',') => return Some(at),
            None if pieces.is_one_of(at, &ends) => return None,
            None => {}
        }
        at += 1;
    }
    None
}

fn item(pieces: &Pieces, first: usize) -> Option<Named> {
    let one = pieces.name(first)?;
    let (schema, name, mut next) = match pieces.is_sign(first + 1, '.') {
        true => (Some(one.to_owned()), pieces.name(first + 2)?.to_owned(), first + 3),
        false => (None, one.to_owned(), first + 1),
    };
    // A function.
    if pieces.is_sign(next, '(') {
        return None;
    }
    if pieces.is_sign(next, '*') {
        next += 1;
    }
    if pieces.is_word(next, "as") {
        next += 1;
    }
    let alias = pieces.name(next).unwrap_or(&name).to_owned();
    Some(Named { schema, name, alias, depth: pieces.depth(first) })
}

/// Names that WITH gives.
fn with_names(pieces: &Pieces) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for at in (0..pieces.len()).filter(|at| pieces.is_word(*at, "as")) {
        let mut next = at + 1;
        while pieces.is_one_of(next, &["not", "materialized"]) {
            next += 1;
        }
        if !pieces.is_sign(next, '(') || at == 0 {
            continue;
        }
        let before = match pieces.is_sign(at - 1, ')') {
            true => pieces.pair(at - 1).and_then(|open| open.checked_sub(1)),
            false => Some(at - 1),
        };
        names.extend(before.and_then(|before| pieces.name(before)).map(str::to_owned));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_named_in_from() {
        for (sql, expected) in [
            ("SELECT 1 FROM \"product\" WHERE x", "product=product"),
            ("SELECT extract(year FROM at) FROM shop.\"OrderItem\" \"t0\" JOIN b ON true", "OrderItem=t0 b=b at=at"),
            ("SELECT 1 FROM a, b AS c, (SELECT 1 FROM d) e, f(1) g WHERE 1 IN (2, 3)", "a=a b=c d=d"),
            ("SELECT 1 FROM (SELECT * FROM product \"P\") x", "product=P"),
            ("SELECT 1 FROM ONLY p LEFT JOIN LATERAL (SELECT 2) y ON true", "p=p"),
            ("WITH x AS (SELECT 1 FROM a), y(z) AS MATERIALIZED (SELECT 2) SELECT 1 FROM x JOIN y ON true", "a=a"),
            ("SELECT a IS DISTINCT FROM b FROM c", "c=c"),
            ("(TABLE a) UNION TABLE b", "a=a"),
            ("SELECT 1", ""),
        ] {
            let pieces = Pieces::of(sql).unwrap();
            let found: Vec<String> =
                Relations::of(&pieces).named.iter().map(|of| format!("{}={}", of.name, of.alias)).collect();
            assert_eq!(found.join(" "), expected, "{sql}");
        }
    }
}

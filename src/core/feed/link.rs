//! What a SELECT of `tables` means for the relations that it reads.
//!
//! It is asked after the commit, so that it finds nothing by a row that is gone, or has moved. Such a row must tell by
//! itself which rows of the section the SELECT found by it:
//!
//! | the SELECT | a relation that it reads | a row of it that goes or changes |
//! |---|---|---|
//! | takes its ids from one column of the relation, each row for itself | `Id` | tells the id, old and new, as a mapped column does |
//! | is plain, and takes its ids from elsewhere | `Moved` | may have led to any: all of the section, unless no column changed that the SELECT names |
//! | is anything else: a view, an aggregate, NOT EXISTS, a function, LIMIT | `Moved` by any column, and by a new row | all of the section |
//!
//! A new row of a relation that the section maps leads to what the map says. Of one that it does not map, nobody says.
//!
//! *Plain* are joins and conditions without a function: there more rows never lead to less, and what is read is what is
//! named. The rule errs towards all.

use std::collections::BTreeSet;

use super::rules::{IdSource, Moved};
use crate::core::sql::spelling::in_quotes;
use crate::core::sql::tokens::{tokens, Token};

/// What Postgres knows of a SELECT of `tables`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reads {
    /// Tables, partitioned tables by their root, and whatever else holds rows.
    pub relations: Vec<ReadRelation>,
    /// Views: through them it reads what it does not name.
    pub views: Vec<u32>,
    /// Postgres has not said it: these are the relations that the text may name, and what their views read.
    pub is_guess: bool,
    /// Where its ids come from, if straight from a column: a relation's oid, and the column's number.
    pub origin: Option<(u32, i16)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRelation {
    pub oid: u32,
    /// Quoted, with its schema.
    pub name: Box<str>,
    /// Alone, without quotes.
    pub bare_name: Box<str>,
    /// By number, from 1 on; None where one was dropped.
    pub columns: Vec<Option<Box<str>>>,
}

/// What a row of a relation tells that is gone, or has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// This column holds the id that the SELECT found by it.
    Id(Box<str>),
    /// It may have led to any row of the section.
    Moved {
        /// If one of these changed; None: if any did.
        columns: Option<Vec<Box<str>>>,
        /// A new row may lead to less, or to what it does not say.
        inserts: bool,
    },
}

/// What rows of a relation tell, that a statement of `tables` reads; `is_mapped`: the section's tables name it, too.
pub fn link(sql: &str, reads: &Reads, relation: &ReadRelation, is_mapped: bool) -> Link {
    let any = Link::Moved { columns: None, inserts: true };
    let Some(tokens) = tokens(sql) else { return any };
    if reads.is_guess || !reads.views.is_empty() || !is_plain(&tokens) {
        return any;
    }
    let is_qualifier = |at: usize| tokens.get(at + 1) == Some(&Token::Sign('.'));
    let named =
        (0..tokens.len()).filter(|at| tokens[*at].as_name() == Some(&*relation.bare_name) && !is_qualifier(*at));
    let named: Vec<usize> = named.collect();
    let [at] = named[..] else { return Link::Moved { columns: None, inserts: !is_mapped } };
    let origin = reads.origin.filter(|(oid, _)| *oid == relation.oid);
    let column = origin.and_then(|(_, number)| relation.columns.get(usize::try_from(number).ok()?.checked_sub(1)?));
    if let Some(Some(column)) = column {
        return Link::Id(column.clone());
    }
    Link::Moved { columns: columns_read(&tokens, at, relation), inserts: !is_mapped }
}

/// What a statement may name, as SQL writes it: each name alone, and each two with a dot between them.
pub fn names_in(sql: &str) -> Vec<String> {
    let tokens = tokens(sql).unwrap_or_default();
    let name = |at: usize| tokens.get(at).and_then(Token::as_name).filter(|name| !name.is_empty()).map(in_quotes);
    let mut names = BTreeSet::new();
    for at in 0..tokens.len() {
        let Some(first) = name(at) else { continue };
        if let (Some(Token::Sign('.')), Some(second)) = (tokens.get(at + 1), name(at + 2)) {
            names.insert(format!("{first}.{second}"));
        }
        names.insert(first);
    }
    names.into_iter().collect()
}

impl Link {
    /// The rule of a relation whose rows tell so. `bears`: does an old row bear the column whenever it changes?
    pub fn source(self, bears: impl Fn(&str) -> bool, check: Option<(Box<str>, usize)>) -> IdSource {
        match self {
            Link::Id(name) => IdSource::Column { in_identity: bears(&name), name },
            Link::Moved { columns, inserts } => {
                let columns = columns.map(|columns| columns.into_iter().map(|name| (name.clone(), bears(&name))));
                IdSource::Moved(Moved { columns: columns.map(Iterator::collect), inserts, check })
            }
        }
    }
}

/// Words by which more rows may lead to less, or rows count for each other.
const NOT_PLAIN: [&str; 26] = [
    "union",
    "intersect",
    "except",
    "with",
    "group",
    "having",
    "limit",
    "offset",
    "fetch",
    "window",
    "over",
    "not",
    "left",
    "right",
    "full",
    "tablesample",
    "table",
    "values",
    "lateral",
    "rows",
    "filter",
    "within",
    "case",
    "is",
    "recursive",
    "all",
];

/// Words that a parenthesis may follow without a call of a function.
const BEFORE_PARENTHESIS: [&str; 14] =
    ["any", "in", "exists", "and", "or", "on", "where", "from", "join", "using", "select", "as", "by", "distinct"];

fn is_plain(tokens: &[Token]) -> bool {
    let is_call = |pair: &[Token]| {
        pair[1] == Token::Sign('(')
            && match &pair[0] {
                Token::Word(word) => !BEFORE_PARENTHESIS.contains(&&**word),
                Token::Name(_) => true,
                Token::Value | Token::Sign(_) => false,
            }
    };
    let is_other = |token: &Token| matches!(token, Token::Word(word) if NOT_PLAIN.contains(&&**word));
    let distinct_on = |pair: &[Token]| pair[0].is_word("distinct") && pair[1].is_word("on");
    tokens.first().is_some_and(|first| first.is_word("select"))
        && !tokens.iter().any(is_other)
        && !tokens.windows(2).any(|pair| is_call(pair) || distinct_on(pair))
}

/// Columns of the relation that the statement, which names it at one place, may read; None: all.
fn columns_read(tokens: &[Token], at: usize, relation: &ReadRelation) -> Option<Vec<Box<str>>> {
    const AFTER_A_TABLE: [&str; 11] =
        ["where", "join", "on", "inner", "cross", "natural", "order", "using", "for", "as", "and"];

    if tokens.iter().any(|token| *token == Token::Sign('*') || token.is_word("natural")) {
        return None;
    }
    let next = |at: usize| tokens.get(at + 1).unwrap_or(&Token::Value);
    let after = if next(at).is_word("as") { at + 2 } else { at + 1 };
    let alias = match tokens.get(after) {
        Some(Token::Word(word)) if AFTER_A_TABLE.contains(&&**word) => &*relation.bare_name,
        Some(token) => token.as_name().unwrap_or(&relation.bare_name),
        None => &*relation.bare_name,
    };
    // The name alone, elsewhere than where it is given, is the whole row.
    let alone = (0..tokens.len()).filter(|at| tokens[*at].as_name() == Some(alias) && *next(*at) != Token::Sign('.'));
    if alone.count() > 1 {
        return None;
    }
    let is_named = |column: &str| tokens.iter().any(|token| token.as_name() == Some(column));
    // An attribute of every table may be named as if it were a column.
    let hidden = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"].into_iter().any(is_named);
    let read = relation.columns.iter().flatten().filter(|column| is_named(column));
    (!hidden).then(|| read.cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(oid: u32, name: &str, columns: &[&str]) -> ReadRelation {
        let columns = columns.iter().map(|name| Some((*name).into())).collect();
        ReadRelation { oid, name: format!("public.{name}").into(), bare_name: name.into(), columns }
    }

    /// `member(id, person_id, team_id, note)` is 1 and `team(id, club_id, name)` is 2.
    fn linked(sql: &str, origin: Option<(u32, i16)>, of: u32, is_mapped: bool) -> Link {
        let relations = vec![
            relation(1, "member", &["id", "person_id", "team_id", "note"]),
            relation(2, "team", &["id", "club_id", "name"]),
        ];
        let reads = Reads { relations: relations.clone(), origin, ..Reads::default() };
        link(sql, &reads, &relations[of as usize - 1], is_mapped)
    }

    fn id() -> Link {
        Link::Id("person_id".into())
    }

    fn moved(columns: &[&str], inserts: bool) -> Link {
        Link::Moved { columns: Some(columns.iter().map(|name| (*name).into()).collect()), inserts }
    }

    fn any(inserts: bool) -> Link {
        Link::Moved { columns: None, inserts }
    }

    #[test]
    fn the_rows_of_a_pure_link_table_tell_the_id() {
        let from_member = Some((1, 2));
        for sql in [
            "SELECT person_id FROM member WHERE id = ANY($1)",
            "select DISTINCT m.person_id AS id from public.member AS m where m.team_id = any($1) and note = 'x' -- y",
            "SELECT m.\"person_id\" FROM \"member\" m JOIN team t ON t.id = m.team_id WHERE t.club_id = ANY($1)",
            "SELECT person_id FROM member WHERE team_id IN (SELECT id FROM team WHERE club_id = ANY($1)) ORDER BY 1",
        ] {
            assert_eq!(linked(sql, from_member, 1, false), id(), "{sql}");
        }
    }

    #[test]
    fn rows_on_the_way_to_the_id_may_have_led_to_any() {
        let from_member = Some((1, 2));
        for (sql, expected) in [
            ("SELECT m.person_id FROM member m JOIN team t ON t.id = m.team_id WHERE t.club_id = ANY($1)", moved(&["id", "club_id"], false)),
            ("SELECT m.person_id FROM member m JOIN team ON team.id = m.team_id WHERE team.club_id = ANY($1)", moved(&["id", "club_id"], false)),
            ("SELECT person_id FROM member WHERE team_id IN (SELECT id FROM team WHERE id = ANY($1))", moved(&["id"], false)),
            // The whole row, by its name, by a star, by columns of one name, or by what every row has.
            ("SELECT m.person_id FROM member m JOIN team t ON t.id = m.team_id AND t = ANY($1)", any(false)),
            ("SELECT s.person_id FROM (SELECT * FROM member m JOIN team t ON t.id = m.team_id) s WHERE s.club_id = ANY($1)", any(false)),
            ("SELECT person_id FROM member NATURAL JOIN team WHERE club_id = ANY($1)", any(false)),
            ("SELECT m.person_id FROM member m JOIN team t ON t.ctid = m.note WHERE t.club_id = ANY($1)", any(false)),
        ] {
            assert_eq!(linked(sql, from_member, 2, true), expected, "{sql}");
        }
        // A section that does not map the table: nobody says what its new rows lead to.
        let sql = "SELECT m.person_id FROM member m JOIN team t ON t.id = m.team_id WHERE t.club_id = ANY($1)";
        assert_eq!(linked(sql, from_member, 2, false), moved(&["id", "club_id"], true));
    }

    #[test]
    fn where_rows_count_for_each_other_no_row_tells() {
        let from_member = Some((1, 2));
        for sql in [
            "SELECT person_id FROM member WHERE id = ANY($1) LIMIT 1",
            "SELECT DISTINCT ON (team_id) person_id FROM member WHERE team_id = ANY($1)",
            "SELECT max(person_id) FROM member WHERE team_id = ANY($1)",
            "SELECT person_id FROM member WHERE visible(id) AND id = ANY($1)",
            "SELECT person_id FROM member WHERE \"visible\"(id) AND id = ANY($1)",
            "SELECT person_id FROM member GROUP BY person_id HAVING true",
            "SELECT person_id FROM member m WHERE NOT EXISTS (SELECT FROM team t WHERE t.id = m.team_id)",
            "SELECT m.person_id FROM member m LEFT JOIN team t ON t.id = m.team_id WHERE t.id IS NULL",
            "WITH x AS (SELECT person_id FROM member) SELECT person_id FROM x",
            "SELECT person_id FROM member UNION SELECT id FROM team",
            "TABLE member",
            "SELECT person_id FROM U&\"member\"",
        ] {
            assert_eq!(linked(sql, from_member, 1, true), any(true), "{sql}");
        }
        let mut reads = Reads { views: vec![9], origin: from_member, ..Reads::default() };
        let member = relation(1, "member", &["id", "person_id"]);
        assert_eq!(link("SELECT person_id FROM member", &reads, &member, true), any(true));
        reads.views.clear();
        assert_eq!(link("SELECT person_id FROM member", &reads, &member, true), id());
        reads.is_guess = true;
        assert_eq!(link("SELECT person_id FROM member", &reads, &member, true), any(true));
    }

    #[test]
    fn a_table_that_is_joined_with_itself_tells_nothing() {
        let sql = "SELECT b.person_id FROM member a JOIN member b ON a.team_id = b.team_id WHERE a.id = ANY($1)";
        assert_eq!(linked(sql, Some((1, 2)), 1, true), any(false));
        // Nor one that the text does not name.
        assert_eq!(linked("SELECT person_id FROM members WHERE id = ANY($1)", Some((1, 2)), 1, true), any(false));
    }

    #[test]
    fn names_are_told_alone_and_with_their_schema() {
        let names = names_in("SELECT p.\"X y\" FROM app.\"User\" p WHERE 'it' = $1");
        assert_eq!(
            names,
            [
                "\"User\"",
                "\"X y\"",
                "\"app\"",
                "\"app\".\"User\"",
                "\"from\"",
                "\"p\"",
                "\"p\".\"X y\"",
                "\"select\"",
                "\"where\""
            ]
        );
        assert!(names_in("SELECT 'x").is_empty());
    }

    #[test]
    fn a_link_becomes_a_rule_of_what_old_rows_bear() {
        let bears = |name: &str| name == "id";
        let column = |name: &str, in_identity| IdSource::Column { name: name.into(), in_identity };
        assert_eq!(Link::Id("id".into()).source(bears, None), column("id", true));
        assert_eq!(Link::Id("person_id".into()).source(bears, None), column("person_id", false));
        let check = Some(("id".into(), 3));
        let moved = Moved {
            columns: Some([("id".into(), true), ("club_id".into(), false)].into()),
            inserts: false,
            check: check.clone(),
        };
        assert_eq!(self::moved(&["id", "club_id"], false).source(bears, check), IdSource::Moved(moved));
    }
}

//! What Postgres answers, asked without the module, and when two answers are one.
//!
//! The order of rows counts as far as ORDER BY decides it. Which rows a LIMIT shows where no order decides that, and the order of
//! elements that an aggregate gathers without one, are Postgres' own affair: there is nothing that could be stale. But what a LIMIT
//! shows are rows that the statement has without it, as many as there can be, with the keys that ORDER BY puts first.

use postgres::types::{Format, IsNull, ToSql, Type};
use postgres::{Client, NoTls, Statement};
use serde_json::Value as Json;

use super::catalog::Query;
use super::history::Same;
use super::sql::{tokens, Token, Value};

/// Rows, without hidden columns.
pub type Answer = Vec<Json>;

/// A parameter in its text.
#[derive(Debug)]
struct Text<'a>(&'a Value);

impl ToSql for Text<'_> {
    fn to_sql(&self, _: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self.0 {
            None => Ok(IsNull::Yes),
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    postgres::types::to_sql_checked!();
}

/// What the module pins, as values look like.
const SETTINGS: &str =
    "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex';
    SET extra_float_digits = 1; SET jit = off; SET xmlbinary = 'base64'";

pub fn connect(url: &str) -> Result<Client, postgres::Error> {
    let mut client = Client::connect(url, NoTls)?;
    client.batch_execute(SETTINGS)?;
    Ok(client)
}

pub struct Oracle {
    client: Client,
    statements: Vec<Result<Statement, String>>,
    /// Without their LIMIT, where that alone cuts anything off.
    uncut: Vec<Option<Statement>>,
}

impl Oracle {
    pub fn new(mut client: Client, queries: &[Query]) -> Oracle {
        let statements =
            queries.iter().map(|query| prepare(&mut client, query).map_err(|error| super::sql::said(&error)));
        let statements = statements.collect();
        let uncut = queries.iter().map(|query| prepare(&mut client, &uncut(query)?).ok()).collect();
        Oracle { client, statements, uncut }
    }

    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    pub fn ask(&mut self, query: usize, params: &[Value]) -> Result<Answer, String> {
        let statement = self.statements[query].clone()?;
        self.run(&statement, params)
    }

    /// What it would answer if nothing were cut off; None where that cannot be asked.
    pub fn ask_uncut(&mut self, query: usize, params: &[Value]) -> Option<Answer> {
        let statement = self.uncut[query].clone()?;
        self.run(&statement, params).ok()
    }

    fn run(&mut self, statement: &Statement, params: &[Value]) -> Result<Answer, String> {
        let texts: Vec<Text> = params.iter().map(Text).collect();
        let params: Vec<&(dyn ToSql + Sync)> = texts.iter().map(|text| text as _).collect();
        let rows = self.client.query(statement, &params).map_err(|error| super::sql::said(&error))?;
        Ok(rows.iter().map(|row| visible(serde_json::from_str(row.get(0)).unwrap_or(Json::Null))).collect())
    }
}

/// The query without the LIMIT at its end, if it cuts off nothing elsewhere.
fn uncut(query: &Query) -> Option<Query> {
    let placed = tokens(&query.sql);
    let all: Vec<Token> = placed.iter().map(|(token, ..)| token.clone()).collect();
    let cuts = |token: &Token| is_name(Some(token), &["limit", "offset", "fetch"]);
    let at = all.iter().position(cuts).filter(|at| is_name(outermost(&all)[*at], &["limit"]))?;
    // How many rows is one word.
    (at + 2 == all.len()).then(|| Query { sql: query.sql[..placed[at].1].to_owned(), ..query.clone() })
}

fn prepare(client: &mut Client, query: &Query) -> Result<Statement, postgres::Error> {
    let (sql, names) = query.rendered();
    let arguments = query.arguments();
    let kind = |name: &String| match name == "tenant" {
        true => query.tenant.as_ref().map_or("text", |(kind, _)| kind),
        false => arguments.iter().find(|argument| argument.name == *name).map_or("text", |argument| &argument.kind),
    };
    let types: Vec<Type> = names.iter().map(|name| type_of(kind(name))).collect();
    client.prepare_typed(&format!("SELECT row_to_json(q.*)::text FROM ({sql}\n) q"), &types)
}

fn type_of(kind: &str) -> Type {
    match kind {
        "int" => Type::INT8,
        "float" => Type::FLOAT8,
        "numeric" => Type::NUMERIC,
        "bool" => Type::BOOL,
        "uuid" => Type::UUID,
        "date" => Type::DATE,
        "timestamp" => Type::TIMESTAMP,
        "timestamptz" => Type::TIMESTAMPTZ,
        "int[]" => Type::INT8_ARRAY,
        "float[]" => Type::FLOAT8_ARRAY,
        "numeric[]" => Type::NUMERIC_ARRAY,
        "bool[]" => Type::BOOL_ARRAY,
        "uuid[]" => Type::UUID_ARRAY,
        "date[]" => Type::DATE_ARRAY,
        "timestamp[]" => Type::TIMESTAMP_ARRAY,
        "timestamptz[]" => Type::TIMESTAMPTZ_ARRAY,
        "text[]" => Type::TEXT_ARRAY,
        _ => Type::TEXT,
    }
}

fn visible(row: Json) -> Json {
    match row {
        Json::Object(columns) => Json::Object(columns.into_iter().filter(|(name, _)| !name.starts_with('_')).collect()),
        other => other,
    }
}

/// What BEAR.QUERY answered.
pub fn answer(json: &[u8]) -> Result<Answer, String> {
    match serde_json::from_slice(json).map_err(|error| error.to_string())? {
        Json::Array(rows) => Ok(rows.into_iter().map(visible).collect()),
        Json::Null => Ok(Vec::new()),
        row => Ok(vec![visible(row)]),
    }
}

/// How answers of a query are compared.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Visible columns that the rows are ordered by, from the first, as far as they can be told.
    sorted_by: Vec<String>,
    is_cut_anywhere: bool,
    gathers_in_any_order: bool,
    changes_by_itself: bool,
}

impl Comparison {
    /// `reasons`: what BEAR.CATALOG says of it.
    pub fn new(query: &Query, reasons: &[String]) -> Comparison {
        let tokens: Vec<Token> = tokens(&query.sql).into_iter().map(|(token, ..)| token).collect();
        let named = |name: &str| tokens.iter().any(|token| matches!(token, Token::Name(known) if known == name));
        let says = |text: &str| reasons.iter().any(|reason| reason.contains(text));
        let cuts = named("limit") || named("offset") || named("fetch");
        Comparison {
            sorted_by: sorted_by(&tokens),
            is_cut_anywhere: says("LIMIT without an ORDER BY that decides") || (cuts && !named("order")),
            gathers_in_any_order: says("the order of its elements may change") || (named("array") && !named("order")),
            changes_by_itself: query.changes_by_itself(),
        }
    }

    /// Undecided where Postgres itself may answer either over the same rows.
    pub fn same(&self, one: &Answer, other: &Answer) -> Same {
        let (one, other) = (self.normalized(one), self.normalized(other));
        let is_same = match multiset(&one) == multiset(&other) {
            true => self.keys(&one) == self.keys(&other),
            false => false,
        };
        match is_same {
            true => Same::Yes,
            false if self.is_cut_anywhere || self.changes_by_itself => Same::Undecided,
            false => Same::No,
        }
    }

    /// May Postgres answer `one` where it has answered `other`, by the rows that it has where nothing is cut off?
    pub fn may_be(&self, one: &Answer, other: &Answer, uncut: &Answer) -> bool {
        let (one, other, uncut) = (self.normalized(one), self.normalized(other), multiset(&self.normalized(uncut)));
        let mut left = uncut.iter().peekable();
        let is_there = |row: &String| {
            while left.next_if(|found| *found < row).is_some() {}
            left.next_if(|found| *found == row).is_some()
        };
        self.changes_by_itself || (self.keys(&one) == self.keys(&other) && multiset(&one).iter().all(is_there))
    }

    fn normalized(&self, answer: &Answer) -> Answer {
        match self.gathers_in_any_order {
            true => answer.iter().cloned().map(in_one_order).collect(),
            false => answer.clone(),
        }
    }

    fn keys(&self, answer: &Answer) -> Vec<Vec<Json>> {
        answer
            .iter()
            .map(|row| self.sorted_by.iter().map(|name| row.get(name).cloned().unwrap_or_default()).collect())
            .collect()
    }
}

fn multiset(answer: &Answer) -> Vec<String> {
    let mut rows: Vec<String> = answer.iter().map(Json::to_string).collect();
    rows.sort_unstable();
    rows
}

fn in_one_order(value: Json) -> Json {
    match value {
        Json::Array(elements) => {
            let mut elements: Vec<Json> = elements.into_iter().map(in_one_order).collect();
            elements.sort_by_key(Json::to_string);
            Json::Array(elements)
        }
        Json::Object(members) => {
            Json::Object(members.into_iter().map(|(name, value)| (name, in_one_order(value))).collect())
        }
        // string_agg gathers, too.
        Json::String(text) if text.contains(',') => {
            let mut pieces: Vec<&str> = text.split(',').map(str::trim).collect();
            pieces.sort_unstable();
            Json::String(pieces.join(","))
        }
        other => other,
    }
}

/// Tokens of the statement itself, not of what stands in parentheses.
fn outermost(tokens: &[Token]) -> Vec<Option<&Token>> {
    let mut depth = 0;
    let of = tokens.iter().map(|token| match token {
        Token::Sign('(') => {
            depth += 1;
            None
        }
        Token::Sign(')') => {
            depth -= 1;
            None
        }
        token => (depth == 0).then_some(token),
    });
    of.collect()
}

fn is_name(token: Option<&Token>, names: &[&str]) -> bool {
    matches!(token, Some(Token::Name(name)) if names.contains(&&**name))
}

/// Visible columns of the last ORDER BY, from the first, up to one of which it is not plain what column it is.
fn sorted_by(tokens: &[Token]) -> Vec<String> {
    let outer = outermost(tokens);
    let is_order =
        |at: &usize| is_name(outer[*at], &["order"]) && is_name(outer.get(at + 1).copied().flatten(), &["by"]);
    let Some(order) = (0..outer.len()).rev().find(is_order) else { return Vec::new() };
    let (Some(select), Some(from)) = (
        outer.iter().position(|token| is_name(*token, &["select"])),
        outer.iter().position(|token| is_name(*token, &["from"])),
    ) else {
        return Vec::new();
    };
    if from < select || outer.iter().any(|token| is_name(*token, &["union", "intersect", "except", "distinct"])) {
        return Vec::new();
    }
    let outputs = items(&tokens[select + 1..from]);
    let end = (order + 2..outer.len())
        .find(|at| is_name(outer[*at], &["limit", "offset", "fetch", "for"]))
        .unwrap_or(outer.len());
    let mut columns = Vec::new();
    for item in items(&tokens[order + 2..end]) {
        let end = item.iter().position(|token| is_name(Some(token), &["asc", "desc", "nulls"])).unwrap_or(item.len());
        let Some(column) = output(&outputs, &item[..end]) else { break };
        columns.push(column);
    }
    columns
}

fn items(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0;
    let ends = |token: &Token| {
        depth += match token {
            Token::Sign('(') => 1,
            Token::Sign(')') => -1,
            _ => 0,
        };
        depth == 0 && *token == Token::Sign(',')
    };
    tokens.split(ends).collect()
}

/// The name of the output that the item is, spelled as it is there.
fn output(outputs: &[&[Token]], item: &[Token]) -> Option<String> {
    let named = |of: &[Token]| match of {
        [.., Token::Name(r#as), Token::Name(name)] if r#as == "as" => Some(name.clone()),
        [Token::Name(name)] => Some(name.clone()),
        [Token::Name(_), Token::Sign('.'), Token::Name(name)] => Some(name.clone()),
        _ => None,
    };
    let names: Vec<Option<String>> = outputs.iter().map(|of| named(of)).collect();
    let found = match item {
        [Token::Number(number)] => names.get(number.parse::<usize>().ok()?.checked_sub(1)?)?.clone(),
        // An output's name goes before a column's.
        [Token::Name(name)] if names.contains(&Some(name.clone())) => Some(name.clone()),
        item => {
            let is_it = |of: &&[Token]| **of == *item || (of.len() == item.len() + 2 && of.starts_with(item));
            outputs.iter().position(is_it).and_then(|at| names[at].clone())
        }
    };
    // Of two outputs of a name only one is seen.
    found
        .filter(|name| !name.starts_with('_') && names.iter().filter(|known| known.as_ref() == Some(name)).count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Vec<String> {
        let tokens: Vec<Token> = tokens(sql).into_iter().map(|(token, ..)| token).collect();
        sorted_by(&tokens)
    }

    #[test]
    fn columns_that_decide_the_order_are_known_by_their_outputs() {
        for (sql, expected) in [
            ("SELECT id, name FROM t ORDER BY name DESC NULLS LAST, id LIMIT 3", vec!["name", "id"]),
            ("SELECT p.id, c.name AS category FROM p JOIN c ON true ORDER BY c.name, p.id", vec!["category", "id"]),
            ("SELECT p.id, p.name FROM p JOIN c ON true ORDER BY c.name", vec![]),
            ("SELECT id, (SELECT x FROM y ORDER BY x) AS z FROM t ORDER BY 2", vec!["z"]),
            ("SELECT id FROM t ORDER BY id, lower(name), x", vec!["id"]),
            ("SELECT id, (SELECT x FROM y ORDER BY x) FROM t", vec![]),
            ("SELECT a.id, b.id FROM a, b ORDER BY a.id", vec![]),
        ] {
            assert_eq!(of(sql), expected, "{sql}");
        }
    }

    #[test]
    fn only_an_order_that_the_statement_decides_counts() {
        let query = |sql: &str| {
            let text = format!("[a]\n[[a.query]]\ncall = 'x'\nsql = '''{sql}'''");
            super::super::catalog::Catalog::read(&text).unwrap().queries.remove(0)
        };
        let rows = |json: &str| answer(json.as_bytes()).unwrap();
        let same = |sql: &str, one: &str, other: &str| Comparison::new(&query(sql), &[]).same(&rows(one), &rows(other));
        let (one, other) = (r#"[{"id":1},{"id":2}]"#, r#"[{"id":2},{"id":1}]"#);
        assert_eq!(same("SELECT id FROM t", one, other), Same::Yes);
        assert_eq!(same("SELECT id FROM t ORDER BY id", one, other), Same::No);
        assert_eq!(same("SELECT id FROM t", one, r#"[{"id":1}]"#), Same::No);
        assert_eq!(same("SELECT id FROM t LIMIT 1", one, r#"[{"id":3}]"#), Same::Undecided);
        assert_eq!(same("SELECT id FROM t WHERE id = 1", r#"{"id":1,"_t":2}"#, r#"[{"id":1}]"#), Same::Yes);
        assert_eq!(same("SELECT id FROM t WHERE id = 1", "null", "[]"), Same::Yes);
    }

    #[test]
    fn a_limit_shows_rows_that_are_there_without_it() {
        let query = |sql: &str| {
            let text = format!("[a]\n[[a.query]]\ncall = 'x {{n:int}}'\nsql = '''{sql}'''");
            super::super::catalog::Catalog::read(&text).unwrap().queries.remove(0)
        };
        for (sql, expected) in [
            ("SELECT a FROM t LIMIT 1", Some("SELECT a FROM t ")),
            ("SELECT a FROM t ORDER BY b LIMIT {n}", Some("SELECT a FROM t ORDER BY b ")),
            ("SELECT a FROM t LIMIT {n} OFFSET 1", None),
            ("SELECT a FROM (SELECT a FROM t LIMIT 2) s LIMIT 1", None),
            ("SELECT count(*) FROM (SELECT a FROM t LIMIT 2) s", None),
            ("SELECT a FROM t FETCH FIRST 1 ROWS ONLY", None),
            ("SELECT a FROM t", None),
        ] {
            assert_eq!(uncut(&query(sql)).map(|query| query.sql).as_deref(), expected, "{sql}");
        }
        let rows = |json: &str| answer(json.as_bytes()).unwrap();
        let may = |one: &str, other: &str, uncut: &str| {
            let comparison = Comparison::new(&query("SELECT id, p FROM t ORDER BY p LIMIT 2"), &[]);
            comparison.may_be(&rows(one), &rows(other), &rows(uncut))
        };
        let (a, b, c) = (r#"{"id":1,"p":1}"#, r#"{"id":2,"p":1}"#, r#"{"id":3,"p":1}"#);
        let of = |all: &[&str]| format!("[{}]", all.join(","));
        assert!(may(&of(&[a, b]), &of(&[b, c]), &of(&[a, b, c])));
        assert!(!may(&of(&[a, b]), &of(&[b, c]), &of(&[b, c])), "a row that is gone");
        assert!(!may(&of(&[a]), &of(&[b, c]), &of(&[a, b, c])), "too few");
        assert!(!may(&of(&[a, a]), &of(&[b, c]), &of(&[a, b, c])), "one twice");
        let late = r#"{"id":4,"p":5}"#;
        assert!(!may(&of(&[a, late]), &of(&[b, c]), &of(&[a, b, c, late])), "others come first");
    }
}

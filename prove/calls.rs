//! Calls of the catalog's queries, with values that the rows have: what a query compares with a column is drawn from that column.

use std::collections::BTreeSet;

use postgres::Client;

use crate::support::Random;

use super::catalog::{Argument, Part, Query};
use super::data::{mentioned, Data};
use super::facts::{Facts, Shape};
use super::sql::{array, tokens, Token, Value};

/// A call, as clients send it, and as Postgres is asked for the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub space: String,
    pub words: Vec<String>,
    /// In the order of the statement's parameters.
    pub params: Vec<Value>,
}

/// Where the values of an argument come from.
struct Source {
    name: String,
    kind: String,
    columns: Vec<(usize, usize)>,
}

/// What draws the calls of one query.
pub struct Caller {
    query: Query,
    params: Vec<String>,
    sources: Vec<Source>,
}

/// Tokens between a column and what it is compared with, at most.
const REACH: usize = 9;

impl Caller {
    pub fn new(facts: &Facts, query: &Query) -> Caller {
        let tables = mentioned(facts, &query.sql);
        let mut sources: Vec<Source> =
            query.arguments().into_iter().map(|of| source(facts, query, &tables, of)).collect();
        if let Some((kind, column)) = &query.tenant {
            let all: BTreeSet<usize> = (0..facts.tables.len()).collect();
            let columns = column
                .as_ref()
                .map_or_else(Vec::new, |column| of_name(facts, if tables.is_empty() { &all } else { &tables }, column));
            sources.push(Source { name: "tenant".to_owned(), kind: kind.clone(), columns });
        }
        Caller { query: query.clone(), params: query.rendered().1, sources }
    }

    /// None where it has no value of an argument's type.
    pub fn draw(&self, client: &mut Client, data: &mut Data, random: &mut Random) -> Option<Call> {
        let mut given: Vec<(String, Value)> = Vec::new();
        let mut words = Vec::new();
        let mut leaves_out = false;
        for part in &self.query.parts {
            match part {
                Part::Word(word) => words.push(word.clone()),
                Part::Argument(argument) => {
                    leaves_out |= argument.default.is_some() && random.is(30);
                    let word = match (leaves_out, &argument.default) {
                        (true, Some(default)) => self.value_of(argument, default),
                        _ => {
                            let (word, value) = self.word(client, data, argument, random)?;
                            words.push(word);
                            Some(value)
                        }
                    };
                    given.push((argument.name.clone(), word));
                }
                Part::Group(parts) if random.is(50) => {
                    for part in parts {
                        match part {
                            Part::Word(word) => words.push(word.clone()),
                            Part::Argument(argument) => {
                                let (word, value) = self.word(client, data, argument, random)?;
                                words.push(word);
                                given.push((argument.name.clone(), Some(value)));
                            }
                            Part::Group(_) => {}
                        }
                    }
                }
                Part::Group(_) => {}
            }
        }
        let mut space = self.query.space.clone();
        if let Some((kind, _)) = &self.query.tenant {
            let tenant = Argument { name: "tenant".to_owned(), kind: kind.clone(), default: None };
            let (word, value) = self.word(client, data, &tenant, random)?;
            space = format!("{{{word}}}:{space}");
            given.push(("tenant".to_owned(), Some(value)));
        }
        let value = |name: &String| given.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.clone());
        Some(Call { space, words, params: self.params.iter().map(value).collect() })
    }

    fn value_of(&self, argument: &Argument, word: &str) -> Value {
        match argument.kind.strip_suffix("[]") {
            Some(of) => {
                let elements: Vec<Value> =
                    word.split(',').filter(|word| !word.is_empty()).map(|word| canonical(of, word)).collect();
                Some(array(&elements))
            }
            None => canonical(&argument.kind, word),
        }
    }

    /// As it is typed, and as Postgres is given it.
    fn word(
        &self,
        client: &mut Client,
        data: &mut Data,
        argument: &Argument,
        random: &mut Random,
    ) -> Option<(String, String)> {
        let source = self.sources.iter().find(|source| source.name == argument.name)?;
        match source.kind.strip_suffix("[]") {
            None => {
                let value = one(client, data, source, &source.kind, random)?;
                Some((value.clone(), value))
            }
            Some(kind) => {
                let count = if random.is(4) { 0 } else { random.below(3) + 1 };
                let mut values: Vec<String> =
                    (0..count).filter_map(|_| one(client, data, source, kind, random)).collect();
                // As it is in the key, and as the statement gets it.
                values.sort_by_key(|value| (value.parse::<i64>().ok(), value.clone()));
                values.dedup();
                let typed: Vec<String> =
                    values.iter().map(|value| value.replace('%', "%25").replace(',', "%2C")).collect();
                let values: Vec<Value> = values.into_iter().map(Some).collect();
                Some((typed.join(","), array(&values)))
            }
        }
    }
}

fn source(facts: &Facts, query: &Query, tables: &BTreeSet<usize>, argument: &Argument) -> Source {
    let tokens: Vec<Token> = tokens(&query.sql).into_iter().map(|(token, ..)| token).collect();
    let mut columns = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if !matches!(token, Token::Placeholder(name) if *name == argument.name) {
            continue;
        }
        let before = tokens[at.saturating_sub(REACH)..at].iter().rev();
        let behind = tokens[at + 1..].iter().take(REACH / 2);
        let near = before.chain(behind).find_map(|token| match token {
            Token::Name(name) => Some(of_name(facts, tables, name)).filter(|found| !found.is_empty()),
            _ => None,
        });
        columns.extend(near.into_iter().flatten());
    }
    columns.extend(of_name(facts, tables, &argument.name));
    Source { name: argument.name.clone(), kind: argument.kind.clone(), columns }
}

fn of_name(facts: &Facts, tables: &BTreeSet<usize>, name: &str) -> Vec<(usize, usize)> {
    let column = |place: &usize| facts.tables[*place].columns.iter().position(|column| column.name == name);
    tables.iter().filter_map(|place| Some((*place, column(place)?))).collect()
}

fn one(client: &mut Client, data: &mut Data, source: &Source, kind: &str, random: &mut Random) -> Option<String> {
    for _ in 0..20 {
        let Some((place, column)) = random.pick(&source.columns).copied().filter(|_| random.is(95)) else { break };
        let drawn = match random.is(85) {
            true => random.pick(&data.rows(client, place)).and_then(|row| row[column].clone()),
            false => data.draw(place, column, random),
        };
        // Of an array one element.
        let text = drawn.map(|text| match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(inner) => inner.split(',').next().unwrap_or_default().trim_matches('"').to_owned(),
            None => text,
        });
        let of = data.facts.base(data.facts.tables[place].columns[column].kind);
        let text = match (kind, of) {
            ("text", Shape::Base(name)) if random.is(30) => text.map(|text| other_spelling(name, text)),
            _ => text,
        };
        if let Some(value) = text.and_then(|text| canonical(kind, &text)) {
            return Some(value);
        }
    }
    any(kind, random)
}

/// Of the same value, where its type has another: a text that is cast is not the text that the row shows.
fn other_spelling(name: &str, text: String) -> String {
    match name {
        "inet" => match text.strip_suffix("/32").or(text.strip_suffix("/128")) {
            Some(address) => address.to_owned(),
            None => text,
        },
        "uuid" | "macaddr" => text.to_uppercase(),
        "bool" if text.starts_with('t') => "yes".to_owned(),
        "bool" => "no".to_owned(),
        "interval" if text == "1 day" => "24:00:00".to_owned(),
        "int2" | "int4" | "int8" | "numeric" if text.starts_with(|c: char| c.is_ascii_digit()) => format!("0{text}"),
        "bpchar" => text + " ",
        // A collation may ignore case.
        "text" | "varchar" | "citext" if text.chars().all(|c| !c.is_uppercase()) => text.to_uppercase(),
        _ => text,
    }
}

fn any(kind: &str, random: &mut Random) -> Option<String> {
    Some(match kind {
        "int" | "numeric" | "float" => random.number(12),
        "bool" => random.is(50).to_string(),
        "text" => ["red", "blue", "old", "new"][random.below(4)].to_owned(),
        "uuid" => format!("00000000-0000-4000-8000-{:012}", random.below(60) + 1),
        "date" => ["2020-02-29", "2025-06-01", "2030-01-01"][random.below(3)].to_owned(),
        "timestamp" => ["2020-02-29T00:00:00", "2030-01-01T00:00:00"][random.below(2)].to_owned(),
        "timestamptz" => ["2020-02-29T00:00:00Z", "2030-01-01T00:00:00Z"][random.below(2)].to_owned(),
        _ => return None,
    })
}

/// The one spelling that the call's key has, of what Postgres prints; None: it is not of the type.
fn canonical(kind: &str, text: &str) -> Option<String> {
    let is_date = |text: &str| text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    match kind {
        "int" => text.parse::<i64>().ok().map(|number| number.to_string()),
        "float" => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number.to_string()),
        "numeric" => {
            text.parse::<f64>().ok().filter(|number| number.is_finite() && !text.contains(['e', 'E']))?;
            Some(if text.contains('.') {
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            } else {
                text.to_owned()
            })
        }
        "bool" => {
            ["true", "false"].into_iter().find(|word| word.starts_with(text) && !text.is_empty()).map(str::to_owned)
        }
        "text" => (!text.is_empty() && text.len() < 200).then(|| text.to_owned()),
        "uuid" => (text.len() == 36 && text.matches('-').count() == 4).then(|| text.to_lowercase()),
        "date" => text.get(..10).filter(|day| is_date(day)).map(str::to_owned),
        "timestamp" | "timestamptz" => {
            let (day, time) = (text.get(..10).filter(|day| is_date(day))?, text.get(11..19).unwrap_or("00:00:00"));
            Some(format!("{day}T{time}{}", if kind == "timestamp" { "" } else { "Z" }))
        }
        _ => None,
    }
}

impl Call {
    /// To be pasted into a shell.
    pub fn line(&self, word: Option<&str>) -> String {
        let words = std::iter::once(&*self.space).chain(word).chain(self.words.iter().map(String::as_str));
        let words: Vec<String> = words.map(shell).collect();
        format!("redis-cli BEAR.QUERY {}", words.join(" "))
    }
}

pub fn shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.:,/@+%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_postgres_prints_becomes_what_a_call_takes() {
        for (kind, text, expected) in [
            ("int", "7", Some("7")),
            ("int", "red", None),
            ("numeric", "12.50", Some("12.5")),
            ("numeric", "100", Some("100")),
            ("numeric", "NaN", None),
            ("bool", "t", Some("true")),
            ("bool", "", None),
            ("timestamptz", "2030-01-01 10:00:00+00", Some("2030-01-01T10:00:00Z")),
            ("date", "2030-01-01", Some("2030-01-01")),
            ("date", "infinity", None),
            ("uuid", "00000000-0000-4000-8000-000000000001", Some("00000000-0000-4000-8000-000000000001")),
        ] {
            assert_eq!(canonical(kind, text).as_deref(), expected, "{kind} {text}");
        }
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_split_them() {
        let call =
            Call { space: "{a}:b".into(), words: vec!["of".into(), "it's".into(), String::new()], params: vec![] };
        assert_eq!(call.line(Some("FRESH")), "redis-cli BEAR.QUERY '{a}:b' FRESH of 'it'\\''s' ''");
    }
}

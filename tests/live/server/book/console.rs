//! Console examples: `$ redis-cli …` is sent, and its reply compared with what the page shows.
//!
//! `…` stands for what was left out: in a line for any text, alone on a line for any lines. Ids of jobs, tokens of
//! claims and times in milliseconds are any; an id or a token that is shown twice must be the same twice. Figures that vary are named before the block:
//! `<!-- run: bear; varies: ttl_ms -->`. What stands after a blank and `#` is a comment.

use std::collections::BTreeMap;

use super::fixture::Fixture;
use crate::support::{feed, Reply};

#[derive(Default)]
pub struct Session {
    /// Ids of jobs and tokens, as the page shows them and as they were.
    ids: BTreeMap<String, String>,
    pub varies: Vec<String>,
    is_paused: bool,
}

/// What came of a block.
#[derive(Default)]
pub struct Found {
    pub wrong: Vec<String>,
    /// The block as the server would have it.
    pub lines: Vec<String>,
}

impl Session {
    pub fn run(&mut self, fixture: &Fixture, lines: &[String]) -> Found {
        let mut found = Found::default();
        let mut at = 0;
        while at < lines.len() {
            let command = &lines[at];
            let end = (at + 1..lines.len()).find(|next| lines[*next].starts_with("$ ")).unwrap_or(lines.len());
            let shown = &lines[at + 1..end];
            let actual = self.reply(fixture, command);
            found.lines.push(command.clone());
            match self.compare(shown, &actual) {
                Ok(()) => found.lines.extend_from_slice(shown),
                Err(reason) => {
                    let (shown, replied) = (shown.join("\n"), actual.join("\n"));
                    found.wrong.push(format!("{command}\n{reason}\nshown:\n{shown}\nreplied:\n{replied}"));
                    found.lines.extend(actual);
                }
            }
            at = end;
        }
        found
    }

    fn reply(&mut self, fixture: &Fixture, line: &str) -> Vec<String> {
        let words = words(line.strip_prefix("$ ").unwrap_or_else(|| panic!("'{line}' is no command")));
        let words: Vec<String> = words.into_iter().map(|word| self.ids.get(&word).cloned().unwrap_or(word)).collect();
        let texts: Vec<&str> = words.iter().map(String::as_str).collect();
        let reply = match texts.as_slice() {
            ["redis-cli", "--scan"] => fixture.redis.keys().into_iter().collect(),
            ["redis-cli", "-3", command @ ..] => show(&fixture.redis.resp3_wire().call(command)),
            ["redis-cli", command @ ..] => show(&fixture.redis.wire().call(command)),
            ["psql", "-c", sql] => {
                let count =
                    fixture.database.client().execute(*sql, &[]).unwrap_or_else(|error| panic!("{error}: {sql}"));
                if fixture.follows {
                    feed::wait_told(&fixture.redis);
                }
                // As psql: what was done, and to how many rows; of DDL, to what.
                let mut words = sql.split(' ');
                let (verb, object) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                vec![match verb {
                    "INSERT" => format!("INSERT 0 {count}"),
                    "UPDATE" | "DELETE" => format!("{verb} {count}"),
                    _ => format!("{verb} {object}"),
                }]
            }
            _ => panic!("'{line}' is neither redis-cli nor psql"),
        };
        match texts.iter().find(|word| word.starts_with("BEAR.")) {
            Some(&"BEAR.PAUSE") => self.is_paused = true,
            Some(&"BEAR.RESUME") => self.is_paused = false,
            _ => {}
        }
        fixture.settle(self.is_paused);
        reply
    }

    /// Do the lines shown say what was replied?
    fn compare(&mut self, shown: &[String], actual: &[String]) -> Result<(), String> {
        let actual: Vec<&str> = actual.iter().map(|line| line.trim_end()).collect();
        let mut at = 0;
        let mut skips = false;
        for line in shown.iter().map(|line| line.trim_end()) {
            if line.trim() == "…" {
                skips = true;
                continue;
            }
            let found =
                actual[at..].iter().take(if skips { usize::MAX } else { 1 }).position(|actual| self.fits(line, actual));
            let Some(found) = found else { return Err(format!("this was not replied: {line}")) };
            at += found + 1;
            skips = false;
        }
        if at < actual.len() && !skips {
            return Err(format!("this is not shown: {}", actual[at]));
        }
        Ok(())
    }

    fn fits(&mut self, shown: &str, actual: &str) -> bool {
        if let (Some((name, _)), Some((other, _))) = (shown.split_once("=> "), actual.split_once("=> ")) {
            if name == other && self.varies.iter().any(|varies| name.contains(&format!("\"{varies}\""))) {
                return true;
            }
        }
        let mut ids = self.ids.clone();
        let fits = fit(shown, actual, &mut ids);
        if fits {
            self.ids = ids;
        }
        fits
    }
}

/// Are the lines the same, but for `…`, times, and ids that are others than those shown?
fn fit(shown: &str, actual: &str, ids: &mut BTreeMap<String, String>) -> bool {
    if let Some(rest) = shown.strip_prefix('…') {
        let mut starts = actual.char_indices().map(|(at, _)| at).chain([actual.len()]);
        return starts.any(|at| fit(rest, &actual[at..], &mut ids.clone()));
    }
    if let (Some((id, shown)), Some((other, actual))) = (stamp(shown), stamp(actual)) {
        if id.contains('-') != other.contains('-') || is_token(id) != is_token(other) {
            return false;
        }
        let is_time = !id.contains('-') && !is_token(id);
        let is_same = is_time || ids.entry(id.to_owned()).or_insert_with(|| other.to_owned()) == other;
        return is_same && fit(shown, actual, ids);
    }
    match (shown.chars().next(), actual.chars().next()) {
        (None, None) => true,
        (Some(one), Some(other)) if one == other => fit(&shown[one.len_utf8()..], &actual[one.len_utf8()..], ids),
        _ => false,
    }
}

/// A token is made of microseconds.
fn is_token(stamp: &str) -> bool {
    stamp.len() == 16 && !stamp.contains('-')
}

/// A time in milliseconds, an id made of one, a token or that of a lease at the beginning, and the rest.
fn stamp(text: &str) -> Option<(&str, &str)> {
    let hex = text.bytes().take_while(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).count();
    let ticket = text[hex..].strip_prefix('-').map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    if hex == 16 && ticket > 0 {
        // The token of a lease.
        return Some(text.split_at(hex + 1 + ticket));
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 16 {
        return Some(text.split_at(digits));
    }
    if digits != 13 {
        return None;
    }
    let sequence =
        text[digits..].strip_prefix('-').map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    let end = if sequence > 0 { digits + 1 + sequence } else { digits };
    Some(text.split_at(end))
}

/// Splits as a shell does: blanks, quotes of both kinds, a comment.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '#') if word.is_none() => break,
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// A reply as redis-cli shows it on a terminal, but for strings that are the whole reply: these have no quotes.
fn show(reply: &Reply) -> Vec<String> {
    let text = match reply {
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format_reply(other, ""),
    };
    text.trim_end_matches('\n').split('\n').map(|line| line.trim_end().to_owned()).collect()
}

fn format_reply(reply: &Reply, indent: &str) -> String {
    match reply {
        Reply::Simple(text) | Reply::Error(text) | Reply::Verbatim(text) => format!("{text}\n"),
        Reply::Int(number) => format!("(integer) {number}\n"),
        Reply::Bulk(bytes) => format!("{}\n", quoted(&String::from_utf8_lossy(bytes))),
        Reply::Nil => "(nil)\n".into(),
        Reply::Bool(value) => format!("({value})\n"),
        Reply::Double(value) => format!("(double) {value}\n"),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            let items: Vec<(Option<&Reply>, &Reply)> = items.iter().map(|item| (None, item)).collect();
            format_items(&items, ')', "(empty array)\n", indent)
        }
        Reply::Map(pairs) => {
            let items: Vec<(Option<&Reply>, &Reply)> = pairs.iter().map(|(name, value)| (Some(name), value)).collect();
            format_items(&items, '#', "(empty hash)\n", indent)
        }
    }
}

fn format_items(items: &[(Option<&Reply>, &Reply)], mark: char, empty: &str, indent: &str) -> String {
    let width = items.len().to_string().len();
    let inner = format!("{indent}{}", " ".repeat(width + 2));
    let mut text = String::new();
    for (at, (name, value)) in items.iter().enumerate() {
        let indent = if at == 0 { "" } else { indent };
        text += &format!("{indent}{:>width$}{mark} ", at + 1);
        if let Some(name) = name {
            text += &format!("{} =>", format_reply(name, &inner).trim_end());
            let is_nested = matches!(value, Reply::Array(items) if !items.is_empty())
                || matches!(value, Reply::Map(pairs) if !pairs.is_empty());
            text += &if is_nested { format!("\n{inner}") } else { " ".to_owned() };
        }
        text += &format_reply(value, &inner);
    }
    if items.is_empty() {
        text += empty;
    }
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[test]
fn lines_fit_but_for_what_may_differ() {
    let fits = |shown: &str, actual: &str| fit(shown, actual, &mut BTreeMap::new());
    assert!(fits("[{\"id\":5},…]", "[{\"id\":5},{\"id\":6}]") && !fits("[{\"id\":5}]", "[{\"id\":6}]"));
    assert!(fits("1795242321676-0", "1800000000000-12") && !fits("1795242321676-0", "1800000000000"));
    assert!(fits("(integer) 1795242321676", "(integer) 1800000000000"));
    assert!(fits("(integer) 1795242321676000", "(integer) 1800000000000001"));
    assert!(!fits("(integer) 1795242321676", "(integer) 1800000000000001"));
    assert!(fits("2) \"5be2c0ffee15bea4-1\"", "2) \"1234567890123456-27\"") && !fits("5be2c0ffee15bea4-1", "x"));
    let mut ids = BTreeMap::new();
    assert!(
        fit("1795242321676-0", "1800000000000-0", &mut ids) && !fit("1795242321676-0", "1800000000000-1", &mut ids)
    );
    assert!(
        fit("1795242321676000", "1800000000000001", &mut ids) && !fit("1795242321676000", "1800000000000002", &mut ids)
    );
}

#[test]
fn replies_are_shown_as_redis_cli_shows_them() {
    let text = |text: &str| Reply::Bulk(text.into());
    let map = Reply::Map(vec![
        (text("id"), text("a\"b")),
        (text("list"), Reply::Array(vec![text("x"), Reply::Nil])),
        (text("none"), Reply::Array(vec![])),
    ]);
    let shown =
        ["1# \"id\" => \"a\\\"b\"", "2# \"list\" =>", "   1) \"x\"", "   2) (nil)", "3# \"none\" => (empty array)"];
    assert_eq!(show(&map), shown);
    assert_eq!(show(&text("[1]")), ["[1]"]);
    assert_eq!(words("redis-cli X '{\"a\": 1}' \"b c\" ''   # why"), ["redis-cli", "X", "{\"a\": 1}", "b c", ""]);
}

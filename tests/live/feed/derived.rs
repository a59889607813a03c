//! Queries of which nothing is said but call and SQL, of every shape: whatever changes, each cached answer is Postgres' own, and few are
//! dropped whose answers have not changed. `BEAR_TEST_HISTORIES` is the number of transactions (10), `BEAR_TEST_SEED` chooses them.

use std::fmt::Write;

use crate::prove::answers::{connect, Comparison, Oracle};
use crate::prove::calls::Call;
use crate::prove::catalog::Catalog;
use crate::prove::checker::Checker;
use crate::prove::server::standings;
use crate::prove::sql::{array, Value};
use crate::support::feed::wait_told;
use crate::support::{eventually, Postgres, Random, Redis};

const SCHEMA: &str = include_str!("../../../src/core/derive/tests/shop.sql");
const STATEMENTS: [&str; 2] = [
    include_str!("../../../src/core/derive/tests/shapes.tsv"),
    include_str!("../../../src/core/derive/tests/orms.tsv"),
];

/// Entries of each statement.
const ENTRIES: usize = 2;

/// So many transactions give a ratio that is not of chance.
const MANY: u64 = 60;

/// Values and changes of the shop.
struct Shop(Random);

impl Shop {
    fn number(&mut self, last: usize) -> String {
        self.0.number(last)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0.below(end)
    }

    fn name(&mut self) -> String {
        ["red", "blue", "green", "old", "new"][self.below(5)].to_owned()
    }

    /// NULL now and then.
    fn maybe(&mut self, last: usize) -> String {
        if self.below(100) < 8 {
            return "NULL".to_owned();
        }
        self.number(last)
    }

    /// What a letter of the statements stands for, as a word of a call; None: it is left out.
    fn argument(&mut self, letter: char) -> Option<String> {
        Some(match letter {
            'C' => self.number(8),
            'o' if self.below(100) < 8 => return None,
            'o' => self.number(8),
            'K' => self.number(12),
            'L' => format!("{},{}", self.number(9), self.number(9)),
            'P' => self.number(44),
            'c' | 't' => self.name(),
            'S' => self.number(5),
            'A' => self.number(7),
            'T' => self.number(9),
            'I' => (0..4).map(|_| self.number(44)).collect::<Vec<_>>().join(","),
            letter => panic!("no argument {letter}"),
        })
    }

    fn values(&mut self, table: &str) -> Vec<(&'static str, String)> {
        let quoted = |text: String| format!("'{text}'");
        match table {
            "category" => {
                vec![("name", quoted(self.name())), ("parent_id", self.maybe(8)), ("hits", self.number(9))]
            }
            "product" => vec![
                ("category_id", self.maybe(9)),
                ("name", quoted(self.name())),
                ("price", self.number(12)),
                ("featured", (self.below(100) < 20).to_string()),
                ("seen", self.number(99)),
            ],
            "tag" => vec![("name", quoted(self.name()))],
            "author" => vec![("name", quoted(self.name())), ("active", (self.below(100) < 70).to_string())],
            "review" => vec![
                ("product_id", self.maybe(44)),
                ("author_id", self.maybe(7)),
                ("stars", self.number(5)),
                ("body", quoted(self.name())),
            ],
            table => panic!("no table {table}"),
        }
    }

    fn insert(&mut self, table: &str, id: &str) -> String {
        let values = self.values(table);
        let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        let values: Vec<&str> = values.iter().map(|(_, value)| &**value).collect();
        format!(
            "INSERT INTO {table} (id, {}) VALUES ({id}, {}) ON CONFLICT DO NOTHING;",
            names.join(", "),
            values.join(", ")
        )
    }

    /// A random change of a row.
    fn change(&mut self) -> String {
        const TABLES: [(&str, usize); 11] = [
            ("category", 14),
            ("product", 46),
            ("product", 46),
            ("product", 46),
            ("tag", 14),
            ("author", 12),
            ("review", 86),
            ("review", 86),
            ("review", 86),
            ("product_tag", 0),
            ("product_tag", 0),
        ];
        let (table, ids) = TABLES[self.below(11)];
        if table == "product_tag" {
            let (product, tag, weight) = (self.number(44), self.number(9), self.number(9));
            return match self.below(3) {
                0 => format!("DELETE FROM product_tag WHERE product_id = {product};"),
                1 => format!("UPDATE product_tag SET weight = {weight} WHERE tag_id = {tag};"),
                _ => format!("INSERT INTO product_tag VALUES ({product}, {tag}, {weight}) ON CONFLICT DO NOTHING;"),
            };
        }
        let id = self.number(ids);
        match self.below(10) {
            0..=2 => self.insert(table, &id),
            3 => format!("DELETE FROM {table} WHERE id = {id};"),
            _ => {
                let values = self.values(table);
                let (name, value) = &values[self.below(values.len())];
                format!("UPDATE {table} SET {name} = {value} WHERE id = {id};")
            }
        }
    }

    fn fill(&mut self) -> String {
        let mut sql = String::new();
        for (table, count) in [("category", 8), ("product", 40), ("tag", 8), ("author", 6), ("review", 80)] {
            for id in 1..=count {
                sql += &self.insert(table, &id.to_string());
            }
        }
        for _ in 0..60 {
            let (product, tag, weight) = (self.number(44), self.number(9), self.number(9));
            write!(sql, "INSERT INTO product_tag VALUES ({product}, {tag}, {weight}) ON CONFLICT DO NOTHING;").unwrap();
        }
        sql
    }
}

struct Statement {
    name: &'static str,
    /// As the catalog has it, without quotes around.
    call: String,
    sql: String,
    /// Numbers of its arguments, their letters and types, in the order of the call; whether each may be left out.
    args: Vec<(usize, char, &'static str, bool)>,
}

/// `$1::int` becomes `{a1}`, and an argument of the call.
fn statement(number: usize, line: &'static str) -> Statement {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, letters, sql] = fields[..] else { panic!("three fields: {line}") };
    let mut named = sql.to_owned();
    let (mut args, mut words) = (Vec::new(), Vec::new());
    for (at, letter) in letters.chars().enumerate().map(|(at, letter)| (at + 1, letter)) {
        let ty = ["int[]", "text[]", "int", "numeric", "text", "bool"];
        let ty = ty.into_iter().find(|ty| sql.contains(&format!("${at}::{ty}"))).expect("an argument with a type");
        let is_optional = letter == 'o';
        named = named.replace(&format!("${at}::{ty}"), &format!("{{a{at}}}"));
        words.push((is_optional, format!("{{a{at}:{ty}}}")));
        args.push((at, letter, ty, is_optional));
    }
    // Optional groups come last.
    args.sort_by_key(|(.., is_optional)| *is_optional);
    words.sort_by_key(|(is_optional, _)| *is_optional);
    let mut call = format!("s{number}");
    for ((at, ..), (is_optional, word)) in args.iter().zip(&words) {
        match is_optional {
            true => write!(call, " [a{at} {word}]").unwrap(),
            false => write!(call, " {word}").unwrap(),
        }
    }
    Statement { name, call, sql: named, args }
}

impl Statement {
    /// `params`: names of the statement's parameters.
    fn ask(&self, number: usize, params: &[String], shop: &mut Shop) -> Call {
        let mut words = vec![format!("s{number}")];
        let mut values: Vec<(String, Value)> = Vec::new();
        for (at, letter, ty, is_optional) in &self.args {
            let Some(word) = shop.argument(*letter) else { continue };
            if *is_optional {
                words.push(format!("a{at}"));
            }
            let value = match ty.ends_with("[]") {
                true => {
                    // Sorted, each once: as the statement gets it.
                    let mut elements: Vec<&str> = word.split(',').collect();
                    elements.sort_by_key(|element| element.parse::<u64>().ok());
                    elements.dedup();
                    array(&elements.into_iter().map(|element| Some(element.to_owned())).collect::<Vec<_>>())
                }
                false => word.clone(),
            };
            words.push(word);
            values.push((format!("a{at}"), Some(value)));
        }
        let value = |name: &String| values.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.clone());
        Call { space: "product".to_owned(), words, params: params.iter().map(value).collect() }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// `most`: dropped for each entry whose answer has changed, of all statements.
fn history(feed: &str, identity: &str, most: f64) {
    let seed = number("BEAR_TEST_SEED", 19);
    println!("BEAR_TEST_SEED={seed}");
    let mut shop = Shop(Random::new(seed));
    // A server of its own: transactions of others make all cold.
    let server = Postgres::start_logical();
    let database = server.database(&format!("{SCHEMA}{}", shop.fill()));
    for table in ["category", "product", "tag", "product_tag", "author", "review"] {
        database.run(&format!("ALTER TABLE {table} REPLICA IDENTITY {identity}"));
    }
    let lines = STATEMENTS.iter().flat_map(|file| file.lines());
    let statements: Vec<Statement> = lines.enumerate().map(|(number, line)| statement(number, line)).collect();
    let mut catalog = "[product]\n".to_owned();
    for Statement { call, sql, .. } in &statements {
        write!(catalog, "[[product.query]]\ncall = \"{call}\"\nttl = \"1d\"\nsql = '''{sql}'''\n").unwrap();
    }
    let redis = Redis::builder().postgres(&database).catalog(&*catalog).config("bear.feed", feed).prompt_feed().start();
    wait_told(&redis);
    eventually("the catalog is derived", || redis.run("BEAR.CATALOG").map()["checked"].text() == "yes");
    let catalog = Catalog::read(&catalog).expect("it is one");
    let standings = standings(&redis, &catalog);
    let comparisons = catalog.queries.iter().zip(&standings).map(|(query, of)| Comparison::new(query, &of.reasons));
    let oracle = Oracle::new(connect(&database.url()).expect("it answers"), &catalog.queries);
    let mut checker = Checker::new(&redis, oracle, comparisons.collect());
    for (at, statement) in statements.iter().enumerate() {
        let (_, params) = catalog.queries[at].rendered();
        for _ in 0..ENTRIES {
            // Some have two columns of one name: the module answers them with an error, and so does nobody compare them.
            checker.add(at, statement.ask(at, &params, &mut shop));
        }
    }
    let mut complaints = String::new();
    let histories = number("BEAR_TEST_HISTORIES", 10);
    for step in 0..histories {
        checker.fill(&redis, step as usize);
        let cached = checker.entries.iter().filter(|entry| entry.is_cached).count();
        assert!(cached > statements.len(), "{cached} of {} are cached", statements.len());
        let count = [1, 1, 2, 3][shop.below(4)];
        let sql: String = (0..count).map(|_| shop.change()).collect();
        database.run(&format!("BEGIN;{sql} COMMIT"));
        wait_told(&redis);
        for stale in checker.check(|_| true) {
            let Statement { name, sql: statement, .. } = &statements[stale.query];
            let (call, cached, now) = (stale.call.line(None), stale.cached, stale.now);
            writeln!(complaints, "{feed}: {name}, {call}: {sql}\n  {statement}\n  {cached:?}\n  {now:?}").unwrap();
        }
    }
    let (mut changed, mut dropped) = (0, 0);
    for (figures, statement) in checker.figures.iter().zip(&statements) {
        if std::env::var("BEAR_TEST_SHOW").is_ok() {
            println!("{feed}\t{}\t{}\t{}", statement.name, figures.changes, figures.drops);
        }
        changed += figures.changes as u32;
        dropped += figures.drops as u32;
    }
    assert!(complaints.is_empty(), "{complaints}");
    let ratio = f64::from(dropped) / f64::from(changed);
    println!("{feed}: {changed} changed, {dropped} dropped, {ratio:.2}");
    let most = if histories < MANY { 2.0 * most } else { most };
    assert!(changed > 50 && ratio < most, "{dropped} dropped, {changed} changed: {ratio:.2}");
}

/// The model of derivation, of the same statements, is at 1.7.
#[test]
fn no_history_leaves_a_stale_answer_with_the_outbox() {
    history("outbox", "DEFAULT", 1.9);
}

#[test]
fn no_history_leaves_a_stale_answer_with_the_wal_and_full_rows() {
    history("wal", "FULL", 1.9);
}

/// Nobody tells which columns have changed.
#[test]
fn no_history_leaves_a_stale_answer_with_the_wal_and_keys() {
    history("wal", "DEFAULT", 4.5);
}

//! Queries of which nothing is said but call and SQL, of every shape: whatever changes, each cached answer is Postgres' own, and few are
//! dropped whose answers have not changed. `BEAR_TEST_HISTORIES` is the number of transactions (10), `BEAR_TEST_SEED` chooses them.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::support::feed::wait_told;
use crate::support::{eventually, Postgres, Redis, Reply, Wire};

const SCHEMA: &str = include_str!("../../../src/core/derive/tests/shop.sql");
const STATEMENTS: [&str; 2] = [
    include_str!("../../../src/core/derive/tests/shapes.tsv"),
    include_str!("../../../src/core/derive/tests/orms.tsv"),
];

/// Entries of each statement.
const ENTRIES: usize = 2;

/// So many transactions give a ratio that is not of chance.
const MANY: u64 = 60;

/// splitmix64
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    fn number(&mut self, last: u64) -> String {
        (self.below(last) + 1).to_string()
    }

    fn name(&mut self) -> String {
        ["red", "blue", "green", "old", "new"][self.below(5) as usize].to_owned()
    }

    /// NULL now and then.
    fn maybe(&mut self, last: u64) -> String {
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
        const TABLES: [(&str, u64); 11] = [
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
        let (table, ids) = TABLES[self.below(11) as usize];
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
                let (name, value) = &values[self.below(values.len() as u64) as usize];
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
    /// Numbers of its arguments and their letters, in the order of the call; whether each may be left out.
    args: Vec<(usize, char, bool)>,
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
        args.push((at, letter, is_optional));
    }
    // Optional groups come last.
    args.sort_by_key(|(_, _, is_optional)| *is_optional);
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
    fn ask(&self, number: usize, dice: &mut Dice) -> String {
        let mut call = format!("s{number}");
        for (at, letter, is_optional) in &self.args {
            match (dice.argument(*letter), is_optional) {
                (Some(word), true) => write!(call, " a{at} {word}").unwrap(),
                (Some(word), false) => write!(call, " {word}").unwrap(),
                (None, _) => {}
            }
        }
        call
    }
}

/// The rows in any order: that of a statement without ORDER BY is Postgres' own affair.
fn rows(reply: &Reply) -> Vec<String> {
    let json = reply.json();
    let rows = json.as_array().expect("an array");
    let mut rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
    rows.sort_unstable();
    rows
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[derive(Default)]
struct Figures {
    changed: u32,
    dropped: u32,
}

fn fresh(wire: &mut Wire, call: &str) -> Option<Vec<String>> {
    let reply = wire.run(&format!("BEAR.QUERY product FRESH {call}"));
    (!reply.is_error()).then(|| rows(&reply))
}

/// `most`: dropped for each entry whose answer has changed, of all statements.
fn history(feed: &str, identity: &str, most: f64) {
    let seed = number("BEAR_TEST_SEED", 19);
    println!("BEAR_TEST_SEED={seed}");
    let mut dice = Dice(seed);
    // A server of its own: transactions of others make all cold.
    let server = Postgres::start_logical();
    let database = server.database(&format!("{SCHEMA}{}", dice.fill()));
    for table in ["category", "product", "tag", "product_tag", "author", "review"] {
        database.run(&format!("ALTER TABLE {table} REPLICA IDENTITY {identity}"));
    }
    let lines = STATEMENTS.iter().flat_map(|file| file.lines());
    let statements: Vec<Statement> = lines.enumerate().map(|(number, line)| statement(number, line)).collect();
    let mut catalog = "[product]\n".to_owned();
    for Statement { call, sql, .. } in &statements {
        write!(catalog, "[[product.query]]\ncall = \"{call}\"\nttl = \"1d\"\nsql = '''{sql}'''\n").unwrap();
    }
    let redis = Redis::builder().postgres(&database).catalog(catalog).config("bear.feed", feed).start();
    wait_told(&redis);
    eventually("the catalog is derived", || redis.run("BEAR.CATALOG").map()["checked"].text() == "yes");
    let mut wire = redis.wire();
    let mut answers: BTreeMap<String, (usize, Vec<String>)> = BTreeMap::new();
    for (at, statement) in statements.iter().enumerate() {
        for _ in 0..ENTRIES {
            let call = statement.ask(at, &mut dice);
            // Some have two columns of one name.
            if let Some(rows) = fresh(&mut wire, &call) {
                answers.insert(call, (at, rows));
            }
        }
    }
    assert!(answers.len() > statements.len(), "{} of {} are answered", answers.len(), statements.len());
    let mut figures: Vec<Figures> = statements.iter().map(|_| Figures::default()).collect();
    let mut complaints = String::new();
    let histories = number("BEAR_TEST_HISTORIES", 10);
    for _ in 0..histories {
        redis.wait_stored();
        let count = [1, 1, 2, 3][dice.below(4) as usize];
        let sql: String = (0..count).map(|_| dice.change()).collect();
        database.run(&format!("BEGIN;{sql} COMMIT"));
        wait_told(&redis);
        for (call, (at, before)) in &mut answers {
            let cached = wire.run(&format!("BEAR.QUERY product CACHED {call}"));
            let now = fresh(&mut wire, call).expect("it was answered before");
            figures[*at].changed += u32::from(now != *before);
            figures[*at].dropped += u32::from(cached.is_nil());
            if !cached.is_nil() && rows(&cached) != now {
                let Statement { name, sql: statement, .. } = &statements[*at];
                writeln!(complaints, "{feed}: {name}, {call}: {sql}\n  {statement}\n  {:?}\n  {now:?}", rows(&cached))
                    .unwrap();
            }
            *before = now;
        }
    }
    let (mut changed, mut dropped) = (0, 0);
    for (Figures { changed: of_one, dropped: gone }, statement) in figures.iter().zip(&statements) {
        if std::env::var("BEAR_TEST_SHOW").is_ok() {
            println!("{feed}\t{}\t{of_one}\t{gone}", statement.name);
        }
        changed += of_one;
        dropped += gone;
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

//! The shop of `shop.sql` in memory and in Postgres: random rows, random changes, random arguments.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::core::derive::evaluate::Value;

/// The numbers of a run, from its seed (splitmix64).
pub(super) struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// Below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    pub fn is(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    /// From 1 on.
    fn number(&mut self, last: u64) -> Value {
        Value::Number((self.below(last) + 1) as f64)
    }

    fn maybe(&mut self, value: Value) -> Value {
        if self.is(8) {
            Value::Null
        } else {
            value
        }
    }

    fn name(&mut self) -> Value {
        Value::Text((*self.pick(&["red", "blue", "green", "old", "new"])).to_owned())
    }

    /// One for each letter: what it stands for is in `history.rs`' shapes.
    pub fn args(&mut self, letters: &str) -> Vec<Value> {
        let mut args: Vec<Value> = letters.chars().map(|letter| self.arg(letter)).collect();
        if letters == "KK" {
            args.sort_by(|a, b| a.order(b).unwrap());
        }
        args
    }

    fn arg(&mut self, letter: char) -> Value {
        match letter {
            'C' => self.number(8),
            'o' => {
                let number = self.number(8);
                self.maybe(number)
            }
            'K' => self.number(12),
            'L' => Value::List(vec![self.number(9), self.number(9)]),
            'P' => self.number(44),
            'c' | 't' => self.name(),
            'S' => self.number(5),
            'A' => self.number(7),
            'T' => self.number(9),
            'I' => Value::List((0..4).map(|_| self.number(44)).collect()),
            letter => panic!("no argument {letter}"),
        }
    }
}

/// As SQL writes it.
pub(super) fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Text(text) => format!("'{text}'"),
        Value::List(values) => format!("'{{{}}}'", values.iter().map(literal).collect::<Vec<_>>().join(",")),
    }
}

pub(super) type Row = Vec<Value>;

pub(super) struct Table {
    pub name: &'static str,
    pub oid: u32,
    pub columns: &'static [&'static str],
    /// How many columns, from the first, the primary key has.
    key: usize,
    count: u64,
    weight: u64,
    pub rows: BTreeMap<String, Row>,
}

pub(super) struct Change {
    pub relation: u32,
    pub old: Option<Row>,
    pub new: Option<Row>,
}

pub(super) struct Shop {
    pub tables: Vec<Table>,
}

type Shape = (&'static str, &'static [&'static str], usize, u64, u64);

const TABLES: [Shape; 6] = [
    ("category", &["id", "name", "parent_id", "hits"], 1, 8, 1),
    ("product", &["id", "category_id", "name", "price", "featured", "seen"], 1, 40, 3),
    ("tag", &["id", "name"], 1, 8, 1),
    ("author", &["id", "name", "active"], 1, 6, 1),
    ("review", &["id", "product_id", "author_id", "stars", "body"], 1, 80, 3),
    ("product_tag", &["product_id", "tag_id", "weight"], 2, 60, 2),
];

impl Shop {
    /// Filled, with the SQL that fills Postgres likewise.
    pub fn new(oid: impl Fn(&str) -> u32, dice: &mut Dice) -> (Shop, String) {
        let table = |(name, columns, key, count, weight): Shape| Table {
            name,
            oid: oid(name),
            columns,
            key,
            count,
            weight,
            rows: BTreeMap::new(),
        };
        let mut shop = Shop { tables: TABLES.map(table).into() };
        let mut sql = "TRUNCATE category, product, tag, author, review, product_tag;".to_owned();
        for table in 0..shop.tables.len() {
            for id in 1..=shop.tables[table].count {
                let row = random_row(shop.tables[table].name, Some(id), shop.tables[table].count, dice);
                shop.tables[table].insert(row, &mut sql);
            }
        }
        (shop, sql)
    }

    pub fn table(&self, oid: u32) -> &Table {
        self.tables.iter().find(|table| table.oid == oid).expect("a table of the shop")
    }

    /// One random change, done here and written as SQL.
    pub fn change(&mut self, dice: &mut Dice, sql: &mut String) -> Option<Change> {
        let total = self.tables.iter().map(|table| table.weight).sum();
        let mut place = dice.below(total);
        let table = self.tables.iter_mut().find(|table| {
            let is_it = place < table.weight;
            place = place.saturating_sub(table.weight);
            is_it
        });
        table.unwrap().change(dice, sql)
    }
}

impl Table {
    fn key(&self, row: &Row) -> String {
        row[..self.key].iter().map(literal).collect::<Vec<_>>().join(",")
    }

    fn insert(&mut self, row: Row, sql: &mut String) -> bool {
        let key = self.key(&row);
        if self.rows.contains_key(&key) {
            return false;
        }
        let values = row.iter().map(literal).collect::<Vec<_>>().join(", ");
        write!(sql, "INSERT INTO {} VALUES ({values});", self.name).unwrap();
        self.rows.insert(key, row);
        true
    }

    fn change(&mut self, dice: &mut Dice, sql: &mut String) -> Option<Change> {
        let relation = self.oid;
        let kind = dice.below(100);
        if kind < 30 || self.rows.is_empty() {
            let row = random_row(self.name, None, self.count, dice);
            return self.insert(row.clone(), sql).then_some(Change { relation, old: None, new: Some(row) });
        }
        let place = usize::try_from(dice.below(self.rows.len() as u64)).unwrap();
        let (key, old) = self.rows.iter().nth(place).map(|(key, row)| (key.clone(), row.clone())).unwrap();
        let of_key =
            self.columns[..self.key].iter().zip(&old).map(|(name, value)| format!("{name} = {}", literal(value)));
        let of_key = of_key.collect::<Vec<_>>().join(" AND ");
        if kind < 50 {
            write!(sql, "DELETE FROM {} WHERE {of_key};", self.name).unwrap();
            self.rows.remove(&key);
            return Some(Change { relation, old: Some(old), new: None });
        }
        let other = random_row(self.name, None, self.count, dice);
        let mut new = old.clone();
        let first = usize::from(self.columns[0] == "id");
        for _ in 0..if dice.is(25) { 2 } else { 1 } {
            let column = first + usize::try_from(dice.below((self.columns.len() - first) as u64)).unwrap();
            new[column] = other[column].clone();
        }
        if first == 1 && dice.is(3) {
            new[0] = other[0].clone();
        }
        let new_key = self.key(&new);
        if new_key != key && self.rows.contains_key(&new_key) {
            return None;
        }
        let sets = self.columns.iter().zip(&new).map(|(name, value)| format!("{name} = {}", literal(value)));
        let sets = sets.collect::<Vec<_>>().join(", ");
        write!(sql, "UPDATE {} SET {sets} WHERE {of_key};", self.name).unwrap();
        self.rows.remove(&key);
        self.rows.insert(new_key, new.clone());
        Some(Change { relation, old: Some(old), new: Some(new) })
    }
}

fn random_row(table: &str, id: Option<u64>, count: u64, dice: &mut Dice) -> Row {
    let id = Value::Number(id.unwrap_or_else(|| dice.below(count + 6) + 1) as f64);
    let maybe = |last: u64, dice: &mut Dice| {
        let number = dice.number(last);
        dice.maybe(number)
    };
    match table {
        "category" => vec![id, dice.name(), maybe(8, dice), dice.number(9)],
        "product" => {
            let category = maybe(9, dice);
            vec![id, category, dice.name(), dice.number(12), Value::Bool(dice.is(20)), dice.number(99)]
        }
        "tag" => vec![id, dice.name()],
        "author" => vec![id, dice.name(), Value::Bool(dice.is(70))],
        "review" => {
            let (product, author) = (maybe(44, dice), maybe(7, dice));
            vec![id, product, author, dice.number(5), dice.name()]
        }
        "product_tag" => vec![dice.number(44), dice.number(9), dice.number(9)],
        table => panic!("no table {table}"),
    }
}

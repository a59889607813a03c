//! Values by type, few of each so that rows meet: drawn again until the constraints take one.

use crate::support::Random;

use super::facts::{Facts, Shape};
use super::pattern;
use super::sql::{array, element, Token, Value};

/// Words of many forms, for CHECKs with patterns and lengths: names, codes, an address, a path, hexadecimal digits.
const WORDS: [&str; 24] = [
    "red",
    "blue",
    "green",
    "old",
    "new",
    "a",
    "b",
    "DE",
    "us",
    "en",
    "EUR",
    "USD",
    "ab12",
    "a-b",
    "a_b",
    "A1B2C3",
    "one two",
    "bear@example.org",
    "https://example.org/a",
    "/a/b",
    "1.2.3",
    "0123456789abcdef0123456789abcdef",
    "0123456789abcdef0123456789abcdef01234567",
    "+4930123456",
];

/// The first are chosen more often.
const COMMON: usize = 6;

/// Literals that stand in CHECKs and queries.
#[derive(Debug, Default, Clone)]
pub struct Constants {
    pub texts: Vec<String>,
    pub numbers: Vec<String>,
}

impl Constants {
    pub fn add(&mut self, tokens: &[(Token, usize, usize)]) {
        for (token, ..) in tokens {
            let (list, text) = match token {
                Token::Text(text) => (&mut self.texts, text),
                Token::Number(text) => (&mut self.numbers, text),
                _ => continue,
            };
            if list.len() < 60 && text.len() < 100 && !list.contains(text) {
                list.push(text.clone());
            }
        }
    }
}

/// A value of the type; None where none is known, which is NULL.
pub fn draw(facts: &Facts, kind: u32, declared: &str, constants: &Constants, random: &mut Random) -> Value {
    match facts.shapes.get(&kind)? {
        Shape::Base(name) => base(name, declared, constants, random),
        Shape::Enum(labels) => random.pick(labels).cloned(),
        Shape::Domain(below, checks) => {
            let mut of_checks = constants.clone();
            checks.iter().for_each(|check| of_checks.add(&super::sql::tokens(check)));
            draw(facts, *below, declared, &of_checks, random)
        }
        Shape::Array(of) => {
            let count = random.below(4);
            let values: Vec<Value> = (0..count).map(|_| draw(facts, *of, declared, constants, random)).collect();
            Some(array(&values))
        }
        Shape::Range(of) => range(facts, *of, constants, random),
        Shape::Multirange(of) => {
            let Some(Shape::Range(of)) = facts.shapes.get(of) else { return None };
            Some(format!("{{{}}}", range(facts, *of, constants, random)?))
        }
        Shape::Row(members) => {
            let values = members.iter().map(|of| {
                draw(facts, *of, "", constants, random).map_or_else(String::new, |text| element(&Some(text)))
            });
            Some(format!("({})", values.collect::<Vec<_>>().join(",")))
        }
    }
}

/// In order, whatever the order of the type is: two numbers, or two times.
fn range(facts: &Facts, of: u32, constants: &Constants, random: &mut Random) -> Value {
    let Shape::Base(name) = facts.base(of) else { return None };
    if random.is(5) {
        return Some("empty".to_owned());
    }
    let days = |random: &mut Random| {
        let first = random.below(20) + 1;
        (first, first + 1 + random.below(8))
    };
    let (low, high) = match &**name {
        "date" => {
            let (low, high) = days(random);
            (format!("2030-01-{low:02}"), format!("2030-01-{high:02}"))
        }
        "timestamp" | "timestamptz" => {
            let (low, high) = days(random);
            (format!("2030-01-{low:02} 10:00:00"), format!("2030-01-{high:02} 10:00:00"))
        }
        "int4" | "int8" | "numeric" | "float8" => {
            let low = random.below(20);
            (low.to_string(), (low + 1 + random.below(10)).to_string())
        }
        _ => {
            let one = base(name, "", constants, random)?;
            (one.clone(), one)
        }
    };
    Some(if random.is(10) { format!("[\"{low}\",)") } else { format!("[\"{low}\",\"{high}\"]") })
}

fn base(name: &str, declared: &str, constants: &Constants, random: &mut Random) -> Value {
    let some = |text: &str| Some(text.to_owned());
    let of = |values: &[&str], random: &mut Random| random.pick(values).map(|text| (*text).to_owned());
    match name {
        "int2" | "int4" | "int8" | "oid" | "xid" => Some(whole(constants, random)),
        "numeric" | "float4" | "float8" | "money" => match random.below(4) {
            0 => Some(format!("{}.5", random.below(10))),
            _ => Some(number(constants, random)),
        },
        "bool" => of(&["true", "false"], random),
        "text" | "varchar" | "bpchar" | "citext" | "name" | "\"char\"" | "char" | "unknown" => {
            Some(word(declared, constants, random))
        }
        "uuid" => Some(uuid(8, random)),
        // Far from now: no time that a query compares with passes in between.
        "date" => Some(day(constants, random)),
        "timestamp" | "timestamptz" => Some(format!("{} {:02}:00:00", day(constants, random), random.below(24))),
        "time" => Some(format!("{:02}:30:00", random.below(24))),
        "timetz" => Some(format!("{:02}:30:00+00", random.below(24))),
        "interval" => of(&["1 day", "02:00:00", "7 days", "1 mon", "00:00:30"], random),
        "json" | "jsonb" => of(
            &["{}", r#"{"a": 1}"#, r#"{"a": 2, "b": "red"}"#, "[1, 2]", r#"{"tags": ["red"]}"#, "[]", "{\"b\": null}"],
            random,
        ),
        "bytea" => of(
            &[
                "\\x00",
                "\\x0102",
                "\\x",
                "\\x0123456789abcdef0123456789abcdef",
                "\\x0123456789abcdef0123456789abcdef01234567",
            ],
            random,
        ),
        "inet" => of(&["10.0.0.1", "10.0.0.2", "192.168.1.0/24", "::1"], random),
        "cidr" => of(&["10.0.0.0/8", "192.168.1.0/24", "::/0"], random),
        "macaddr" => of(&["08:00:2b:01:02:03", "08:00:2b:01:02:04"], random),
        "macaddr8" => of(&["08:00:2b:01:02:03:04:05", "08:00:2b:01:02:03:04:06"], random),
        "bit" | "varbit" => {
            let most = length(declared).unwrap_or(if declared == "bit" { 1 } else { 4 });
            Some((0..most.min(64)).map(|_| if random.is(50) { '1' } else { '0' }).collect())
        }
        "tsvector" => of(&["'red':1", "'blue':1 'red':2", ""], random),
        "tsquery" => of(&["'red'", "'red' & 'blue'"], random),
        "point" => of(&["(1,2)", "(0,0)", "(13.4,52.5)"], random),
        "box" => of(&["(2,2),(1,1)", "(1,1),(0,0)"], random),
        "circle" => of(&["<(1,1),2>", "<(0,0),1>"], random),
        "line" => some("{1,2,3}"),
        "lseg" => of(&["[(1,1),(2,2)]", "[(0,0),(1,1)]"], random),
        "path" => some("((1,1),(2,2))"),
        "polygon" => of(&["((1,1),(2,2),(2,1))", "((0,0),(1,1),(1,0))"], random),
        "xml" => of(&["<a/>", "<b>red</b>"], random),
        "hstore" => of(&["a=>1", "a=>2, b=>red", ""], random),
        "ltree" => of(&["top", "top.a", "top.a.b", "top.b"], random),
        "cube" => of(&["(1, 2)", "(1, 3)"], random),
        "isbn" | "isbn13" => some("978-0-393-04002-9"),
        "pg_lsn" => of(&["0/1", "0/2"], random),
        "regclass" => some("pg_class"),
        "regtype" => of(&["integer", "text"], random),
        "regproc" => some("now"),
        "vector" => {
            let count = length(declared).unwrap_or(3);
            Some(format!("[{}]", (0..count).map(|_| random.below(5).to_string()).collect::<Vec<_>>().join(",")))
        }
        _ => None,
    }
}

pub fn uuid(many: usize, random: &mut Random) -> String {
    format!("00000000-0000-4000-8000-{:012}", random.below(many) + 1)
}

fn number(constants: &Constants, random: &mut Random) -> String {
    if random.is(20) {
        if let Some(constant) = random.pick(&constants.numbers) {
            return constant.clone();
        }
    }
    match random.below(12) {
        0 => random.below(1000).to_string(),
        1 => random.below(2).to_string(),
        _ => random.number(12),
    }
}

/// A constant, or its neighbour: what is below a bound, at it and above it.
fn whole(constants: &Constants, random: &mut Random) -> String {
    let text = number(constants, random);
    match text.parse::<i64>() {
        Ok(number) if random.is(20) => (number + random.below(3) as i64 - 1).max(0).to_string(),
        Ok(_) => text,
        Err(_) => random.number(12),
    }
}

fn word(declared: &str, constants: &Constants, random: &mut Random) -> String {
    let text = match random.pick(&constants.texts) {
        Some(constant) if random.is(50) => {
            pattern::text(constant, random).filter(|_| is_pattern(constant)).unwrap_or_else(|| constant.clone())
        }
        _ if random.is(70) => WORDS[random.below(COMMON)].to_owned(),
        _ if random.is(40) => format!("w{}", random.below(90)),
        _ => WORDS[random.below(WORDS.len())].to_owned(),
    };
    match length(declared) {
        Some(most) => text.chars().take(most).collect(),
        None => text,
    }
}

fn is_pattern(text: &str) -> bool {
    text.starts_with('^') || text.ends_with('$')
}

/// Of `character varying(20)`.
fn length(declared: &str) -> Option<usize> {
    let (_, rest) = declared.split_once('(')?;
    rest.split([')', ',']).next()?.parse().ok()
}

fn day(constants: &Constants, random: &mut Random) -> String {
    let is_date = |text: &&String| {
        text.len() >= 10
            && text.as_bytes()[4] == b'-'
            && text.as_bytes()[7] == b'-'
            && text.as_bytes()[0].is_ascii_digit()
    };
    let dates: Vec<&String> = constants.texts.iter().filter(is_date).collect();
    if let (true, Some(constant)) = (random.is(40), random.pick(&dates)) {
        return constant.chars().take(10).collect();
    }
    ["2020-02-29", "2024-12-31", "2025-06-01", "2030-01-01", "2035-07-15"][random.below(5)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_as_long_as_the_column_takes() {
        let mut random = Random::new(1);
        let constants = Constants { texts: vec!["0123456789".to_owned()], numbers: Vec::new() };
        for _ in 0..200 {
            assert!(word("character varying(2)", &constants, &mut random).len() <= 2);
        }
        assert_eq!(length("numeric(10,2)"), Some(10));
        assert_eq!(length("text"), None);
    }

    #[test]
    fn constants_are_those_of_code() {
        let mut constants = Constants::default();
        constants.add(&super::super::sql::tokens("CHECK (state IN ('it''s', 'b') AND n < 10 -- 'no'\n)"));
        assert_eq!((constants.texts, constants.numbers), (vec!["it's".into(), "b".into()], vec!["10".into()]));
    }
}

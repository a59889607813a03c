//! Literals of dates and times that mean the moment at which they are read: `'now'`, `'today'`. Postgres reads a literal once, when a
//! statement is prepared, so that the tree has the date and not the word.

use std::collections::BTreeSet;

use super::tree::{Node, Value};

/// date, time, timestamp, timestamptz, timetz; their arrays; tsrange, tstzrange, daterange and their multiranges.
const OF_TIME: [u32; 16] =
    [1082, 1083, 1114, 1184, 1266, 1182, 1183, 1115, 1185, 1270, 3908, 3910, 3912, 4533, 4534, 4535];

const WORDS: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];

/// Such literals, as `sql` writes them; `statement` is its tree.
pub fn moments(statement: &Node, sql: &str) -> BTreeSet<Box<str>> {
    let mut found = BTreeSet::new();
    of_node(statement, sql, &mut found);
    found
}

fn of_node(node: &Node, sql: &str, found: &mut BTreeSet<Box<str>>) {
    let is_of_time = || node.number("consttype").is_some_and(|oid: u32| OF_TIME.contains(&oid));
    if &*node.kind == "CONST" && is_of_time() {
        // A view's own literal was read when the view was made, and stands in another text.
        let literal = node.number("location").and_then(|at: usize| literal(sql.get(at..)?));
        found.extend(literal.filter(|literal| means_a_moment(literal)).map(Into::into));
    }
    node.values().for_each(|(_, value)| of_value(value, sql, found));
}

fn of_value(value: &Value, sql: &str, found: &mut BTreeSet<Box<str>>) {
    match value {
        Value::Node(node) => of_node(node, sql, found),
        Value::List(values) => values.iter().for_each(|value| of_value(value, sql, found)),
        _ => {}
    }
}

/// The literal that a text begins with.
fn literal(text: &str) -> Option<&str> {
    let inner = text.strip_prefix(['e', 'E']).unwrap_or(text).strip_prefix('\'')?;
    let end = text.len() - inner.len() + inner.find('\'')? + 1;
    Some(&text[..end])
}

fn means_a_moment(literal: &str) -> bool {
    let mut words = literal.split(|c: char| !c.is_ascii_alphabetic());
    words.any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::super::tree::read;
    use super::*;

    #[test]
    fn words_that_mean_the_time_at_which_they_are_read() {
        let found = |sql: &str, ty: u32| {
            let at = sql.find(['\'', 'E']).unwrap_or(0);
            let tree = format!("{{QUERY :jointree {{FROMEXPR :quals ({{CONST :consttype {ty} :location {at}}})}}}}");
            moments(&read(&tree).unwrap()[0], sql).into_iter().next().map(String::from)
        };
        for (sql, ty, expected) in [
            ("at > 'now'", 1184, Some("'now'")),
            ("at > ' Today 12:00'", 1114, Some("' Today 12:00'")),
            ("at > E'tomorrow'", 1082, Some("E'tomorrow'")),
            ("at = ANY ('{yesterday,2020-01-01}')", 1182, Some("'{yesterday,2020-01-01}'")),
            ("at <@ '[today,]'", 3912, Some("'[today,]'")),
            // A text, and what is no word of them.
            ("at > 'now'", 25, None),
            ("at > 'epoch'", 1184, None),
            ("at > '2020-01-01 nowhere'", 1184, None),
            ("at > $1", 1184, None),
            ("at > 'now", 1184, None),
        ] {
            assert_eq!(found(sql, ty).as_deref(), expected, "{sql}");
        }
    }

    #[test]
    fn a_place_beyond_the_text_says_nothing() {
        let tree = read("{A :b {CONST :consttype 1184 :location 99}}").unwrap().remove(0);
        assert!(moments(&tree, "'now'").is_empty());
    }
}

//! Names that are legal, read like those of the database, and are each of one thing alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::calls::names::section_name_of;
use crate::core::sql::spelling::as_needed;

/// Bytes of a name, after which Postgres cuts it.
const LONG: usize = 63;

/// Names that are given already.
#[derive(Default)]
pub(super) struct Taken {
    given: BTreeSet<String>,
    /// The last number behind each name that was wanted again: those below it are given.
    numbers: BTreeMap<String, usize>,
}

impl Taken {
    pub fn of<const N: usize>(names: [&str; N]) -> Taken {
        Taken { given: names.into_iter().map(str::to_owned).collect(), numbers: BTreeMap::new() }
    }

    pub fn has(&self, name: &str) -> bool {
        self.given.contains(name)
    }

    /// The name, or one like it, which is given from now on.
    pub fn give(&mut self, name: &str) -> String {
        let name = cut(name, LONG);
        if self.given.insert(name.to_owned()) {
            return name.to_owned();
        }
        let number = self.numbers.entry(name.to_owned()).or_insert(1);
        loop {
            *number += 1;
            let given = format!("{}_{number}", cut(name, LONG - 6));
            if self.given.insert(given.clone()) {
                return given;
            }
        }
    }
}

fn cut(name: &str, most: usize) -> &str {
    let end = (0..=most.min(name.len())).rev().find(|at| name.is_char_boundary(*at)).unwrap_or_default();
    &name[..end]
}

/// A section's name that reads like a table's.
pub(super) fn section(name: &str) -> String {
    match name.chars().any(|c| c.is_ascii_alphanumeric()) {
        true => section_name_of(name),
        // Of nothing that is legal.
        false => "table_rows".to_owned(),
    }
}

/// The name of a column of a result that reads like this one: those that begin with `_` say something of the result.
pub(super) fn shown(name: &str) -> &str {
    match name.trim_start_matches('_') {
        "" => "value",
        bare => bare,
    }
}

/// An argument's, or a field's, name that reads like a column's. `reserved`: names with a meaning of their own.
pub(super) fn argument(column: &str, reserved: &[&str]) -> String {
    let mut name: String = column.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if !name.contains(|c: char| c.is_ascii_alphanumeric()) {
        name = "value".to_owned();
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name.truncate(LONG - 7);
    if reserved.contains(&&*name) {
        name.push_str("_value");
    }
    name
}

/// A literal word of a call that reads like a column's name, without the `_id` at its end; none that a number or a uuid may be.
pub(super) fn word(column: &str) -> String {
    let name = section(column);
    let short = name.strip_suffix("_id").filter(|short| !short.is_empty()).unwrap_or(&name);
    let word = short.trim_matches('_');
    let is_value = word.starts_with(|c: char| c.is_ascii_digit())
        || (word.len() >= 32 && word.bytes().all(|b| b.is_ascii_hexdigit()));
    if is_value {
        format!("by_{word}")
    } else {
        word.to_owned()
    }
}

/// The alias of a table, such as `oi` of `order_item`.
pub(super) fn alias(name: &str) -> String {
    let words = section(name);
    let initials = words.split('_').filter_map(|word| word.chars().find(char::is_ascii_alphabetic));
    let initials: String = initials.take(4).collect();
    match initials.is_empty() || as_needed(&initials) != initials {
        true => format!("{initials}t"),
        false => initials,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calls::names::check_section_name;

    #[test]
    fn names_read_like_those_of_the_database() {
        for (name, expected) in [
            ("order_item", "oi"),
            ("Order", "o"),
            ("as_", "a"),
            ("order_report", "ort"),
            ("_1_2", "t"),
            ("日本", "tr"),
            ("2fa", "f"),
        ] {
            assert_eq!(alias(name), expected, "{name}");
        }
        for (name, expected) in [
            ("category_id", "category"),
            ("id", "id"),
            ("_id", "id"),
            ("createdBy", "created_by"),
            ("tag_id", "tag"),
            ("1_id", "by_1"),
            ("deadbeefdeadbeefdeadbeefdeadbeef", "by_deadbeefdeadbeefdeadbeefdeadbeef"),
        ] {
            assert_eq!(word(name), expected, "{name}");
        }
        for (name, expected) in [
            ("category_id", "category_id"),
            ("data", "data_value"),
            ("größe", "gr__e"),
            ("日本", "value"),
            ("1st", "_1st"),
            ("a b", "a_b"),
        ] {
            assert_eq!(argument(name, &["data"]), expected, "{name}");
        }
        for (name, expected) in [("id", "id"), ("_id", "id"), ("__x_", "x_"), ("__", "value"), ("", "value")] {
            assert_eq!(shown(name), expected, "{name}");
        }
        for name in ["日本", "queue", "x", "ΩΩ", "\"", "until"] {
            assert_eq!(check_section_name(&section(name)), Ok(()), "{name}");
        }
    }

    #[test]
    fn each_name_is_given_once() {
        let mut taken = Taken::of(["a"]);
        assert_eq!([taken.give("a"), taken.give("a"), taken.give("b")], ["a_2", "a_3", "b"]);
        let long = "x".repeat(64);
        assert_eq!((taken.give(&long).len(), taken.give(&long).len()), (63, 59));
    }
}

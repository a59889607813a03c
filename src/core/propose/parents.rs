//! What stands beside a table: the names of the rows that its rows refer to, and the tables that refer to it.

use super::choose::{Chosen, Table};
use super::facts::{Column, ForeignKey, Relation};
use super::names::{self, Taken};
use crate::core::sql::spelling::as_needed;

/// Names that are joined to a row.
const MAX_PARENTS: usize = 4;

/// What people call a row by, the best first.
const LABELS: [&str; 14] = [
    "name",
    "title",
    "display_name",
    "full_name",
    "username",
    "user_name",
    "login",
    "nickname",
    "label",
    "slug",
    "code",
    "key",
    "subject",
    "email",
];

const TEXT: [u32; 2] = [25, 1043];

/// The column that people call a row by; of a table that has none of the usual ones, a text that is unique.
fn label(relation: &Relation) -> Option<&Column> {
    let is_unique = |column: &Column| relation.keys.iter().any(|key| *key.columns == [column.number]);
    let is_text = |column: &&Column| TEXT.contains(&column.ty.base) && column.rights.select && !is_secret(&column.name);
    let rank = |column: &&Column| {
        let name = column.name.to_ascii_lowercase();
        let usual = LABELS.iter().position(|label| **label == *name);
        usual.or_else(|| is_unique(column).then_some(LABELS.len())).map(|rank| (rank, column.number))
    };
    let texts = relation.columns.iter().filter(is_text);
    texts.filter(|column| rank(column).is_some()).min_by_key(rank)
}

/// Parts of names of what is nobody's to see.
const SECRETS: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "crypted",
    "salt",
    "api_key",
    "apikey",
    "private_key",
    "pass_crypt",
];

/// Looks the column as if it were better not shown?
pub(super) fn is_secret(column: &str) -> bool {
    let name = column.to_ascii_lowercase();
    SECRETS.iter().any(|part| name.contains(part))
}

/// A name that is joined.
pub(super) struct Joined {
    /// `LEFT JOIN category ON category.id = p.category_id`
    pub join: String,
    /// `category.name AS category_name`
    pub shown: String,
    pub name: String,
}

/// Names of what rows of the table refer to, as far as they have sections.
pub(super) fn joined(
    table: &Table<'_>,
    chosen: &Chosen<'_>,
    alias: &str,
    aliases: &mut Taken,
    shown: &mut Taken,
) -> Vec<Joined> {
    let mut joined = Vec::new();
    for key in &table.relation.foreign_keys {
        let (&[own], &[referenced]) = (&*key.columns, &*key.referenced) else { continue };
        let Some(parent) = chosen.table(key.relation) else { continue };
        let (Some(own), Some(referenced)) = (table.relation.column(own), parent.relation.column(referenced)) else {
            continue;
        };
        let is_keyed = matches!(&parent.key[..], [only] if only.number == referenced.number);
        let Some(label) = label(parent.relation).filter(|label| label.number != referenced.number) else { continue };
        if !is_keyed || !own.rights.select || joined.len() == MAX_PARENTS {
            continue;
        }
        let word = names::word(&own.name);
        let of = aliases.give(&alias_like(&word));
        let name = shown.give(&format!("{word}_{}", names::word(&label.name)));
        let kind = if own.not_null && key.holds { "JOIN" } else { "LEFT JOIN" };
        let (parent, id) = (parent.relation.sql_name(), as_needed(&referenced.name));
        let from = if parent == of { parent } else { format!("{parent} {of}") };
        joined.push(Joined {
            join: format!(
                "{kind} {from} ON {}",
                own.equal(&format!("{of}.{id}"), &format!("{alias}.{}", as_needed(&own.name)))
            ),
            shown: format!("{of}.{} AS {name}", as_needed(&label.name)),
            name,
        });
    }
    joined
}

/// A word that SQL takes for a name.
fn alias_like(word: &str) -> String {
    match as_needed(word) == word {
        true => word.to_owned(),
        false => format!("{word}_row"),
    }
}

/// A table that refers to another by its key.
pub(super) struct Child<'a> {
    pub table: &'a Table<'a>,
    pub key: &'a ForeignKey,
}

/// Those that refer to the table's key, in the order of their sections.
pub(super) fn children<'a>(table: &Table<'_>, chosen: &'a Chosen<'a>) -> Vec<Child<'a>> {
    let mut own: Vec<i16> = table.key.iter().map(|column| column.number).collect();
    own.sort_unstable();
    let refers = |key: &ForeignKey| {
        let mut referenced = key.referenced.to_vec();
        referenced.sort_unstable();
        referenced == own
    };
    let referring = chosen.referring(table.relation.oid).filter(|(_, key)| refers(key));
    referring.map(|(table, key)| Child { table, key }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for (name, expected) in [
            ("encrypted_password", true),
            ("otp_secret", true),
            ("pass_crypt", true),
            ("name", false),
            ("passport", false),
        ] {
            assert_eq!(is_secret(name), expected, "{name}");
        }
    }
}

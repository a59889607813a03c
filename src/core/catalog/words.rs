//! The names that a section's SQL may mean: of relations, functions and types, in whatever schema.
//!
//! Invariant: a name that Postgres finds in the SQL is among them. Many are none: keywords, columns, words in literals;
//! who looks them up finds nothing by them, or something too much.

use std::collections::BTreeSet;

use super::sections::{Section, TableRows};

/// Of all statements that read for the section, and of the tables that it maps.
pub fn words_of(section: &Section) -> BTreeSet<Box<str>> {
    let mut words = BTreeSet::new();
    for query in &section.queries {
        query.plan().into_iter().for_each(|plan| add_words(&plan.sql, &mut words));
    }
    if let Some(row) = &section.row {
        add_words(&row.text, &mut words);
    }
    for table in &section.tables {
        add_words(&table.name, &mut words);
        if let TableRows::Select(template) = &table.rows {
            add_words(&template.text, &mut words);
        }
    }
    words
}

fn add_words(sql: &str, words: &mut BTreeSet<Box<str>>) {
    // As bytes above ASCII Postgres takes letters of any kind, and folds none.
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
    for word in sql.split(|c| !is_part(c)).filter(|word| !word.is_empty()) {
        words.insert(word.to_ascii_lowercase().into());
        // Between quotes, as it may be anywhere in a literal.
        words.insert(word.into());
    }
    add_quoted(sql, words);
}

/// What stands between any two quotes may be a name with blanks and dots in it.
fn add_quoted(sql: &str, words: &mut BTreeSet<Box<str>>) {
    let quotes: Vec<usize> = sql.bytes().enumerate().filter(|(_, byte)| *byte == b'"').map(|(at, _)| at).collect();
    for pair in quotes.windows(2) {
        let name = &sql[pair[0] + 1..pair[1]];
        // Longer ones are cut by Postgres, at 63 bytes.
        if !name.is_empty() && name.len() <= 255 {
            words.insert(name.into());
        }
    }
    // Doubled quotes within a name.
    for (at, quoted) in sql.match_indices('"') {
        let rest = &sql[at + quoted.len()..];
        if let Some(name) = doubled(rest) {
            words.insert(name.into());
        }
    }
}

/// The name that goes on to its quote, where it has doubled ones.
fn doubled(rest: &str) -> Option<String> {
    let mut name = String::new();
    let mut chars = rest.chars().peekable();
    let mut has_doubled = false;
    while let Some(c) = chars.next() {
        if name.len() > 255 {
            return None;
        }
        if c == '"' {
            if chars.next_if_eq(&'"').is_none() {
                return has_doubled.then_some(name);
            }
            has_doubled = true;
        }
        name.push(c);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(sql: &str) -> BTreeSet<Box<str>> {
        let mut words = BTreeSet::new();
        add_words(sql, &mut words);
        words
    }

    #[test]
    fn every_name_is_found_however_it_is_written() {
        let sql = r#"SELECT App.F(b.x), "Gr ö.ß", "q""q" FROM "My Table" b, straße$1 WHERE b.y = 'app.lit'::regclass AND c=tail"#;
        let words = words(sql);
        for name in ["app", "f", "b", "x", "Gr ö.ß", "q\"q", "My Table", "straße$1", "lit", "regclass", "tail"] {
            assert!(words.contains(name), "{name}");
        }
        assert!(!words.contains(""));
    }

    #[test]
    fn quotes_that_do_not_end_are_no_names() {
        for sql in ["\"", "\"\"", "\"a", "\"a\"\"", "'\"' x \"y\""] {
            words(sql);
        }
        assert!(words("'\"' || \"y z\"").contains("y z"));
    }
}

//! Reads keys of TOML tables and collects what is wrong with them, each problem with its place in the file.

use toml::{Table, Value};

use super::sections::CatalogError;

/// The problems found so far, and where in the catalog the reading stands.
#[derive(Default)]
pub(in crate::core) struct Report {
    at: Vec<String>,
    problems: Vec<String>,
}

impl Report {
    pub fn problem(&mut self, reason: impl std::fmt::Display) {
        let at = self.at.join(", ");
        self.problems.push(if at.is_empty() { reason.to_string() } else { format!("{at}: {reason}") });
    }

    /// Problems that `read` finds are in `place`.
    pub fn within<T>(&mut self, place: String, read: impl FnOnce(&mut Report) -> T) -> T {
        self.at.push(place);
        let out = read(self);
        self.at.pop();
        out
    }

    /// The value, or a problem, to which `key` is put in front.
    pub fn keep<T, E: std::fmt::Display>(&mut self, key: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.problem(format!("{key}: {error}"))).ok()
    }

    pub fn finish(self) -> Result<(), CatalogError> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(CatalogError { problems: self.problems })
        }
    }
}

/// A table whose keys are known.
#[derive(Clone, Copy)]
pub(in crate::core) struct Fields<'a>(&'a Table);

impl<'a> Fields<'a> {
    /// Reports keys that are not among the known ones.
    pub fn new(table: &'a Table, known: &[&str], report: &mut Report) -> Fields<'a> {
        for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
            report.problem(format!("unknown key '{key}'; the keys are {}", known.join(", ")));
        }
        Fields(table)
    }

    pub fn has(self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Whether the key holds this very string.
    pub fn is_string(self, key: &str, text: &str) -> bool {
        self.0.get(key).and_then(Value::as_str) == Some(text)
    }

    pub fn string(self, key: &str, report: &mut Report) -> Option<&'a str> {
        self.typed(key, "a string", Value::as_str, report)
    }

    pub fn boolean(self, key: &str, report: &mut Report) -> Option<bool> {
        self.typed(key, "true or false", Value::as_bool, report)
    }

    /// A whole number within bounds.
    pub fn integer(self, key: &str, (least, most): (u64, u64), report: &mut Report) -> Option<u64> {
        let read = |value: &Value| u64::try_from(value.as_integer()?).ok().filter(|n| (least..=most).contains(n));
        self.typed(key, &format!("a whole number from {least} to {most}"), read, report)
    }

    pub fn table(self, key: &str, report: &mut Report) -> Option<&'a Table> {
        self.typed(key, "a table", Value::as_table, report)
    }

    pub fn strings(self, key: &str, report: &mut Report) -> Option<Vec<&'a str>> {
        self.typed(key, "an array of strings", |value| value.as_array()?.iter().map(Value::as_str).collect(), report)
    }

    /// A table of strings, by key.
    pub fn string_table(self, key: &str, report: &mut Report) -> Option<Vec<(&'a str, &'a str)>> {
        let read = |value: &'a Value| value.as_table()?.iter().map(|(k, v)| Some((k.as_str(), v.as_str()?))).collect();
        self.typed(key, "a table of strings", read, report)
    }

    pub fn tables(self, key: &str, report: &mut Report) -> Option<Vec<&'a Table>> {
        self.typed(key, "an array of tables", |value| value.as_array()?.iter().map(Value::as_table).collect(), report)
    }

    /// A value that `read` takes; `expected` says in a message what that is.
    pub fn typed<T>(
        self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
        report: &mut Report,
    ) -> Option<T> {
        let value = self.0.get(key)?;
        let read = read(value);
        if read.is_none() {
            let found = match value {
                Value::Array(_) | Value::Table(_) => value.type_str().to_owned(),
                // Not the text: the file may be anything that somebody has named.
                Value::String(_) => "a string".to_owned(),
                scalar => scalar.to_string(),
            };
            report.problem(format!("{key} must be {expected}, got {found}"));
        }
        read
    }
}

//! The fields of INFO.

use std::collections::BTreeMap;

#[derive(Debug, Clone)]
pub struct Info(BTreeMap<String, String>);

impl Info {
    pub fn parse(text: &str) -> Info {
        let fields = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.trim_end().split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Info(fields)
    }

    #[track_caller]
    pub fn text(&self, name: &str) -> &str {
        match self.get(name) {
            Some(value) => value,
            None => panic!("INFO has no field {name}; it has {:?}", self.0.keys()),
        }
    }

    #[track_caller]
    pub fn int(&self, name: &str) -> i64 {
        let value = self.text(name);
        value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}, not an integer"))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

//! A database of plain strings and sets, rebuilt from what was written to the AOF or sent to replicas.
//!
//! Replayed unit by unit, it is every state that a reader, a replica or a Redis loading a cut AOF can ever see.

use std::collections::{BTreeMap, BTreeSet};

use super::aof::{Command, Unit};

#[derive(Debug, Default, Clone, PartialEq)]
pub struct KeyspaceModel {
    pub strings: BTreeMap<String, Vec<u8>>,
    pub sets: BTreeMap<String, BTreeSet<String>>,
}

impl KeyspaceModel {
    /// Takes in one unit. Commands that it does not know fail the test: a rule must not be checked on half the truth.
    #[track_caller]
    pub fn apply(&mut self, unit: &Unit) {
        unit.iter().for_each(|command| self.apply_one(command));
    }

    #[track_caller]
    fn apply_one(&mut self, command: &Command) {
        let texts = |from: usize| (from..command.0.len()).map(|index| command.text(index));
        let key = command.text(1);
        if key == "bear.module:sections" || key == "bear.module:foreign" {
            // What the module keeps beside the sections' keys.
            return;
        }
        match command.name().as_str() {
            "SET" => {
                self.sets.remove(&key);
                self.strings.insert(key, command.0[2].clone());
            }
            "SADD" => {
                assert!(!self.strings.contains_key(&key), "{command:?} of a string");
                self.sets.entry(key).or_default().extend(texts(2));
            }
            "SREM" => {
                if let Some(set) = self.sets.get_mut(&key) {
                    texts(2).for_each(|member| {
                        set.remove(&member);
                    });
                    if set.is_empty() {
                        self.sets.remove(&key);
                    }
                }
            }
            "DEL" | "UNLINK" => texts(1).for_each(|key| {
                self.strings.remove(&key);
                self.sets.remove(&key);
            }),
            "FLUSHALL" | "FLUSHDB" => *self = KeyspaceModel::default(),
            "PEXPIREAT" | "PEXPIRE" | "EXPIRE" | "EXPIREAT" => {}
            _ => panic!("the model does not know {command:?}"),
        }
    }

    /// Entries of one section: strings under its prefix.
    pub fn entries<'a>(&'a self, section: &str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let prefix = format!("{section}:");
        self.strings
            .iter()
            .filter(move |(key, _)| key.starts_with(&prefix))
            .map(|(key, value)| (key.as_str(), value.as_slice()))
    }

    /// Each entry must be a member of the sets that `metadata_of` says.
    #[track_caller]
    pub fn assert_entries_have_metadata(&self, section: &str, metadata_of: impl Fn(&str, &[u8]) -> Vec<String>) {
        for (key, value) in self.entries(section) {
            for set in metadata_of(key, value) {
                assert!(
                    self.sets.get(&set).is_some_and(|members| members.contains(key)),
                    "{key} stands without being in {set}, which has {:?}",
                    self.sets.get(&set)
                );
            }
        }
    }

    /// Each member of a metadata set must be an entry, and that entry must belong to the set.
    #[track_caller]
    pub fn assert_metadata_is_swept(&self, section: &str, metadata_of: impl Fn(&str, &[u8]) -> Vec<String>) {
        let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (key, value) in self.entries(section) {
            for set in metadata_of(key, value) {
                expected.entry(set).or_default().insert(key.to_owned());
            }
        }
        assert_eq!(self.sets, expected);
    }
}

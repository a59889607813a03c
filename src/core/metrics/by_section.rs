//! What is counted as jobs of any space come and go: of all together, and of each section.

use std::collections::BTreeMap;

use crate::core::calls::names;

/// A section has its place from its first job on, and keeps it; so nothing is allocated afterwards.
#[derive(Debug, Default)]
pub struct BySection<T> {
    pub all: T,
    sections: BTreeMap<Box<str>, T>,
}

impl<T: Default> BySection<T> {
    /// Counts something of a space.
    pub fn count(&mut self, space: &str, count: impl Fn(&mut T)) {
        count(&mut self.all);
        let section = names::section_of(space);
        match self.sections.get_mut(section) {
            Some(of) => count(of),
            None => count(self.sections.entry(section.into()).or_default()),
        }
    }

    pub fn of(&self, section: &str) -> Option<&T> {
        self.sections.get(section)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_count_in_their_section() {
        let mut counts = BySection::<u32>::default();
        for space in ["bear", "{a}:note", "{b}:note", "{strange"] {
            counts.count(space, |count| *count += 1);
        }
        assert_eq!([counts.of("bear"), counts.of("note"), counts.of("{a}:note")], [Some(&1), Some(&2), None]);
        assert_eq!(counts.all, 4);
    }
}

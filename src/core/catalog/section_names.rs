//! Names of a catalog's sections, found by name and within SQL, in a time that does not grow with their number.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;

/// Sections that a message names.
const LISTED: usize = 20;

pub(in crate::core) struct SectionNames {
    names: Arc<[Box<str>]>,
    by_name: FxHashMap<Box<str>, usize>,
    /// How long names are: each length once.
    lengths: BTreeSet<usize>,
}

impl SectionNames {
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> SectionNames {
        let names: Arc<[Box<str>]> = names.map(Box::from).collect();
        let by_name = names.iter().enumerate().map(|(index, name)| (name.clone(), index)).collect();
        SectionNames { by_name, lengths: names.iter().map(|name| name.len()).collect(), names }
    }

    /// In the order of the catalog.
    pub fn all(&self) -> Arc<[Box<str>]> {
        self.names.clone()
    }

    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// For a message.
    pub fn listed(&self) -> String {
        let mut listed: Vec<&str> = self.names.iter().take(LISTED).map(AsRef::as_ref).collect();
        if self.names.len() > LISTED {
            listed.push("…");
        }
        listed.join(", ")
    }

    /// Adds the sections whose name stands behind an underscore: a column `_<section>` lists rows of them. What only looks
    /// like one, `_bear` in `old_bears`, is found, too.
    pub fn find_columns(&self, sql: &str, found: &mut BTreeSet<usize>) {
        for (at, _) in sql.match_indices('_') {
            let rest = &sql[at + 1..];
            let named = self.lengths.iter().filter_map(|length| self.by_name.get(rest.get(..*length)?));
            found.extend(named);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_as_a_search_for_each_name_finds_them() {
        let names = ["bear", "bears", "b", "color", "old_color", "x1"];
        let of = SectionNames::new(names.into_iter());
        for sql in [
            "SELECT 1 AS _bears, _b",
            "SELECT array_agg(id) AS _old_color",
            "SELECT \"_x1\", _, __b FROM bear",
            "SELECT 'é_ö' AS _colo",
            "_",
            "",
        ] {
            let mut found = BTreeSet::new();
            of.find_columns(sql, &mut found);
            let expected: Vec<usize> = (0..names.len()).filter(|i| sql.contains(&format!("_{}", names[*i]))).collect();
            assert_eq!(found.into_iter().collect::<Vec<_>>(), expected, "{sql}");
        }
    }

    #[test]
    fn a_message_names_some() {
        let names: Vec<String> = (0..21).map(|i| format!("s{i}")).collect();
        let all = SectionNames::new(names.iter().map(String::as_str));
        assert!(all.listed().ends_with("s19, …"), "{}", all.listed());
        assert_eq!((all.index_of("s7"), all.index_of("s77")), (Some(7), None));
        assert_eq!(SectionNames::new(["bear", "color"].into_iter()).listed(), "bear, color");
    }
}

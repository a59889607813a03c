//! Reads a section's `limit`, of which there are two kinds: limits of claimed jobs, and limits with a name, which BEAR.LIMIT asks.
//!
//! What has a name is a table within the table `limit`, `[api.limit.search]`, or, where `limit` is an array, an element that says
//! `name`. All else is about claimed jobs. So the two stand side by side in any spelling, and none is taken for the other.

use toml::{Table, Value};

use super::claim::Rate;
use super::limit::{check_name, is_reserved, NamedLimit};
use super::toml_reader::{Fields, Report};
use crate::core::limits::quota::{Quota, MAX_BURST};

const NAMED_KEYS: [&str; 2] = ["burst", "rate"];

/// What stands under `limit`.
#[derive(Debug, Default)]
pub(in crate::core) struct Parts {
    /// Of claimed jobs.
    pub claimed: Vec<Table>,
    named: Vec<(String, Table)>,
}

impl Parts {
    pub fn read(fields: Fields<'_>, report: &mut Report) -> Parts {
        let mut parts = Parts::default();
        let read = |value: &Value| match value {
            Value::Table(table) => {
                parts.add_table(table);
                Some(())
            }
            Value::Array(elements) => elements.iter().try_for_each(|element| parts.add_element(element.as_table()?)),
            _ => None,
        };
        if fields.typed("limit", "a table or an array of tables", read, report).is_none() {
            return Parts::default();
        }
        parts
    }

    fn add_table(&mut self, table: &Table) {
        // What is said of claimed jobs is no table: one under such a key is a mistake that is theirs to tell.
        let is_named = |(key, value): &(&String, &Value)| value.is_table() && !is_reserved(key);
        let named =
            table.iter().filter(is_named).filter_map(|(key, value)| Some((key.clone(), value.as_table()?.clone())));
        self.named.extend(named);
        let rest: Table =
            table.iter().filter(|pair| !is_named(pair)).map(|(key, value)| (key.clone(), value.clone())).collect();
        if !rest.is_empty() || table.is_empty() {
            self.claimed.push(rest);
        }
    }

    /// None: its name is no string.
    fn add_element(&mut self, table: &Table) -> Option<()> {
        let Some(name) = table.get("name") else {
            self.claimed.push(table.clone());
            return Some(());
        };
        let mut table = table.clone();
        table.remove("name");
        self.named.push((name.as_str()?.to_owned(), table));
        Some(())
    }

    /// Those with a name, by name.
    pub fn named(&self, report: &mut Report) -> Vec<NamedLimit> {
        let mut limits: Vec<NamedLimit> = Vec::new();
        for (name, table) in &self.named {
            report.within(format!("limit '{name}'"), |report| {
                if report.keep("its name", check_name(name)).is_none() {
                    return;
                }
                if limits.iter().any(|limit| *limit.name == **name) {
                    report.problem("there are two of this name");
                }
                limits.extend(read_named(name, table, report));
            });
        }
        limits.sort_by(|one, other| one.name.cmp(&other.name));
        limits
    }
}

fn read_named(name: &str, table: &Table, report: &mut Report) -> Option<NamedLimit> {
    let fields = Fields::new(table, &NAMED_KEYS, report);
    for key in ["by", "concurrency"] {
        if fields.has(key) {
            report.problem(format!("{key} is of claimed jobs, whose limit has no name: [section.limit]"));
        }
    }
    for (key, such_as) in [("burst", "burst = 20"), ("rate", "rate = \"100/m\"")] {
        if !fields.has(key) {
            report.problem(format!("{key} is missing, such as {such_as}"));
        }
    }
    let burst = fields.integer("burst", (0, MAX_BURST), report);
    let rate = fields.string("rate", report).and_then(|text| report.keep("rate", Rate::parse(text)));
    let (burst, rate) = (burst?, rate?);
    let quota = report.keep("burst", Quota::new(burst, rate.count.into(), rate.per_ms))?;
    Some(NamedLimit { name: name.into(), burst, rate, quota })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::read_catalog;
    use crate::core::catalog::sections::Catalog;

    fn load(text: &str) -> Result<Catalog, String> {
        read_catalog::parse(text, &mut || 1).map_err(|error| error.to_string())
    }

    /// `search 20 100/m`, and whether there are limits of claimed jobs.
    fn shown(text: &str) -> (Vec<String>, bool) {
        let catalog = load(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let section = &catalog.sections[0];
        let of = |limit: &NamedLimit| format!("{} {} {}", limit.name, limit.burst, limit.rate);
        (section.named_limits.iter().map(of).collect(), section.limits != Default::default())
    }

    const SEARCH: &str = "burst = 20\nrate = \"100/m\"";

    #[test]
    fn limits_with_a_name_stand_beside_those_of_claimed_jobs() {
        let search = vec!["search 20 100/m".to_owned()];
        for (text, expected) in [
            (format!("[api.limit.search]\n{SEARCH}"), (search.clone(), false)),
            (format!("[api]\nopen = true\n[api.limit.search]\n{SEARCH}"), (search.clone(), false)),
            (
                format!("[api]\nopen = true\n[api.limit]\nconcurrency = 5\n[api.limit.search]\n{SEARCH}"),
                (search.clone(), true),
            ),
            (
                format!(
                    "[api]\nopen = true\n[[api.limit]]\nconcurrency = 5\n[[api.limit]]\nname = \"search\"\n{SEARCH}"
                ),
                (search, true),
            ),
            (
                format!("[api.limit.b]\n{SEARCH}\n[api.limit.a-1]\nburst = 0\nrate = \"1/s\"\n[api.limit.A]\n{SEARCH}"),
                (vec!["A 20 100/m".into(), "a-1 0 1/s".into(), "b 20 100/m".into()], false),
            ),
            ("[api]\nopen = true\n[api.limit]\nrate = \"1/s\"".into(), (vec![], true)),
            ("[api]".into(), (vec![], false)),
        ] {
            assert_eq!(shown(&text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_limit_is_said() {
        for (text, reason) in [
            ("[api.limit.search]", "section 'api', limit 'search': burst is missing, such as burst = 20"),
            ("[api.limit.search]\nburst = 1", "limit 'search': rate is missing, such as rate = \"100/m\""),
            ("[api.limit.search]\nburst = -1\nrate = \"1/s\"", "limit 'search': burst must be a whole number from 0 to 1000000, got -1"),
            ("[api.limit.search]\nburst = 1\nrate = \"100\"", "limit 'search': rate: a rate is a whole number"),
            ("[api.limit.search]\nburst = 1000000\nrate = \"1/d\"", "limit 'search': burst: the limit would be whole again after more than 100 years"),
            ("[api.limit.search]\nburst = 1\nrate = \"1/s\"\nby = \"x\"", "by is of claimed jobs, whose limit has no name: [section.limit]"),
            ("[api.limit.search]\nburst = 1\nrate = \"1/s\"\nper = 1", "unknown key 'per'; the keys are burst, rate"),
            ("[api.limit.\"a b\"]\nburst = 1\nrate = \"1/s\"", "its name: a limit's name is letters, digits, _ and -"),
            ("[[api.limit]]\nname = \"rate\"\nburst = 1\nrate = \"1/s\"", "its name: a limit cannot be called by, concurrency, rate"),
            ("[[api.limit]]\nname = 7\nburst = 1\nrate = \"1/s\"", "limit must be a table or an array of tables"),
            ("[[api.limit]]\nname = \"a\"\nburst = 1\nrate = \"1/s\"\n[[api.limit]]\nname = \"a\"\nburst = 1\nrate = \"1/s\"", "limit 'a': there are two of this name"),
            // Who has forgotten the name.
            ("[api.limit]\nburst = 20\nrate = \"100/m\"", "one that BEAR.LIMIT asks has a name: [section.limit.NAME]"),
            ("[api]\nopen = true\n[api.limit]\nburst = 20\nrate = \"100/m\"", "burst is of a limit that BEAR.LIMIT asks, which has a name: [section.limit.NAME]"),
        ] {
            let error = load(text).expect_err(text);
            assert!(error.contains(reason), "{text}\n-> {error}");
        }
    }
}

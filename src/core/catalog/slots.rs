//! Which sections have their keys in one slot of a cluster, and which depend on each other over slots.
//!
//! ```text
//! section           space          slot of its keys is that of
//! bear              bear           bear
//! bear, of a group  {shop}:bear    shop
//! bear, per tenant  {7}:bear       7
//! ```
//! What drops an entry is done at the node that has the slot of what has changed: a job where its queue is, BEAR.INVALIDATE where its
//! space is. Invariant: in a cluster what is stored depends on rows of spaces in its own slot alone, and a job changes rows of such
//! alone. So sections that depend on each other are of one group, or the catalog is refused ([`check`]). What tenants' results take
//! from a section that they share is in no slot of theirs: such results are answered and not stored ([`elsewhere`]), and a job that
//! changes rows over there fails before it commits ([`share_slot`]).

use std::collections::BTreeSet;

use super::sections::{Query, Section};
use crate::core::sql::tokens::{spanned_tokens, Token};

/// Dependencies that an error names.
const NAMED: usize = 5;

/// Do the keys of both, of one tenant where they have tenants, lie in one slot?
pub fn share_slot(one: &Section, other: &Section) -> bool {
    match (one.tenant, other.tenant) {
        (Some(one), Some(other)) => one == other,
        (None, None) => tag(one) == tag(other),
        _ => false,
    }
}

/// The hash tag of a section without tenants.
fn tag(section: &Section) -> &str {
    section.group.as_deref().unwrap_or(&section.name)
}

/// The sections on whose rows the query's results depend and that are in another slot than they.
pub fn elsewhere<'a>(sections: &'a [Section], own: &Section, query: &Query) -> Vec<&'a str> {
    let named = depends_on(sections, query).into_iter().map(|at| &sections[at]);
    named.filter(|other| !share_slot(own, other)).map(|other| &*other.name).collect()
}

/// Sections whose rows a query's results list or depend on, as far as the file tells.
fn depends_on(sections: &[Section], query: &Query) -> BTreeSet<usize> {
    let mut found: BTreeSet<usize> = query.on.iter().map(|on| on.section).collect();
    let Some(plan) = query.plan() else { return found };
    let tokens = spanned_tokens(&plan.sql).unwrap_or_default();
    let columns = tokens.iter().filter_map(|(_, token)| token.as_name()?.strip_prefix('_'));
    let lists = plan.lists.iter().filter(|list| list.of_rows).map(|list| &*list.name);
    found.extend(of_names(sections, &columns.chain(lists).collect()));
    found
}

/// Sections that a job's statement names where it says of which section its rows are.
fn changed_by(sections: &[Section], sql: &str) -> BTreeSet<usize> {
    let tokens = spanned_tokens(sql).unwrap_or_default();
    if !tokens.iter().any(|(_, token)| token.as_name() == Some("section")) {
        return BTreeSet::new();
    }
    let literals = tokens.iter().filter(|(_, token)| *token == Token::Value).filter_map(|(span, _)| {
        let text = sql[span.clone()].trim_start_matches(['e', 'E']);
        text.strip_prefix('\'')?.strip_suffix('\'')
    });
    of_names(sections, &literals.collect()).collect()
}

fn of_names<'a>(sections: &'a [Section], names: &'a BTreeSet<&str>) -> impl Iterator<Item = usize> + 'a {
    let is_named = |section: &Section| names.contains(&*section.name);
    sections.iter().enumerate().filter(move |(_, section)| is_named(section)).map(|(at, _)| at)
}

/// A catalog for a cluster. The error says what depends on what, and which group would do.
pub fn check(sections: &[Section]) -> Result<(), String> {
    let mut crossings = Crossings { sections, found: Vec::new(), group_of: (0..sections.len()).collect() };
    for (at, section) in sections.iter().enumerate() {
        for query in &section.queries {
            for other in depends_on(sections, query) {
                // What depends on a shared section, of many slots, is not stored.
                if section.tenant.is_none() {
                    let what = || format!("'{}' of section '{}' depends on rows of", query.call.text(), section.name);
                    crossings.note(at, other, what);
                }
            }
        }
        for job in &section.jobs {
            for other in job.statements().flat_map(|sql| changed_by(sections, &sql.text)).collect::<BTreeSet<_>>() {
                let what = || format!("job {} of section '{}' changes rows of", job.name, section.name);
                crossings.note(at, other, what);
            }
        }
    }
    crossings.into_error()
}

struct Crossings<'a> {
    sections: &'a [Section],
    found: Vec<String>,
    /// The first of the sections that depend on each other, directly or not.
    group_of: Vec<usize>,
}

impl Crossings<'_> {
    fn note(&mut self, one: usize, other: usize, what: impl FnOnce() -> String) {
        let (of, to) = (&self.sections[one], &self.sections[other]);
        if of.tenant.is_none() && to.tenant.is_none() {
            let (first, second) = (self.group_of[one], self.group_of[other]);
            let (kept, gone) = (first.min(second), first.max(second));
            self.group_of.iter_mut().filter(|group| **group == gone).for_each(|group| *group = kept);
        }
        if !share_slot(of, to) {
            self.found.push(format!("{} '{}'", what(), to.name));
        }
    }

    fn into_error(self) -> Result<(), String> {
        if self.found.is_empty() {
            return Ok(());
        }
        let sections = self.sections;
        let mut remedies = Vec::new();
        for first in 0..sections.len() {
            let members: Vec<&Section> =
                (first..sections.len()).filter(|at| self.group_of[*at] == first).map(|at| &sections[at]).collect();
            if members.iter().any(|one| members.iter().any(|other| !share_slot(one, other))) {
                let names: Vec<&str> = members.iter().map(|section| &*section.name).collect();
                let group = members.iter().find_map(|section| section.group.as_deref()).unwrap_or(&members[0].name);
                remedies.push(format!("group = \"{group}\" in each of {} puts them into one slot", names.join(", ")));
            }
        }
        if remedies.is_empty() {
            // Of tenants and of a section that they share.
            remedies.push(
                "tenants have slots of their own: let such a job be one of the section without tenants".to_owned(),
            );
        }
        let mut found = self.found;
        let more = found.len().saturating_sub(NAMED);
        found.truncate(NAMED);
        if more > 0 {
            found.push(format!("{more} more"));
        }
        Err(format!(
            "in a cluster what depends on each other shares a slot: {}; {}",
            found.join(", "),
            remedies.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::{read_catalog, Catalog};

    fn catalog(text: &str) -> Catalog {
        read_catalog::parse(text, &mut || 0).unwrap()
    }

    const BEARS: &str = include_str!("../../../catalogs/bear.toml");

    #[test]
    fn the_bears_are_refused_with_the_group_that_would_do() {
        assert_eq!(
            check(&catalog(BEARS).sections).unwrap_err(),
            "in a cluster what depends on each other shares a slot: job DELETE_COLOR of section 'color' changes rows of 'bear'; \
             group = \"bear\" in each of bear, color puts them into one slot"
        );
        let with = |bear: &str, color: &str| {
            let text = BEARS.replace("[bear]\n", &format!("[bear]\n{bear}\n"));
            check(&catalog(&text.replace("[color]\n", &format!("[color]\n{color}\n"))).sections)
        };
        assert_eq!(with("group = \"bear\"", "group = \"bear\""), Ok(()));
        assert_eq!(with("group = \"zoo\"", "group = \"zoo\""), Ok(()));
        let refused = with("", "group = \"zoo\"").unwrap_err();
        assert!(refused.ends_with("group = \"zoo\" in each of bear, color puts them into one slot"), "{refused}");
        assert!(with("group = \"a\"", "group = \"b\"").is_err());
    }

    #[test]
    fn what_depends_on_each_other_is_found() {
        let query = |rest: &str| {
            format!(
                "[a]\nid = \"int\"\n[b]\nid = \"int\"\n[a_b]\n[c]\nid = \"int\"\n[[c.query]]\ncall = \"all\"\n{rest}"
            )
        };
        let job = |sql: &str| format!("[a]\n[b]\n[b.job.X]\ndata = {{ id = \"int\" }}\nsql = \"{sql}\"");
        for (text, found) in [
            (query("rows = false\nsql = \"SELECT 1 AS id\""), None),
            (query("rows = false\nsql = \"SELECT 1 AS id\"\non = { b = \"*\" }"), Some("b, c")),
            (query("sql = \"SELECT 1 AS id, 2 AS _a\""), Some("a, c")),
            (query("sql = 'SELECT 1 AS id, 2 AS \"_a\"'"), Some("a, c")),
            (query("sql = \"SELECT 1 AS id, b.a_b, '_a' FROM old_b b -- _a\""), None),
            (query("sql = \"SELECT 1 AS id\"\nlists = { a = \"SELECT 1\" }\n"), Some("a, c")),
            (job("SELECT n, 'a' AS section, n AS id FROM {jobs} job"), Some("a, b")),
            (job("SELECT n, 'b' AS section, n AS id FROM {jobs} job"), None),
            (job("SELECT n, 'a' AS error, n AS id FROM {jobs} job"), None),
        ] {
            let said = check(&catalog(&text).sections);
            match found {
                None => assert_eq!(said, Ok(()), "{text}"),
                Some(names) => {
                    let error = said.expect_err(&text);
                    assert!(error.contains(&format!("in each of {names} puts")), "{error}");
                }
            }
        }
    }

    #[test]
    fn a_group_is_of_all_that_depend_on_each_other_however_far() {
        let text = "[a]\nid = \"int\"\n[b]\nid = \"int\"\n[[b.query]]\ncall = \"all\"\nsql = \"SELECT 1 AS id, 1 AS _a\"\n[c]\n[c.job.X]\ndata = { id = \"int\" }\nsql = \"SELECT n, 'b' AS section FROM {jobs} job\"\n[d]\n";
        let error = check(&catalog(text).sections).unwrap_err();
        assert!(
            error.contains("'all' of section 'b' depends on rows of 'a', job X of section 'c' changes rows of 'b'"),
            "{error}"
        );
        assert!(error.ends_with("group = \"a\" in each of a, b, c puts them into one slot"), "{error}");
    }

    #[test]
    fn tenants_share_a_slot_each_and_none_with_what_they_share() {
        let text = "[booking]\ntenant = \"int\"\nid = \"int\"\n[[booking.query]]\ncall = \"all\"\nsql = \"SELECT 1 AS id, 1 AS _guest, {tenant}\"\n[[booking.query]]\ncall = \"shared\"\nsql = \"SELECT 1 AS id, 1 AS _exam, {tenant}\"\n[guest]\ntenant = \"int\"\nid = \"int\"\n[exam]\nid = \"int\"\n";
        let found = catalog(text);
        assert_eq!(check(&found.sections), Ok(()));
        let (_, booking) = found.section(b"booking").unwrap();
        assert_eq!(elsewhere(&found.sections, booking, &booking.queries[0]), Vec::<&str>::new());
        assert_eq!(elsewhere(&found.sections, booking, &booking.queries[1]), ["exam"]);
        let job = "[booking.job.X]\ndata = { id = \"int\" }\nsql = \"SELECT n, 'exam' AS section FROM {jobs} job\"\n";
        let error = check(&catalog(&[text, job].concat()).sections).unwrap_err();
        assert!(error.contains("job X of section 'booking' changes rows of 'exam'; tenants have slots"), "{error}");
    }
}

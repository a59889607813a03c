//! Names of arguments, by the columns that they are compared with, and the words of a call that is made of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::draft::{Count, Draft, Key, Slot};
use super::roles::Role;
use crate::core::calls::ambiguity::conflicts;
use crate::core::calls::names::section_name_of;
use crate::core::calls::pattern::{CallPattern, MAX_GROUPS};
use crate::core::values::value::ArgType;

/// Names that mean something else in SQL of the catalog.
const RESERVED: [&str; 4] = ["tenant", "ids", "jobs", "row"];

/// Words that a call cannot begin with.
const NO_FIRST_WORDS: [&str; 7] = ["meta", "tag", "queue", "fresh", "cached", "noblock", "raw"];

/// Calls of one kind that are told apart by a number.
const MAX_NUMBERED: usize = 1_000;

/// What an argument is called, and the column's name as words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArgumentName {
    pub(super) name: String,
    base: String,
}

/// One for each slot.
pub(super) fn argument_names(draft: &Draft) -> Vec<ArgumentName> {
    let named = draft.slots.iter().filter_map(|slot| match &slot.key {
        Key::Named(name) => Some(name.clone()),
        _ => None,
    });
    let mut taken: BTreeSet<String> = named.collect();
    let name = |slot: &Slot| {
        if let Key::Named(name) = &slot.key {
            return ArgumentName { name: name.clone(), base: name.clone() };
        }
        let base = base_of(draft, slot);
        let wanted = match slot.role {
            Role::Most => format!("max_{base}"),
            Role::Least => format!("min_{base}"),
            Role::NotEqual => format!("not_{base}"),
            Role::Like => format!("{base}_like"),
            // A list is called by the word for several already.
            Role::Shared if base.ends_with('s') => base.clone(),
            Role::OneOf | Role::Shared => several(&base),
            Role::NoneOf => format!("not_{}", several(&base)),
            _ => base.clone(),
        };
        let wanted = match RESERVED.contains(&&*wanted) {
            true if wanted == "ids" => "id_list".to_owned(),
            true => format!("{wanted}_value"),
            false => wanted,
        };
        let mut numbered = std::iter::once(wanted.clone()).chain((2..).map(|number| format!("{wanted}_{number}")));
        let name = numbered.find(|name| taken.insert(name.clone())).unwrap_or(wanted);
        ArgumentName { name, base }
    };
    draft.slots.iter().map(name).collect()
}

fn base_of(draft: &Draft, slot: &Slot) -> String {
    match (slot.role, &slot.key) {
        (Role::Limit, _) | (_, Key::Count(Count::Limit)) => return "limit".to_owned(),
        (Role::Offset, _) | (_, Key::Count(Count::Offset)) => return "offset".to_owned(),
        _ => {}
    }
    let Some(column) = &slot.column else { return "value".to_owned() };
    let base = words_of(&column.name);
    let relations = &draft.relations;
    let qualifier = column.qualifier.as_deref();
    let Some(relation) = qualifier.and_then(|alias| relations.by_alias(alias)) else { return base };
    let is_first = relations.named.first().is_some_and(|first| first.alias == relation.alias);
    let prefix = match (is_first, relations.is_main(relation), relations.is_twice(relation)) {
        (true, ..) => return base,
        (false, false, false) => words_of(&relation.name),
        _ => words_of(&relation.alias),
    };
    match base.starts_with(&prefix) || prefix.len() + base.len() > 50 {
        true => base,
        false => format!("{prefix}_{base}"),
    }
}

/// Letters, digits and `_`.
pub(super) fn words_of(name: &str) -> String {
    // With more after it no name is one that a section may not have.
    let words = section_name_of(&format!("{name}_"));
    let words = words.trim_matches('_');
    match words.starts_with(|c: char| c.is_ascii_digit()) {
        _ if words.is_empty() => "value".to_owned(),
        true => format!("_{words}"),
        false => words.to_owned(),
    }
}

fn several(base: &str) -> String {
    match base.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u'])) {
        Some(stem) => format!("{stem}ies"),
        None if base.ends_with(['s', 'x', 'z']) => format!("{base}es"),
        None => format!("{base}s"),
    }
}

/// A call of all arguments, each with its type, that no other of its section is taken for.
pub(super) fn call(
    draft: &Draft,
    names: &[ArgumentName],
    types: &[ArgType],
    is_free: &dyn Fn(&CallPattern) -> bool,
) -> Result<String, String> {
    let parts = Parts::of(draft, names, types);
    let mut refused = String::new();
    for number in 1..=MAX_NUMBERED {
        let text = parts.text(number);
        match CallPattern::parse(&text) {
            Ok(pattern) if is_free(&pattern) => return Ok(text),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
        refused = text;
    }
    Err(format!("calls such as '{refused}' are taken"))
}

/// Do no words fit the call and one of the others, which have been told apart?
pub fn is_told_apart(others: impl Iterator<Item = Arc<CallPattern>>, call: &CallPattern) -> bool {
    let call = Arc::new(call.clone());
    others.into_iter().all(|other| conflicts(&[other, call.clone()]).is_empty())
}

/// The words of a call.
struct Parts {
    /// Before the word that tells it from others.
    before: Option<&'static str>,
    word: String,
    rest: String,
}

impl Parts {
    fn of(draft: &Draft, names: &[ArgumentName], types: &[ArgType]) -> Parts {
        let is_count = |slot: &Slot| matches!(slot.role, Role::Limit | Role::Offset);
        let mut groups = 0;
        let is_group: Vec<bool> = draft
            .slots
            .iter()
            .map(|slot| {
                let is_one = (slot.is_optional || slot.default.is_some()) && groups < MAX_GROUPS;
                groups += usize::from(is_one);
                is_one
            })
            .collect();
        let mut required: Vec<usize> = (0..draft.slots.len()).filter(|at| !is_group[*at]).collect();
        required.sort_by_key(|at| is_count(&draft.slots[*at]));
        let declared = |at: usize| {
            let default = draft.slots[at].default.map_or(String::new(), |default| format!("={default}"));
            format!("{{{}:{}{default}}}", names[at].name, types[at])
        };
        let mut rest = String::new();
        let mut first = None;
        for at in required {
            let (before, word) = words(&draft.slots[at], &names[at], first.is_none());
            match first {
                None => first = Some((before, word)),
                Some(_) => {
                    before.into_iter().for_each(|before| rest.push_str(&format!(" {before}")));
                    rest.push_str(&format!(" {word}"));
                }
            }
            rest.push_str(&format!(" {}", declared(at)));
        }
        for at in (0..draft.slots.len()).filter(|at| is_group[*at]) {
            rest.push_str(&format!(" [{} {}]", names[at].name, declared(at)));
        }
        let (before, word) = first.unwrap_or_else(|| (None, if counts(draft) { "count" } else { "all" }.to_owned()));
        Parts { before, word, rest }
    }

    fn text(&self, number: usize) -> String {
        let before = self.before.map_or(String::new(), |before| format!("{before} "));
        let number = if number == 1 { String::new() } else { format!("_{number}") };
        format!("{before}{}{number}{}", self.word, self.rest)
    }
}

fn words(slot: &Slot, name: &ArgumentName, is_first: bool) -> (Option<&'static str>, String) {
    let base = name.base.strip_suffix("_id").filter(|stem| !stem.is_empty()).unwrap_or(&name.base);
    let (before, word) = match slot.role {
        Role::Equal if is_first => (Some("by"), base),
        Role::Equal => (None, base),
        Role::OneOf => (Some("in"), base),
        _ => (None, &*name.name),
    };
    let is_barred = is_first && before.is_none() && NO_FIRST_WORDS.contains(&word);
    (if is_barred { Some("with") } else { before }, word.to_owned())
}

/// Is the first column of the result a count?
fn counts(draft: &Draft) -> bool {
    let pieces = &draft.pieces;
    pieces.is_word(0, "select") && pieces.is_word(1, "count") && pieces.is_sign(2, '(')
}

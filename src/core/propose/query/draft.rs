//! A statement whose parameters are found: `$1`, `{name}`, lists in IN, and counts in LIMIT and OFFSET.

use std::collections::BTreeMap;
use std::ops::Range;

use super::casts::{cast_at, type_before, Cast};
use super::pieces::{Column, Pieces};
use super::relations::Relations;
use super::roles::{beside, Beside, Role};
use super::Refused;
use crate::core::sql::tokens::Token;

/// Parameters of a statement, beside those in lists: a call may have no more words.
const MAX_USES: usize = 300;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Number(u32),
    Named(String),
    /// By its first place.
    List(usize),
    Count(Count),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Count {
    Limit,
    Offset,
}

/// A place where a parameter stands.
#[derive(Debug, Clone)]
pub(super) struct Use {
    /// What it stands in place of.
    bytes: Range<usize>,
    around: (&'static str, &'static str),
    pub(super) cast: Option<Cast>,
    pub(super) role: Role,
    pub(super) tests_null: bool,
    slot: usize,
}

/// A parameter.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) key: Key,
    /// Of the place that tells most.
    pub(super) role: Role,
    pub(super) column: Option<Column>,
    pub(super) default: Option<i64>,
    /// May it be NULL?
    pub(super) is_optional: bool,
}

/// A piece of text in place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) bytes: Range<usize>,
    pub(super) text: String,
}

pub struct Draft<'a> {
    pub(super) pieces: Pieces<'a>,
    pub(super) relations: Relations,
    /// In the order of their first places.
    pub(super) slots: Vec<Slot>,
    uses: Vec<Use>,
    /// Without comments and semicolons around it.
    whole: Range<usize>,
}

impl<'a> Draft<'a> {
    pub fn read(text: &'a str) -> Result<Draft<'a>, Refused> {
        let pieces = Pieces::of(text)?;
        let end = end_of_statement(&pieces)?;
        check_kind(&pieces, end)?;
        let relations = Relations::of(&pieces);
        let whole = pieces.bytes(0..end);
        let mut reader = Reader { pieces: &pieces, slots: Vec::new(), by_key: BTreeMap::new(), uses: Vec::new() };
        reader.run(end)?;
        let Reader { slots, uses, .. } = reader;
        Ok(Draft { pieces, relations, slots, uses, whole })
    }

    /// As Postgres is asked for the types of its parameters, `$1 … $n` in their order here; with more edits.
    pub(super) fn probe(&self, more: &[Edit]) -> String {
        let is_told = |slot: usize| self.uses.iter().any(|of| of.slot == slot && !(of.tests_null && of.cast.is_none()));
        self.rendered(more, |of| match &of.cast {
            // Of `$1 IS NULL` Postgres knows no type, whatever follows.
            None if of.tests_null && is_told(of.slot) => "NULL".to_owned(),
            cast => format!("${}{}", of.slot + 1, cast.as_ref().map_or("", |cast| &cast.text)),
        })
    }

    /// With what `shown` gives for each place; `more`: edits beside them.
    pub(super) fn rendered(&self, more: &[Edit], shown: impl Fn(&Use) -> String) -> String {
        let parameters = self.uses.iter().map(|of| {
            let (before, after) = of.around;
            Edit { bytes: of.bytes.clone(), text: format!("{before}{}{after}", shown(of)) }
        });
        let mut edits: Vec<Edit> = parameters.chain(more.iter().cloned()).collect();
        edits.sort_by_key(|edit| (edit.bytes.start, edit.bytes.end));
        let (mut text, mut at) = (String::new(), self.whole.start);
        for edit in edits {
            if edit.bytes.start < at {
                continue;
            }
            text.push_str(&self.pieces.text[at..edit.bytes.start]);
            text.push_str(&edit.text);
            at = edit.bytes.end;
        }
        text.push_str(&self.pieces.text[at..self.whole.end]);
        text
    }

    /// As its author writes them, in the order of the question's `$1 … $n`.
    pub fn parameters(&self) -> Vec<String> {
        let written = |slot: &Slot| match &slot.key {
            Key::Number(number) => format!("${number}"),
            Key::Named(name) => format!("{{{name}}}"),
            Key::List(_) | Key::Count(_) => "its value".to_owned(),
        };
        self.slots.iter().map(written).collect()
    }

    pub(super) fn uses_of(&self, slot: usize) -> impl Iterator<Item = &Use> {
        self.uses.iter().filter(move |of| of.slot == slot)
    }
}

impl Use {
    pub(super) fn slot(&self) -> usize {
        self.slot
    }
}

/// The number of tokens of the one statement.
fn end_of_statement(pieces: &Pieces) -> Result<usize, Refused> {
    let semicolon = (0..pieces.len()).find(|at| pieces.is_sign(*at, ';') && pieces.depth(*at) == 0);
    let end = semicolon.unwrap_or(pieces.len());
    if (end..pieces.len()).any(|at| !pieces.is_sign(at, ';')) {
        return Err(Refused::Several);
    }
    match end {
        0 => Err(Refused::Empty),
        end => Ok(end),
    }
}

/// Only what reads is cached.
fn check_kind(pieces: &Pieces, end: usize) -> Result<(), Refused> {
    const CHANGES: [&str; 4] = ["insert", "update", "delete", "merge"];
    let first = (0..end).find(|at| !pieces.is_sign(*at, '(')).ok_or(Refused::Empty)?;
    let word = match pieces.token(first) {
        Some(Token::Word(word)) => word.clone(),
        _ => pieces.source(first..first + 1).chars().take(20).collect(),
    };
    if CHANGES.contains(&&*word) {
        return Err(Refused::Writes(word.to_ascii_uppercase()));
    }
    if !["select", "with", "values", "table"].contains(&&*word) {
        return Err(Refused::NoSelect(word.to_ascii_uppercase()));
    }
    let locks = |at: &usize| {
        pieces.is_word(*at, "for")
            && (pieces.is_one_of(at + 1, &["update", "share"])
                || (pieces.is_word(at + 1, "no") && pieces.is_word(at + 2, "key"))
                || (pieces.is_word(at + 1, "key") && pieces.is_word(at + 2, "share")))
    };
    if (1..end).any(|at| locks(&at)) {
        return Err(Refused::Locks);
    }
    if word == "with" {
        let changes = (1..end).find(|at| {
            let follows = pieces.is_sign(at - 1, '(') || (pieces.depth(*at) == 0 && pieces.is_sign(at - 1, ')'));
            follows && pieces.is_one_of(*at, &CHANGES)
        });
        if let Some(at) = changes {
            return Err(Refused::Writes(pieces.source(at..at + 1).to_ascii_uppercase()));
        }
    }
    Ok(())
}

struct Reader<'p, 'a> {
    pieces: &'p Pieces<'a>,
    slots: Vec<Slot>,
    by_key: BTreeMap<Key, usize>,
    uses: Vec<Use>,
}

/// A parameter as it stands, and where it has ended.
struct Placed {
    key: Key,
    end: usize,
}

impl Reader<'_, '_> {
    fn run(&mut self, end: usize) -> Result<(), Refused> {
        let often = self.more_than_once(end);
        let mut at = 0;
        while at < end {
            if self.uses.len() > MAX_USES {
                return Err(Refused::TooManyParameters);
            }
            at = match self.list(at, &often) {
                Some(next) => next,
                None => match self.placed(at) {
                    Some(placed) => self.parameter(at, placed),
                    None => self.count(at).unwrap_or(at + 1),
                },
            };
        }
        Ok(())
    }

    fn placed(&self, at: usize) -> Option<Placed> {
        let source = self.pieces.source(at..at + 1);
        if *self.pieces.token(at)? == Token::Value {
            // Postgres counts from 1 on, and says so of another.
            let number = source.strip_prefix('$')?.parse().ok().filter(|number| *number > 0)?;
            return Some(Placed { key: Key::Number(number), end: at + 1 });
        }
        let is_named = self.pieces.is_sign(at, '{')
            && self.pieces.is_sign(at + 2, '}')
            && matches!(self.pieces.token(at + 1), Some(Token::Word(_)));
        is_named.then(|| {
            let name = self.pieces.source(at + 1..at + 2).to_owned();
            Placed { key: Key::Named(name), end: at + 3 }
        })
    }

    /// Parameters that stand at more than one place.
    fn more_than_once(&self, end: usize) -> BTreeMap<Key, usize> {
        let mut counts = BTreeMap::new();
        for at in 0..end {
            if let Some(placed) = self.placed(at) {
                *counts.entry(placed.key).or_insert(0) += 1;
            }
        }
        counts.retain(|_, count| *count > 1);
        counts
    }

    fn parameter(&mut self, at: usize, placed: Placed) -> usize {
        let (mut begin, mut end, mut cast) = (at, placed.end, None);
        if let Some((found, next)) = cast_at(self.pieces, end) {
            (cast, end) = (Some(found), next);
        } else if let Some((found, first)) = type_before(self.pieces, at) {
            (cast, begin) = (Some(found), first);
        }
        let beside = beside(self.pieces, begin, end);
        let (role, tests_null) = (beside.role, beside.tests_null);
        let slot = self.slot(placed.key, beside);
        let bytes = self.pieces.bytes(begin..end);
        self.uses.push(Use { bytes, around: ("", ""), cast, role, tests_null, slot });
        end
    }

    fn slot(&mut self, key: Key, beside: Beside) -> usize {
        let slots = &mut self.slots;
        let slot = *self.by_key.entry(key.clone()).or_insert_with(|| {
            slots.push(Slot { key, role: Role::Other, column: None, default: None, is_optional: false });
            slots.len() - 1
        });
        let found = &mut slots[slot];
        found.is_optional |= beside.tests_null || beside.is_coalesced;
        let tells_more = match (&found.column, &beside.column) {
            (None, Some(_)) => true,
            (Some(_), Some(_)) => found.role == Role::Other,
            (_, None) => found.column.is_none() && found.role == Role::Other,
        };
        if tells_more && !beside.tests_null {
            (found.role, found.column) = (beside.role, beside.column);
        }
        slot
    }

    /// `IN ($1, $2)`, or `ARRAY[$1, $2]` in ANY, of parameters that stand nowhere else; where it has ended.
    fn list(&mut self, at: usize, often: &BTreeMap<Key, usize>) -> Option<usize> {
        let pieces = self.pieces;
        let is_in = pieces.is_word(at, "in") && pieces.is_sign(at + 1, '(');
        let is_array = pieces.is_word(at, "array")
            && pieces.is_sign(at + 1, '[')
            && at >= 2
            && pieces.is_sign(at - 1, '(')
            && pieces.is_one_of(at - 2, &["any", "some", "all"]);
        if !is_in && !is_array {
            return None;
        }
        let close = pieces.pair(at + 1)?;
        let cast = self.elements(at + 2, close, often)?;
        let is_not = is_in && at > 0 && pieces.is_word(at - 1, "not");
        let begin = if is_not { at - 1 } else { at };
        let beside = beside(pieces, if is_in { at + 2 } else { at }, close);
        let (around, role) = match (is_in, is_not) {
            (false, _) => (("", ""), beside.role),
            (true, false) => (("= ANY(", ")"), Role::OneOf),
            (true, true) => (("<> ALL(", ")"), Role::NoneOf),
        };
        let (mut cast, mut end) = (cast.map(list_cast), close + 1);
        if let Some((found, next)) = cast_at(pieces, end).filter(|_| is_array) {
            (cast, end) = (Some(found), next);
        }
        let bytes = pieces.bytes(begin..end);
        let slot = self.slot(Key::List(bytes.start), Beside { role, ..beside });
        self.uses.push(Use { bytes, around, cast, role, tests_null: false, slot });
        Some(end)
    }

    /// The cast of all elements, if they are parameters alone.
    fn elements(&self, mut at: usize, close: usize, often: &BTreeMap<Key, usize>) -> Option<Option<Cast>> {
        let mut casts: Option<Option<Cast>> = None;
        loop {
            let placed = self.placed(at).filter(|placed| !often.contains_key(&placed.key))?;
            let (cast, end) = match cast_at(self.pieces, placed.end) {
                Some((cast, end)) => (Some(cast), end),
                None => (None, placed.end),
            };
            // A list in braces of the author's own is no element.
            if matches!(placed.key, Key::Named(_)) || *casts.get_or_insert_with(|| cast.clone()) != cast {
                return None;
            }
            if end == close {
                return casts;
            }
            if !self.pieces.is_sign(end, ',') {
                return None;
            }
            at = end + 1;
        }
    }

    /// `LIMIT 5`, `OFFSET 10` of the statement itself. `LIMIT 1` asks for the one row, not for a page.
    fn count(&mut self, at: usize) -> Option<usize> {
        let pieces = self.pieces;
        if pieces.depth(at) > 0 {
            return None;
        }
        let is_fetch = pieces.is_word(at, "fetch") && pieces.is_one_of(at + 1, &["first", "next"]);
        let (count, number) = match () {
            () if pieces.is_word(at, "limit") => (Count::Limit, at + 1),
            () if is_fetch => (Count::Limit, at + 2),
            () if pieces.is_word(at, "offset") => (Count::Offset, at + 1),
            () => return None,
        };
        let default = pieces.whole_number(number).filter(|default| (count, *default) != (Count::Limit, 1))?;
        // `LIMIT 5 + 5`
        let ends = pieces.token(number + 1).is_none_or(|next| matches!(next, Token::Word(_) | Token::Sign(';')));
        let is_first = !self.by_key.contains_key(&Key::Count(count));
        if !ends || !is_first {
            return None;
        }
        let role = if count == Count::Limit { Role::Limit } else { Role::Offset };
        let beside = Beside { role, column: None, tests_null: false, is_coalesced: false };
        let slot = self.slot(Key::Count(count), beside);
        self.slots[slot].default = Some(default);
        let bytes = pieces.bytes(number..number + 1);
        self.uses.push(Use { bytes, around: ("", ""), cast: None, role, tests_null: false, slot });
        Some(number + 1)
    }
}

fn list_cast(cast: Cast) -> Cast {
    let like = cast.like.map(|like| crate::core::values::value::ArgType { array: true, ..like });
    Cast { text: format!("{}[]", cast.text), like }
}

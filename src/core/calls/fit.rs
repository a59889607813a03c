//! How the words of a call fit one pattern, and what they are as a key and as values.

use super::pattern::{Arg, CallPattern, Part, MAX_GROUPS};
use super::word::{self, Spelling};
use crate::core::values::value::{Value, ValueError};

/// A word that is not of its argument's type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{arg} must be {error}")]
pub struct ArgError {
    pub arg: Box<str>,
    pub error: ValueError,
}

/// How the words fit a pattern.
#[derive(Clone, Copy)]
pub(in crate::core) struct Fit {
    /// How many of the pattern's `parts` were typed.
    typed: usize,
    /// Index of the first word of each group; `ABSENT` where it was left out.
    groups: [usize; MAX_GROUPS],
}

const ABSENT: usize = usize::MAX;

impl CallPattern {
    /// The ways to read the words as this pattern, by literal words and counts alone; the one with the most arguments
    /// typed first.
    pub(in crate::core) fn fits<'a>(&'a self, words: &'a [&'a [u8]]) -> impl Iterator<Item = Fit> + 'a {
        let least = self.parts.len() - self.omissible;
        let counts = (words.len() <= self.max_words()).then(|| least..=self.parts.len().min(words.len()));
        counts.into_iter().flat_map(|counts| counts.rev()).filter_map(|typed| self.fit(words, typed))
    }

    fn fit(&self, words: &[&[u8]], typed: usize) -> Option<Fit> {
        if !literals_match(&self.parts[..typed], &words[..typed]) {
            return None;
        }
        let mut groups = [ABSENT; MAX_GROUPS];
        let mut at = typed;
        while at < words.len() {
            let index = self.groups.iter().position(|group| literals_match(&group[..1], &words[at..]))?;
            let group = &self.groups[index];
            let is_new = groups[index] == ABSENT;
            if !is_new || words.len() - at < group.len() || !literals_match(group, &words[at..]) {
                return None;
            }
            groups[index] = at;
            at += group.len();
        }
        Some(Fit { typed, groups })
    }

    pub(in crate::core) fn write_key(
        &self,
        words: &[&[u8]],
        fit: &Fit,
        spelling: Spelling,
        out: &mut Vec<u8>,
    ) -> Result<(), ArgError> {
        for (i, part) in self.parts.iter().enumerate() {
            if i > 0 {
                out.push(b':');
            }
            match part {
                Part::Arg(index) if i >= fit.typed => {
                    // Only arguments with a default may be left out.
                    let default = self.args()[*index].default.as_ref();
                    out.extend_from_slice(default.map_or(&[][..], |d| &d.key));
                }
                part => {
                    self.write_part(part, words[i], spelling, out)?;
                }
            }
        }
        for (group, at) in self.groups.iter().zip(fit.groups).filter(|(_, at)| *at != ABSENT) {
            let start = out.len();
            let mut is_default = true;
            for (part, word) in group.iter().zip(&words[at..]) {
                out.push(b':');
                is_default &= self.write_part(part, word, spelling, out)?;
            }
            if is_default {
                out.truncate(start);
            }
        }
        Ok(())
    }

    /// Whether the word means no more than its absence would.
    fn write_part(&self, part: &Part, word: &[u8], spelling: Spelling, out: &mut Vec<u8>) -> Result<bool, ArgError> {
        match part {
            Part::Literal(literal) => {
                out.extend_from_slice(literal.as_bytes());
                Ok(true)
            }
            Part::Arg(index) => {
                let arg = &self.args()[*index];
                let start = out.len();
                word::write_for_key(arg.ty, word, spelling, out)
                    .map_err(|error| ArgError { arg: arg.name.clone(), error })?;
                Ok(arg.default.as_ref().is_some_and(|default| out[start..] == *default.key))
            }
        }
    }

    /// Values of words that fit.
    pub(in crate::core) fn values(
        &self,
        words: &[&[u8]],
        fit: &Fit,
        spelling: Spelling,
    ) -> Result<Vec<Value>, ArgError> {
        let absent = |arg: &Arg| arg.default.as_ref().map_or(Value::Null, |d| d.value.clone());
        let mut values: Vec<Value> = self.args().iter().map(absent).collect();
        for (index, at) in self.places(fit) {
            let arg = &self.args()[index];
            values[index] = word::read_value(arg.ty, words[at], spelling)
                .map_err(|error| ArgError { arg: arg.name.clone(), error })?;
        }
        Ok(values)
    }

    /// The words of a key as a client may type them.
    pub(in crate::core) fn typed(&self, words: &[&[u8]], fit: &Fit) -> Vec<Box<[u8]>> {
        let mut typed: Vec<Box<[u8]>> = words.iter().map(|word| (*word).into()).collect();
        for (index, at) in self.places(fit) {
            typed[at] = word::typed(self.args()[index].ty, words[at]).into();
        }
        typed
    }

    /// Which arguments were typed, and at which word each.
    fn places<'a>(&'a self, fit: &'a Fit) -> impl Iterator<Item = (usize, usize)> + 'a {
        let typed = self.parts.iter().take(fit.typed).zip(0..);
        let in_groups = self.groups.iter().zip(fit.groups).filter(|(_, at)| *at != ABSENT);
        let parts = typed.chain(in_groups.flat_map(|(group, at)| group.iter().zip(at..)));
        parts.filter_map(|(part, at)| match part {
            Part::Arg(index) => Some((*index, at)),
            Part::Literal(_) => None,
        })
    }
}

/// Whether the literal words among the parts are those at the front of the words.
fn literals_match(parts: &[Part], words: &[&[u8]]) -> bool {
    parts.iter().zip(words).all(|(part, word)| match part {
        Part::Literal(literal) => literal.as_bytes() == *word,
        Part::Arg(_) => true,
    })
}

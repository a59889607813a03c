//! The pattern of a call, as the catalog writes it: `size {start:int} {end:int} [limit {limit:int}]`.
//!
//! A pattern is a sequence of literal words and arguments, then optional groups. Trailing arguments with a default may
//! be left out. Groups may be typed in any order; their canonical order is the pattern's.

use std::fmt;

use super::word::{self, Spelling};
use crate::core::values::value::{ArgType, ScalarType, Value, ValueError};

/// Optional groups of a pattern.
pub const MAX_GROUPS: usize = 8;

/// Words of a call, and bytes of its pattern: what is checked word by word, or each with each, stays small.
const MAX_WORDS: usize = 256;
const MAX_BYTES: usize = 8 << 10;

/// First words that mean something else in keys and commands.
const RESERVED_IN_KEYS: [&str; 3] = ["meta", "tag", "queue"];
const RESERVED_IN_COMMANDS: [&str; 4] = ["FRESH", "CACHED", "NOBLOCK", "RAW"];

/// Placeholders with a meaning of their own.
const RESERVED_NAMES: [&str; 4] = ["tenant", "ids", "jobs", "row"];

/// A checked pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPattern {
    text: Box<str>,
    args: Vec<Arg>,
    pub(in crate::core) parts: Vec<Part>,
    /// How many of the last `parts` may be left out: arguments with a default.
    pub(in crate::core) omissible: usize,
    pub(in crate::core) groups: Vec<Vec<Part>>,
}

/// An argument of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    pub name: Box<str>,
    pub ty: ArgType,
    pub default: Option<Default>,
}

/// What the absence of an argument means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Default {
    pub value: Value,
    /// The value as a word of a key.
    pub(in crate::core) key: Box<[u8]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::core) enum Part {
    Literal(Box<str>),
    /// Index into `args`.
    Arg(usize),
}

/// Why a pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

fn refuse<T>(reason: impl Into<String>) -> Result<T, PatternError> {
    Err(PatternError(reason.into()))
}

impl CallPattern {
    pub fn parse(text: &str) -> Result<CallPattern, PatternError> {
        if text.len() > MAX_BYTES {
            return refuse(format!("a call may be written in at most {MAX_BYTES} bytes, got {}", text.len()));
        }
        let mut pattern = CallPattern {
            text: text.trim().into(),
            args: Vec::new(),
            parts: Vec::new(),
            omissible: 0,
            groups: Vec::new(),
        };
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            rest = match rest.strip_prefix('[') {
                Some(tail) => pattern.read_group(tail)?,
                None => pattern.read_part(rest)?,
            };
            let tail = rest.trim_start();
            if tail.len() == rest.len() && !rest.is_empty() && !rest.starts_with('[') {
                return refuse(format!("a space is missing before '{rest}'"));
            }
            rest = tail;
        }
        if pattern.max_words() > MAX_WORDS {
            return refuse(format!("a call may have at most {MAX_WORDS} words, got {}", pattern.max_words()));
        }
        pattern.check_first()?;
        Ok(pattern)
    }

    /// As the catalog writes it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// In the order of their first appearance.
    pub fn args(&self) -> &[Arg] {
        &self.args
    }

    /// Is the argument NULL where it is left out: in an optional group, or by its default?
    pub fn may_be_null(&self, index: usize) -> bool {
        let is_it = |part: &Part| *part == Part::Arg(index);
        let is_null = |default: &Default| default.value == Value::Null;
        self.groups.iter().flatten().any(is_it)
            || self.args.get(index).is_some_and(|arg| arg.default.as_ref().is_some_and(is_null))
    }

    pub fn arg_index(&self, name: &str) -> Option<usize> {
        self.args.iter().position(|arg| &*arg.name == name)
    }

    /// The most words that fit.
    pub(in crate::core) fn max_words(&self) -> usize {
        self.parts.len() + self.groups.iter().map(Vec::len).sum::<usize>()
    }

    /// The first word, where it is a literal.
    pub(in crate::core) fn first_literal(&self) -> Option<&str> {
        match self.parts.first() {
            Some(Part::Literal(word)) => Some(word),
            _ => None,
        }
    }

    fn read_part<'a>(&mut self, text: &'a str) -> Result<&'a str, PatternError> {
        if !self.groups.is_empty() {
            return refuse(format!("optional groups come last, but '{text}' follows one"));
        }
        let (part, rest) = self.part(text)?;
        match part {
            Part::Arg(index) if self.args[index].default.is_some() => self.omissible += 1,
            _ if self.omissible > 0 => {
                return refuse(
                    "only arguments with a default and optional groups may follow an argument with a default",
                )
            }
            _ => {}
        }
        self.parts.push(part);
        Ok(rest)
    }

    fn read_group<'a>(&mut self, text: &'a str) -> Result<&'a str, PatternError> {
        let mut parts = Vec::new();
        let mut rest = text.trim_start();
        while !rest.starts_with(']') {
            if rest.is_empty() {
                return refuse("']' is missing after an optional group");
            }
            if rest.starts_with('[') {
                return refuse("an optional group cannot hold another");
            }
            let (part, tail) = self.part(rest)?;
            parts.push(part);
            rest = tail.trim_start();
            if rest.len() == tail.len() && !rest.starts_with(']') && !rest.is_empty() {
                return refuse(format!("a space is missing before '{rest}'"));
            }
        }
        let Some(Part::Literal(head)) = parts.first() else {
            return refuse("an optional group begins with a literal word: [limit {limit:int}]");
        };
        if self.groups.iter().any(|group| group.first() == parts.first()) {
            return refuse(format!("two optional groups begin with '{head}'"));
        }
        if !parts.iter().any(|part| matches!(part, Part::Arg(_))) {
            return refuse(format!("the optional group '{head}' has no argument"));
        }
        if self.groups.len() == MAX_GROUPS {
            return refuse(format!("a call may have at most {MAX_GROUPS} optional groups"));
        }
        self.groups.push(parts);
        Ok(&rest[1..])
    }

    /// One literal word or argument, and what follows it.
    fn part<'a>(&mut self, text: &'a str) -> Result<(Part, &'a str), PatternError> {
        if let Some(inner) = text.strip_prefix('{') {
            let Some((declaration, rest)) = inner.split_once('}') else {
                return refuse(format!("'}}' is missing after '{text}'"));
            };
            self.args.push(parse_arg(declaration, &self.args)?);
            return Ok((Part::Arg(self.args.len() - 1), rest));
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
        match text[end..].chars().next() {
            Some(c) if end == 0 || !(c.is_whitespace() || c == ']' || c == '[') => {
                refuse(format!("a literal word is of letters, digits and _ . -, but '{c}' was found"))
            }
            _ => Ok((Part::Literal(text[..end].into()), &text[end..])),
        }
    }

    fn check_first(&self) -> Result<(), PatternError> {
        match self.parts.first() {
            None => refuse("a call needs a word before its optional groups"),
            Some(Part::Literal(word)) => {
                let in_commands = RESERVED_IN_COMMANDS.iter().any(|r| word.eq_ignore_ascii_case(r));
                if in_commands || RESERVED_IN_KEYS.contains(&&**word) {
                    return refuse(format!("a call cannot begin with '{word}', which is reserved"));
                }
                Ok(())
            }
            Some(Part::Arg(index)) => {
                let arg = &self.args[*index];
                let may_begin = matches!(arg.ty.scalar, ScalarType::Int | ScalarType::Uuid | ScalarType::Date);
                if arg.ty.array || !may_begin {
                    return refuse(format!(
                        "a call may begin with an argument only if it is int, uuid or date; {{{}}} is {}",
                        arg.name, arg.ty
                    ));
                }
                if arg.default.is_some() {
                    return refuse(format!("{{{}}} begins the call and so cannot have a default", arg.name));
                }
                Ok(())
            }
        }
    }
}

/// `name:type` or `name:type=default`
fn parse_arg(declaration: &str, others: &[Arg]) -> Result<Arg, PatternError> {
    let Some((name, ty)) = declaration.split_once(':') else {
        return refuse(format!("the argument '{{{declaration}}}' has no type: write {{name:type}}"));
    };
    let (name, (ty, default)) = (
        name.trim(),
        match ty.split_once('=') {
            Some((ty, default)) => (ty.trim(), Some(default.trim())),
            None => (ty.trim(), None),
        },
    );
    if !is_name(name) {
        return refuse(format!("'{name}' is not a name: letters, digits and _, not beginning with a digit"));
    }
    if RESERVED_NAMES.contains(&name) {
        return refuse(format!("an argument cannot be called '{name}', which is reserved"));
    }
    if others.iter().any(|other| &*other.name == name) {
        return refuse(format!("two arguments are called '{name}'"));
    }
    let ty = ArgType::parse(ty).or_else(|e| refuse(format!("{{{name}}}: {e}")))?;
    if ty.scalar == ScalarType::Json {
        return refuse(format!("{{{name}}} cannot be json, which is only for jobs"));
    }
    let default = match default {
        Some(text) => {
            Some(parse_default(ty, text).or_else(|e| refuse(format!("the default of {{{name}}} must be {e}")))?)
        }
        None => None,
    };
    Ok(Arg { name: name.into(), ty, default })
}

fn parse_default(ty: ArgType, text: &str) -> Result<Default, ValueError> {
    let mut key = Vec::new();
    word::write_for_key(ty, text.as_bytes(), Spelling::Typed, &mut key)?;
    let value = word::read_value(ty, text.as_bytes(), Spelling::Typed)?;
    Ok(Default { value, key: key.into() })
}

/// A placeholder's name: letters, digits and `_`, not beginning with a digit.
pub(in crate::core) fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// For clients: without types, optional groups in brackets.
impl fmt::Display for CallPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_parts(&self.parts, f)?;
        for group in &self.groups {
            f.write_str(" [")?;
            self.write_parts(group, f)?;
            f.write_str("]")?;
        }
        Ok(())
    }
}

impl CallPattern {
    fn write_parts(&self, parts: &[Part], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in parts.iter().enumerate() {
            let space = if i > 0 { " " } else { "" };
            match part {
                Part::Literal(word) => write!(f, "{space}{word}")?,
                Part::Arg(index) => {
                    let arg = &self.args[*index];
                    match &arg.default {
                        Some(default) => write!(
                            f,
                            "{space}{{{}={}}}",
                            arg.name,
                            String::from_utf8_lossy(&word::decode_word(&default.key))
                        )?,
                        None => write!(f, "{space}{{{}}}", arg.name)?,
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_are_printed_for_clients() {
        for (text, shown) in [
            ("all", "all"),
            (
                "size {start:int} {end:int} [limit {limit:int}] [after {after:int}]",
                "size {start} {end} [limit {limit}] [after {after}]",
            ),
            ("{id:int} questions", "{id} questions"),
            ("  open  [ subject  {subject:text} ][page {page:int=01}] ", "open [subject {subject}] [page {page=1}]"),
            ("list {colors:text[]=red,brown} {page : int = 1}", "list {colors=brown,red} {page=1}"),
            ("at [between {a:date} and {b:date}]", "at [between {a} and {b}]"),
        ] {
            assert_eq!(CallPattern::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn wrong_patterns_are_refused() {
        for (text, reason) in [
            ("", "needs a word"),
            ("[limit {l:int}]", "needs a word"),
            ("meta {x:int}", "reserved"),
            ("queue", "reserved"),
            ("tag", "reserved"),
            ("fresh", "reserved"),
            ("Cached {x:int}", "reserved"),
            ("{q:text}", "only if it is int, uuid or date"),
            ("{q:int[]}", "only if it is int, uuid or date"),
            ("{q:int=1}", "cannot have a default"),
            ("a {x:int} {x:int}", "two arguments"),
            ("a {x}", "no type"),
            ("a {x:integer}", "not a type"),
            ("a {x:json}", "only for jobs"),
            ("a {tenant:int}", "reserved"),
            ("a {row:int}", "reserved"),
            ("a {1x:int}", "not a name"),
            ("a {x:int", "'}' is missing"),
            ("a [limit {x:int}", "']' is missing"),
            ("a [limit [b {x:int}]]", "cannot hold another"),
            ("a [{x:int}]", "begins with a literal"),
            ("a []", "begins with a literal"),
            ("a [b]", "no argument"),
            ("a [b {x:int}] [b {y:int}]", "two optional groups"),
            ("a [b {x:int}] c", "come last"),
            ("a {x:int=1} {y:int}", "may follow"),
            ("a {x:int=1} b", "may follow"),
            ("a {x:int=b}", "the default of {x} must be an integer, got 'b'"),
            ("a:b", "':' was found"),
            ("größe", "'ö' was found"),
            ("a{x:int}", "'{' was found"),
            ("a {x:int}{y:int}", "a space is missing"),
            ("a ]", "']' was found"),
            ("a [b {x:int}c]", "a space is missing"),
            (&"a ".repeat(257), "at most 256 words, got 257"),
            (&"a".repeat(8193), "at most 8192 bytes, got 8193"),
        ] {
            let error = CallPattern::parse(text).expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ab{}\\[\\]:= int,ü]{0,40}|\\PC{0,30}") {
            let _ = CallPattern::parse(&text);
        }
    }
}

//! From the words of a client to the one query that they call, and to the one key that stands for the call.
//!
//! Invariant: any words fit at most one query of a section (checked when the catalog is loaded, [`super::ambiguity`]),
//! and the key of a call, read as a call, has itself as its key.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::ambiguity;
use super::fit::{ArgError, Fit};
use super::pattern::CallPattern;
use super::word::Spelling;
use crate::core::values::value::{shorten, Value};

/// Patterns that a message lists.
const LISTED_PATTERNS: usize = 20;

/// The calls of one section, found by their first word.
#[derive(Debug, Clone)]
pub struct Calls {
    section: Box<str>,
    patterns: Vec<Arc<CallPattern>>,
    by_first_word: FxHashMap<Box<[u8]>, Vec<usize>>,
    /// Those that begin with an argument.
    by_argument: Vec<usize>,
    max_words: usize,
}

/// A call with its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundCall {
    /// Index of the query in its section.
    pub query: usize,
    /// In the order of [`CallPattern::args`].
    pub args: Vec<Value>,
    /// The part of the entry's key that follows the prefix and its `:`.
    pub key: Vec<u8>,
}

/// Why words are no call. The texts are complete but for an error code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error("no query of '{section}' matches '{words}'; it has: {has}")]
    NoMatch { section: Box<str>, words: String, has: String },
    #[error(transparent)]
    Arg(#[from] ArgError),
    #[error("a call may hold at most {limit} bytes, got {got}")]
    TooLong { limit: usize, got: usize },
}

impl Calls {
    /// Errors are sentences that name the two patterns that some words fit both.
    pub fn new(section: &str, patterns: Vec<Arc<CallPattern>>) -> Result<Calls, Vec<String>> {
        let conflicts = ambiguity::conflicts(&patterns);
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        let mut by_first_word: FxHashMap<Box<[u8]>, Vec<usize>> = FxHashMap::default();
        let mut by_argument = Vec::new();
        for (index, pattern) in patterns.iter().enumerate() {
            match pattern.first_literal() {
                Some(word) => by_first_word.entry(word.as_bytes().into()).or_default().push(index),
                None => by_argument.push(index),
            }
        }
        let max_words = patterns.iter().map(|p| p.max_words()).max().unwrap_or(0);
        Ok(Calls { section: section.into(), patterns, by_first_word, by_argument, max_words })
    }

    /// Appends the words in canonical form, encoded, with `:` between; answers the index of the query.
    ///
    /// The path of every hit: no allocation where no list, float or time is among the words. `out` is as it was on an error.
    pub fn write_key(&self, words: &[&[u8]], max_bytes: usize, out: &mut Vec<u8>) -> Result<usize, CallError> {
        check_length(words, max_bytes)?;
        let (query, _) = self.resolve(words, Spelling::Typed, out)?;
        Ok(query)
    }

    /// The same with the values of the call.
    pub fn bind(&self, words: &[&[u8]], max_bytes: usize) -> Result<BoundCall, CallError> {
        check_length(words, max_bytes)?;
        let mut key = Vec::new();
        let (query, fit) = self.resolve(words, Spelling::Typed, &mut key)?;
        let args = self.patterns[query].values(words, &fit, Spelling::Typed)?;
        Ok(BoundCall { query, args, key })
    }

    /// The call that [`Calls::write_key`] wrote this for, and its words as a client may type them; None where it could
    /// not have written it.
    pub fn bind_key(&self, call_part: &[u8]) -> Option<(BoundCall, Vec<Box<[u8]>>)> {
        let words: Vec<&[u8]> = call_part.split(|b| *b == b':').take(self.max_words + 1).collect();
        let mut key = Vec::with_capacity(call_part.len());
        if words.len() > self.max_words {
            return None;
        }
        let (query, fit) = self.resolve(&words, Spelling::Key, &mut key).ok()?;
        let pattern = &self.patterns[query];
        let args = pattern.values(&words, &fit, Spelling::Key).ok()?;
        (key == call_part).then(|| (BoundCall { query, args, key }, pattern.typed(&words, &fit)))
    }

    /// Whether [`Calls::write_key`] could have written this.
    pub fn is_canonical(&self, call_part: &[u8]) -> bool {
        self.query_of(call_part).is_some()
    }

    /// The query for a call of which [`Calls::write_key`] could have written this.
    pub fn query_of(&self, call_part: &[u8]) -> Option<usize> {
        let words: Vec<&[u8]> = call_part.split(|b| *b == b':').take(self.max_words + 1).collect();
        if words.len() > self.max_words {
            return None;
        }
        let mut key = Vec::with_capacity(call_part.len());
        let (query, _) = self.resolve(&words, Spelling::Key, &mut key).ok()?;
        (key == call_part).then_some(query)
    }

    fn resolve(&self, words: &[&[u8]], spelling: Spelling, out: &mut Vec<u8>) -> Result<(usize, Fit), CallError> {
        let start = out.len();
        let by_word = words.first().and_then(|word| self.by_first_word.get(*word));
        // The error of the pattern that the words fit but for a value, where there is but one.
        let mut wrong_value: Option<(usize, ArgError)> = None;
        let mut fitting = 0;
        for &query in by_word.into_iter().flatten().chain(&self.by_argument) {
            let pattern = &self.patterns[query];
            for fit in pattern.fits(words) {
                match pattern.write_key(words, &fit, spelling, out) {
                    Ok(()) => return Ok((query, fit)),
                    Err(error) => {
                        out.truncate(start);
                        if wrong_value.as_ref().is_none_or(|(other, _)| *other != query) {
                            fitting += 1;
                            wrong_value = Some((query, error));
                        }
                    }
                }
            }
        }
        Err(match wrong_value {
            Some((_, error)) if fitting == 1 => error.into(),
            _ => self.no_match(words),
        })
    }

    fn no_match(&self, words: &[&[u8]]) -> CallError {
        // A message shows 40 characters; no need to join megabytes.
        let mut typed = Vec::new();
        for (i, word) in words.iter().enumerate() {
            if i > 0 {
                typed.push(b' ');
            }
            typed.extend_from_slice(&word[..word.len().min(200)]);
            if typed.len() > 200 {
                break;
            }
        }
        let mut has: Vec<String> = self.patterns.iter().take(LISTED_PATTERNS).map(|p| p.to_string()).collect();
        if self.patterns.len() > LISTED_PATTERNS {
            has.push("…".to_owned());
        }
        if has.is_empty() {
            has.push("none".to_owned());
        }
        CallError::NoMatch { section: self.section.clone(), words: shorten(&typed), has: has.join(" | ") }
    }
}

fn check_length(words: &[&[u8]], limit: usize) -> Result<(), CallError> {
    let got = words.iter().map(|word| word.len()).sum();
    if got > limit {
        return Err(CallError::TooLong { limit, got });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BEAR: [&str; 8] = [
        "all",
        "size {start:int} {end:int} [limit {limit:int}] [after {after:int}]",
        "colors {colors:text[]}",
        "colors {colors:text[]} size {start:int} {end:int}",
        "open [subject {subject:text}] [page {page:int=1}]",
        "{id:int} questions",
        "list {order:text=name} {page:int=1} [in {sizes:numeric[]=1,2} {unit:text=m}]",
        "{id:uuid}",
    ];

    fn calls(patterns: &[&str]) -> Calls {
        let patterns = patterns.iter().map(|text| Arc::new(CallPattern::parse(text).unwrap())).collect();
        Calls::new("bear", patterns).unwrap()
    }

    fn split(text: &str) -> Vec<&[u8]> {
        text.split(' ').filter(|w| !w.is_empty()).map(|w| if w == "''" { b"" } else { w.as_bytes() }).collect()
    }

    fn key(calls: &Calls, text: &str) -> Result<String, String> {
        let words = split(text);
        let mut out = b"bear:".to_vec();
        let written = calls.write_key(&words, 1_000, &mut out);
        let bound = calls.bind(&words, 1_000);
        match written {
            Ok(query) => {
                let bound = bound.unwrap();
                assert_eq!((bound.query, &bound.key[..]), (query, &out[5..]));
                assert!(calls.is_canonical(&bound.key), "{text}");
                assert_read_back(calls, &bound);
                Ok(String::from_utf8(bound.key).unwrap())
            }
            Err(error) => {
                assert_eq!(out, b"bear:");
                assert_eq!(bound, Err(error.clone()));
                Err(error.to_string())
            }
        }
    }

    /// The key tells the call, and words that a client may type for it.
    fn assert_read_back(calls: &Calls, bound: &BoundCall) {
        let (read, typed) = calls.bind_key(&bound.key).expect("a key of this section");
        assert_eq!(&read, bound);
        let typed: Vec<&[u8]> = typed.iter().map(AsRef::as_ref).collect();
        assert_eq!(calls.bind(&typed, 1_000).as_ref(), Ok(bound), "{typed:?}");
    }

    #[test]
    fn calls_have_one_key() {
        let calls = calls(&BEAR);
        for (typed, expected) in [
            ("all", "all"),
            ("size 100 200", "size:100:200"),
            ("size 0100 +200", "size:100:200"),
            ("size 1 2 after 5 limit 3", "size:1:2:limit:3:after:5"),
            ("size 1 2 limit 3 after 5", "size:1:2:limit:3:after:5"),
            ("colors black,brown", "colors:black,brown"),
            ("colors brown,black,brown", "colors:black,brown"),
            ("colors brown,black size 100 200", "colors:black,brown:size:100:200"),
            ("colors ''", "colors:"),
            ("colors a:b%2Cc", "colors:a%3Ab%2Cc"),
            ("open", "open"),
            ("open page 01", "open"),
            ("open page 2", "open:page:2"),
            ("open page 2 subject page", "open:subject:page:page:2"),
            ("open subject ''", "open:subject:"),
            ("7 questions", "7:questions"),
            ("0A1B2C3D-0000-4000-8000-00000000000F", "0a1b2c3d-0000-4000-8000-00000000000f"),
            ("list", "list:name:1"),
            ("list size", "list:size:1"),
            ("list size 2", "list:size:2"),
            ("list in 2,1.0 m", "list:name:1"),
            ("list in 3 m", "list:name:1:in:3:m"),
            ("list size in 3 m", "list:size:1:in:3:m"),
            ("list in", "list:in:1"),
        ] {
            assert_eq!(key(&calls, typed).as_deref(), Ok(expected), "{typed}");
        }
    }

    #[test]
    fn wrong_calls_say_what_would_be_right() {
        let calls = calls(&BEAR[..3]);
        let has = "it has: all | size {start} {end} [limit {limit}] [after {after}] | colors {colors}";
        for typed in [
            "sizes 1 2",
            "",
            "size",
            "size 1",
            "size 1 2 3",
            "size 1 2 limit",
            "size 1 2 limit 1 limit 2",
            "SIZE 1 2",
            "all all",
        ] {
            assert_eq!(key(&calls, typed), Err(format!("no query of 'bear' matches '{typed}'; {has}")));
        }
        assert_eq!(key(&calls, "size abc 2").unwrap_err(), "start must be an integer, got 'abc'");
        assert_eq!(key(&calls, "size 1 2 limit x").unwrap_err(), "limit must be an integer, got 'x'");
        let error = calls.write_key(&[b"colors", &[b'x'; 99]], 50, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "a call may hold at most 50 bytes, got 105");
        let error = calls.write_key(&[b"\xff\0"], 50, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains(r"'\xff\u{0}'"), "{error}");
    }

    #[test]
    fn values_come_in_the_order_of_the_arguments() {
        let calls = calls(&BEAR);
        let bound = calls.bind(&split("size 1 2 after 05"), 100).unwrap();
        let scalar = |text: &str| Value::Scalar(text.into());
        assert_eq!(bound.args, [scalar("1"), scalar("2"), Value::Null, scalar("5")]);
        let bound = calls.bind(&split("list size in 3,1 cm"), 100).unwrap();
        assert_eq!(
            bound.args,
            [scalar("size"), scalar("1"), Value::Array(["1".into(), "3".into()].into()), scalar("cm")]
        );
        let bound = calls.bind(&split("open"), 100).unwrap();
        assert_eq!(bound.args, [Value::Null, scalar("1")]);
    }

    #[test]
    fn foreign_keys_are_not_canonical() {
        let calls = calls(&BEAR);
        for key in [
            "",
            "size",
            "size:1",
            "size:01:2",
            "size:1:2:after:5:limit:3",
            "open:page:1",
            "colors:b,a",
            "colors:a,a",
            "colors:%2c",
            "colors:%41",
            "list",
            "list:name",
            "meta:1:caches",
            "all:",
            ":all",
            "size:1:2:",
            "colors:a%",
        ] {
            assert!(!calls.is_canonical(key.as_bytes()), "{key}");
        }
        assert!(!calls.is_canonical(&[b':'; 10_000]));
        assert!(!calls.is_canonical(b"colors:\xff"));
    }

    /// Words that often fit the patterns above.
    fn word() -> impl Strategy<Value = Vec<u8>> {
        let literal = prop::sample::select(vec![
            "all",
            "size",
            "colors",
            "open",
            "list",
            "in",
            "limit",
            "after",
            "subject",
            "page",
            "questions",
        ]);
        prop_oneof![
            4 => literal.prop_map(|w| w.as_bytes().to_vec()),
            3 => "[-+]?0?[0-3]".prop_map(String::into_bytes),
            2 => "[ab,:%]{0,4}|%2[cC5]|a?,b?(%2C)?".prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ]
    }

    fn call() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let int = || "[-+]?0?[0-9]{1,2}".prop_map(String::into_bytes);
        let text = || "[ab,:%25C]{0,5}".prop_map(String::into_bytes);
        let group = |name: &'static str, value: BoxedStrategy<Vec<u8>>| {
            prop::option::of(value.prop_map(move |v| vec![name.as_bytes().to_vec(), v]))
        };
        let open =
            (group("subject", text().boxed()), group("page", int().boxed()), any::<bool>()).prop_map(|(a, b, swap)| {
                let (a, b) = (a.unwrap_or_default(), b.unwrap_or_default());
                [vec![b"open".to_vec()], if swap { [b, a].concat() } else { [a, b].concat() }].concat()
            });
        let size =
            (int(), int(), group("limit", int().boxed()), group("after", int().boxed())).prop_map(|(a, b, c, d)| {
                [vec![b"size".to_vec(), a, b], d.unwrap_or_default(), c.unwrap_or_default()].concat()
            });
        let colors = text().prop_map(|t| vec![b"colors".to_vec(), t]);
        prop_oneof![prop::collection::vec(word(), 0..8), open, size, colors]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn every_key_is_canonical(words in call()) {
            let calls = calls(&BEAR);
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let mut out = Vec::new();
            if calls.write_key(&words, 1_000, &mut out).is_ok() {
                prop_assert!(calls.is_canonical(&out), "{}", shorten(&out));
            } else {
                prop_assert!(out.is_empty());
            }
        }

        #[test]
        fn a_key_stands_for_one_query_and_its_values(a in call(), b in call()) {
            let calls = calls(&BEAR);
            let bind = |words: &[Vec<u8>]| calls.bind(&words.iter().map(Vec::as_slice).collect::<Vec<_>>(), 1_000);
            if let (Ok(a), Ok(b)) = (bind(&a), bind(&b)) {
                prop_assert_eq!(a.key == b.key, (a.query, &a.args) == (b.query, &b.args));
            }
        }

        #[test]
        fn any_key_of_a_keyspace_may_be_asked_about(key in prop::collection::vec(any::<u8>(), 0..30), near in "(size|colors|open|list)(:[a-c0-2%,]{0,4}){0,6}") {
            let calls = calls(&BEAR);
            calls.is_canonical(&key);
            calls.is_canonical(near.as_bytes());
        }
    }
}

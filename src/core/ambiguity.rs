//! Whether some words fit two queries of a section: refused when the catalog is loaded, so that a call has one meaning
//! and an entry's key one query.
//!
//! Each pattern is an automaton over words; two are compared by walking their product. Whether one word can be of two
//! types is answered generously, and by what may be typed rather than by canonical texts: `1` is an int and a bool.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::call::{CallPattern, Part};
use super::value::{ArgType, ScalarType};
use super::word::{self, Spelling};

/// A sentence for each pair of patterns that some words fit both.
pub(super) fn conflicts(patterns: &[Arc<CallPattern>]) -> Vec<String> {
    let mut sentences = Vec::new();
    for (i, a) in patterns.iter().enumerate() {
        for b in &patterns[i + 1..] {
            if overlap(a, b) {
                sentences.push(format!(
                    "the calls '{}' and '{}' fit the same words; begin them with different words",
                    a.text(),
                    b.text()
                ));
            }
        }
    }
    sentences
}

/// Where the reading of a pattern stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    /// So many of the parts are read.
    Parts(usize),
    /// Between groups; a bit for each that was read.
    Between(u32),
    /// Within a group, so many of its words are read.
    Within { seen: u32, group: usize, read: usize },
}

fn overlap(a: &CallPattern, b: &CallPattern) -> bool {
    let start = (State::Parts(0), State::Parts(0));
    let mut seen = FxHashSet::from_iter([start]);
    let mut open = vec![start];
    while let Some((in_a, in_b)) = open.pop() {
        if may_end(a, in_a) && may_end(b, in_b) {
            return true;
        }
        for (part_a, next_a) in steps(a, in_a) {
            for (part_b, next_b) in steps(b, in_b) {
                if parts_overlap((a, part_a), (b, part_b)) && seen.insert((next_a, next_b)) {
                    open.push((next_a, next_b));
                }
            }
        }
    }
    false
}

fn may_end(pattern: &CallPattern, state: State) -> bool {
    match state {
        State::Parts(read) => read + pattern.omissible >= pattern.parts.len(),
        State::Between(_) => true,
        State::Within { .. } => false,
    }
}

fn steps(pattern: &CallPattern, state: State) -> Vec<(&Part, State)> {
    let mut steps = Vec::new();
    let seen = match state {
        State::Within { seen, group, read } => {
            return vec![(&pattern.groups[group][read], within(pattern, seen, group, read + 1))];
        }
        State::Parts(read) => {
            if let Some(part) = pattern.parts.get(read) {
                steps.push((part, State::Parts(read + 1)));
            }
            0
        }
        State::Between(seen) => seen,
    };
    if may_end(pattern, state) {
        for (group, parts) in pattern.groups.iter().enumerate() {
            let bit = 1 << group;
            if seen & bit == 0 {
                steps.push((&parts[0], within(pattern, seen | bit, group, 1)));
            }
        }
    }
    steps
}

fn within(pattern: &CallPattern, seen: u32, group: usize, read: usize) -> State {
    if read == pattern.groups[group].len() {
        State::Between(seen)
    } else {
        State::Within { seen, group, read }
    }
}

fn parts_overlap((a, part_a): (&CallPattern, &Part), (b, part_b): (&CallPattern, &Part)) -> bool {
    match (part_a, part_b) {
        (Part::Literal(x), Part::Literal(y)) => x == y,
        (Part::Literal(word), Part::Arg(arg)) => accepts(b.args()[*arg].ty, word),
        (Part::Arg(arg), Part::Literal(word)) => accepts(a.args()[*arg].ty, word),
        (Part::Arg(x), Part::Arg(y)) => types_overlap(a.args()[*x].ty, b.args()[*y].ty),
    }
}

fn accepts(ty: ArgType, literal: &str) -> bool {
    word::write_for_key(ty, literal.as_bytes(), Spelling::Typed, &mut Vec::new()).is_ok()
}

/// Whether some word can be typed for both types.
fn types_overlap(a: ArgType, b: ArgType) -> bool {
    use ScalarType::{Bool, Date, Float, Int, Json, Numeric, Text, Timestamp, TimestampTz, Uuid};
    if a.array || b.array || a == b {
        return true;
    }
    match (a.scalar, b.scalar) {
        (Text | Json, _) | (_, Text | Json) => true,
        (Int | Float | Numeric | Bool, Int | Float | Numeric | Bool) => true,
        // An uuid without hyphens may be all digits, but too many for an int.
        (Uuid, Float | Numeric) | (Float | Numeric, Uuid) => true,
        (Timestamp, TimestampTz) | (TimestampTz, Timestamp) => true,
        (Int | Float | Numeric | Bool | Uuid | Date | Timestamp | TimestampTz, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::calls::Calls;
    use super::*;

    fn conflict(a: &str, b: &str) -> bool {
        let patterns: Vec<_> = [a, b].iter().map(|text| Arc::new(CallPattern::parse(text).unwrap())).collect();
        !conflicts(&patterns).is_empty()
    }

    #[test]
    fn calls_that_fit_the_same_words_are_found() {
        for (a, b) in [
            ("all", "all"),
            ("size {a:int}", "size {b:float}"),
            ("size {a:int}", "size {b:text}"),
            ("size {a:int}", "size {b:bool}"),
            ("size {a:int}", "size {b:int[]}"),
            ("find all", "find {q:text}"),
            ("find 7", "find {n:int}"),
            ("find {n:int}", "find {n:int} [page {page:int}]"),
            ("find {n:int}", "find {n:int} {page:int=1}"),
            ("find [a {a:int}] [b {b:int}]", "find b {x:int} a {y:int}"),
            ("find {q:text} {r:text}", "find [page {page:int}]"),
            ("{id:int}", "{page:int}"),
            ("find {u:uuid}", "find {n:numeric}"),
            ("at {t:timestamp}", "at {t:timestamptz}"),
            ("find {a:int=1} {b:int=2}", "find [a {c:text}] [7 {d:int}]"),
        ] {
            assert!(conflict(a, b), "{a} / {b}");
            assert!(conflict(b, a), "{b} / {a}");
        }
    }

    #[test]
    fn calls_that_differ_are_not_refused() {
        for (a, b) in [
            ("all", "any"),
            ("{id:int}", "{id:uuid}"),
            ("{id:int}", "{day:date}"),
            ("{id:int}", "all"),
            ("{id:int}", "{id:int} questions"),
            ("colors {c:text[]}", "colors {c:text[]} size {a:int} {b:int}"),
            ("find {n:int}", "find all"),
            ("find {n:int} [page {page:int}]", "find {n:int} {m:int} [page {page:int}]"),
            ("find [a {a:int}]", "find b {b:int}"),
            ("at {d:date}", "at {t:timestamptz}"),
        ] {
            assert!(!conflict(a, b), "{a} / {b}");
            assert!(!conflict(b, a), "{b} / {a}");
        }
    }

    #[test]
    fn many_optional_groups_do_not_explode() {
        let groups: String = (0..8).map(|i| format!(" [g{i} {{a{i}:text}} {{b{i}:text}} {{c{i}:text}}]")).collect();
        assert!(!conflict(&format!("x{groups}"), &format!("x {{t:text}}{groups}")));
    }

    /// Small patterns over few words, so that two of them often meet.
    fn pattern() -> impl Strategy<Value = CallPattern> {
        let part = || prop::sample::select(vec!["a", "b", "1", "int", "bool", "text", "numeric", "int[]", "text[]"]);
        let default = || prop::sample::select(vec!["int=1", "text=a", "text=", "bool=true", "int[]=1"]);
        let group = ("[ab1]", prop::collection::vec(part(), 1..3));
        let parts = prop::collection::vec(part(), 0..3);
        let shape = (parts, prop::collection::vec(default(), 0..3), prop::collection::vec(group, 0..3));
        shape.prop_filter_map("not a pattern", |(parts, defaults, groups)| {
            let mut names = 0;
            let mut show = |part: &str| match part {
                "a" | "b" | "1" => part.to_owned(),
                ty => {
                    names += 1;
                    format!("{{x{names}:{ty}}}")
                }
            };
            let mut text = "a".to_owned();
            for part in parts.into_iter().chain(defaults) {
                text += &format!(" {}", show(part));
            }
            for (head, parts) in groups {
                let parts: Vec<_> = parts.into_iter().map(&mut show).collect();
                text += &format!(" [{head} {}]", parts.join(" "));
            }
            CallPattern::parse(&text).ok()
        })
    }

    fn words() -> impl Strategy<Value = Vec<&'static [u8]>> {
        let word = prop::sample::select(vec!["a", "b", "1", "01", "true", "", "1,1", "1.0"]);
        prop::collection::vec(word, 0..7)
            .prop_map(|words| std::iter::once("a").chain(words).map(str::as_bytes).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn words_fit_one_call_of_a_catalog_that_loads(
            a in pattern(),
            b in pattern(),
            calls in prop::collection::vec(words(), 20),
        ) {
            let (a, b) = (Arc::new(a), Arc::new(b));
            let only = |pattern: &Arc<CallPattern>| Calls::new("x", vec![pattern.clone()]).unwrap();
            let both = Calls::new("x", vec![a.clone(), b.clone()]);
            for words in calls {
                let fits: Vec<_> = [&a, &b].into_iter().filter_map(|p| only(p).bind(&words, 100).ok()).collect();
                for bound in &fits {
                    prop_assert!(only(&a).is_canonical(&bound.key) || only(&b).is_canonical(&bound.key));
                }
                if let Ok(both) = &both {
                    prop_assert!(fits.len() <= 1, "{} | {} fit {:?}", a.text(), b.text(), words);
                    for bound in &fits {
                        prop_assert!(both.is_canonical(&bound.key));
                    }
                }
            }
        }
    }
}

//! Whether some words fit two queries of a section: refused when the catalog is loaded, so that a call has one meaning
//! and an entry's key one query.
//!
//! Each pattern is an automaton over words; two are compared by walking their product. Whether one word can be of two
//! types is answered generously, and by what may be typed rather than by canonical texts: `1` is an int and a bool.
//!
//! Not every two are compared, which would be millions in a section of some thousand queries: words that fit both begin
//! with what both demand, so a tree of the demanded parts leads from each pattern to those that it can meet.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::pattern::{CallPattern, Part};
use super::word::{self, Spelling};
use crate::core::values::value::{ArgType, ScalarType};

/// Conflicts that are looked for: a thousand calls that are all the same have half a million.
const MAX_CONFLICTS: usize = 20;

/// A sentence for each pair of patterns that some words fit both; for some of them where they are many.
pub(in crate::core) fn conflicts(patterns: &[Arc<CallPattern>]) -> Vec<String> {
    let search = Search::over(patterns);
    let sentence = |(a, b): &(usize, usize)| {
        format!(
            "the calls '{}' and '{}' fit the same words; begin them with different words",
            patterns[*a].text(),
            patterns[*b].text()
        )
    };
    search.found.iter().map(sentence).collect()
}

/// A place in the tree of the parts that patterns demand: those before their arguments with defaults and their groups.
#[derive(Default)]
struct Node<'a> {
    /// Patterns that demand no more.
    ends: Vec<usize>,
    words: FxHashMap<&'a str, Node<'a>>,
    arguments: FxHashMap<ArgType, Node<'a>>,
}

impl<'a> Node<'a> {
    fn insert(&mut self, pattern: &'a CallPattern, index: usize) {
        let mut node = self;
        for part in &pattern.parts[..pattern.parts.len() - pattern.omissible] {
            node = match part {
                Part::Literal(word) => node.words.entry(word).or_default(),
                Part::Arg(arg) => node.arguments.entry(pattern.args()[*arg].ty).or_default(),
            };
        }
        node.ends.push(index);
    }

    fn children(&self) -> impl Iterator<Item = &Node<'a>> {
        self.words.values().chain(self.arguments.values())
    }
}

struct Search<'p> {
    patterns: &'p [Arc<CallPattern>],
    found: BTreeSet<(usize, usize)>,
    /// Pairs that were looked at.
    compared: usize,
}

impl Search<'_> {
    fn over(patterns: &[Arc<CallPattern>]) -> Search<'_> {
        let mut root = Node::default();
        for (index, pattern) in patterns.iter().enumerate() {
            root.insert(pattern, index);
        }
        let mut search = Search { patterns, found: BTreeSet::new(), compared: 0 };
        search.within(&root);
        search
    }

    fn is_over(&self) -> bool {
        self.found.len() >= MAX_CONFLICTS
    }

    /// Compares the patterns that lead to a node, or through it, with each other.
    fn within(&mut self, node: &Node) {
        for (at, a) in node.ends.iter().enumerate() {
            for b in &node.ends[at + 1..] {
                self.compare(*a, *b);
                if self.is_over() {
                    return;
                }
            }
        }
        self.ends_below(&node.ends, node);
        for (word, of_word) in &node.words {
            self.within(of_word);
            for (ty, of_type) in &node.arguments {
                if accepts(*ty, word) {
                    self.between(of_word, of_type);
                }
            }
        }
        let arguments: Vec<_> = node.arguments.iter().collect();
        for (at, (ty, of_type)) in arguments.iter().enumerate() {
            self.within(of_type);
            for (other, of_other) in &arguments[at + 1..] {
                if types_overlap(**ty, **other) {
                    self.between(of_type, of_other);
                }
            }
        }
    }

    /// Compares those of one node with those of another, which some words lead to, too.
    fn between(&mut self, a: &Node, b: &Node) {
        if self.is_over() {
            return;
        }
        for end in &a.ends {
            self.compare_all(*end, &b.ends);
        }
        self.ends_below(&a.ends, b);
        self.ends_below(&b.ends, a);
        let (few, many) = if a.words.len() <= b.words.len() { (a, b) } else { (b, a) };
        for (word, of_few) in &few.words {
            if let Some(of_many) = many.words.get(word) {
                self.between(of_few, of_many);
            }
        }
        for (x, y) in [(a, b), (b, a)] {
            for (ty, of_type) in &x.arguments {
                for (_, of_word) in y.words.iter().filter(|(word, _)| accepts(*ty, word)) {
                    self.between(of_type, of_word);
                }
            }
        }
        for (x, of_x) in &a.arguments {
            for (_, of_y) in b.arguments.iter().filter(|(y, _)| types_overlap(*x, **y)) {
                self.between(of_x, of_y);
            }
        }
    }

    /// Patterns that demand no more go on with anything: each is compared with all below the node.
    fn ends_below(&mut self, ends: &[usize], node: &Node) {
        if ends.is_empty() || self.is_over() {
            return;
        }
        for child in node.children() {
            for end in ends {
                self.compare_all(*end, &child.ends);
            }
            self.ends_below(ends, child);
        }
    }

    fn compare_all(&mut self, a: usize, others: &[usize]) {
        for b in others {
            if self.is_over() {
                return;
            }
            self.compare(a, *b);
        }
    }

    fn compare(&mut self, a: usize, b: usize) {
        self.compared += 1;
        if overlap(&self.patterns[a], &self.patterns[b]) {
            self.found.insert((a.min(b), a.max(b)));
        }
    }
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

    use super::*;
    use crate::core::calls::lookup::Calls;

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

    fn patterns(texts: impl Iterator<Item = String>) -> Vec<Arc<CallPattern>> {
        texts.map(|text| Arc::new(CallPattern::parse(&text).unwrap())).collect()
    }

    #[test]
    fn thousands_of_calls_are_compared_with_the_few_that_they_may_meet() {
        let many = 3_000;
        let shapes: [fn(usize) -> String; 5] = [
            |i| format!("q{i} {{a:int}}"),
            |i| format!("list q{i} {{a:int}} [page {{page:int}}]"),
            |i| format!("{{id:int}} q{i}"),
            |i| format!("list {{a:text}} q{i} [page {{page:int}}]"),
            |i| if i == 0 { "list [page {page:int}]".to_owned() } else { format!("list q{i} [page {{page:int}}]") },
        ];
        for (at, shape) in shapes.iter().enumerate() {
            let patterns = patterns((0..many).map(shape));
            let search = Search::over(&patterns);
            assert!(search.found.is_empty() && search.compared <= 2 * many, "{at}: {}", search.compared);
        }
    }

    #[test]
    fn of_many_conflicts_some_are_told() {
        let same = patterns((0..3_000).map(|_| "all".to_owned()));
        assert_eq!(conflicts(&same).len(), MAX_CONFLICTS);
        assert!(Search::over(&same).compared <= 2 * MAX_CONFLICTS);
        let prefix = patterns((0..3_000).map(|i| format!("a {{x{i}:int=1}}")));
        assert!(Search::over(&prefix).compared <= 2 * MAX_CONFLICTS);
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
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn no_conflict_is_missed_for_being_left_out(some in prop::collection::vec(pattern(), 2..7)) {
            let some: Vec<_> = some.into_iter().map(Arc::new).collect();
            let pairs = (0..some.len()).flat_map(|a| (a + 1..some.len()).map(move |b| (a, b)));
            let all: BTreeSet<_> = pairs.filter(|(a, b)| overlap(&some[*a], &some[*b])).collect();
            prop_assert_eq!(Search::over(&some).found, all);
        }
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

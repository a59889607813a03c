//! What is derived of the statements of `tests/traps.tsv`: each closes a case that made an answer stale, or would where its
//! rule was left out. `tests/rules.txt` says what must come out.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::fixtures::{statements, Fixture, OF_ALL_VERSIONS};

/// By the statement's name.
fn expected() -> BTreeMap<&'static str, &'static str> {
    let parts = include_str!("tests/rules.txt").split("## ").skip(1);
    parts.map(|part| part.split_once('\n').expect("a name and rules")).collect()
}

fn compare(fixture: &Fixture, names: &mut dyn Iterator<Item = &'static str>) {
    let expected = expected();
    let mut differences = String::new();
    for name in names {
        let found = fixture.rendered(name);
        let wanted = expected.get(name).copied().unwrap_or_default();
        if found.trim_end() != wanted.trim_end() {
            write!(differences, "## {name}\n{found}\nbut expected:\n{wanted}\n").unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn each_statement_of_the_traps_has_its_rules() {
    compare(&Fixture::of("15"), &mut statements().map(|(name, _)| name));
    assert_eq!(expected().len(), statements().count());
}

#[test]
fn trees_of_each_version_are_derived_alike() {
    for version in ["13", "16", "18"] {
        compare(&Fixture::of(version), &mut OF_ALL_VERSIONS.into_iter());
    }
}

#[test]
fn what_is_not_known_makes_it_coarser_never_an_error() {
    // Each node of each tree in turn is of a kind that nobody knows: no panic, and no relation is lost.
    for name in ["a recursion", "through a union", "shown only", "constants", "row security"] {
        let fixture = Fixture::of("15");
        let tree = &fixture.trees[name];
        let text = super::fixtures::shortened(tree);
        for (at, _) in text.match_indices('{').skip(1) {
            let end = at + 1 + text[at + 1..].find([' ', '}']).expect("the end of a kind");
            // Without entries of range tables there are no relations either.
            if ["RANGETBLENTRY", "QUERY", "COMMONTABLEEXPR"].contains(&&text[at + 1..end]) {
                continue;
            }
            let changed = format!("{}STRANGE{}", &text[..=at], &text[end..]);
            let derived = super::derive(&super::tree::read(&changed).unwrap()[0], &fixture.facts);
            let relations = |derived: &super::Derived| {
                derived.rules.iter().map(|rule| rule.relation).collect::<std::collections::BTreeSet<_>>()
            };
            assert_eq!(relations(&derived), relations(&fixture.derived(name)), "{name}: {changed}");
        }
    }
}

/// In quals and in what is shown, of the operator that is least of a surprise.
#[test]
fn the_deepest_tree_takes_half_of_the_stack_that_is_left_for_it() {
    let sum = |depth: usize| {
        let before = "{OPEXPR :opno 551 :opfuncid 177 :opresulttype 23 :args (".repeat(depth);
        format!("{before}{{VAR :varno 1 :varattno 1 :varlevelsup 0}}{}", ")}".repeat(depth))
    };
    let tree = move |depth: usize| {
        let sum = sum(depth);
        format!(
            "({{QUERY :commandType 1 :rtable ({{RANGETBLENTRY :rtekind 0 :relid 16384 :eref {{ALIAS :aliasname p :colnames (\"id\")}}}}) \
             :jointree {{FROMEXPR :fromlist ({{RANGETBLREF :rtindex 1}}) :quals {{OPEXPR :opno 96 :args ({sum} {sum})}}}} \
             :targetList ({{TARGETENTRY :resno 1 :resname n :expr {sum}}})}})"
        )
    };
    let thread = std::thread::Builder::new().stack_size(super::tree::STACK / 2);
    let derived = thread.spawn(move || {
        let (deepest, trees) =
            (1..1_100).rev().find_map(|depth| Some((depth, super::tree::read(&tree(depth)).ok()?))).expect("a depth");
        let derived = super::derive(&trees[0], &super::facts::Facts::default());
        (deepest, derived.rules.len(), trees[0].clone().oids().operators.len())
    });
    let (deepest, rules, operators) = derived.unwrap().join().expect("it does not end the process");
    assert!(deepest > 900, "{deepest}");
    assert_eq!((rules, operators), (1, 2));
}

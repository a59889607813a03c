//! What a condition of the SQL implies, test by test. Whole declarations are compared in `postgres/check/tests/proofs.rs`,
//! against trees of a real server.

use super::implied::Concerned;
use super::listing::Held;
use crate::core::calls::pattern::CallPattern;
use crate::core::calls::predicate::Predicate;
use crate::core::catalog::ParamSource;
use crate::core::derive::expression::Expression::{self, *};
use crate::core::derive::facts::{Comparison, Family, Operator};
use crate::core::derive::{Link, Reads, Rule};

fn compare(comparison: Comparison, left: Expression, right: Expression) -> Expression {
    Compare(Operator { comparison, family: Family::Number }, Box::new([left, right]))
}

fn rule(occurrence: usize, local: Vec<Expression>, links: &[(i16, usize, i16)]) -> Rule {
    let link = |(column, occurrence, of): &(i16, usize, i16)| Link {
        column: *column,
        family: Family::Number,
        occurrence: *occurrence,
        of: *of,
        of_result: false,
    };
    Rule {
        occurrence,
        relation: 1,
        alias: "t".into(),
        local,
        links: links.iter().map(link).collect(),
        reads: Reads::Row,
        coarse: None,
        is_shown_only: false,
        is_in_result: false,
        left_out: false,
    }
}

/// Is the test, of column 1, met by what the last of the rules concerns? `$1` is `{a}`, `$2` is `{b}`, `$3` is `{list}`.
fn meets(rules: &[Rule], test: &str) -> bool {
    let call = CallPattern::parse("x {a:int} [of {b:int}] [in {list:int[]}]").unwrap();
    let predicate = Predicate::parse(&format!("c {test}"), call.args()).unwrap();
    let sources = [ParamSource::Arg(0), ParamSource::Arg(1), ParamSource::Arg(2), ParamSource::Tenant];
    let concerned = Concerned { rules, sources: &sources, held: Held::default() };
    concerned.meets(rules.last().unwrap(), 1, &predicate.terms[0].test)
}

#[test]
fn a_condition_implies_what_demands_no_more() {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    let column = || Column(1);
    let number = |text: &str| Constant(Some(text.into()));
    let any = || Any(Operator { comparison: Equal, family: Family::Number }, Box::new([Column(1), Argument(3)]));
    let free = |condition| Or(vec![IsNull(Box::new(Argument(2))), condition]);
    for (condition, implied, not) in [
        (
            compare(Equal, column(), Argument(1)),
            vec!["= {a}", "<= {a}", ">= {a}", "between {a} and {a}"],
            vec!["< {a}", "= {b}", "= 5"],
        ),
        (compare(Less, column(), Argument(1)), vec!["< {a}", "<= {a}"], vec!["= {a}", "> {a}", "< {b}"]),
        (compare(LessOrEqual, column(), Argument(1)), vec!["<= {a}"], vec!["< {a}", ">= {a}", "between {a} and {b}"]),
        // The other way round.
        (compare(LessOrEqual, Argument(1), column()), vec![">= {a}"], vec!["<= {a}", "> {a}"]),
        (compare(Greater, column(), Argument(1)), vec!["> {a}", ">= {a}"], vec!["< {a}"]),
        (compare(GreaterOrEqual, column(), number("5.0")), vec![">= 5"], vec![">= 6", "> 5", ">= {a}"]),
        (compare(NotEqual, column(), Argument(1)), vec![], vec!["= {a}", "< {a}"]),
        // Of another column, or of the tenant.
        (compare(Equal, Column(2), Argument(1)), vec![], vec!["= {a}"]),
        (compare(Equal, column(), Argument(4)), vec![], vec!["= {a}", "= {b}"]),
        (any(), vec!["in {list}"], vec!["= {a}"]),
        // One of several: each must.
        (Or(vec![compare(Equal, column(), Argument(1)), Column(2)]), vec![], vec!["= {a}"]),
        (Or(vec![]), vec![], vec!["= {a}"]),
        (
            Or(vec![compare(Equal, column(), Argument(1)), compare(Less, column(), Argument(1))]),
            vec!["<= {a}"],
            vec!["= {a}"],
        ),
        (And(vec![Column(2), compare(Equal, column(), Argument(1))]), vec!["= {a}"], vec!["= {b}"]),
        // Free where the argument was left out, as the predicate is.
        (free(compare(LessOrEqual, column(), Argument(2))), vec!["<= {b}"], vec!["<= {a}"]),
        // NULL meets all.
        (Or(vec![IsNull(Box::new(column())), compare(Equal, column(), Argument(1))]), vec!["= {a}"], vec!["= {b}"]),
        (column(), vec!["= true"], vec!["= false"]),
        (Not(Box::new(column())), vec!["= false"], vec!["= true"]),
    ] {
        let rules = [rule(0, vec![condition.clone()], &[])];
        for (tests, expected) in [(implied, true), (not, false)] {
            for test in tests {
                assert_eq!(meets(&rules, test), expected, "{condition} and c {test}");
            }
        }
    }
}

#[test]
fn a_linked_column_has_what_the_other_one_is_restricted_to() {
    let equal = compare(Comparison::Equal, Column(7), Argument(1));
    let rules = [rule(0, vec![equal], &[]), rule(1, vec![], &[(3, 0, 7)]), rule(2, vec![], &[(1, 1, 3)])];
    assert!(meets(&rules, "= {a}"));
    assert!(!meets(&rules, "= {b}"));
    // Another column is linked.
    let rules = [rules[0].clone(), rule(1, vec![], &[(2, 0, 7)])];
    assert!(!meets(&rules, "= {a}"));
    // What links to itself ends.
    assert!(!meets(&[rule(0, vec![], &[(1, 0, 1)])], "= {a}"));
}

use super::*;
use crate::core::calls::pattern::CallPattern;
use proptest::prelude::*;

fn parse(text: &str) -> Result<Predicate, String> {
    let call = CallPattern::parse("x {a:int} {b:int} {t:text} {list:text[]}").unwrap();
    let lists = &mut |listing: Listing| match listing {
        Listing::List("product") => Ok((0, ScalarType::Int)),
        Listing::List(other) => Err(format!("there is no list '{other}'")),
        Listing::Last("none", _) => Err("there is no column 'none'".to_owned()),
        Listing::Last(column, ty) => Ok((column.len(), ty)),
    };
    Predicate::parse_linked(text, call.args(), lists).map_err(|e| e.to_string())
}

#[test]
fn terms_are_parsed() {
    let terms = |text: &str| {
        parse(text).unwrap().terms.into_iter().map(|t| (t.column.into_string(), t.test)).collect::<Vec<_>>()
    };
    let column = |name: &str| name.to_owned();
    assert_eq!(
        terms("colors overlaps {list} AND size BETWEEN {a} and {b} and x in {list}"),
        [
            (column("colors"), Test::Overlaps(Operand::Arg(3))),
            (column("size"), Test::Between(Operand::Arg(0), Operand::Arg(1))),
            (column("x"), Test::In(Operand::Arg(3))),
        ]
    );
    assert_eq!(
        terms("a={a} and b<-1.50 and c <= {b} and d>2 and e>=0 and f = 'it''s' and g = TRUE and h contains {t}"),
        [
            (column("a"), Test::Compare(Comparison::Equal, Operand::Arg(0))),
            (column("b"), Test::Compare(Comparison::Less, Operand::Number("-1.5".into()))),
            (column("c"), Test::Compare(Comparison::LessOrEqual, Operand::Arg(1))),
            (column("d"), Test::Compare(Comparison::Greater, Operand::Number("2".into()))),
            (column("e"), Test::Compare(Comparison::GreaterOrEqual, Operand::Number("0".into()))),
            (column("f"), Test::Compare(Comparison::Equal, Operand::Text("it's".into()))),
            (column("g"), Test::Compare(Comparison::Equal, Operand::Bool(true))),
            (column("h"), Test::Contains(Operand::Arg(2))),
        ]
    );
    let predicate = parse("b = 1 and a = 2 and b > 3").unwrap();
    assert_eq!(predicate.columns().collect::<Vec<_>>(), ["b", "a"]);
}

#[test]
fn wrong_predicates_are_refused() {
    for (text, reason) in [
        ("", "a term is missing"),
        ("id = {id}", "no argument {id}; it has {a} {b} {t} {list}"),
        ("id", "an operator must follow 'id'"),
        ("id =", "must follow '='"),
        ("id like {t}", "an operator must follow 'id'"),
        ("id = {a} and", "a term is missing"),
        ("{a} = id", "begins with a column"),
        ("id = {list}", "takes a single value, but {list} is text[]"),
        ("id between {a}", "goes on with 'and y'"),
        ("id in {a}", "takes an array argument, but {a} is int"),
        ("id in 5", "takes an array argument"),
        ("id overlaps {t}", "takes an array argument"),
        ("name > {t}", "cannot compare text"),
        ("name between 'a' and 'b'", "cannot compare text"),
        ("id = 1x", "'1x' is not a number"),
        ("id = 'x", "not closed"),
        ("id = {a", "'}' is missing"),
        ("id = other", "must follow '='"),
        ("id = {a} id = {b}", "'and', 'or' or the end must follow a term, got 'id'"),
        ("id = {a} or", "a term is missing"),
        ("(id = {a}", "')' is missing at the end"),
        ("(id = {a} id", "'and', 'or' or ')' must follow a term, got 'id'"),
        ("id = {a})", "'and', 'or' or the end must follow a term, got ')'"),
        ("not", "a term is missing"),
        ("id in (1, 2", "')' is missing at the end of a list"),
        ("id in (1 2)", "',' or ')' must follow in a list, got '2'"),
        ("id in ()", "must follow 'in', got ')'"),
        ("id in _brand", "there is no list 'brand'"),
        ("id overlaps _product", "'overlaps' takes an array argument, got '_product'"),
        ("id = _product", "must follow '=', got '_product'"),
        ("id is 5", "'id is' goes on with 'null', 'not null', 'distinct from x'"),
        ("id is distinct {a}", "'id is' goes on with"),
        ("id not like {t}", "an operator must follow 'id'"),
        ("id <> ", "must follow '<>'"),
        ("(p:int", "')' is missing after the sort keys"),
        ("(p:int q:int) <= _last", "',' or ')' must follow a sort key, got 'q'"),
        ("(p:int, q) <= _last", "a sort key is a column with its type, such as price:numeric desc"),
        ("(p:text) <= _last", "'p' is text, whose order depends on collations: end the sort keys before it"),
        ("(p:json) <= _last", "'p' is json, which has no order"),
        ("(p:money) <= _last", "the type of the sort key 'p' is missing, got 'money'"),
        ("(p:int nulls) <= _last", "'nulls' goes on with 'first' or 'last'"),
        ("(p:int) < _last", "'<= _last' must follow sort keys"),
        ("(p:int) <= {a}", "'<= _last' must follow sort keys"),
        ("(p:int) <= _last (a, b)", "'_last (…)' has 2 columns for 1 sort keys"),
        ("(p:int) <= _last (1)", "'_last (…)' takes columns of the result"),
        ("(p:int) <= _last (a", "',' or ')' must follow a column in '_last (…)'"),
        ("(none:int) <= _last", "there is no column 'none'"),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn sort_keys_are_parsed() {
    let keys = |text: &str| match &parse(text).unwrap().others[..] {
        [Condition::Within(within)] => within.keys.clone(),
        other => panic!("{other:?}"),
    };
    let key = |column: &str, ty, (is_descending, nulls_first), last| SortKey {
        column: column.into(),
        ty,
        is_descending,
        nulls_first,
        last,
    };
    assert_eq!(
        keys("a = {a} and (price:numeric DESC, id:int asc, d:date nulls first, e:uuid desc nulls last) <= _last"),
        [
            key("price", ScalarType::Numeric, (true, true), 5),
            key("id", ScalarType::Int, (false, false), 2),
            key("d", ScalarType::Date, (false, true), 1),
            key("e", ScalarType::Uuid, (true, false), 1),
        ]
    );
    assert_eq!(keys("(p:int) <= _last (cost)"), [key("p", ScalarType::Int, (false, false), 4)]);
    let predicate = Arc::new(parse("b = {b} or (a:int desc, c:int) <= _last").unwrap());
    assert_eq!(predicate.columns().collect::<Vec<_>>(), ["b", "a", "c"]);
    // Each is looked up: by its argument, and by what follows from the order.
    let look_ups = |at: usize| predicate.alternatives()[at].look_ups().cloned().collect::<Vec<_>>();
    let column = |column: &str, test| Term { column: column.into(), test };
    let bound = Test::Compare(Comparison::GreaterOrEqual, Operand::Last(1, ScalarType::Int));
    assert_eq!(look_ups(0), [column("b", Test::Compare(Comparison::Equal, Operand::Arg(1)))]);
    assert_eq!(look_ups(1), [column("a", bound)]);
}

#[test]
fn too_deep_is_refused() {
    let deep = |n: usize| format!("{}a = 1{}", "(".repeat(n), ")".repeat(n));
    assert!(parse(&deep(31)).is_ok());
    assert!(parse(&deep(32)).unwrap_err().contains("nested deeper than 32"));
    assert!(parse(&"not ".repeat(40)).unwrap_err().contains("nested deeper"));
    // Beside each other there may be any number.
    assert!(parse(&vec!["(a = 1)"; 100].join(" and ")).is_ok());
}

/// A condition as it is understood, in a spelling with all parentheses.
fn shown(condition: &Condition) -> String {
    let list = |parts: &[Condition], by: &str| format!("({})", parts.iter().map(shown).collect::<Vec<_>>().join(by));
    match condition {
        Condition::Term(term) => format!("{} {:?}", term.column, term.test),
        Condition::Not(inner) => format!("!{}", shown(inner)),
        Condition::All(parts) => list(parts, " & "),
        Condition::Any(parts) => list(parts, " | "),
        Condition::Within(within) => within.keys.iter().map(|key| format!("{key:?}")).collect(),
    }
}

#[test]
fn conditions_are_parsed_by_precedence() {
    let of = |text: &str| {
        let predicate = parse(text).unwrap();
        let terms = predicate.terms.iter().cloned().map(Condition::Term);
        terms.chain(predicate.others).map(|condition| shown(&condition)).collect::<Vec<_>>().join(" && ")
    };
    let (a, b) = ("a Compare(Equal, Arg(0))", "b Compare(Equal, Arg(1))");
    for (text, expected) in [
        ("a = {a} or b = {b} and a = {a}", format!("({a} | ({b} & {a}))")),
        ("(a = {a} or b = {b}) and a = {a}", format!("{a} && ({a} | {b})")),
        ("not a = {a} and b = {b}", format!("{b} && !{a}")),
        ("NOT (a = {a} AND b = {b})", format!("!({a} & {b})")),
        ("(a = {a} and (b = {b}))", format!("{a} && {b}")),
        ("a <> {a}", format!("!{a}")),
        ("a in _product", "a In(Listed(0, Int))".to_owned()),
        ("a not in _product", "!a In(Listed(0, Int))".to_owned()),
        ("a in (1, 2)", "(a Compare(Equal, Number(\"1\")) | a Compare(Equal, Number(\"2\")))".to_owned()),
        ("a in ('x')", "a Compare(Equal, Text(\"x\"))".to_owned()),
        ("a is null", "a Null".to_owned()),
        ("a is not null", "!a Null".to_owned()),
        ("a is not distinct from {a}", "a NotDistinct(Arg(0))".to_owned()),
        ("a is distinct from {a}", "!a NotDistinct(Arg(0))".to_owned()),
    ] {
        assert_eq!(of(text), expected, "{text}");
    }
    let predicate = parse("b = 1 or not (a = 2 and b > 3)").unwrap();
    assert_eq!((predicate.columns().collect::<Vec<_>>(), predicate.is_any()), (vec!["b", "a"], false));
}

#[test]
fn a_choice_that_can_be_looked_up_is_several_predicates() {
    for (text, count) in [
        ("a = {a}", 1),
        ("a = {a} or b = {b}", 2),
        ("a = {a} or b = {b} or a = 3", 3),
        // Looked up by `a`.
        ("a = {a} and (b = {b} or b = 3)", 1),
        // Nothing else is.
        ("a > 3 and (a = {a} or b in _product)", 2),
        ("(a = 1 or a = {a}) and (b = 1 or b = {b})", 3),
        // The same for all calls.
        ("a = 1 or a = 2", 1),
        ("not (a = {a} or b = {b})", 1),
        ("(a = {a} or a = {b}) and not a is null", 2),
        ("(a = {a} or b <> {b})", 2),
    ] {
        let predicate = Arc::new(parse(text).unwrap());
        assert_eq!(predicate.alternatives().len(), count, "{text}");
    }
    let many = |n: usize| Arc::new(parse(&vec!["a = {a}"; n].join(" or ")).unwrap());
    assert_eq!((many(16).alternatives().len(), many(17).alternatives().len()), (16, 1));
}

proptest! {
    #[test]
    fn no_text_panics(text in "[a=<>{}' 1.:(-]{0,30}|(a|=|\\{a\\}|and|between|in|'|ü| |\\(|:int|,|\\)|<=|_last){0,12}|\\PC{0,30}") {
        let _ = parse(&text);
    }
}

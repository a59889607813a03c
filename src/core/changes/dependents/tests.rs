use super::*;
use crate::core::calls::pattern::CallPattern;
use crate::core::calls::predicate::{Listing, Predicate};
use crate::core::catalog::columns_read::{Columns, Unchanged};
use crate::core::changes::image::{list_of, Image};
use crate::core::changes::looks::MAX_LOOKS;
use crate::core::values::value::{ArgType, ScalarType, Value};
use proptest::prelude::*;
use proptest::sample::{select, Index};

/// One argument of each type, as in `{i:int}` and `{li:int[]}`.
fn call() -> Arc<CallPattern> {
    let scalars =
        "{i:int} {j:int} {f:float} {n:numeric} {b:bool} {t:text} {u:uuid} {d:date} {s:timestamp} {z:timestamptz}";
    let arrays = "{li:int[]} {lf:float[]} {ln:numeric[]} {lt:text[]} {lu:uuid[]} {ld:date[]}";
    Arc::new(CallPattern::parse(&format!("x {scalars} {arrays}")).unwrap())
}

fn predicate(text: &str, call: &CallPattern) -> Arc<Predicate> {
    let lists = &mut |listing: Listing| match listing {
        Listing::List("ids") => Ok((0, ScalarType::Int)),
        Listing::List("names") => Ok((1, ScalarType::Text)),
        Listing::Last("a", ty) => Ok((2, ty)),
        Listing::Last("b", ty) => Ok((3, ty)),
        Listing::Last("c" | "id", ty) => Ok((4, ty)),
        other => Err(format!("no {other:?}")),
    };
    Arc::new(Predicate::parse_linked(text, call.args(), lists).unwrap_or_else(|e| panic!("{text}: {e}")))
}

fn change(space: &[u8], json: &str) -> RowChange {
    let image = Image::from_json(json.as_bytes()).unwrap();
    RowChange { space: space.into(), image, unchanged: Unchanged::UNKNOWN }
}

/// Values of the call, those that are not given being NULL.
fn values(call: &CallPattern, given: &[(&str, Value)]) -> Arc<[Value]> {
    let mut values = vec![Value::Null; call.args().len()];
    for (name, value) in given {
        values[call.arg_index(name).unwrap()] = value.clone();
    }
    values.into()
}

fn scalar(text: &str) -> Value {
    Value::Scalar(text.into())
}

fn found(dependents: &Dependents, change: &RowChange) -> Vec<DependentId> {
    let mut found = Vec::new();
    assert!(!dependents.find(change, usize::MAX, &mut found));
    found.sort_unstable();
    found
}

fn is_empty(dependents: &Dependents) -> bool {
    dependents.len() == 0 && dependents.spaces.is_empty()
}

const SPACE: &[u8] = b"{1}:bear:";
const OTHER: &[u8] = b"{2}:bear:";

/// `size between {i} and {j}`, with one call for each pair, in one group.
fn sizes(pairs: &[(i64, i64)]) -> (Dependents, Vec<DependentId>) {
    let (call, mut dependents) = (call(), Dependents::default());
    let predicate = predicate("size between {i} and {j}", &call);
    let ids = pairs.iter().map(|(low, high)| {
        let args = values(&call, &[("i", scalar(&low.to_string())), ("j", scalar(&high.to_string()))]);
        let dependency =
            Dependency { space: SPACE.into(), predicate: predicate.clone(), call: call.clone(), args, reads: None };
        dependents.add(format!("size:{low}:{high}").into_bytes().into(), [dependency].into())
    });
    let ids = ids.collect();
    (dependents, ids)
}

#[test]
fn a_change_finds_the_calls_its_values_belong_in() {
    let (mut dependents, ids) = sizes(&[(100, 200), (150, 160), (201, 300)]);
    assert_eq!(found(&dependents, &change(SPACE, r#"{"size":155}"#)), ids[..2]);
    assert_eq!(found(&dependents, &change(SPACE, r#"{"size":200}"#)), ids[..1]);
    assert_eq!(found(&dependents, &change(SPACE, r#"{"size":200.5}"#)), []);
    assert_eq!(found(&dependents, &change(SPACE, r#"{"size":null}"#)), ids);
    assert_eq!(found(&dependents, &change(SPACE, r#"{"name":"x"}"#)), ids);
    assert_eq!(found(&dependents, &change(OTHER, r#"{"size":155}"#)), []);
    assert_eq!(dependents.key(ids[1]).map(|key| key.to_vec()), Some(b"size:150:160".to_vec()));
    assert!(dependents.remove(ids[0]) && !dependents.remove(ids[0]));
    assert_eq!((dependents.key(ids[0]), dependents.len()), (None, 2));
    assert!(!dependents.meets(ids[0], &change(SPACE, r#"{"size":155}"#)));
    assert_eq!(found(&dependents, &change(SPACE, r#"{"size":155}"#)), ids[1..2]);
}

#[test]
fn two_calls_of_one_key_are_told_apart() {
    let (dependents, ids) = sizes(&[(100, 200), (100, 200)]);
    assert_ne!(ids[0], ids[1]);
    assert_eq!(dependents.key(ids[0]), dependents.key(ids[1]));
    assert_eq!(found(&dependents, &change(SPACE, r#"{"size":155}"#)), ids);
}

#[test]
fn a_limit_is_honoured_and_what_is_there_stays() {
    let (dependents, ids) = sizes(&[(1, 9); 5]);
    let inside = change(SPACE, r#"{"size":5}"#);
    for (limit, count, more) in [(0, 0, true), (3, 3, true), (5, 5, false), (6, 5, false)] {
        let mut found = vec![ids[4]];
        assert_eq!(dependents.find(&inside, limit, &mut found), more, "{limit}");
        assert_eq!(found.len(), 1 + count, "{limit}");
        let mut found = vec![ids[4]];
        assert_eq!(dependents.of_space(SPACE, limit, &mut found), more, "{limit}");
        assert_eq!(found.len(), 1 + count, "{limit}");
    }
    let mut found = Vec::new();
    assert!(!dependents.find(&change(SPACE, r#"{"size":10}"#), 0, &mut found));
    assert!(!dependents.of_space(OTHER, 0, &mut found) && !dependents.has_any(OTHER) && dependents.has_any(SPACE));
}

#[test]
fn a_call_with_several_interests_is_found_once() {
    let (call, mut dependents) = (call(), Dependents::default());
    let list = |elements: &[&str]| Value::Array(elements.iter().map(|e| (*e).into()).collect());
    let args = values(&call, &[("lt", list(&["brown", "red"])), ("i", scalar("5"))]);
    let colors = predicate("colors overlaps {lt}", &call);
    let exam = predicate("exam_id = {i}", &call);
    let of = |space: &[u8], predicate: &Arc<Predicate>| Dependency {
        space: space.into(),
        predicate: predicate.clone(),
        call: call.clone(),
        args: args.clone(),
        reads: None,
    };
    // The same rule twice, too: taking it out takes the group along, and then finds it gone.
    let rules = [of(SPACE, &colors), of(SPACE, &colors), of(SPACE, &exam), of(OTHER, &exam)];
    let id = dependents.add(b"key"[..].into(), rules.into());
    assert_eq!(found(&dependents, &change(SPACE, r#"{"colors":["red","brown"],"exam_id":5}"#)), [id]);
    assert_eq!(found(&dependents, &change(SPACE, r#"{"colors":["black"],"exam_id":5}"#)), [id]);
    assert_eq!(found(&dependents, &change(SPACE, r#"{"colors":["black"],"exam_id":6}"#)), []);
    assert_eq!(found(&dependents, &change(OTHER, r#"{"colors":["red"],"exam_id":6}"#)), []);
    assert!(dependents.meets(id, &change(OTHER, r#"{"exam_id":5}"#)));
    let mut all = Vec::new();
    assert!(!dependents.of_space(SPACE, 1, &mut all));
    assert_eq!(all, [id]);
    assert!(dependents.remove(id) && is_empty(&dependents));
}

/// What the index is for: how many calls are asked, of how many.
#[test]
fn few_calls_are_candidates() {
    for (text, row, most) in [
        ("size between {i} and {j}", r#"{"size":500}"#, 3),
        ("size >= {i} and size < {j}", r#"{"size":500}"#, 3),
        ("size > {n} and size <= {f}", r#"{"size":500.25}"#, 3),
        ("size = {n}", r#"{"size":500.5}"#, 1),
        ("size = {f}", r#"{"size":500}"#, 1),
        ("size in {lf} and size < {j}", r#"{"size":998.5}"#, 3),
        ("exam = {i}", r#"{"exam":500}"#, 1),
        ("exam = {i} and day between {d} and {d}", r#"{"exam":500,"day":"2026-11-21"}"#, 1),
        ("day = {d} and state = 'open'", r#"{"day":"2026-11-21","state":"open"}"#, 40),
        ("day = {d} and state = 'open'", r#"{"day":"2026-11-21","state":"closed"}"#, 0),
        ("exam in {li}", r#"{"exam":500}"#, 2),
        ("exams overlaps {li}", r#"{"exams":[500,500]}"#, 2),
        ("exams contains {i} and size >= {j}", r#"{"exams":[500],"size":0}"#, 0),
        ("exams contains {li}", r#"{"exams":[500]}"#, 1),
        ("exam in _ids", r#"{"exam":500}"#, 2),
        ("exam in _ids", r#"{"exam":null}"#, 0),
        ("exam in _ids and size <> {i}", r#"{"exam":500,"size":1}"#, 2),
        ("exam <> {i} and exam = 3", r#"{"exam":500}"#, 0),
        ("(exam = 3 or exam = 4) and exam <> {i}", r#"{"exam":500}"#, 0),
        // Full pages whose last rows have 0 to 999.
        ("(a:int, id:int) <= _last", r#"{"a":997,"id":1}"#, 3),
        ("(a:int desc) <= _last", r#"{"a":2,"id":1}"#, 3),
        ("(a:int) <= _last and a >= {i}", r#"{"a":500}"#, 1),
        ("exam = {i} and (a:int) <= _last", r#"{"exam":5,"a":6}"#, 0),
    ] {
        let (call, mut dependents) = (call(), Dependents::default());
        let predicate = predicate(text, &call);
        for n in 0..1000 {
            let of = |by: i32| scalar(&(n + by).to_string());
            let list = Value::Array([n, n + 1].map(|n| n.to_string().into()).into());
            let day = scalar(&format!("2026-11-{:02}", 1 + n % 28));
            let given =
                [("i", of(0)), ("j", of(2)), ("n", scalar(&format!("{n}.5"))), ("f", of(2)), ("d", day), ("li", list)];
            let mut args = values(&call, &given).to_vec();
            let ids = [n, n + 1].map(|n| n.to_string());
            args.push(Value::Array(list_of(ScalarType::Int, ids.iter().map(AsRef::as_ref)).unwrap()));
            args.extend([Value::Null, of(0), Value::Null, Value::Null]);
            let args = args.into();
            let dependency =
                Dependency { space: SPACE.into(), predicate: predicate.clone(), call: call.clone(), args, reads: None };
            dependents.add(b"key"[..].into(), [dependency].into());
        }
        let group = dependents.spaces[SPACE].values().next().unwrap();
        let mut asked = 0;
        let _ = group.candidates(&change(SPACE, row).image, &Looks::default(), &mut |_| {
            asked += 1;
            ControlFlow::Continue(())
        });
        assert!(asked <= most, "{text}: {asked} candidates");
    }
}

/// What cannot be looked up is gone through as far as a look is short, and no row is said to be done with that is not.
#[test]
fn a_search_gives_up_before_it_takes_long() {
    for (text, rows) in [
        // Nothing to look up by; a value that cannot be told; one that all calls have, and another that decides.
        ("size <> {i}", [r#"{"size":5}"#, r#"{"size":6}"#]),
        ("size = {i} and name = {t}", [r#"{"name":"x"}"#, r#"{"size":[1]}"#]),
        ("size = {j} and name = {t}", [r#"{"size":7,"name":"x"}"#, r#"{"size":7,"name":"y"}"#]),
    ] {
        let (call, mut dependents) = (call(), Dependents::default());
        let predicate = predicate(text, &call);
        for n in 0..3 * MAX_LOOKS {
            let given = [("i", scalar(&n.to_string())), ("j", scalar("7")), ("t", scalar("z"))];
            let args = values(&call, &given);
            let dependency =
                Dependency { space: SPACE.into(), predicate: predicate.clone(), call: call.clone(), args, reads: None };
            dependents.add(b"key"[..].into(), [dependency].into());
        }
        let rows = [r#"{"size":-1,"name":"z","other":1}"#, rows[0], rows[1]].map(|row| change(SPACE, row));
        let mut found = Vec::new();
        let looked_up = if text.contains("<>") { 0 } else { 1 };
        assert_eq!(dependents.find_rows(&rows, usize::MAX, &mut found), looked_up, "{text}");
        assert!(found.len() <= MAX_LOOKS, "{text}");
        assert_eq!(dependents.find_rows(&rows[1..], usize::MAX, &mut found), 0, "{text}");
    }
}

/// A result is found once, however many of its values are kept; and looking for it ends all the same.
#[test]
fn calls_of_a_space_are_gone_through_no_longer_than_that() {
    let (call, mut dependents) = (call(), Dependents::default());
    let predicate = predicate("exam in _ids", &call);
    let ids: Vec<String> = (0..MAX_LOOKS).map(|n| n.to_string()).collect();
    let ids = Value::Array(list_of(ScalarType::Int, ids.iter().map(AsRef::as_ref)).unwrap());
    for given in [[ids.clone(), Value::Null], [ids, Value::Null]] {
        let args: Vec<Value> = values(&call, &[]).iter().cloned().chain(given).collect();
        let args = args.into();
        let dependency =
            Dependency { space: SPACE.into(), predicate: predicate.clone(), call: call.clone(), args, reads: None };
        dependents.add(b"key"[..].into(), [dependency].into());
    }
    assert!(dependents.is_growing());
    while dependents.is_growing() {
        dependents.grow();
    }
    let mut found = Vec::new();
    assert!(!dependents.find_spaces(&Changes::of_space(SPACE, None), usize::MAX, &mut found));
    assert_eq!(dependents.find_rows(&[change(SPACE, r#"{"exam":7}"#)], usize::MAX, &mut found), 1);
}

/// A call of many values is put in place, and taken out, in slices: meanwhile it is found by just the rows that it is found by
/// then, and so are the others.
#[test]
fn a_call_of_many_values_comes_and_goes_in_slices() {
    let (call, mut dependents) = (call(), Dependents::default());
    let predicates = [predicate("exam in _ids", &call), predicate("size <= {i} and exam in _ids", &call)];
    let add = |dependents: &mut Dependents, values: std::ops::Range<usize>| {
        let ids: Vec<String> = values.map(|n| n.to_string()).collect();
        let ids = Value::Array(list_of(ScalarType::Int, ids.iter().map(AsRef::as_ref)).unwrap());
        let args: Vec<Value> = self::values(&call, &[("i", scalar("5"))]).iter().cloned().chain([ids]).collect();
        let args: Arc<[Value]> = args.into();
        let of = |space: &[u8], predicate: &Arc<Predicate>| Dependency {
            space: space.into(),
            predicate: predicate.clone(),
            call: call.clone(),
            args: args.clone(),
            reads: None,
        };
        let dependencies = [of(SPACE, &predicates[0]), of(OTHER, &predicates[1]), of(SPACE, &predicates[0])];
        dependents.add(b"key"[..].into(), dependencies.into())
    };
    let small = add(&mut dependents, 3..4);
    let large = add(&mut dependents, 0..40);
    let is_found = |dependents: &Dependents, json: &str, space| found(dependents, &change(space, json));
    let check = |dependents: &Dependents, large: &[DependentId]| {
        let both: Vec<DependentId> = [small].iter().chain(large).copied().collect();
        for space in [SPACE, OTHER] {
            assert_eq!(is_found(dependents, r#"{"exam":3,"size":1}"#, space), both);
            assert_eq!(is_found(dependents, r#"{"exam":39,"size":1}"#, space), large);
            assert_eq!(is_found(dependents, r#"{"exam":40,"size":1}"#, space), []);
            assert_eq!(is_found(dependents, r#"{"exam":null,"size":1}"#, space), []);
        }
        assert_eq!(is_found(dependents, r#"{"exam":39,"size":6}"#, OTHER), []);
        assert_eq!(is_found(dependents, r#"{"size":1}"#, SPACE), both);
    };
    let mut slices = 0;
    while dependents.is_growing() {
        check(&dependents, &[large]);
        dependents.grow();
        slices += 1;
    }
    check(&dependents, &[large]);
    assert!(slices >= 60, "{slices}");
    // All that was put in is taken out, whether it is whole or not.
    let half = add(&mut dependents, 0..40);
    (0..30).for_each(|_| dependents.grow());
    for id in [large, half] {
        dependents.retire();
        while !dependents.withdraw(id) {
            assert_eq!(is_found(&dependents, r#"{"exam":3,"size":1}"#, SPACE).first(), Some(&small));
        }
        assert!(dependents.withdraw(id));
    }
    check(&dependents, &[]);
    while dependents.is_growing() {
        dependents.grow();
    }
    assert!(dependents.remove(small) && is_empty(&dependents));
}

/// Either of two values finds the call, each looked up for itself.
#[test]
fn alternatives_are_looked_up_each() {
    let (call, mut dependents) = (call(), Dependents::default());
    let whole = predicate("exam = {i} or (day = {d} and size > 3)", &call);
    for n in 0..1000 {
        let given = [("i", scalar(&n.to_string())), ("d", scalar(&format!("2026-11-{:02}", 1 + n % 28)))];
        let args = values(&call, &given);
        let each = whole.alternatives().iter().map(|one| Dependency {
            space: SPACE.into(),
            predicate: one.clone(),
            call: call.clone(),
            args: args.clone(),
            reads: None,
        });
        dependents.add(b"key"[..].into(), each.collect());
    }
    let asked = |row: &str| {
        let mut asked = 0;
        for group in dependents.spaces[SPACE].values() {
            let _ = group.candidates(&change(SPACE, row).image, &Looks::default(), &mut |_| {
                asked += 1;
                ControlFlow::Continue(())
            });
        }
        (asked, found(&dependents, &change(SPACE, row)).len())
    };
    assert_eq!(asked(r#"{"exam":500,"day":"2026-12-01","size":4}"#), (1, 1));
    assert_eq!(asked(r#"{"exam":5000,"day":"2026-11-21","size":4}"#), (35, 35));
    assert_eq!(asked(r#"{"exam":5000,"day":"2026-11-21","size":3}"#), (0, 0));
}

#[test]
fn it_can_be_dropped_on_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Dependents>();
}

/// Terms over three columns; each fits the arguments of `call`.
const TERMS: [&str; 40] = [
    "= {i}",
    "= {f}",
    "= {n}",
    "= {b}",
    "= {t}",
    "= {u}",
    "= {d}",
    "= {z}",
    "< {i}",
    ">= {j}",
    "> {f}",
    "<= {n}",
    "between {i} and {j}",
    "between {i} and 3",
    "between {d} and {d}",
    "> {s}",
    "<= {z}",
    "< {u}",
    "in {li}",
    "in {lf}",
    "in {lt}",
    "overlaps {li}",
    "overlaps {ln}",
    "contains {li}",
    "contains {t}",
    "= 2",
    "= 'a'",
    "= true",
    "< {b}",
    "contains 2",
    "contains {lu}",
    "overlaps {ld}",
    ">= 1.5",
    "in _ids",
    "in _names",
    "is null",
    "is not null",
    "<> {i}",
    "not in {lt}",
    "is not distinct from {t}",
];

fn any_term() -> impl Strategy<Value = String> {
    let term =
        || (select(vec!["a", "b", "c"]), select(&TERMS[..])).prop_map(|(column, test)| format!("{column} {test}"));
    let key = || {
        let order = select(vec!["", " desc", " nulls first", " desc nulls last"]);
        (select(vec!["a", "b", "c"]), select(vec!["int", "numeric", "float", "date"]), order)
    };
    let key = || key().prop_map(|(column, ty, order)| format!("{column}:{ty}{order}"));
    let page = || prop::collection::vec(key(), 1..3).prop_map(|keys| format!("({}) <= _last", keys.join(", ")));
    prop_oneof![
        5 => term(),
        2 => page(),
        1 => (term(), page()).prop_map(|(a, b)| format!("({a} or {b})")),
        1 => term().prop_map(|term| format!("not {term}")),
        1 => (term(), term()).prop_map(|(a, b)| format!("({a} or {b})")),
        1 => (term(), term(), term()).prop_map(|(a, b, c)| format!("({a} or ({b} and not ({c})))")),
    ]
}

/// Few values, so that many are equal; canonical, but for one that fits no type.
fn raw_values(ty: ScalarType) -> Vec<&'static str> {
    match ty {
        ScalarType::Int => vec!["-1", "0", "1", "2", "3", "9007199254740993"],
        ScalarType::Float => vec!["-1", "0", "0.1", "0.10000000149011612", "2", "3"],
        ScalarType::Numeric => vec!["-1.5", "0.1", "0.1000000001", "1.5", "2", "9007199254740993", "1e"],
        ScalarType::Bool => vec!["true", "false"],
        ScalarType::Text | ScalarType::Json => vec!["a", "b", "2", "2026-11-21", ""],
        ScalarType::Uuid => {
            vec!["0a1b2c3d-0000-4000-8000-00000000000e", "0a1b2c3d-0000-4000-8000-00000000000f"]
        }
        ScalarType::Date => vec!["2026-11-20", "2026-11-21", "2026-11-22"],
        ScalarType::Timestamp => vec!["2026-11-21T00:00:00", "2026-11-21T10:00:00.5"],
        ScalarType::TimestampTz => vec!["2026-11-21T00:00:00Z", "2026-11-21T10:00:00.5Z"],
    }
}

fn any_value(ty: ArgType) -> BoxedStrategy<Value> {
    let raw = select(raw_values(ty.scalar)).prop_map(Box::<str>::from);
    let value = match ty.array {
        false => raw.prop_map(Value::Scalar).boxed(),
        true => prop::collection::vec(raw, 0..4).prop_map(|elements| Value::Array(elements.into())).boxed(),
    };
    prop_oneof![4 => value, 1 => Just(Value::Null)].boxed()
}

fn any_values() -> impl Strategy<Value = Arc<[Value]>> {
    let args = call().args().iter().map(|arg| any_value(arg.ty)).collect::<Vec<_>>();
    let last = [any_last(), any_last(), any_last()];
    (args, any_list(ScalarType::Int), any_list(ScalarType::Text), last).prop_map(|(mut values, ids, names, last)| {
        values.extend([ids, names]);
        values.extend(last);
        Arc::from(values)
    })
}

/// What a last row has in a column: a value, of the type or not, none, or nobody can tell.
fn any_last() -> impl Strategy<Value = Value> {
    let raw = select(vec!["-1", "0", "1", "2", "3", "0.1", "1.5", "2026-11-21", "2026-11-22"]);
    let value = raw.prop_map(|raw| Value::Scalar(raw.into()));
    prop_oneof![5 => value, 1 => Just(Value::Array(Box::default())), 1 => Just(Value::Null)]
}

/// What a result lists: in one spelling, sorted; NULL where it is too much.
fn any_list(ty: ScalarType) -> impl Strategy<Value = Value> {
    let values = prop::collection::vec(select(raw_values(ty)), 0..4);
    let list = move |values: Vec<&str>| list_of(ty, values.into_iter()).map_or(Value::Null, Value::Array);
    prop_oneof![4 => values.prop_map(list), 1 => Just(Value::Null)]
}

/// A cell as JSON.
fn any_cell() -> impl Strategy<Value = String> {
    let scalars = [
        "-1",
        "0",
        "1",
        "2",
        "2.0",
        "3",
        "0.1",
        "0.10",
        "1.5",
        "2e0",
        "9007199254740992",
        "9.007199254740992e+15",
        "null",
        "true",
        "false",
        r#""a""#,
        r#""b ""#,
        r#""2""#,
        r#""NaN""#,
        r#""2026-11-21""#,
        r#""2026-11-21T10:00:00.5+00:00""#,
        r#""infinity""#,
        r#""0a1b2c3d-0000-4000-8000-00000000000f""#,
    ];
    let scalar = || select(scalars.to_vec()).prop_map(str::to_owned);
    let array = prop::collection::vec(scalar(), 0..4).prop_map(|elements| format!("[{}]", elements.join(",")));
    prop_oneof![6 => scalar(), 3 => array, 1 => Just("{}".to_owned())]
}

fn any_change() -> impl Strategy<Value = RowChange> {
    let cells = prop::collection::vec(prop::option::weighted(0.9, any_cell()), 3);
    let unchanged = prop::option::of(0u8..8);
    (select(vec![SPACE, OTHER]), cells, unchanged).prop_map(|(space, cells, unchanged)| {
        let columns = ["a", "b", "c"].iter().zip(cells);
        let columns: Vec<String> =
            columns.filter_map(|(name, cell)| cell.map(|cell| format!(r#""{name}":{cell}"#))).collect();
        let unchanged = unchanged.map_or(Unchanged::UNKNOWN, |bits| Unchanged::columns(names(bits)));
        RowChange { unchanged, ..change(space, &format!("{{{}}}", columns.join(","))) }
    })
}

/// Columns of a table by the bits of a number.
fn names(bits: u8) -> impl Iterator<Item = Box<str>> {
    ["r", "s", "t"].into_iter().enumerate().filter(move |(at, _)| bits >> at & 1 == 1).map(|(_, name)| name.into())
}

/// What is done: register a call of these dependents (predicate, space, arguments), or take one out.
#[derive(Debug, Clone)]
enum Step {
    Add(Vec<(Index, bool, Arc<[Value]>)>),
    Remove(Index),
    /// Put some values in place.
    Grow,
}

fn any_step() -> impl Strategy<Value = Step> {
    let dependency = (any::<Index>(), any::<bool>(), any_values());
    prop_oneof![
        3 => prop::collection::vec(dependency, 1..3).prop_map(Step::Add),
        1 => any::<Index>().prop_map(Step::Remove),
        2 => Just(Step::Grow),
    ]
}

proptest! {
    #[test]
    fn what_is_found_is_what_meets(
        texts in prop::collection::vec((prop::collection::vec(any_term(), 1..4), prop::option::of(0u8..8)), 1..3),
        steps in prop::collection::vec(any_step(), 1..25),
        changes in prop::collection::vec(any_change(), 1..8),
        limit in 0..5usize,
    ) {
        let (call, mut dependents) = (call(), Dependents::default());
        // What a predicate is of reads some columns, or all.
        let of = |(terms, reads): &(Vec<_>, Option<u8>)| {
            (predicate(&terms.join(" and "), &call), reads.map(|bits| names(bits).collect()))
        };
        let predicates: Vec<(_, Option<Columns>)> = texts.iter().map(of).collect();
        let mut model: Vec<(DependentId, Vec<Dependency>)> = Vec::new();
        for step in steps {
            match step {
                Step::Add(list) => {
                    let list: Vec<Dependency> = list.into_iter().map(|(at, other, args)| Dependency {
                        space: if other { OTHER } else { SPACE }.into(),
                        predicate: at.get(&predicates).0.clone(),
                        call: call.clone(),
                        args,
                        reads: at.get(&predicates).1.clone(),
                    }).collect();
                    let each = list.iter().flat_map(|of| {
                        of.predicate.alternatives().iter().map(|one| Dependency { predicate: one.clone(), ..of.clone() })
                    });
                    model.push((dependents.add(b"key"[..].into(), each.collect()), list));
                }
                Step::Remove(at) if !model.is_empty() => {
                    let (id, _) = model.remove(at.index(model.len()));
                    prop_assert!(dependents.remove(id));
                }
                Step::Remove(_) => {}
                Step::Grow => dependents.grow(),
            }
        }
        prop_assert_eq!(dependents.len(), model.len());
        for change in &changes {
            let wants = |dependency: &Dependency| dependency.space == change.space
                && !dependency.reads.as_ref().is_some_and(|read| change.unchanged.covers(read))
                && dependency.predicate.meets(call.args(), &dependency.args, &change.image);
            let of_change = |dependency: &Dependency| dependency.space == change.space;
            let ids_where = |wanted: &dyn Fn(&Dependency) -> bool| -> Vec<DependentId> {
                model.iter().filter(|(_, list)| list.iter().any(wanted)).map(|(id, _)| *id).collect()
            };
            let (of_space, expected) = (ids_where(&of_change), ids_where(&wants));
            prop_assert_eq!(found(&dependents, change), expected.clone(), "{:?}", change);
            for (id, _) in &model {
                prop_assert_eq!(dependents.meets(*id, change), expected.contains(id));
            }
            let mut some = Vec::new();
            prop_assert_eq!(dependents.find(change, limit, &mut some), expected.len() > limit);
            prop_assert_eq!(some.len(), expected.len().min(limit));
            let mut all = Vec::new();
            prop_assert!(!dependents.of_space(&change.space, usize::MAX, &mut all));
            all.sort_unstable();
            prop_assert_eq!(dependents.has_any(&change.space), !of_space.is_empty());
            prop_assert_eq!(all, of_space);
        }
        for (id, _) in model {
            prop_assert!(dependents.remove(id));
        }
        prop_assert!(is_empty(&dependents));
    }
}

/// One row, or one space, at a time; true where there are more than `limit`.
impl Dependents {
    fn find(&self, change: &RowChange, limit: usize, found: &mut Vec<DependentId>) -> bool {
        self.find_rows(std::slice::from_ref(change), limit, found) == 0
    }

    fn of_space(&self, space: &[u8], limit: usize, found: &mut Vec<DependentId>) -> bool {
        !self.find_spaces(&Changes::of_space(space, None), limit, found)
    }
}

#[test]
fn calls_without_a_predicate_want_to_know_of_any_change() {
    let mut dependents = Dependents::default();
    let call = Arc::new(CallPattern::parse("all").unwrap());
    let any = |space: &[u8]| Dependency {
        space: space.into(),
        predicate: Predicate::any(),
        call: call.clone(),
        args: Arc::default(),
        reads: None,
    };
    let id = dependents.add(b"bear:all"[..].into(), [any(b"bear"), any(b"den")].into());
    for (space, concerned) in [(&b"bear"[..], true), (b"den", true), (b"cave", false)] {
        // Whatever became of the row.
        let changes = Changes::of_space(space, Some(Vec::new()));
        let mut found = Vec::new();
        assert!(dependents.find_spaces(&changes, 1, &mut found));
        assert_eq!((found.contains(&id), dependents.concerned(id, &changes)), (concerned, concerned));
    }
    dependents.remove(id);
    assert!(!dependents.has_any(b"bear") && !dependents.has_any(b"den"));
}

#[test]
fn a_change_of_what_no_call_reads_concerns_none_whatever_its_values_are() {
    let mut dependents = Dependents::default();
    let call = Arc::new(CallPattern::parse("all").unwrap());
    let reads = Some(Columns::from(["price".into()]));
    let any = Dependency { space: b"bear"[..].into(), predicate: Predicate::any(), call, args: Arc::default(), reads };
    let id = dependents.add(b"bear:all"[..].into(), [any].into());
    for (unchanged, concerned) in [
        (Unchanged::columns(["price".into(), "stock".into()]), false),
        (Unchanged::columns(["stock".into()]), true),
        (Unchanged::UNKNOWN, true),
    ] {
        for rows in [None, Some(Vec::new())] {
            let changes = Changes::of_rows(b"bear", rows, unchanged.clone());
            let mut found = Vec::new();
            assert!(dependents.find_spaces(&changes, 1, &mut found));
            assert_eq!(
                (!found.is_empty(), dependents.concerned(id, &changes)),
                (concerned, concerned),
                "{unchanged:?}"
            );
        }
    }
}

#[test]
fn there_is_demand_for_values_as_long_as_a_predicate_asks_for_them() {
    let mut dependents = Dependents::default();
    let call = call();
    let of = |space: &[u8], predicate: Arc<Predicate>| {
        let args = [Value::Scalar("1".into()), Value::Scalar("2".into())];
        Dependency { space: space.into(), predicate, call: call.clone(), args: args.into(), reads: None }
    };
    let predicate = Arc::new(Predicate::parse("size = 1", call.args()).unwrap());
    let (bears, shops) = (dependents.demand("bear"), dependents.demand("shop"));
    dependents.add(b"bear:any"[..].into(), [of(b"bear", Predicate::any())].into());
    assert!(!bears.is_any(), "any change concerns it, whatever the values");
    let first = dependents.add(b"bear:1"[..].into(), [of(b"bear", predicate.clone())].into());
    let second = dependents.add(b"{7}:shop:1"[..].into(), [of(b"{bear}", predicate.clone())].into());
    dependents.add(b"{8}:shop:1"[..].into(), [of(b"{8}:shop", predicate)].into());
    assert!(dependents.remove(first) && bears.is_any() && shops.is_any());
    assert!(dependents.remove(second) && !bears.is_any());
    let emptied = dependents.emptied();
    drop(std::mem::replace(&mut dependents, emptied));
    assert!(!shops.is_any() && Arc::ptr_eq(&dependents.demand("shop"), &shops));
}

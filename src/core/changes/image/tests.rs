use super::*;
use crate::core::calls::pattern::CallPattern;
use crate::core::calls::predicate::Predicate;
use crate::core::values::value::{ArgType, ScalarType, Value};
use proptest::prelude::*;

fn image(json: &str) -> Image {
    Image::from_json(json.as_bytes()).unwrap_or_else(|e| panic!("the image {e}: {json}"))
}

#[test]
fn cells_keep_what_was_spelled() {
    let image = image(
        r#" {"n":12345678901234567890.50, "e":1e+30, "s":"a\u00e9\"", "t":true, "z":null, "empty":[], "":"unnamed",
            "list":[1,null,"x",false], "nested":[[1],[2]], "mixed":[1,{"a":[2]}], "object":{"n":1}} "#,
    );
    let scalar = |text: &str| Cell::Scalar(text.into());
    for (column, cell) in [
        ("n", scalar("12345678901234567890.50")),
        ("e", scalar("1e+30")),
        ("s", scalar("aé\"")),
        ("t", scalar("true")),
        ("z", Cell::Null),
        ("", scalar("unnamed")),
        ("empty", Cell::Array([].into())),
        ("list", Cell::Array([Some("1".into()), None, Some("x".into()), Some("false".into())].into())),
        ("nested", Cell::Other),
        ("mixed", Cell::Other),
        ("object", Cell::Other),
    ] {
        assert_eq!(image.get(column), Some(&cell), "{column}");
    }
    assert_eq!(image.get("N"), None);
}

#[test]
fn wrong_images_are_refused() {
    let deep = format!(r#"{{"a":{}}}"#, "[".repeat(1000));
    for (json, reason) in [
        ("", "expected"),
        ("[1]", "must be an object such as {\"id\":5,\"size\":150}, got a list"),
        ("5", "got 5"),
        ("null", "got null"),
        (r#"{"a":1,"b":2,"a":1}"#, "has the column 'a' twice"),
        (r#"{"a":{"x":1,"x":2}}"#, "key 'x' twice"),
        (r#"{"a":1} x"#, "expected the end"),
        (r#"{"a":01}"#, "expected ',' or '}'"),
        (r#"{"a":NaN}"#, "expected a value"),
        (r#"{"a":"\u0000"}"#, "\\u0000"),
        (r#"{"a":[1,}"#, "expected"),
        (r#"{"a":1"#, "expected"),
        (r#"{a:1}"#, "a key in double quotes"),
        (&deep, "nested deeper"),
    ] {
        let error = Image::from_json(json.as_bytes()).expect_err(json).to_string();
        assert!(error.contains(reason), "{json}: {error}");
    }
    assert_eq!(Image::from_json(b"{\"a\":\"\xff\"}"), Err(ImageError::Utf8 { at: 6 }));
}

/// One of each type: `{i}` and `{li}` are int and int[], and so on by the first letter; time without zone is `{s}`.
fn call() -> CallPattern {
    let scalars =
        "{i:int} {j:int} {f:float} {n:numeric} {b:bool} {t:text} {u:uuid} {d:date} {s:timestamp} {z:timestamptz}";
    let arrays = "{li:int[]} {lf:float[]} {ln:numeric[]} {lt:text[]} {lu:uuid[]} {ld:date[]}";
    CallPattern::parse(&format!("x {scalars} {arrays}")).unwrap()
}

fn canonical(ty: ScalarType, raw: &str) -> Box<str> {
    let mut out = Vec::new();
    ty.write_canonical(raw.as_bytes(), &mut out).unwrap_or_else(|e| panic!("{raw} must be {e}"));
    String::from_utf8(out).unwrap().into()
}

/// The value of an argument from `5` or `1,2`.
fn value(ty: ArgType, raw: &str) -> Value {
    match ty.array {
        false => Value::Scalar(canonical(ty.scalar, raw)),
        true => Value::Array(raw.split(',').filter(|e| !e.is_empty()).map(|e| canonical(ty.scalar, e)).collect()),
    }
}

/// Whether a row meets the predicate where the call has these arguments (`i=5 li=1,2`) and no others.
fn meets(predicate: &str, given: &str, json: &str) -> bool {
    let call = call();
    let mut values = vec![Value::Null; call.args().len()];
    for (name, raw) in given.split_whitespace().map(|word| word.split_once('=').unwrap()) {
        let index = call.arg_index(name).unwrap();
        values[index] = value(call.args()[index].ty, raw);
    }
    Predicate::parse(predicate, call.args()).unwrap().meets(call.args(), &values, &image(json))
}

/// As Postgres decides it, for values that it prints exactly.
#[test]
fn rows_meet_predicates_as_in_sql() {
    for (predicate, given, json, expected) in [
        // Numbers are compared by value, whatever the types of column and argument.
        ("c = {i}", "i=5", r#"{"c":5}"#, true),
        ("c = {i}", "i=5", r#"{"c":6}"#, false),
        ("c = {i}", "i=5", r#"{"c":"5"}"#, true),
        ("c = {i}", "i=150", r#"{"c":150.5}"#, false),
        ("c > {i}", "i=150", r#"{"c":150.5}"#, true),
        ("c < {i}", "i=-2", r#"{"c":-10}"#, true),
        ("c = {n}", "n=1.5", r#"{"c":1.50}"#, true),
        ("c = {n}", "n=1000000.01", r#"{"c":1000000.02}"#, false),
        ("c = {i}", "i=9007199254740993", r#"{"c":9007199254740992}"#, false),
        ("c >= {n}", "n=12345678901234567890.5", r#"{"c":12345678901234567890.499999999}"#, false),
        ("c = {f}", "f=0.5", r#"{"c":0.75}"#, false),
        ("c = -1.50", "", r#"{"c":-1.5}"#, true),
        ("c < 2", "", r#"{"c":10}"#, false),
        // Both ends of between are included; a half-open range is two terms.
        ("c between {i} and {j}", "i=100 j=200", r#"{"c":100}"#, true),
        ("c between {i} and {j}", "i=100 j=200", r#"{"c":200}"#, true),
        ("c between {i} and {j}", "i=100 j=200", r#"{"c":201}"#, false),
        ("c between {i} and {j}", "i=200 j=100", r#"{"c":150}"#, false),
        ("c >= {i} and c < {j}", "i=100 j=200", r#"{"c":200}"#, false),
        ("c >= {i} and c < {j}", "i=100 j=200", r#"{"c":199.99}"#, true),
        ("a = {i} and b = {j}", "i=1 j=2", r#"{"a":1,"b":3}"#, false),
        // Text is compared byte by byte.
        ("c = {t}", "t=red", r#"{"c":"red"}"#, true),
        ("c = {t}", "t=red", r#"{"c":"Red"}"#, false),
        ("c = {t}", "t=red", r#"{"c":"red   "}"#, true),
        ("c = 'it''s'", "", r#"{"c":"it's"}"#, true),
        ("c = {t}", "t=é", "{\"c\":\"e\u{301}\"}", false),
        ("c = true", "", r#"{"c":true}"#, true),
        ("c = {b}", "b=f", r#"{"c":true}"#, false),
        ("c < {b}", "b=true", r#"{"c":false}"#, true),
        ("c = {u}", "u=0A1B2C3D00004000800000000000000F", r#"{"c":"0a1b2c3d-0000-4000-8000-00000000000f"}"#, true),
        ("c > {u}", "u=0a1b2c3d-0000-4000-8000-00000000000f", r#"{"c":"0a1b2c3d-0000-4000-8000-000000000010"}"#, true),
        // A date is its midnight, the session's zone UTC.
        ("c = {d}", "d=2026-11-21", r#"{"c":"2026-11-21"}"#, true),
        ("c = {d}", "d=2026-11-21", r#"{"c":"2026-11-21T00:00:00"}"#, true),
        ("c <= {d}", "d=2026-11-21", r#"{"c":"2026-11-21T00:00:00.000001+00:00"}"#, false),
        ("c = {z}", "z=2026-11-21T10:00:00.123Z", r#"{"c":"2026-11-21T10:00:00.123+00:00"}"#, true),
        ("c = {z}", "z=2026-11-21T10:00:00Z", r#"{"c":"2026-11-21T12:00:00+02:00"}"#, true),
        ("c = {z}", "z=2026-11-21T10:00:00Z", r#"{"c":"2026-11-21 15:30:00+05:30"}"#, true),
        ("c = {z}", "z=2026-11-21T10:00:00Z", r#"{"c":"2026-11-21T10:00:00"}"#, true),
        ("c > {s}", "s=2026-11-21T10:00:00", r#"{"c":"2026-11-21T09:59:59.999999"}"#, false),
        ("c < {d}", "d=9999-12-31", r#"{"c":"9999-12-30"}"#, true),
        ("c < {d}", "d=9999-12-30", r#"{"c":"9999-12-31"}"#, false),
        ("c < {d}", "d=1969-12-31", r#"{"c":"0001-01-01"}"#, true),
        // Arrays.
        ("c in {li}", "li=1,2", r#"{"c":2}"#, true),
        ("c in {li}", "li=1,2", r#"{"c":3}"#, false),
        ("c in {li}", "li=", r#"{"c":3}"#, false),
        ("c in {lt}", "lt=a,b", r#"{"c":"b"}"#, true),
        ("c overlaps {lt}", "lt=red,brown", r#"{"c":["brown",null]}"#, true),
        ("c overlaps {lt}", "lt=red,brown", r#"{"c":["black",null]}"#, false),
        ("c overlaps {lt}", "lt=red", r#"{"c":[]}"#, false),
        ("c overlaps {lt}", "lt=", r#"{"c":["red"]}"#, false),
        ("c overlaps {li}", "li=1", r#"{"c":[1.0]}"#, true),
        ("c contains {t}", "t=red", r#"{"c":["brown","red"]}"#, true),
        ("c contains {t}", "t=red", r#"{"c":["brown"]}"#, false),
        ("c contains {lt}", "lt=red,brown", r#"{"c":["brown","red","black"]}"#, true),
        ("c contains {lt}", "lt=red,brown", r#"{"c":["brown","black"]}"#, false),
        ("c contains {lt}", "lt=", r#"{"c":[]}"#, true),
        ("c contains {lt}", "lt=red", r#"{"c":[]}"#, false),
        ("c contains 5", "", r#"{"c":[4,5]}"#, true),
        ("c contains {ld}", "ld=2026-11-21", r#"{"c":["2026-11-21","2026-11-22"]}"#, true),
    ] {
        assert_eq!(meets(predicate, given, json), expected, "{predicate} | {given} | {json}");
    }
}

/// `or`, `not` and NULLs; `c` holds what the row has.
#[test]
fn conditions_are_met_as_in_sql() {
    for (predicate, given, json, expected) in [
        ("c <> {i}", "i=5", r#"{"c":6}"#, true),
        ("c != {i}", "i=5", r#"{"c":5.0}"#, false),
        ("not c < {i}", "i=5", r#"{"c":5}"#, true),
        ("c = {i} or d = {i}", "i=5", r#"{"c":6,"d":5}"#, true),
        ("c = {i} or d = {i}", "i=5", r#"{"c":6,"d":6}"#, false),
        ("a = 1 and (c = {i} or d = {i})", "i=5", r#"{"a":2,"c":5,"d":5}"#, false),
        ("not (c = {i} and d = {i})", "i=5", r#"{"c":5,"d":5}"#, false),
        ("not (c = {i} or d = {i})", "i=5", r#"{"c":6,"d":6}"#, true),
        ("not not c = {i}", "i=5", r#"{"c":6}"#, false),
        ("c in (1, 2)", "", r#"{"c":2}"#, true),
        ("c not in (1, 2)", "", r#"{"c":2}"#, false),
        ("c not in {li}", "li=1,2", r#"{"c":3}"#, true),
        ("c is null", "", r#"{"c":null}"#, true),
        ("c is null", "", r#"{"c":0}"#, false),
        ("c is not null", "", r#"{"c":null}"#, false),
        ("c is not null and c > {i}", "i=5", r#"{"c":null}"#, false),
        ("c is not distinct from {i}", "i=5", r#"{"c":null}"#, false),
        ("c is not distinct from {i}", "", r#"{"c":null}"#, true),
        ("c is not distinct from {i}", "", r#"{"c":5}"#, false),
        ("c is distinct from {i}", "i=5", r#"{"c":null}"#, true),
        ("c is distinct from {i}", "i=5", r#"{"c":5}"#, false),
        ("c is distinct from {i}", "i=5", r#"{"c":6}"#, true),
        // A printed float may be another one than it seems, in both directions.
        ("c <> {f}", "f=0.1", r#"{"c":0.1}"#, true),
        ("c = {f}", "f=0.1", r#"{"c":0.1}"#, true),
        // Blanks at the end count in text, and not in char(n).
        ("c <> {t}", "t=red", r#"{"c":"red "}"#, true),
        ("c = {t}", "t=red", r#"{"c":"red "}"#, true),
        ("c <> {t}", "t=red", r#"{"c":"red"}"#, false),
        ("c not in {lt}", "lt=red,blue", r#"{"c":"red "}"#, true),
        // Nobody can tell: neither the test nor its negation is false.
        ("not c = {i}", "", r#"{"c":5}"#, true),
        ("not c = {i}", "i=5", "{}", true),
        ("not c = {i}", "i=5", r#"{"c":null}"#, true),
        ("not (c = {i} or d = 3)", "i=5", r#"{"c":null,"d":3}"#, false),
        ("not c contains {t}", "t=a", r#"{"c":["a",null]}"#, true),
        ("not c overlaps {lt}", "lt=a", r#"{"c":["b",null]}"#, true),
    ] {
        assert_eq!(meets(predicate, given, json), expected, "{predicate} | {given} | {json}");
    }
}

/// A list of a result's own: found by value however it is spelled, and NULL is in none.
#[test]
fn a_row_is_linked_by_what_the_result_lists() {
    let call = call();
    for (ty, held, json, expected) in [
        (ScalarType::Int, vec!["10", "7"], r#"{"c":7}"#, true),
        (ScalarType::Int, vec!["10", "7"], r#"{"c":"7"}"#, true),
        (ScalarType::Int, vec!["10", "7"], r#"{"c":7.0}"#, true),
        (ScalarType::Int, vec!["10", "7"], r#"{"c":8}"#, false),
        (ScalarType::Int, vec!["10", "7"], r#"{"c":null}"#, false),
        (ScalarType::Int, vec![], r#"{"c":7}"#, false),
        (ScalarType::Int, vec!["7"], "{}", true),
        (ScalarType::Int, vec!["7"], r#"{"c":[7]}"#, true),
        (ScalarType::Numeric, vec!["1.50"], r#"{"c":1.5}"#, true),
        (ScalarType::Numeric, vec!["1.50"], r#"{"c":1.51}"#, false),
        (ScalarType::Text, vec!["b", "a "], r#"{"c":"a"}"#, true),
        (ScalarType::Text, vec!["b", "a"], r#"{"c":"a  "}"#, true),
        (ScalarType::Text, vec!["b", "a"], r#"{"c":"A"}"#, false),
        (
            ScalarType::Uuid,
            vec!["0A1B2C3D00004000800000000000000F"],
            r#"{"c":"0a1b2c3d-0000-4000-8000-00000000000f"}"#,
            true,
        ),
        (ScalarType::Date, vec!["2026-11-21"], r#"{"c":"2026-11-21"}"#, true),
        (ScalarType::TimestampTz, vec!["2026-11-21 10:00:00+00"], r#"{"c":"2026-11-21T12:00:00+02:00"}"#, true),
    ] {
        let predicate = Predicate::parse_linked("c in _list", call.args(), &mut |_| Ok((0, ty))).unwrap();
        let mut values = vec![Value::Null; call.args().len()];
        values.push(Value::Array(list_of(ty, held.iter().copied()).unwrap()));
        assert_eq!(predicate.meets(call.args(), &values, &image(json)), expected, "{ty:?} {held:?} {json}");
        // Too much to be told: anything but NULL may be in it.
        values.pop();
        values.push(Value::Null);
        assert_eq!(predicate.meets(call.args(), &values, &image(json)), !json.contains("null"), "{json}");
    }
}

/// Where the row's value cannot be told, or may be other than it is printed.
#[test]
fn doubt_is_true() {
    for (predicate, given, json) in [
        ("c = {i}", "", r#"{"c":5}"#),
        ("c between {i} and {j}", "i=10", r#"{"c":5}"#),
        ("c between {i} and {j}", "j=1", r#"{"c":5}"#),
        ("c contains {lt}", "", r#"{"c":[]}"#),
        ("c = {i}", "i=5", "{}"),
        ("c = {i}", "i=5", r#"{"c":null}"#),
        ("c = {i}", "i=5", r#"{"c":{"i":6}}"#),
        ("c = {i}", "i=5", r#"{"c":[6]}"#),
        ("c = {i}", "i=5", r#"{"c":"$6.00"}"#),
        ("c = {i}", "i=5", r#"{"c":"NaN"}"#),
        ("c < {n}", "n=5", r#"{"c":"Infinity"}"#),
        ("c = {b}", "b=true", r#"{"c":"maybe"}"#),
        ("c = {u}", "u=0a1b2c3d-0000-4000-8000-00000000000f", r#"{"c":"5"}"#),
        ("c < {z}", "z=2026-11-21T10:00:00Z", r#"{"c":"infinity"}"#),
        ("c > {z}", "z=2026-11-21T10:00:00Z", r#"{"c":"0044-03-15T00:00:00+00:00 BC"}"#),
        ("c < {d}", "d=2026-11-21", r#"{"c":"10000-01-01"}"#),
        ("c in {li}", "li=1", r#"{"c":[2]}"#),
        ("c in {li}", "li=", r#"{"c":null}"#),
        ("c overlaps {lt}", "lt=red", r#"{"c":"brown"}"#),
        ("c overlaps {lt}", "lt=red", r#"{"c":[["brown"]]}"#),
        ("c overlaps {lf}", "lf=1", r#"{"c":[2,"NaN"]}"#),
        ("c contains {t}", "t=red", r#"{"c":null}"#),
        ("c contains {ld}", "ld=2026-11-21", r#"{"c":["infinity"]}"#),
        // A float4 that is 16777217.6 or so, 0.1 + 1.5e-9, 123456792; a float8 that is 2^53 + 2.
        ("c = {f}", "f=0.10000000149011612", r#"{"c":0.1}"#),
        ("c > {f}", "f=0.1", r#"{"c":0.1}"#),
        ("c > 0.1", "", r#"{"c":0.1}"#),
        ("c < {f}", "f=0.33333331", r#"{"c":0.33333334}"#),
        ("c = {i}", "i=123456792", r#"{"c":1.2345679e+08}"#),
        ("c = {i}", "i=9007199254740993", r#"{"c":9.007199254740992e+15}"#),
        ("c in {ln}", "ln=7,0.100000001", r#"{"c":0.1}"#),
        ("c overlaps {lf}", "lf=7,0.100000001", r#"{"c":[0.1]}"#),
    ] {
        assert!(meets(predicate, given, json), "{predicate} | {given} | {json}");
    }
}

#[test]
fn values_that_do_not_fit_restrict_nothing() {
    let call = call();
    let predicate = Predicate::parse("c = {i}", call.args()).unwrap();
    let row = image(r#"{"c":5}"#);
    for values in [vec![], vec![Value::Scalar("x".into())], vec![Value::Array([].into())]] {
        assert!(predicate.meets(call.args(), &values, &row), "{values:?}");
    }
}

/// A spelling that Postgres or a client may give.
fn spelled_instant(micros: i64, offset_minutes: i32, blank: bool) -> String {
    let offset = jiff::tz::Offset::from_seconds(offset_minutes * 60).unwrap();
    let local = offset.to_datetime(jiff::Timestamp::from_microsecond(micros).unwrap());
    let sign = if offset_minutes < 0 { '-' } else { '+' };
    let (hours, minutes) = (offset_minutes.abs() / 60, offset_minutes.abs() % 60);
    let text = format!("{local}{sign}{hours:02}:{minutes:02}");
    if blank {
        text.replace('T', " ")
    } else {
        text
    }
}

/// Cents as a decimal, with or without useless zeros.
fn spelled_cents(cents: i64, short: bool) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let text = format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100);
    if short {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// An operator and what it means.
type Relation = (&'static str, fn(i64, i64) -> bool);

fn relation() -> impl Strategy<Value = Relation> {
    let all: [Relation; 5] =
        [("=", |a, b| a == b), ("<", |a, b| a < b), ("<=", |a, b| a <= b), (">", |a, b| a > b), (">=", |a, b| a >= b)];
    prop::sample::select(all.to_vec())
}

proptest! {
    /// The model compares machine integers, and knows nothing of text.
    #[test]
    fn numbers_compare_by_value(
        (operator, holds) in relation(),
        a in prop_oneof![-1000..1000i64, any::<i64>()],
        by in -2..3i64,
        quoted in any::<bool>(),
    ) {
        let b = a.saturating_add(by);
        let json = if quoted { format!(r#"{{"c":"{a}"}}"#) } else { format!(r#"{{"c":{a}}}"#) };
        prop_assert_eq!(meets(&format!("c {operator} {{i}}"), &format!("i={b}"), &json), holds(a, b));
        prop_assert_eq!(meets(&format!("c {operator} {{n}}"), &format!("n={b}.0"), &json), holds(a, b));
        prop_assert_eq!(meets(&format!("c {operator} {b}"), "", &json), holds(a, b));
    }

    #[test]
    fn decimals_compare_by_value(
        (operator, holds) in relation(),
        a in -500_000..500_000i64,
        by in -2..3i64,
        short in any::<bool>(),
        brief in any::<bool>(),
    ) {
        let b = a + by;
        let (row, given) = (spelled_cents(a, short), spelled_cents(b, brief));
        prop_assert_eq!(meets(&format!("c {operator} {{n}}"), &format!("n={given}"), &format!(r#"{{"c":{row}}}"#)), {
            // 0.1 may be a float, which is greater and less than 0.1.
            let may_be_float = row.contains('.') && !row.ends_with('0');
            holds(a, b) || a == b && may_be_float
        });
    }

    #[test]
    fn times_compare_as_instants(
        (operator, holds) in relation(),
        a in -60_000_000_000_000_000..200_000_000_000_000_000i64,
        by in prop::sample::select(vec![-1_000_000i64, -1, 0, 1, 3_600_000_000]),
        offset in -900..900i32,
        blank in any::<bool>(),
    ) {
        let b = a + by;
        let json = format!(r#"{{"c":"{}"}}"#, spelled_instant(a, offset, blank));
        let given = format!("z={}", spelled_instant(b, 0, false));
        prop_assert_eq!(meets(&format!("c {operator} {{z}}"), &given, &json), holds(a, b));
    }

    #[test]
    fn arrays_are_sets(
        held in prop::collection::btree_set(0..6i64, 0..4),
        wanted in prop::collection::btree_set(0..6i64, 0..4),
        c in 0..6i64,
        null in any::<bool>(),
    ) {
        let join = |set: &std::collections::BTreeSet<i64>| set.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let given = format!("li={} i={c}", join(&wanted));
        let null = match (null, held.is_empty()) { (false, _) => "", (true, true) => "null", (true, false) => ",null" };
        let json = format!(r#"{{"a":[{}{null}],"c":{c}}}"#, join(&held));
        prop_assert_eq!(meets("a overlaps {li}", &given, &json), !held.is_disjoint(&wanted));
        prop_assert_eq!(meets("a contains {li}", &given, &json), wanted.is_subset(&held));
        prop_assert_eq!(meets("a contains {i}", &given, &json), held.contains(&c));
        prop_assert_eq!(meets("c in {li}", &given, &json), wanted.contains(&c));
    }

    /// What a float4 is printed as, against its value as a float8: equality is never missed.
    #[test]
    fn a_printed_float4_meets_its_value(
        float in prop::num::f32::NORMAL | prop::num::f32::POSITIVE | prop::num::f32::NEGATIVE,
        scientific in any::<bool>(),
    ) {
        let printed = if scientific || float.abs() >= 1e6 { format!("{float:e}") } else { format!("{float}") };
        let json = format!(r#"{{"c":{printed}}}"#);
        if json.len() < 60 {
            let exact = f64::from(float);
            for (predicate, given) in [
                ("c = {f}", format!("f={exact}")),
                ("c between {f} and {f}", format!("f={exact}")),
                ("c = {n}", format!("n={exact}")),
            ] {
                prop_assert!(meets(predicate, &given, &json), "{} | {} | {}", predicate, given, json);
            }
        }
    }

    #[test]
    fn places_are_in_the_order_of_values(
        a in "-?[0-9]{1,20}(\\.[0-9]{1,5})?(e-?[0-9]{1,3})?",
        b in "-?[0-9]{1,20}(\\.[0-9]{1,5})?(e-?[0-9]{1,3})?",
        ty in prop::sample::select(vec![ScalarType::Int, ScalarType::Float]),
    ) {
        let (row, operand) = (Seen::read(ty, &a).unwrap(), Comparable::read(ty, &b).unwrap());
        let (first, last) = row.places();
        prop_assert!(first <= row.value.place() && row.value.place() <= last);
        if row.value <= operand {
            prop_assert!(row.value.place() <= operand.place());
        }
        if row.may_be(crate::core::calls::predicate::Comparison::Equal, operand) {
            prop_assert!(first <= operand.place() && operand.place() <= last);
        }
    }

    #[test]
    fn no_bytes_panic(raw in prop::collection::vec(any::<u8>(), 0..40), text in "[{}\\[\\]\":,0-9a.eE\\\\ul-]{0,40}") {
        let _ = Image::from_json(&raw);
        let _ = Image::from_json(text.as_bytes());
    }
}

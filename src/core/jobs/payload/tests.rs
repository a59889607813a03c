//! Payloads by tables and properties.

use super::*;
use crate::core::catalog::job::JobBody;
use proptest::prelude::*;

/// Fields as `name type`, `?` for optional ones.
fn job(fields: &[(&str, &str)], order: Order) -> Job {
    let field = |(name, ty): &(&str, &str)| Field {
        name: (*name).into(),
        ty: ArgType::parse(ty.trim_end_matches('?')).unwrap(),
        optional: ty.ends_with('?'),
    };
    Job {
        name: "JOB".into(),
        data: fields.iter().map(field).collect(),
        body: JobBody::Each(vec![]),
        order,
        reads_data: false,
    }
}

fn written(job: &Job, raw: &str) -> Result<String, String> {
    let mut out = b"kept".to_vec();
    let result = write_checked(job, raw.as_bytes(), &mut out).map_err(|error| error.to_string());
    assert!(out.starts_with(b"kept") && (result.is_ok() || out.len() == 4));
    result.map(|()| String::from_utf8(out[4..].to_vec()).unwrap())
}

#[test]
fn fields_are_written_in_the_order_of_their_declaration() {
    let job = job(&[("id", "int"), ("name", "text?"), ("size", "int?")], Order::None);
    for (raw, expected) in [
        (r#"{"id":5}"#, r#"{"id":5}"#),
        (r#" { "id" : -0 , "name" : "\u0041\t" } "#, r#"{"id":0,"name":"A\t"}"#),
        (r#"{"size":1,"name":null,"id":5}"#, r#"{"id":5,"name":null,"size":1}"#),
        (r#"{"size":1,"\u0069d":5}"#, r#"{"id":5,"size":1}"#),
    ] {
        assert_eq!(written(&job, raw).as_deref(), Ok(expected), "{raw}");
    }
    assert_eq!(written(&super::tests::job(&[], Order::None), "{ }").as_deref(), Ok("{}"));
}

#[test]
fn each_type_has_one_spelling() {
    for (ty, raw, expected) in [
        ("int", "-9223372036854775808", "-9223372036854775808"),
        ("float", "1e3", "1000"),
        ("float", "-0.0", "-0"),
        ("float", "0.0", "0"),
        ("numeric", "1.50", "1.50"),
        ("numeric", "0.10", "0.10"),
        ("numeric", "-0.00", "0.00"),
        ("numeric", "1.0", "1.0"),
        ("numeric", "1.50e1", "15.0"),
        ("numeric", "1.5e3", "1500"),
        ("numeric", "0e3", "0"),
        ("numeric", "0e-3", "0.000"),
        ("numeric", "\"007.10\"", "7.10"),
        ("numeric", "1e3", "1000"),
        ("numeric", "-1.25e-7", "-0.000000125"),
        ("numeric", "12.5E+1", "125"),
        ("bool", "true", "true"),
        ("text", "\"\"", "\"\""),
        ("uuid", "\"0A1B2C3D00004000800000000000000F\"", "\"0a1b2c3d-0000-4000-8000-00000000000f\""),
        ("date", "\"2026-11-21\"", "\"2026-11-21\""),
        ("timestamp", "\"2026-11-21 10:00\"", "\"2026-11-21T10:00:00\""),
        ("timestamptz", "\"2026-11-21T10:00:00+02:00\"", "\"2026-11-21T08:00:00Z\""),
        ("text[]", "[ \"b\", \"a\", \"b\" ]", "[\"b\",\"a\",\"b\"]"),
        ("int[]", "[]", "[]"),
        ("json", "{\"a\": [1, null]}", "{\"a\":[1,null]}"),
        ("json?", "null", "null"),
    ] {
        let job = job(&[("x", ty)], Order::None);
        let raw = format!("{{\"x\":{raw}}}");
        assert_eq!(written(&job, &raw), Ok(format!("{{\"x\":{expected}}}")), "{ty} {raw}");
    }
}

#[test]
fn errors_name_the_field_and_what_would_be_right() {
    let job = job(
        &[
            ("size", "int"),
            ("at", "date?"),
            ("tags", "text[]?"),
            ("x", "json?"),
            ("f", "float?"),
            ("d", "numeric?"),
            ("b", "bool?"),
        ],
        Order::None,
    );
    const TAKES: &str = "JOB takes size (int), at (date, optional), tags (text[], optional), x (json, optional), \
                         f (float, optional), d (numeric, optional), b (bool, optional)";
    for (raw, message) in [
        ("", "the payload is not JSON: expected a value at byte 0"),
        ("{\"size\":1", "the payload is not JSON: expected ',' or '}' at byte 9"),
        ("{\"size\":1}x", "the payload is not JSON: expected the end at byte 10"),
        ("{\"size\":tru}", "the payload is not JSON: expected a value at byte 8"),
        ("[]", "the payload must be a JSON object, got a list"),
        ("5", "the payload must be a JSON object, got 5"),
        ("{}", &format!("field 'size' is missing; {TAKES}")),
        ("{\"size\":1,\"sise\":2}", &format!("unknown field 'sise'; {TAKES}")),
        ("{\"size\":1,\"size\":1}", "field 'size' is given twice"),
        ("{\"size\":null}", "field 'size' must be an integer of 64 bits, got null"),
        ("{\"size\":\"abc\"}", "field 'size' must be an integer of 64 bits, got the string 'abc'"),
        ("{\"size\":5.0}", "field 'size' must be an integer of 64 bits, got 5.0"),
        ("{\"size\":9223372036854775808}", "field 'size' must be an integer of 64 bits, got 9223372036854775808"),
        ("{\"at\":\"2026-02-30\"}", "field 'at' must be a string with a date such as 2026-11-21, got the string '2026-02-30'"),
        ("{\"at\":20260230}", "field 'at' must be a string with a date such as 2026-11-21, got 20260230"),
        ("{\"tags\":\"a\"}", "field 'tags' must be a list, each of it a string, got the string 'a'"),
        ("{\"tags\":[\"a\",null]}", "field 'tags' must be a list, each of it a string, got null in it"),
        ("{\"tags\":[[]]}", "field 'tags' must be a list, each of it a string, got a list in it"),
        ("{\"tags\":[\"\\u0000\"]}", "field 'tags' holds \\u0000 at byte 10, which Postgres cannot store"),
        ("{\"x\":{\"a\":1,\"a\":1}}", "field 'x' has the key 'a' twice in one object"),
        ("{\"x\":1e999999}", "field 'x' holds the number 1e999999, which is out of the range of numeric"),
        ("{\"f\":1e999}", "field 'f' must be a finite number, got 1e999"),
        ("{\"f\":1e-400}", "field 'f' must be 0 or a number that is not too small for a float8, got 1e-400"),
        ("{\"d\":1e2000}", "field 'd' must be a decimal number of at most 1000 digits, or a string that holds one, got 1e2000"),
        ("{\"d\":\"1é-1\"}", "field 'd' must be a decimal number of at most 1000 digits, or a string that holds one, got the string '1é-1'"),
        ("{\"b\":1}", "field 'b' must be true or false, got 1"),
    ] {
        assert_eq!(written(&job, raw).unwrap_err(), message, "{raw}");
    }
    let lone = written(&job, "{\"tags\":[\"\\ud800\"]}").unwrap_err();
    assert!(lone.starts_with("field 'tags' holds half of a surrogate pair at byte 10"), "{lone}");
    assert_eq!(
        write_checked(&job, b"{\"size\":\xff}", &mut Vec::new()).unwrap_err().to_string(),
        "the payload is not UTF-8 from byte 8 on"
    );
    let long = written(&job, &format!("{{\"size\":\"{}\"}}", "x".repeat(500))).unwrap_err();
    assert!(long.ends_with("x…'") && long.len() < 120, "{long}");
}

#[test]
fn equal_numbers_are_one_order_value_and_one_canonical_payload() {
    for (ty, spellings) in [("numeric", &["0.1", "0.10", "1e-1", "\"00.100\""][..]), ("float", &["0", "-0.0", "0e5"])] {
        let job = job(&[("v", ty)], Order::Fields(vec!["v".into()]));
        let canonical = |raw: &str| {
            let mut out = Vec::new();
            write_canonical(&job, raw.as_bytes(), &mut out).unwrap();
            out
        };
        let payload = |value: &&str| format!("{{\"v\":{value}}}");
        let all: Vec<String> = spellings.iter().map(payload).collect();
        for raw in &all {
            assert_eq!(canonical(raw), canonical(&all[0]), "{raw}");
            assert_eq!(
                check(&job, raw.as_bytes()).unwrap().order,
                check(&job, all[0].as_bytes()).unwrap().order,
                "{raw}"
            );
        }
    }
    let mut out = Vec::new();
    assert!(write_checked(&job(&[("v", "float")], Order::None), br#"{"v":1e-400}"#, &mut out).is_err());
}

#[test]
fn order_values_are_a_set_without_names() {
    let fields = [("from", "int"), ("to", "int?"), ("note", "text?")];
    let transfer = job(&fields, Order::Fields(vec!["from".into(), "to".into()]));
    let keys = |raw: &str| check(&transfer, raw.as_bytes()).unwrap().order;
    assert_eq!(keys(r#"{"from":1,"to":2}"#), keys(r#"{"note":"x","to":1,"from":2}"#));
    assert_eq!(keys(r#"{"from":1,"to":1}"#), keys(r#"{"from":1}"#));
    assert_eq!(keys(r#"{"from":1,"to":null}"#).len(), 1);
    assert_ne!(keys(r#"{"from":1}"#), keys(r#"{"from":2}"#));
    for order in [Order::None, Order::Barrier] {
        assert!(check(&job(&fields, order), br#"{"from":1}"#).unwrap().order.is_empty());
    }
}

#[test]
fn records_hold_the_payload_twice_where_it_is_read_as_a_whole() {
    for (n, tenant, with_data, json, expected) in [
        (1, None, true, "{}", r#"{"n":1,"data":{}}"#),
        (1, None, false, "{}", r#"{"n":1}"#),
        (20, Some("a\"b"), true, "{}", r#"{"n":20,"data":{},"tenant":"a\"b"}"#),
        (3, Some("7"), true, r#"{"id":5}"#, r#"{"n":3,"data":{"id":5},"tenant":"7","id":5}"#),
        (3, Some("7"), false, r#"{"id":5}"#, r#"{"n":3,"tenant":"7","id":5}"#),
    ] {
        let mut out = Vec::new();
        write_record(n, tenant, with_data, json.as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn parameters_are_in_postgres_text_format() {
    let job = job(
        &[
            ("i", "int"),
            ("t", "text"),
            ("a", "text[]"),
            ("n", "numeric[]"),
            ("j", "json"),
            ("x", "text?"),
            ("y", "int?"),
            ("b", "bool"),
        ],
        Order::None,
    );
    let params =
        text_params(&job, br#"{"i":5,"t":"a\"\n","a":["x","\"",""],"n":[1,2.5],"j":{"a":"b"},"x":null,"b":true}"#);
    let params: Vec<_> = params.unwrap().into_iter().map(|(name, text)| format!("{name}={text:?}")).collect();
    assert_eq!(
        params,
        [
            r#"i=Some("5")"#,
            r#"t=Some("a\"\n")"#,
            r#"a=Some("{\"x\",\"\\\"\",\"\"}")"#,
            r#"n=Some("{\"1\",\"2.5\"}")"#,
            r#"j=Some("{\"a\":\"b\"}")"#,
            "x=None",
            "y=None",
            r#"b=Some("true")"#,
        ]
    );
}

/// How long a small payload takes: `cargo test --release payload_speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn payload_speed() {
    let job = job(&[("id", "int"), ("name", "text")], Order::Fields(vec!["id".into()]));
    let raw = br#"{"id":123456,"name":"Kodiak"}"#;
    let started = std::time::Instant::now();
    for _ in 0..1_000_000 {
        std::hint::black_box(check(&job, std::hint::black_box(raw)).unwrap());
    }
    println!("{} ns", started.elapsed().as_nanos() / 1_000_000);
}

fn everything() -> Job {
    let types = [
        "int",
        "float",
        "numeric",
        "bool",
        "text",
        "uuid",
        "date",
        "timestamp",
        "timestamptz",
        "json",
        "text[]",
        "numeric[]",
    ];
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let types: Vec<String> = types.iter().map(|ty| format!("{ty}?")).collect();
    let fields: Vec<(&str, &str)> = names.into_iter().zip(types.iter().map(String::as_str)).collect();
    job(&fields, Order::Fields(vec!["a".into(), "e".into()]))
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| format!("{n:e}")),
        "-?[0-9]{1,5}(\\.[0-9]{1,4})?(e-?[0-9]{1,2})?",
        "\\PC{0,6}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        "\"(\\\\[nu\"0-9a-d\\\\]{1,5}|é|x){0,3}\"",
        "\"[0-9a-fA-F]{32}\"|\"20[0-9]{2}-[01][0-9]-[0-3][0-9]([ T][0-2][0-9]:[0-5][0-9](Z|\\+0[0-9]:00)?)?\"",
        "true|false|null|\\[\\]|\\[\"a\", 1\\]|\\[1, \"2\" ,1.0\\]|\\{\"a\": \\{\"b\" : 1e5\\}\\}|\\[\"a\" , \"b\"\\]",
    ]
}

proptest! {
    #[test]
    fn what_was_written_is_written_again_as_it_is(fields in prop::collection::vec(("[a-l]", value()), 0..5)) {
        let job = everything();
        let members: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\" : {value}")).collect();
        if let Ok(once) = written(&job, &format!("{{ {} }}", members.join(" , "))) {
            prop_assert_eq!(written(&job, &once), Ok(once.clone()));
            prop_assert!(serde_json::from_str::<serde_json::Value>(&once).is_ok() || once.contains('e'));
            prop_assert!(text_params(&job, once.as_bytes()).is_ok());
        }
    }

    #[test]
    fn no_bytes_panic(raw in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = check(&everything(), &raw);
    }

    #[test]
    fn no_damage_panics(at in 0usize..200, byte in any::<u8>(), field in "[a-l]", value in value()) {
        let mut raw = format!("{{\"{field}\":{value},\"e\":\"\\ud83d\\udc3b\"}}").into_bytes();
        let at = at % raw.len();
        let _ = check(&everything(), &raw[..at]);
        raw[at] = byte;
        let _ = check(&everything(), &raw);
    }
}

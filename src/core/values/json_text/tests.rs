//! JSON text by tables and properties.

use super::*;
use proptest::prelude::*;

fn compact(text: &str) -> Result<String, JsonError> {
    let mut reader = Reader::new(text);
    let mut out = Vec::new();
    reader.copy_value(&mut out)?;
    reader.end()?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn values_are_copied_compactly() {
    for (text, expected) in [
        (" { \"a\" : [ 1 , 2.50e+3 , -0 ] , \"b\" : { } } ", r#"{"a":[1,2.50e+3,-0],"b":{}}"#),
        (r#""\u0041\/\"\\\b\n\u001F\ud83d\udc3b é""#, "\"A/\\\"\\\\\\u0008\\n\\u001f🐻 é\""),
        ("[true,false,null,[]]", "[true,false,null,[]]"),
        (r#"{"a":{"a":1},"b":{"a":1}}"#, r#"{"a":{"a":1},"b":{"a":1}}"#),
        ("1e131071", "1e131071"),
        ("1e-16383", "1e-16383"),
    ] {
        assert_eq!(compact(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    for (text, message) in [
        ("", "is not JSON: expected a value at byte 0"),
        ("[1,]", "is not JSON: expected a value at byte 3"),
        ("[1 2]", "is not JSON: expected ',' or ']' at byte 3"),
        ("{1:2}", "is not JSON: expected a key in double quotes at byte 1"),
        ("{\"a\" 1}", "is not JSON: expected ':' at byte 5"),
        ("01", "is not JSON: expected the end at byte 1"),
        ("1.", "is not JSON: expected a digit at byte 2"),
        ("-", "is not JSON: expected a digit at byte 1"),
        ("NaN", "is not JSON: expected a value at byte 0"),
        ("\"a", "is not JSON: expected the end of a string at byte 2"),
        ("\"a\n\"", "is not JSON: expected an escape such as \\n for a control character at byte 2"),
        (r#""\x""#, "is not JSON: expected an escape at byte 2"),
        (r#""\u12g4""#, "is not JSON: expected a hexadecimal digit at byte 5"),
        (r#"["\u0000"]"#, "holds \\u0000 at byte 2, which Postgres cannot store"),
        (r#""\ud83d""#, "holds half of a surrogate pair at byte 1"),
        (r#""\udc3b""#, "holds half of a surrogate pair at byte 1"),
        (r#""\ud83d\u0041""#, "holds half of a surrogate pair at byte 1"),
        (r#"[{"a":1,"b":2,"\u0061":3}]"#, "has the key 'a' twice in one object"),
        ("1e131073", "holds the number 1e131073, which is out of the range of numeric"),
        ("1e-16384", "out of the range"),
        ("1e99999999999999999999", "out of the range"),
        ("1e9223372036854775807", "out of the range"),
        ("1.5e-9223372036854775808", "out of the range"),
    ] {
        let error = compact(text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn depth_and_width_are_no_danger() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(compact(&nested(128)).unwrap(), nested(128));
    assert_eq!(compact(&nested(129)), Err(JsonError::TooDeep { at: 128 }));
    assert_eq!(compact(&"{\"a\":".repeat(200_000)), Err(JsonError::TooDeep { at: 128 * 5 }));
    let keys: Vec<String> = (0..100_000).map(|n| format!("\"{n}\":[]")).collect();
    let wide = format!("{{{}}}", keys.join(","));
    assert_eq!(compact(&wide).unwrap(), wide);
}

proptest! {
    #[test]
    fn takes_what_serde_takes(text in "[\\[\\]{},:\"\\\\u019.eE+\\- \n]{0,10}|(\\{\"[ab]\":)?[\\[\"01\\-]{0,2}(\\\\u[0d][08]3[d-e]|1|true|null|,|e5|\\.|é){0,3}[\\]\"}]{0,3}") {
        match (compact(&text), serde_json::from_str::<serde_json::Value>(&text)) {
            (Ok(ours), theirs) => {
                prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&ours).unwrap(), theirs.unwrap());
                prop_assert_eq!(compact(&ours), Ok(ours));
            }
            (Err(JsonError::Syntax { .. }), theirs) => prop_assert!(theirs.is_err(), "{text}"),
            (Err(_), _) => {}
        }
    }
}

fn any(text: &str) -> Result<String, JsonError> {
    let mut reader = Reader::for_any(text);
    let mut out = Vec::new();
    reader.copy_value(&mut out)?;
    reader.end()?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn what_postgres_cannot_hold_is_copied_where_it_is_not_for_postgres() {
    for (text, expected) in [
        (r#"[ "\u0000" , "a\u0041\/\n" ]"#, r#"["\u0000","aA/\n"]"#),
        (r#""\uD83D""#, r#""\ud83d""#),
        (r#""\udc3b\ud83d\u0041\ud83d\uD83D\uDC3B""#, r#""\udc3b\ud83dA\ud83d🐻""#),
        (r#"{"\u0000":1,"\\u0000":2,"\uD83D":3}"#, r#"{"\u0000":1,"\\u0000":2,"\ud83d":3}"#),
        ("1e99999999999999999999", "1e99999999999999999999"),
        ("\"é\u{1f43b}\"", "\"é\u{1f43b}\""),
    ] {
        assert_eq!(any(text).as_deref(), Ok(expected), "{text}");
        assert_eq!(any(expected).as_deref(), Ok(expected), "{text}");
    }
    for (text, message) in [
        (r#"{"\uD83D":1,"a":2,"\ud83d":3}"#, "has the key"),
        (r#"{"a":1,"\u0061":2}"#, "has the key 'a' twice in one object"),
        (r#""\ud83d\u12g4""#, "expected a hexadecimal digit at byte 11"),
        (r#""\ud83d"#, "expected the end of a string"),
        ("\"a\n\"", "expected an escape such as \\n for a control character at byte 2"),
        (r#"{"\ud83d" 1}"#, "expected ':' at byte 10"),
        ("\"\\x\"", "expected an escape at byte 2"),
        ("01", "expected the end at byte 1"),
    ] {
        let error = any(text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
    assert!(matches!(any(&"[".repeat(200)), Err(JsonError::TooDeep { at: 128 })));
}

proptest! {
    #[test]
    fn what_jsonb_takes_is_copied_the_same_in_either_way(text in "[{}\\[\\]\",:a1e.\\\\ud8c3bn-]{0,12}") {
        if let Ok(copied) = compact(&text) {
            prop_assert_eq!(any(&text), Ok(copied));
        }
    }
}

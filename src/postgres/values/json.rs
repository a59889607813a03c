//! Whitespace out of JSON that Postgres made.
//!
//! `row_to_json` itself is compact, but `jsonb` prints spaces, `json` is kept as it was written and `json_agg` puts
//! line feeds. The input is valid JSON: nothing is checked, and no string is touched.

/// Appends `json` to `out` without whitespace between its tokens.
pub(in crate::postgres) fn append_compact(out: &mut Vec<u8>, json: &[u8]) {
    let mut rest = json;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b' ' | b'\n' | b'\r' | b'\t')) {
        out.extend_from_slice(&rest[..at]);
        let length = match rest[at] {
            b'"' => string_length(&rest[at..]),
            _ => 0,
        };
        out.extend_from_slice(&rest[at..at + length]);
        rest = &rest[at + length.max(1)..];
    }
    out.extend_from_slice(rest);
}

/// Length of the string that `rest` begins with, quotes included.
fn string_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = rest[at..].iter().position(|byte| matches!(byte, b'"' | b'\\')) {
        at += found;
        if rest[at] == b'"' {
            return at + 1;
        }
        at = (at + 2).min(rest.len());
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compact(json: &str) -> String {
        let mut out = Vec::new();
        append_compact(&mut out, json.as_bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn drops_whitespace_between_tokens_only() {
        for (json, expected) in [
            (r#"{"a": 1, "b": [1, 2]}"#, r#"{"a":1,"b":[1,2]}"#),
            ("[{\"a\":1}, \n {\"a\":2}]", r#"[{"a":1},{"a":2}]"#),
            (r#"{ "a b" : " \" , \\" , "\\\\": "\t" }"#, r#"{"a b":" \" , \\","\\\\":"\t"}"#),
            ("\"🐻 ü\"", "\"🐻 ü\""),
            (" null ", "null"),
            ("\"\"", "\"\""),
            ("", ""),
        ] {
            assert_eq!(compact(json), expected);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_serde(value in arbitrary_json()) {
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(compact(&pretty), serde_json::to_string(&value).unwrap());
        }

        #[test]
        fn survives_what_is_not_json(text in "[\"\\\\ a]{0,12}") {
            compact(&text);
        }
    }

    fn arbitrary_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i64>().prop_map(Into::into),
            "\\PC{0,8}|[\" \\\\\n\t]{0,8}".prop_map(serde_json::Value::from)
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::hash_map("[a \" \\\\]{0,4}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }
}

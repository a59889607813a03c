//! Members of an object in compact JSON, found without reading their values.
//!
//! For JSON that has been checked and written compactly: what is found in any other text is of no use, and does no harm.

/// Keys as they are spelled, without their quotes, and values as they are written. No members where the JSON is no object.
pub(in crate::core) fn members(json: &[u8]) -> Members<'_> {
    Members { rest: json.strip_prefix(b"{").unwrap_or_default() }
}

pub(in crate::core) struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = std::mem::take(&mut self.rest).strip_prefix(b"\"")?;
        let (key, rest) = rest.split_at_checked(string_len(rest)?)?;
        let rest = rest.strip_prefix(b"\":")?;
        let (value, rest) = rest.split_at_checked(value_len(rest)?)?;
        self.rest = rest.strip_prefix(b",").unwrap_or_default();
        Some((key, value))
    }
}

/// Bytes up to the quote that ends a string.
fn string_len(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += text.get(at..)?.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Bytes of the value that is next in an object.
fn value_len(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        at += text.get(at..)?.iter().position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']' | b','))?;
        match text[at] {
            b'"' => at += 1 + string_len(&text[at + 1..])?,
            b'{' | b'[' => depth += 1,
            _ if depth == 0 => return Some(at),
            b',' => {}
            _ => depth -= 1,
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(json: &str) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        members(json.as_bytes()).map(|(key, value)| (text(key), text(value))).collect()
    }

    #[test]
    fn members_are_found_one_by_one() {
        for (json, expected) in [
            ("{}", vec![]),
            (r#"{"a":1}"#, vec![("a", "1")]),
            (r#"{"a":"x","b":null,"":true}"#, vec![("a", "\"x\""), ("b", "null"), ("", "true")]),
            (r#"{"a":{"b":[1,{"c":"}]"}]},"d":[]}"#, vec![("a", r#"{"b":[1,{"c":"}]"}]}"#), ("d", "[]")]),
            (r#"{"a\"b":"c\\","d":"\",{"}"#, vec![(r#"a\"b"#, r#""c\\""#), ("d", r#""\",{""#)]),
            ("[1,2]", vec![]),
            ("\"{\"", vec![]),
            ("null", vec![]),
            ("", vec![]),
        ] {
            let expected: Vec<(String, String)> = expected.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
            assert_eq!(found(json), expected, "{json}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_gone_through(text in "[{}\\[\\]\",:a\\\\1]{0,40}") {
            prop_assert!(members(text.as_bytes()).count() <= text.len());
        }
    }
}

//! Values within statements. Texts are written so that no setting of a pooled connection gives them another meaning.

use std::fmt::{Display, Write};

/// `E'it''s'`.
pub(super) fn text(value: &str) -> String {
    let mut sql = String::with_capacity(value.len() + 3);
    sql.push_str("E'");
    for c in value.chars() {
        if matches!(c, '\'' | '\\') {
            sql.push(c);
        }
        sql.push(c);
    }
    sql.push('\'');
    sql
}

/// `ARRAY[…]::text[]`.
pub(super) fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let mut sql = String::from("ARRAY[");
    for (at, value) in values.into_iter().enumerate() {
        if at > 0 {
            sql.push(',');
        }
        sql.push_str(&text(value));
    }
    sql.push_str("]::text[]");
    sql
}

/// `'{1,2}'::int8[]`.
pub(super) fn ints<N: Display>(numbers: impl IntoIterator<Item = N>) -> String {
    let mut sql = String::from("'{");
    for (at, number) in numbers.into_iter().enumerate() {
        // Writing to a String does not fail.
        let _ = write!(sql, "{}{number}", if at == 0 { "" } else { "," });
    }
    sql.push_str("}'::int8[]");
    sql
}

/// JSON that jsonb takes: it has no U+0000.
pub(super) fn jsonb(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        // An escape is a backslash and at least one more; of those of \u only this one matters.
        let len = match escape.starts_with("\\u0000") {
            true => {
                out.push('\u{fffd}');
                "\\u0000".len()
            }
            false => {
                let len = 1 + escape[1..].chars().next().map_or(0, char::len_utf8);
                out.push_str(&escape[..len]);
                len
            }
        };
        rest = &escape[len..];
    }
    out.push_str(rest);
    format!("{}::jsonb", text(&out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted() {
        assert_eq!(text(r"it's \ é"), r"E'it''s \\ é'");
        assert_eq!(texts(["a", "b'"]), "ARRAY[E'a',E'b''']::text[]");
        assert_eq!(texts([]), "ARRAY[]::text[]");
        assert_eq!(ints([1, -2]), "'{1,-2}'::int8[]");
        assert_eq!(ints(Vec::<i64>::new()), "'{}'::int8[]");
    }

    #[test]
    fn jsonb_is_spared_what_it_cannot_hold() {
        for (json, sql) in [
            (r#"{"a":"b"}"#, r#"E'{"a":"b"}'::jsonb"#),
            (r#""a\u0000b""#, "E'\"a\u{fffd}b\"'::jsonb"),
            (r#""a\\u0000b""#, r#"E'"a\\\\u0000b"'::jsonb"#),
            (r#""\\\u0000""#, "E'\"\\\\\\\\\u{fffd}\"'::jsonb"),
            (r#""\é""#, r#"E'"\\é"'::jsonb"#),
        ] {
            assert_eq!(jsonb(json), sql, "{json}");
        }
    }
}

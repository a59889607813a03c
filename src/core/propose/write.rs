//! Text of a catalog: strings, statements and comments as TOML reads them.

use std::fmt::Write;

/// A text on one line, in the quotes that read best.
pub(super) fn quoted(text: &str) -> String {
    match text.contains(['"', '\\']) && !text.contains(|c: char| c == '\'' || c.is_control()) {
        true => format!("'{text}'"),
        false => format!("\"{}\"", escaped(text)),
    }
}

/// A statement, perhaps on several lines.
pub(super) fn statement(sql: &str) -> String {
    match sql.contains('\n') {
        false => quoted(sql),
        true if sql.contains("\"\"\"") || sql.contains('\\') || has_control(sql) || sql.ends_with('"') => {
            let lines: Vec<String> = sql.split('\n').map(escaped).collect();
            format!("\"\"\"{}\"\"\"", lines.join("\n"))
        }
        true => format!("\"\"\"{sql}\"\"\""),
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(|c| c.is_control() && c != '\n')
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                // Writing to a String does not fail.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// A key of a table.
pub(super) fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if is_bare {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// Bytes of a comment's line.
const COMMENT: usize = 160;

/// A comment of one line, whatever the text holds.
pub(super) fn comment(text: &str) -> String {
    let one_line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut line = one_line.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() > COMMENT {
        let end = (0..=COMMENT).rev().find(|at| line.is_char_boundary(*at)).unwrap_or_default();
        line.truncate(end);
        line.push('…');
    }
    format!("# {line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_reads_what_was_written() {
        for text in [
            "",
            "plain",
            "a \"b\"",
            "it's \"both\"",
            "back\\slash",
            "tab\tand\u{7f}",
            "two\nlines",
            "\"\"\"x\"\"\"\nFROM \"a\"\"\"\"b\"",
            "ends in\n\"a\"",
            "C:\\x\n\u{1}",
            "größe\n😀",
            "\nfirst",
        ] {
            for written in [quoted(text), statement(text)] {
                let read: toml::Table =
                    toml::from_str(&format!("a = {written}")).unwrap_or_else(|e| panic!("{written}: {e}"));
                let expected = if written.starts_with("\"\"\"\n") { &text[1..] } else { text };
                assert_eq!(read["a"].as_str(), Some(expected), "{written}");
            }
            let read: toml::Table = toml::from_str(&format!("{} = 1", key(text))).unwrap();
            assert_eq!(read.keys().next().map(String::as_str), Some(text));
            let file = format!("{}\na = 1", comment(text));
            assert_eq!(toml::from_str::<toml::Table>(&file).unwrap().len(), 1, "{file}");
        }
        assert!(comment(&"ä".repeat(500)).len() < COMMENT + 8);
    }
}

//! Words of a call: as a client types them, and as a key holds them.
//!
//! | | typed | in a key |
//! |---|---|---|
//! | a single value | as it is | canonical; `%` `:` `,` are `%25` `%3A` `%2C` |
//! | a list | elements with `,` between; `%2C` and `%25` (no other escape) stand for `,` and `%` | each element as above, sorted, each once, `,` between |
//!
//! The empty word is the empty list; a lone `,` is the list of one empty text.

use std::borrow::Cow;
use std::ops::Range;

use crate::core::values::value::{ArgType, ScalarType, Value, ValueError};

/// How the words at hand are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum Spelling {
    Typed,
    Key,
}

/// Appends the word in canonical form, encoded for a key. `out` is as it was when the word is not of the type.
pub(in crate::core) fn write_for_key(
    ty: ArgType,
    word: &[u8],
    spelling: Spelling,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    let start = out.len();
    if ty.array {
        Elements::read(ty.scalar, word, spelling)?.write_for_key(out);
        return Ok(());
    }
    ty.scalar.write_canonical(&scalar_text(word, spelling), out)?;
    // Digits and letters, and what stands between them, need no escape in these.
    if !matches!(ty.scalar, ScalarType::Int | ScalarType::Bool | ScalarType::Uuid | ScalarType::Date) {
        encode_from(out, start);
    }
    Ok(())
}

/// The same as a value.
pub(in crate::core) fn read_value(ty: ArgType, word: &[u8], spelling: Spelling) -> Result<Value, ValueError> {
    if ty.array {
        return Ok(Elements::read(ty.scalar, word, spelling)?.into_value());
    }
    let mut text = Vec::with_capacity(word.len());
    ty.scalar.write_canonical(&scalar_text(word, spelling), &mut text)?;
    Ok(Value::Scalar(into_str(&text)))
}

/// Appends any text encoded as one word of a key.
pub fn encode_word(text: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(text);
    encode_from(out, start);
}

/// What [`encode_word`] encoded. Escapes that it never writes stay as they are.
pub fn decode_word(word: &[u8]) -> Cow<'_, [u8]> {
    decode(word, b"%:,")
}

/// A word of a key as a client may type it.
pub(in crate::core) fn typed(ty: ArgType, word: &[u8]) -> Cow<'_, [u8]> {
    match ty.array {
        // A list is typed with its own escapes of `,` and `%`.
        true => decode(word, b":"),
        false => decode_word(word),
    }
}

fn scalar_text(word: &[u8], spelling: Spelling) -> Cow<'_, [u8]> {
    match spelling {
        Spelling::Typed => Cow::Borrowed(word),
        Spelling::Key => decode_word(word),
    }
}

fn needs_escape(byte: u8) -> bool {
    matches!(byte, b'%' | b':' | b',')
}

/// Encodes in place what `out` holds from `start` on.
fn encode_from(out: &mut Vec<u8>, start: usize) {
    let escapes = out[start..].iter().filter(|b| needs_escape(**b)).count();
    if escapes == 0 {
        return;
    }
    let mut from = out.len();
    let mut to = from + 2 * escapes;
    out.resize(to, 0);
    while from < to {
        from -= 1;
        let escape = match out[from] {
            b'%' => b"%25",
            b':' => b"%3A",
            b',' => b"%2C",
            byte => {
                to -= 1;
                out[to] = byte;
                continue;
            }
        };
        to -= 3;
        out[to..to + 3].copy_from_slice(escape);
    }
}

/// Replaces the escapes of the given bytes; hexadecimal digits in either case.
fn decode<'a>(word: &'a [u8], bytes: &[u8]) -> Cow<'a, [u8]> {
    if !word.contains(&b'%') {
        return Cow::Borrowed(word);
    }
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = match (byte, tail) {
            (b'%', [b'2', b'5', ..]) => Some(b'%'),
            (b'%', [b'3', b'A' | b'a', ..]) => Some(b':'),
            (b'%', [b'2', b'C' | b'c', ..]) => Some(b','),
            _ => None,
        };
        match escaped.filter(|b| bytes.contains(b)) {
            Some(meant) => {
                out.push(meant);
                rest = &tail[2..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    Cow::Owned(out)
}

/// Only for text that [`ScalarType::write_canonical`] wrote, which is UTF-8.
fn into_str(canonical: &[u8]) -> Box<str> {
    String::from_utf8_lossy(canonical).into()
}

/// A list in canonical form: sorted, each element once.
struct Elements {
    text: Vec<u8>,
    /// Where in `text` each element is.
    ranges: Vec<Range<usize>>,
}

impl Elements {
    fn read(ty: ScalarType, word: &[u8], spelling: Spelling) -> Result<Elements, ValueError> {
        let mut text = Vec::with_capacity(word.len());
        let mut ranges = Vec::new();
        if !word.is_empty() {
            for element in word.split(|b| *b == b',') {
                let element = match spelling {
                    Spelling::Typed => decode(element, b"%,"),
                    Spelling::Key => decode_word(element),
                };
                let start = text.len();
                ty.write_canonical(&element, &mut text).map_err(ValueError::in_array)?;
                ranges.push(start..text.len());
            }
        }
        ranges.sort_unstable_by(|a, b| ty.compare_canonical(&text[a.clone()], &text[b.clone()]));
        ranges.dedup_by(|a, b| text[a.clone()] == text[b.clone()]);
        Ok(Elements { text, ranges })
    }

    fn write_for_key(&self, out: &mut Vec<u8>) {
        if self.ranges.len() == 1 && self.text[self.ranges[0].clone()].is_empty() {
            out.push(b',');
            return;
        }
        for (i, range) in self.ranges.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            encode_word(&self.text[range.clone()], out);
        }
    }

    fn into_value(self) -> Value {
        Value::Array(self.ranges.iter().map(|range| into_str(&self.text[range.clone()])).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(ty: &str, word: &str) -> String {
        let mut out = b"kept:".to_vec();
        write_for_key(ArgType::parse(ty).unwrap(), word.as_bytes(), Spelling::Typed, &mut out).unwrap();
        String::from_utf8(out[5..].to_vec()).unwrap()
    }

    #[test]
    fn words_are_encoded() {
        for (ty, word, expected) in [
            ("int", "007", "7"),
            ("text", "a:b,c%d", "a%3Ab%2Cc%25d"),
            ("text", "%2C", "%252C"),
            ("text", "", ""),
            ("timestamptz", "2026-11-21 10:00", "2026-11-21T10%3A00%3A00Z"),
            ("text[]", "red,brown,red", "brown,red"),
            ("text[]", "", ""),
            ("text[]", ",", ","),
            ("text[]", ",,", ","),
            ("text[]", ",a", ",a"),
            ("text[]", "a%2cb,%25,%3A", "%25,%253A,a%2Cb"),
            ("int[]", "10,9,-1,+9,009", "-1,9,10"),
            ("numeric[]", "10,9.50,-1", "-1,9.5,10"),
            ("bool[]", "t,f,1", "false,true"),
        ] {
            assert_eq!(key(ty, word), expected, "{ty} {word}");
        }
    }

    #[test]
    fn lists_name_the_wrong_element() {
        let ty = ArgType::parse("int[]").unwrap();
        let mut out = b"kept".to_vec();
        let error = write_for_key(ty, b"1,x", Spelling::Typed, &mut out).unwrap_err();
        assert_eq!(error.to_string(), "a list with commas between, each an integer, got 'x'");
        assert_eq!(out, b"kept");
        assert!(write_for_key(ty, b"1,", Spelling::Typed, &mut out).is_err());
    }

    proptest! {
        #[test]
        fn what_a_key_holds_reads_back(array in any::<bool>(), word in "[ab,:%235CcA]{0,16}") {
            let ty = ArgType { scalar: ScalarType::Text, array };
            let mut once = Vec::new();
            write_for_key(ty, word.as_bytes(), Spelling::Typed, &mut once).unwrap();
            prop_assert!(!once.contains(&b':'));
            let mut twice = Vec::new();
            write_for_key(ty, &once, Spelling::Key, &mut twice).unwrap();
            prop_assert_eq!(&once, &twice);
            prop_assert_eq!(read_value(ty, word.as_bytes(), Spelling::Typed), read_value(ty, &once, Spelling::Key));
        }

        #[test]
        fn any_text_is_decoded_as_it_was(text in prop::collection::vec(any::<u8>(), 0..20), tail in "[%:,25AC3]{0,12}") {
            let text = [&text[..], tail.as_bytes()].concat();
            let mut out = Vec::new();
            encode_word(&text, &mut out);
            prop_assert_eq!(&*decode_word(&out), &text[..]);
        }
    }
}

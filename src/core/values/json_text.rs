//! Reads JSON text strictly and piece by piece, and writes it compactly.
//!
//! What it lets through, Postgres' jsonb takes too: no `\u0000`, no half of a surrogate pair, no number beyond
//! `numeric`; unless it is asked to copy what is not for Postgres ([`Reader::for_any`]). No object has a key twice, so that nobody can read it otherwise than Postgres does. Time is linear in the
//! text (times the logarithm of the keys of an object), whoever wrote it.

use std::borrow::Cow;

use super::value::shorten;

/// Levels of lists and objects.
const MAX_DEPTH: usize = 128;

/// Postgres' numeric has so many digits before the point, and after it.
const MAX_WHOLE_DIGITS: i64 = 131_072;
const MAX_FRACTION_DIGITS: i64 = 16_383;

/// What stands where a control character may not.
const NO_CONTROL: &str = "an escape such as \\n for a control character";

/// What is wrong with a text, as a predicate: "the payload …". Positions count bytes from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("is not JSON: expected {expected} at byte {at}")]
    Syntax { expected: &'static str, at: usize },
    #[error("holds \\u0000 at byte {at}, which Postgres cannot store")]
    Nul { at: usize },
    #[error("holds half of a surrogate pair at byte {at}; a character beyond \\uffff is written as both halves")]
    LoneSurrogate { at: usize },
    #[error("is nested deeper than {MAX_DEPTH} levels at byte {at}")]
    TooDeep { at: usize },
    #[error("has the key '{key}' twice in one object")]
    DuplicateKey { key: Box<str> },
    #[error("holds the number {number}, which is out of the range of numeric")]
    NumberRange { number: Box<str> },
}

#[derive(Debug, Clone)]
pub(in crate::core) struct Reader<'a> {
    text: &'a str,
    at: usize,
    takes: Takes,
}

/// What values are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Those that jsonb can hold.
    Jsonb,
    Any,
}

impl<'a> Reader<'a> {
    pub(in crate::core) fn new(text: &'a str) -> Reader<'a> {
        Reader { text, at: 0, takes: Takes::Jsonb }
    }

    /// One that copies any JSON.
    pub(in crate::core) fn for_any(text: &'a str) -> Reader<'a> {
        Reader { text, at: 0, takes: Takes::Any }
    }

    /// The next byte that is not blank; it stays.
    pub(in crate::core) fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.byte() {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Takes the byte if it is next, after blanks.
    pub(in crate::core) fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// After a member: does another follow, or is this the end?
    pub(in crate::core) fn goes_on(&mut self, end: u8) -> Result<bool, JsonError> {
        if self.take(b',') {
            Ok(true)
        } else if self.take(end) {
            Ok(false)
        } else {
            Err(self.expected(if end == b'}' { "',' or '}'" } else { "',' or ']'" }))
        }
    }

    /// A key and its colon.
    pub(in crate::core) fn key(&mut self) -> Result<Cow<'a, str>, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.expected("a key in double quotes"));
        }
        let key = self.string()?;
        if self.take(b':') {
            Ok(key)
        } else {
            Err(self.expected("':'"))
        }
    }

    /// A string, without quotes and escapes.
    pub(in crate::core) fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        if !self.take(b'"') {
            return Err(self.expected("a string"));
        }
        let plain = self.plain();
        if self.byte() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut owned = plain.to_owned();
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(owned));
                }
                Some(b'\\') => owned.push(self.escape()?),
                Some(byte) if byte < b' ' => return Err(self.expected(NO_CONTROL)),
                Some(_) => owned.push_str(self.plain()),
                None => return Err(self.expected("the end of a string")),
            }
        }
    }

    /// Characters of a string that stand for themselves.
    fn plain(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let end = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\') || byte < b' ').unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let at = self.at;
        self.at += 1;
        let unescaped = match self.byte() {
            Some(plain @ (b'"' | b'\\' | b'/')) => plain as char,
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(at),
            _ => return Err(self.expected("an escape")),
        };
        self.at += 1;
        Ok(unescaped)
    }

    /// `\u0041`, or a pair of surrogates; `at` is the first backslash.
    fn unicode_escape(&mut self, at: usize) -> Result<char, JsonError> {
        let first = self.hex()?;
        if first == 0 {
            return Err(JsonError::Nul { at });
        }
        let code = if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with("\\u") {
            self.at += 1;
            let second = self.hex()?;
            if !(0xdc00..0xe000).contains(&second) {
                return Err(JsonError::LoneSurrogate { at });
            }
            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(code).ok_or(JsonError::LoneSurrogate { at })
    }

    /// The digits after the `u` that is next.
    fn hex(&mut self) -> Result<u32, JsonError> {
        self.at += 1;
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.byte().and_then(|byte| (byte as char).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.expected("a hexadecimal digit"))?;
            self.at += 1;
        }
        Ok(code)
    }

    /// A number as it is written.
    pub(in crate::core) fn number(&mut self) -> Result<&'a str, JsonError> {
        self.peek();
        let from = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(&self.text[from..self.at])
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let from = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > from {
            Ok(())
        } else {
            Err(self.expected("a digit"))
        }
    }

    /// `true`, `false` or `null`.
    pub(in crate::core) fn word(&mut self) -> Result<&'static str, JsonError> {
        self.peek();
        let word = ["true", "false", "null"].into_iter().find(|word| self.text[self.at..].starts_with(word));
        let word = word.ok_or_else(|| self.expected("a value"))?;
        self.at += word.len();
        Ok(word)
    }

    /// Nothing but blanks may follow.
    pub(in crate::core) fn end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.expected("the end")),
        }
    }

    /// Appends the next value compactly.
    pub(in crate::core) fn copy_value(&mut self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        self.copy_nested(0, &mut Vec::new(), out)
    }

    /// `keys` holds those of the objects around.
    fn copy_nested(&mut self, depth: usize, keys: &mut Vec<Cow<'a, str>>, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let first = self.peek();
        if depth == MAX_DEPTH && matches!(first, Some(b'{' | b'[')) {
            return Err(JsonError::TooDeep { at: self.at });
        }
        match first {
            Some(b'"') if self.takes == Takes::Any => self.copy_any_string(out)?,
            Some(b'"') => write_string(&self.string()?, out),
            Some(b'-' | b'0'..=b'9') => {
                let number = self.number()?;
                if self.takes == Takes::Jsonb {
                    check_range(number)?;
                }
                out.extend_from_slice(number.as_bytes());
            }
            Some(b'[') => {
                self.take(b'[');
                out.push(b'[');
                let mut more = !self.take(b']');
                while more {
                    self.copy_nested(depth + 1, keys, out)?;
                    more = self.goes_on(b']')?;
                    out.extend(more.then_some(b','));
                }
                out.push(b']');
            }
            Some(b'{') => {
                self.take(b'{');
                out.push(b'{');
                let outer = keys.len();
                let mut more = !self.take(b'}');
                while more {
                    keys.push(self.copy_key(out)?);
                    out.push(b':');
                    self.copy_nested(depth + 1, keys, out)?;
                    more = self.goes_on(b'}')?;
                    out.extend(more.then_some(b','));
                }
                out.push(b'}');
                // Sorted, and not hashed: nobody can choose keys that make it slow.
                keys[outer..].sort_unstable();
                if let Some(twice) = keys[outer..].windows(2).find(|pair| pair[0] == pair[1]) {
                    return Err(JsonError::DuplicateKey { key: shorten(twice[0].as_bytes()).into() });
                }
                keys.truncate(outer);
            }
            _ => out.extend_from_slice(self.word()?.as_bytes()),
        }
        Ok(())
    }

    /// Appends a key, takes its colon, and returns what tells it from others.
    fn copy_key(&mut self, out: &mut Vec<u8>) -> Result<Cow<'a, str>, JsonError> {
        let before = self.at;
        match self.key() {
            Err(JsonError::Nul { .. } | JsonError::LoneSurrogate { .. }) if self.takes == Takes::Any => {
                self.at = before;
                self.peek();
                let from = out.len();
                self.copy_any_string(out)?;
                if !self.take(b':') {
                    return Err(self.expected("':'"));
                }
                // As it is spelled; no other key has a NUL.
                Ok(Cow::Owned(format!("\0{}", String::from_utf8_lossy(&out[from..]))))
            }
            key => key.inspect(|key| write_string(key, out)),
        }
    }

    /// Appends the string that is next. What a `char` cannot hold, half of a surrogate pair, stays an escape.
    fn copy_any_string(&mut self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        /// Of `\ud83d`.
        const ESCAPE: usize = 6;

        self.take(b'"');
        out.push(b'"');
        loop {
            out.extend_from_slice(self.plain().as_bytes());
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    let at = self.at;
                    match self.escape() {
                        Ok(unescaped) => write_char(unescaped, out),
                        Err(JsonError::Nul { .. }) => write_char('\0', out),
                        Err(JsonError::LoneSurrogate { .. }) => {
                            self.at = at + ESCAPE;
                            out.extend_from_slice(self.text[at..self.at].to_ascii_lowercase().as_bytes());
                        }
                        Err(error) => return Err(error),
                    }
                }
                Some(_) => return Err(self.expected(NO_CONTROL)),
                None => return Err(self.expected("the end of a string")),
            }
        }
        self.at += 1;
        out.push(b'"');
        Ok(())
    }

    /// The next value for a message: `the string 'abc'`, `5`, `a list`.
    pub(in crate::core) fn describe(&mut self) -> Result<String, JsonError> {
        Ok(match self.peek() {
            Some(b'"') => format!("the string '{}'", shorten(self.string()?.as_bytes())),
            Some(b'-' | b'0'..=b'9') => shorten(self.number()?.as_bytes()),
            Some(b'[') => "a list".to_owned(),
            Some(b'{') => "an object".to_owned(),
            _ => self.word()?.to_owned(),
        })
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expected(&self, expected: &'static str) -> JsonError {
        JsonError::Syntax { expected, at: self.at }
    }
}

fn check_range(number: &str) -> Result<(), JsonError> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // One of more digits than i64 has is out of range in either case.
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX);
    let digits = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
    let fits = digits(whole).saturating_add(exponent) <= MAX_WHOLE_DIGITS
        && digits(fraction).saturating_sub(exponent) <= MAX_FRACTION_DIGITS;
    if fits {
        Ok(())
    } else {
        Err(JsonError::NumberRange { number: shorten(number.as_bytes()).into() })
    }
}

/// Appends a string with its quotes, with as few escapes as JSON allows.
pub(in crate::core) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| is_escaped(*byte)) {
        out.extend_from_slice(&rest[..at]);
        write_escape(rest[at], out);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Appends a character of a string.
fn write_char(char: char, out: &mut Vec<u8>) {
    match u8::try_from(char) {
        Ok(byte) if is_escaped(byte) => write_escape(byte, out),
        _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\') || byte < b' '
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";

    match byte {
        plain @ (b'"' | b'\\') => out.extend([b'\\', plain]),
        b'\n' => out.extend(b"\\n"),
        b'\r' => out.extend(b"\\r"),
        b'\t' => out.extend(b"\\t"),
        control => {
            out.extend(b"\\u00");
            out.extend([HEX[usize::from(control >> 4)], HEX[usize::from(control & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests;

//! Writes a JSON object field by field, without a tree of values and without an allocation of its own: records are written for
//! every claim and every acknowledgement.

use std::io::Write;

use serde_json::value::RawValue;

use crate::core::values::json_text::write_string;

/// An object that is being written; [`Object::end`] closes it.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Object<'a> {
        out.push(b'{');
        Object { out, is_empty: true }
    }

    /// `name` is plain.
    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(if self.is_empty { b"\"" } else { b",\"" });
        self.is_empty = false;
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub fn number(&mut self, name: &str, number: u64) {
        self.name(name);
        // A vector takes all that is written.
        let _ = write!(self.out, "{number}");
    }

    pub fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        write_string(text, self.out);
    }

    /// A value that is JSON already; what is none is left out.
    pub fn value(&mut self, name: &str, json: &[u8]) {
        if let Ok(json) = serde_json::from_slice::<&RawValue>(json) {
            self.name(name);
            self.out.extend_from_slice(json.get().as_bytes());
        }
    }

    /// A value that was checked to be JSON when it was stored; what is empty is left out.
    pub fn stored(&mut self, name: &str, json: &[u8]) {
        if !json.is_empty() {
            self.name(name);
            self.out.extend_from_slice(json);
        }
    }

    /// A list of texts.
    pub fn texts(&mut self, name: &str, texts: impl Iterator<Item = impl AsRef<str>>) {
        self.name(name);
        self.out.push(b'[');
        for (at, text) in texts.enumerate() {
            self.out.extend((at > 0).then_some(b','));
            write_string(text.as_ref(), self.out);
        }
        self.out.push(b']');
    }

    /// An object within.
    pub fn object(&mut self, name: &str, write: impl FnOnce(&mut Object)) {
        self.name(name);
        let mut object = Object::new(self.out);
        write(&mut object);
        object.end();
    }

    /// A list of objects.
    pub fn objects<T>(&mut self, name: &str, items: impl Iterator<Item = T>, mut write: impl FnMut(T, &mut Object)) {
        self.name(name);
        self.out.push(b'[');
        for (at, item) in items.enumerate() {
            self.out.extend((at > 0).then_some(b','));
            let mut object = Object::new(self.out);
            write(item, &mut object);
            object.end();
        }
        self.out.push(b']');
    }

    pub fn end(self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_written_field_by_field() {
        let mut out = Vec::new();
        let mut object = Object::new(&mut out);
        object.number("n", u64::MAX);
        object.text("t", "a\"\u{0}é");
        object.value("v", b" {\"a\": 1} ");
        object.value("none", b"{a}");
        object.value("cut", b"{} {}");
        object.value("bytes", b"\"\xff\"");
        object.texts("s", ["a", "\""].into_iter());
        object.object("o", |_| {});
        object.objects("l", [1, 2].into_iter(), |n, object| object.number("n", n));
        object.end();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            r#"{"n":18446744073709551615,"t":"a\"\u0000é","v":{"a": 1},"s":["a","\""],"o":{},"l":[{"n":1},{"n":2}]}"#
        );
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }
}

//! Replies, in the protocol that the client speaks.

use std::ffi::{c_char, c_long, CString};

use super::{api, Context};

/// What an element of a reply costs beside its bytes, in bytes.
pub(super) const ELEMENT: usize = 256;

/// A reply as data, for clients that are answered later.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Integer(i64),
    /// A bulk string.
    Bytes(Box<[u8]>),
    Array(Vec<Value>),
    /// Keys and their values.
    Map(Vec<(&'static str, Value)>),
}

impl Value {
    pub fn text(text: impl Into<String>) -> Value {
        Value::Bytes(text.into().into_bytes().into())
    }

    /// Bytes that replying costs: an element costs as much as some hundred bytes.
    pub fn cost(&self) -> usize {
        self.cost_upto(usize::MAX)
    }

    /// The same; of what costs more than the limit, anything above it. A hundred thousand elements are not all looked at.
    pub fn cost_upto(&self, limit: usize) -> usize {
        let all = |values: &mut dyn Iterator<Item = (&Value, usize)>| {
            let mut cost = ELEMENT;
            for (value, more) in values {
                cost += more + value.cost_upto(limit);
                if cost > limit {
                    break;
                }
            }
            cost
        };
        match self {
            Value::Null | Value::Integer(_) => ELEMENT,
            Value::Bytes(bytes) => bytes.len() + ELEMENT,
            Value::Array(values) => all(&mut values.iter().map(|value| (value, 0))),
            Value::Map(pairs) => all(&mut pairs.iter().map(|(_, value)| (value, ELEMENT))),
        }
    }
}

/// Writes the reply of the command, or of the unblocked client, that a context belongs to.
#[derive(Clone, Copy)]
pub struct Replier<'a>(Context<'a>);

impl<'a> Context<'a> {
    pub fn reply(self) -> Replier<'a> {
        Replier(self)
    }
}

impl Replier<'_> {
    /// A bulk string; the bytes are copied once, to the client's output.
    pub fn bytes(self, bytes: &[u8]) {
        // SAFETY: pointer and length are of one live slice.
        unsafe { api!(RedisModule_ReplyWithStringBuffer)(self.0.raw(), bytes.as_ptr().cast::<c_char>(), bytes.len()) };
    }

    pub fn text(self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// An array of the name of an encoding and bytes in it.
    pub fn encoded(self, encoding: &str, bytes: &[u8]) {
        self.array(2);
        self.text(encoding);
        self.bytes(bytes);
    }

    pub fn integer(self, value: i64) {
        // SAFETY: the context is valid during its callback, as in all below.
        unsafe { api!(RedisModule_ReplyWithLongLong)(self.0.raw(), value) };
    }

    pub fn null(self) {
        // SAFETY: see `integer`.
        unsafe { api!(RedisModule_ReplyWithNull)(self.0.raw()) };
    }

    pub fn ok(self) {
        // SAFETY: see `integer`.
        unsafe { api!(RedisModule_ReplyWithSimpleString)(self.0.raw(), c"OK".as_ptr()) };
    }

    /// An error; its first word is the code.
    pub fn error(self, message: &str) {
        let text = CString::new(message.replace(['\0', '\r', '\n'], " ")).unwrap_or_default();
        // SAFETY: see `integer`; the text outlives the call, which copies it.
        unsafe { api!(RedisModule_ReplyWithError)(self.0.raw(), text.as_ptr()) };
    }

    /// Opens an array; its elements follow.
    pub fn array(self, len: usize) {
        // SAFETY: see `integer`.
        unsafe { api!(RedisModule_ReplyWithArray)(self.0.raw(), len as c_long) };
    }

    /// Opens a map (RESP3) or an array of twice as many elements (RESP2); keys and values follow in turn.
    pub fn map(self, len: usize) {
        // SAFETY: see `integer`.
        unsafe { api!(RedisModule_ReplyWithMap)(self.0.raw(), len as c_long) };
    }

    pub fn value(self, value: &Value) {
        match value {
            Value::Null => self.null(),
            Value::Integer(number) => self.integer(*number),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::Array(values) => {
                self.array(values.len());
                values.iter().for_each(|value| self.value(value));
            }
            Value::Map(pairs) => {
                self.map(pairs.len());
                for (key, value) in pairs {
                    self.text(key);
                    self.value(value);
                }
            }
        }
    }

    pub fn boolean(self, value: bool) {
        // SAFETY: see `integer`.
        unsafe { api!(RedisModule_ReplyWithBool)(self.0.raw(), value.into()) };
    }

    pub fn texts<T: AsRef<str>>(self, texts: &[T]) {
        self.array(texts.len());
        for text in texts {
            self.text(text.as_ref());
        }
    }
}

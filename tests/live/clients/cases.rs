//! `tests/clients/cases.json`: an array of cases, each a command and what it is answered.
//!
//! | field | what |
//! |---|---|
//! | `call` | the words: texts, `{"hex": …}` for other bytes, `$name` for what was saved; `$run` is the client's name |
//! | `reply` | the shape of the reply |
//! | `save` | what is kept of it, by name: the path to it, of numbers in arrays and of names in maps |
//! | `meanwhile` | what another client sends once this one waits |
//!
//! Shapes: `"any"`, `"nil"`, `"int"`, `"text"`, `"json"` (a text that is JSON), `"bool"`; `{"int": 5}`, `{"text": "…"}`, `{"hex": …}`,
//! `{"json": …}`, `{"bool": …}` for a certain one; `{"begins": "…"}` for a text; `{"error": "LOST"}` for an error of this code; `{"list": shape}` for an array of any
//! length; `[shape, …]` for an array of just these; `{"map": {name: shape}}` for a map with these fields, and perhaps others.
//! In RESP2 a map is an array of names and values in turn, and a boolean is 1 or 0.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::client::Protocol;
use crate::support::markdown::root;
use crate::support::Reply;

pub type Known = BTreeMap<String, String>;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub call: Vec<Value>,
    reply: Value,
    #[serde(default)]
    save: BTreeMap<String, Vec<Value>>,
    meanwhile: Option<Vec<Value>>,
}

pub fn read() -> Vec<Case> {
    let text = std::fs::read_to_string(root().join("tests/clients/cases.json")).expect("the cases");
    serde_json::from_str(&text).expect("cases")
}

fn words(given: &[Value], known: &Known) -> Vec<Vec<u8>> {
    let word = |word: &Value| match word {
        Value::String(text) => in_place(text, known).into_bytes(),
        other => bytes_of(other["hex"].as_str().expect("a word is a text or has hex")),
    };
    given.iter().map(word).collect()
}

fn in_place(text: &str, known: &Known) -> String {
    let saved = |name: &str| known.get(name).unwrap_or_else(|| panic!("nothing was saved as {name}")).clone();
    text.strip_prefix('$').map_or_else(|| text.to_owned(), saved)
}

pub fn bytes_of(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(digit).collect()
}

impl Case {
    pub fn name(&self) -> &str {
        self.call[0].as_str().expect("a command")
    }

    pub fn line(&self) -> String {
        Value::from(self.call.clone()).to_string()
    }

    pub fn is_refused(&self) -> bool {
        self.reply.get("error").is_some()
    }

    pub fn words(&self, known: &Known) -> Vec<Vec<u8>> {
        words(&self.call, known)
    }

    pub fn meanwhile(&self, known: &Known) -> Option<Vec<Vec<u8>>> {
        self.meanwhile.as_deref().map(|given| words(given, known))
    }

    /// Is it what the case says? The error says what was expected where.
    pub fn check(&self, reply: &Reply, protocol: Protocol, known: &Known) -> Result<(), String> {
        check(&self.reply, reply, protocol, known, "the reply")
    }

    pub fn save(&self, reply: &Reply, known: &mut Known) {
        for (name, path) in &self.save {
            let mut at = reply.clone();
            for step in path {
                at = match step {
                    Value::String(field) => at.map()[field].clone(),
                    number => at.list()[number.as_u64().expect("a place") as usize].clone(),
                };
            }
            let value = if let Reply::Int(number) = at { number.to_string() } else { at.text() };
            known.insert(name.clone(), value);
        }
    }
}

fn check(shape: &Value, reply: &Reply, protocol: Protocol, known: &Known, at: &str) -> Result<(), String> {
    let is_right =
        match shape {
            Value::String(kind) => match kind.as_str() {
                "any" => true,
                "nil" => reply.is_nil(),
                "int" => matches!(reply, Reply::Int(_)),
                "text" => text_of(reply).is_some(),
                "json" => json_of(reply).is_some(),
                "bool" => bool_of(reply, protocol).is_some(),
                other => panic!("{other} is no shape"),
            },
            Value::Array(shapes) => {
                let Reply::Array(items) = reply else { return Err(format!("{at} is no array of {}", shapes.len())) };
                if items.len() != shapes.len() {
                    return Err(format!("{at} has {} elements, not {}", items.len(), shapes.len()));
                }
                return shapes.iter().zip(items).enumerate().try_for_each(|(place, (shape, item))| {
                    check(shape, item, protocol, known, &format!("{at}[{place}]"))
                });
            }
            Value::Object(fields) => {
                let (kind, wanted) = fields.iter().next().expect("a shape");
                match kind.as_str() {
                    "int" => *reply == Reply::Int(wanted.as_i64().expect("a number")),
                    "text" => text_of(reply) == Some(in_place(wanted.as_str().expect("a text"), known)),
                    "begins" => text_of(reply).is_some_and(|text| text.starts_with(wanted.as_str().expect("a text"))),
                    "hex" => matches!(reply, Reply::Bulk(bytes) if *bytes == bytes_of(wanted.as_str().expect("hex"))),
                    "json" => json_of(reply).as_ref() == Some(wanted),
                    "bool" => bool_of(reply, protocol) == wanted.as_bool(),
                    "error" => {
                        let code = wanted.as_str().expect("a code");
                        matches!(reply, Reply::Error(line) if line.split(' ').next() == Some(code))
                    }
                    "list" => {
                        let Reply::Array(items) = reply else { return Err(format!("{at} is no array")) };
                        return items.iter().enumerate().try_for_each(|(place, item)| {
                            check(wanted, item, protocol, known, &format!("{at}[{place}]"))
                        });
                    }
                    "map" => {
                        let is_map = match reply {
                            Reply::Map(_) => protocol == Protocol::Resp3,
                            Reply::Array(items) => protocol == Protocol::Resp2 && items.len() % 2 == 0,
                            _ => false,
                        };
                        if !is_map {
                            return Err(format!("{at} is no map as {protocol:?} has it"));
                        }
                        let fields = reply.map();
                        return wanted.as_object().expect("fields").iter().try_for_each(|(name, shape)| {
                            let Some(value) = fields.get(name) else { return Err(format!("{at} has no {name}")) };
                            check(shape, value, protocol, known, &format!("{at}.{name}"))
                        });
                    }
                    other => panic!("{other} is no shape"),
                }
            }
            other => panic!("{other} is no shape"),
        };
    if is_right {
        Ok(())
    } else {
        Err(format!("{at} is not {shape}"))
    }
}

fn text_of(reply: &Reply) -> Option<String> {
    match reply {
        Reply::Bulk(bytes) => String::from_utf8(bytes.clone()).ok(),
        Reply::Simple(text) => Some(text.clone()),
        _ => None,
    }
}

fn json_of(reply: &Reply) -> Option<Value> {
    serde_json::from_str(&text_of(reply)?).ok()
}

fn bool_of(reply: &Reply, protocol: Protocol) -> Option<bool> {
    match (reply, protocol) {
        (Reply::Bool(value), Protocol::Resp3) => Some(*value),
        (Reply::Int(number @ (0 | 1)), Protocol::Resp2) => Some(*number == 1),
        _ => None,
    }
}

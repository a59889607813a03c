//! Clients in programs of their own. A line of JSON is a command, and one comes back for its reply: `tests/clients/runner.py`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{json, Value};

use super::cases::bytes_of;
use super::client::{Client, Protocol};
use super::site::Site;
use crate::support::markdown::root;
use crate::support::{guardian, languages, Reply};

pub struct Program {
    name: String,
    protocol: Protocol,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Program {
    pub fn python(site: &Site, kind: &str, protocol: Protocol) -> Program {
        let mut command = languages::python(&guardian::folder("client"));
        command.arg(root().join("tests/clients/runner.py")).args([
            kind,
            &site.port().to_string(),
            &protocol.number().to_string(),
        ]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python");
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().expect("piped")));
        Program { name: format!("redis-py {kind} {}", protocol.number()), protocol, child, input, output }
    }
}

impl Client for Program {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn begin(&mut self, words: &[Vec<u8>]) {
        let word = |word: &Vec<u8>| match std::str::from_utf8(word) {
            Ok(text) => json!(text),
            Err(_) => json!({ "hex": word.iter().map(|byte| format!("{byte:02x}")).collect::<String>() }),
        };
        let line = Value::from(words.iter().map(word).collect::<Vec<_>>());
        writeln!(self.input.as_mut().expect("it runs"), "{line}").expect("it reads");
    }

    fn finish(&mut self) -> Reply {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it writes");
        reply(&serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {error} in '{line}'", self.name)))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.input.take()); // it ends by that
        let _ = self.child.wait();
    }
}

fn reply(typed: &Value) -> Reply {
    let (kind, value) = typed.as_object().and_then(|typed| typed.iter().next()).expect("a type and a value");
    let list = || value.as_array().expect("elements").iter();
    match kind.as_str() {
        "nil" => Reply::Nil,
        "error" => Reply::Error(value.as_str().expect("a text").to_owned()),
        "int" => Reply::Int(value.as_i64().expect("a number")),
        "double" => Reply::Double(value.as_f64().expect("a number")),
        "bool" => Reply::Bool(value.as_bool().expect("true or false")),
        "hex" => Reply::Bulk(bytes_of(value.as_str().expect("digits"))),
        "list" => Reply::Array(list().map(reply).collect()),
        "map" => Reply::Map(list().map(|pair| (reply(&pair[0]), reply(&pair[1]))).collect()),
        other => panic!("{other} is no type"),
    }
}

//! Reads the text of a tree as `debug_print_rewritten` prints it: `{KIND :field value …}`, `(list)`, `<>`, `(b 8 9)`,
//! `4 [ 10 0 0 0 … ]`. It knows no kind of node and no version but the names that changed until 16, which it gives as since then.

use std::collections::{BTreeMap, BTreeSet};

/// Part of a tree.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `<>`
    Nothing,
    /// An atom or a quoted string, without its escapes.
    Text(Box<str>),
    /// `(…)`: of nodes, of numbers (`(i 1 2)`, `(o 1 2)`, `(b 1 2)` with the letter as its first element), or of strings.
    List(Vec<Value>),
    /// The bytes of a constant; `4 [ 10 0 0 0 ]` without its length.
    Bytes(Vec<u8>),
    Node(Box<Node>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub kind: Box<str>,
    fields: BTreeMap<Box<str>, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the tree cannot be read at byte {at}: {why}")]
pub struct ReadError {
    at: usize,
    why: &'static str,
}

/// What a tree names, for whoever asks for facts of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Oids {
    pub relations: BTreeSet<u32>,
    pub operators: BTreeSet<u32>,
    pub functions: BTreeSet<u32>,
    pub types: BTreeSet<u32>,
    pub collations: BTreeSet<u32>,
}

/// Nodes that were renamed in 16, or shortly before.
const RENAMED: [(&str, &str); 9] = [
    ("RTE", "RANGETBLENTRY"),
    ("COALESCE", "COALESCEEXPR"),
    ("CASE", "CASEEXPR"),
    ("WHEN", "CASEWHEN"),
    ("ARRAY", "ARRAYEXPR"),
    ("ROW", "ROWEXPR"),
    ("MINMAX", "MINMAXEXPR"),
    ("COLLATE", "COLLATEEXPR"),
    ("ROWCOMPARE", "ROWCOMPAREEXPR"),
];

/// Nodes and lists within each other. Whoever reads a tree, and derives from it, needs [`STACK`] for that; a sum of a thousand terms
/// is as deep.
const MAX_DEPTH: usize = 2_000;

/// Bytes of stack for a tree of the greatest depth, read and derived: twice what a debug build takes.
pub const STACK: usize = 64 << 20;

/// What stands between words. No other byte does: a name may hold it as it is.
const BLANKS: [u8; 3] = *b" \n\t";

/// The statements of the text: Postgres prints a list of them.
pub fn read(text: &str) -> Result<Vec<Node>, ReadError> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let value = reader.value()?;
    reader.skip_blanks();
    if reader.at < text.len() {
        return Err(reader.error("text after the tree"));
    }
    let values = match value {
        Value::List(values) => values,
        value => vec![value],
    };
    let node = |value| match value {
        Value::Node(node) => Ok(*node),
        _ => Err(reader.error("no node")),
    };
    values.into_iter().map(node).collect()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn error(&self, why: &'static str) -> ReadError {
        ReadError { at: self.at, why }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(|byte| BLANKS.contains(&byte)) {
            self.at += 1;
        }
    }

    /// Does a constant's value begin here? `[ 10 0 ]`: of what is between brackets Postgres prints numbers alone, and of a name it
    /// escapes blanks, and no bracket.
    fn is_at_bytes(&self) -> bool {
        matches!(self.text.as_bytes()[self.at..], [b'[', b' ', b'-' | b'0'..=b'9' | b']', ..])
    }

    fn value(&mut self) -> Result<Value, ReadError> {
        self.skip_blanks();
        if self.depth >= MAX_DEPTH {
            return Err(self.error("too many nodes within each other"));
        }
        match self.peek() {
            None => Err(self.error("the end")),
            Some(b'{') => {
                self.at += 1;
                self.nested(Reader::node)
            }
            Some(b'(') => {
                self.at += 1;
                self.nested(|reader| reader.list(b')').map(Value::List))
            }
            Some(b'[') if self.is_at_bytes() => {
                self.at += 1;
                self.nested(Reader::bytes)
            }
            Some(b'}' | b')') => Err(self.error("a bracket that nothing opened")),
            Some(_) => self.atom(),
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<Value, ReadError>) -> Result<Value, ReadError> {
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn list(&mut self, end: u8) -> Result<Vec<Value>, ReadError> {
        let mut values = Vec::new();
        loop {
            self.skip_blanks();
            if self.peek() == Some(end) {
                self.at += 1;
                return Ok(values);
            }
            values.push(self.value()?);
        }
    }

    fn bytes(&mut self) -> Result<Value, ReadError> {
        let values = self.list(b']')?;
        // Signed, as C's char is on the server.
        let byte = |value: &Value| value.text()?.parse::<i16>().ok().map(|byte| byte as u8);
        let bytes: Option<Vec<u8>> = values.iter().map(byte).collect();
        bytes.map(Value::Bytes).ok_or_else(|| self.error("no bytes"))
    }

    fn node(&mut self) -> Result<Value, ReadError> {
        let Value::Text(name) = self.atom()? else { return Err(self.error("a node without a name")) };
        let new = RENAMED.iter().find(|(old, _)| *old == &*name);
        let kind = new.map_or(name, |(_, new)| (*new).into());
        let mut fields = BTreeMap::new();
        loop {
            self.skip_blanks();
            match self.peek() {
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Node(Box::new(Node { kind, fields })));
                }
                Some(b':') => {
                    self.at += 1;
                    let Value::Text(name) = self.atom()? else { return Err(self.error("a field without a name")) };
                    let value = self.field()?;
                    fields.insert(name, value);
                }
                _ => return Err(self.error("a field's name was expected")),
            }
        }
    }

    /// A field's value: mostly one, for a constant's bytes a length and the bytes. The last one counts. The first may be a name that
    /// begins with a colon.
    fn field(&mut self) -> Result<Value, ReadError> {
        let mut value = self.value()?;
        loop {
            self.skip_blanks();
            match self.peek() {
                Some(b'}' | b':') => return Ok(value),
                _ => value = self.value()?,
            }
        }
    }

    /// A word or a string, up to a blank, or a parenthesis or brace: what else ends a word has an escape. Quotes are special at its two ends alone: `"a"b"` is the string `a"b`.
    fn atom(&mut self) -> Result<Value, ReadError> {
        self.skip_blanks();
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.text[self.at..].chars();
        while let Some(char) = chars.next() {
            match char {
                '\\' => {
                    let Some(escaped) = chars.next() else { return Err(self.error("an escape without a character")) };
                    self.at += 1 + escaped.len_utf8();
                    text.push(unbroken(escaped));
                }
                ' ' | '\n' | '\t' | '(' | ')' | '{' | '}' => break,
                char => {
                    self.at += char.len_utf8();
                    text.push(char);
                }
            }
        }
        let raw = &self.text[start..self.at];
        match raw {
            "" => Err(self.error("a word was expected")),
            "<>" => Ok(Value::Nothing),
            _ if raw.len() >= 2 && raw.starts_with('"') && raw.ends_with('"') && !raw.ends_with("\\\"") => {
                Ok(Value::Text(text[1..text.len() - 1].into()))
            }
            _ => Ok(Value::Text(text.into())),
        }
    }
}

/// Postgres breaks the lines of a tree at blanks, also at one within a name.
fn unbroken(escaped: char) -> char {
    match escaped {
        '\n' => ' ',
        escaped => escaped,
    }
}

impl Value {
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn number<N: std::str::FromStr>(&self) -> Option<N> {
        self.text()?.parse().ok()
    }

    pub fn node(&self) -> Option<&Node> {
        match self {
            Value::Node(node) => Some(node),
            _ => None,
        }
    }

    /// The elements of a list; nothing has none.
    pub fn list(&self) -> &[Value] {
        match self {
            Value::List(values) => values,
            _ => &[],
        }
    }

    /// Of a list of numbers, `(i 1 2)`, `(o 1 2)`, `(b 1 2)`.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.list().iter().skip(1).filter_map(Value::number)
    }
}

const NOTHING: Value = Value::Nothing;

impl Node {
    /// Nothing if there is no such field, as in another version.
    pub fn get(&self, field: &str) -> &Value {
        self.fields.get(field).unwrap_or(&NOTHING)
    }

    pub fn has(&self, field: &str) -> bool {
        !matches!(self.get(field), Value::Nothing)
    }

    pub fn node(&self, field: &str) -> Option<&Node> {
        self.get(field).node()
    }

    pub fn list(&self, field: &str) -> &[Value] {
        self.get(field).list()
    }

    pub fn nodes(&self, field: &str) -> impl Iterator<Item = &Node> {
        self.list(field).iter().filter_map(Value::node)
    }

    pub fn text(&self, field: &str) -> &str {
        self.get(field).text().unwrap_or_default()
    }

    pub fn number<N: std::str::FromStr>(&self, field: &str) -> Option<N> {
        self.get(field).number()
    }

    pub fn is(&self, field: &str) -> bool {
        self.text(field) == "true"
    }

    pub fn values(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.fields.iter().map(|(name, value)| (&**name, value))
    }

    /// Every oid that the tree names, of views those that they stand for.
    pub fn oids(&self) -> Oids {
        let mut oids = Oids::default();
        oids.of_node(self);
        for set in
            [&mut oids.relations, &mut oids.operators, &mut oids.functions, &mut oids.types, &mut oids.collations]
        {
            set.remove(&0);
        }
        oids
    }
}

impl Oids {
    fn of_node(&mut self, node: &Node) {
        for (name, value) in node.values() {
            let set = match name {
                "relid" => &mut self.relations,
                "opno" | "opnos" | "sortop" | "eqop" => &mut self.operators,
                "funcid" | "opfuncid" | "aggfnoid" | "winfnoid" | "tsmhandler" => &mut self.functions,
                "vartype" | "consttype" | "paramtype" | "funcresulttype" | "opresulttype" | "resulttype" => {
                    &mut self.types
                }
                "array_typeid" | "element_typeid" | "coalescetype" | "casetype" | "minmaxtype" | "aggtype" => {
                    &mut self.types
                }
                "inputcollid" | "resultcollid" | "collOid" | "varcollid" => &mut self.collations,
                _ => {
                    self.of_value(value);
                    continue;
                }
            };
            set.extend(value.number::<u32>());
            set.extend(value.numbers());
        }
    }

    fn of_value(&mut self, value: &Value) {
        match value {
            Value::Node(node) => self.of_node(node),
            Value::List(values) => values.iter().for_each(|value| self.of_value(value)),
            Value::Nothing | Value::Text(_) | Value::Bytes(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_each_form() {
        let text = r#"({QUERY :commandType 1 :n <> :names ("a\ b" "c") :set (b 8 9) :oids (o 96 97) :word a\ \(b\)
            :empty "" :constvalue 4 [ 10 0 -1 0 ] :inner {VAR :varno 1}})"#;
        let trees = read(text).unwrap();
        let [query] = &trees[..] else { panic!("{trees:?}") };
        assert_eq!(&*query.kind, "QUERY");
        assert_eq!(query.number::<u8>("commandType"), Some(1));
        assert!(!query.has("n") && !query.has("no such field"));
        assert_eq!(query.list("names"), [Value::Text("a b".into()), Value::Text("c".into())]);
        assert_eq!(query.get("set").numbers().collect::<Vec<_>>(), [8, 9]);
        assert_eq!(query.get("oids").numbers().collect::<Vec<_>>(), [96, 97]);
        assert_eq!(query.text("word"), "a (b)");
        assert_eq!(query.get("empty"), &Value::Text("".into()));
        assert_eq!(query.get("constvalue"), &Value::Bytes(vec![10, 0, 255, 0]));
        assert_eq!(query.node("inner").and_then(|var| var.number::<u32>("varno")), Some(1));
    }

    #[test]
    fn a_line_that_is_broken_within_a_name() {
        assert_eq!(read("{A :name unnamed\\\njoin}").unwrap()[0].text("name"), "unnamed join");
        assert_eq!(read("{A :names (\"unnamed\\\njoin\")}").unwrap()[0].list("names")[0].text(), Some("unnamed join"));
    }

    #[test]
    fn quotes_within_a_name() {
        let names = read(r#"{A :names ("a"b" "a"" "\"" "" "c") :name a"b :empty ""}"#).unwrap().remove(0);
        let texts: Vec<_> = names.list("names").iter().filter_map(Value::text).collect();
        assert_eq!(texts, ["a\"b", "a\"", "\"", "", "c"]);
        assert_eq!(names.text("name"), "a\"b");
        assert_eq!(names.get("empty"), &Value::Text("".into()));
    }

    /// As Postgres prints them: it escapes blanks, braces, parentheses and backslashes, and what begins as a quote or a number does.
    #[test]
    fn names_of_signs() {
        for (printed, name) in [
            ("[x]", "[x]"),
            ("]", "]"),
            ("[", "["),
            ("[]", "[]"),
            ("a]b[", "a]b["),
            (":x", ":x"),
            (":", ":"),
            ("a:b", "a:b"),
            ("[\\ 1\\ ]", "[ 1 ]"),
            ("a\rb\u{c}c", "a\rb\u{c}c"),
            ("\r", "\r"),
            ("\\<>", "<>"),
            ("\\12", "12"),
        ] {
            let text = format!("{{A :name {printed} :names (\"{printed}\" \"b\") :at 1 :name2 {printed}}}");
            let node = read(&text).unwrap().remove(0);
            let names: Vec<_> = node.list("names").iter().filter_map(Value::text).collect();
            assert_eq!((node.text("name"), &names[..]), (name, &[name, "b"][..]), "{text}");
            assert_eq!((node.text("name2"), node.text("at")), (name, "1"), "{text}");
        }
    }

    #[test]
    fn names_before_16_are_read_as_since_then() {
        // The fixtures have new names: their trees have been read before they were written.
        for (old, new) in [
            ("RTE", "RANGETBLENTRY"),
            ("COALESCE", "COALESCEEXPR"),
            ("CASE", "CASEEXPR"),
            ("WHEN", "CASEWHEN"),
            ("ARRAY", "ARRAYEXPR"),
            ("ROW", "ROWEXPR"),
            ("MINMAX", "MINMAXEXPR"),
            ("COLLATE", "COLLATEEXPR"),
            ("ROWCOMPARE", "ROWCOMPAREEXPR"),
        ] {
            assert_eq!(&*read(&format!("{{{old} :a 1}}")).unwrap()[0].kind, new);
        }
    }

    #[test]
    fn what_is_no_tree_is_an_error() {
        let deep = "(".repeat(100_000);
        for text in [
            "",
            "{",
            "{A",
            "{A :b",
            "{A :b 1",
            "{A b}",
            "(1)",
            "{A} {B}",
            "}",
            "{A :b [ 1 x ]}",
            "{A :b }",
            "{A :b c\\",
            &deep,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn oids_of_every_kind() {
        let text = "{QUERY :rtable ({RTE :relid 16384}) :a {OPEXPR :opno 96 :opfuncid 65 :inputcollid 100 :args (
            {VAR :vartype 23} {CONST :consttype 0})} :b {ROWCOMPAREEXPR :opnos (o 97 98)}}";
        let oids = read(text).unwrap()[0].oids();
        assert_eq!(oids.relations, [16384].into());
        assert_eq!(oids.operators, [96, 97, 98].into());
        assert_eq!(oids.functions, [65].into());
        assert_eq!(oids.types, [23].into());
        assert_eq!(oids.collations, [100].into());
    }
}

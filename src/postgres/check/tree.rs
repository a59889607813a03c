//! A statement as Postgres has understood it: its rewritten tree, in which names, `*`, types, casts, operators and
//! collations are resolved, views expanded and row security applied. Nothing runs.
//!
//! Postgres shows a tree, as the detail of a message of level LOG, to whoever parses while `debug_print_rewritten` is on:
//! any role, on standbys and through poolers, too. It also goes to the server's own log, some 8 KB for each statement.
//!
//! Which tree is whose: every command prints one, and so do functions that run while it is planned. So the statement is
//! asked for as a subselect of a name that nobody else uses, and taken from the tree in which that name is. The statement
//! around it has no columns, so that the driver looks up no types; is not kept; and is ruled out by its WHERE.

use tokio_postgres::types::{ToSql, Type};

use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;
use crate::postgres::values::params::TextParam;

/// Has trees printed from here to the transaction's end, each in as few bytes as there are.
pub(in crate::postgres) const PRINT_TREES: &str =
    "SET LOCAL client_min_messages = log; SET LOCAL debug_pretty_print = off; \
    SET LOCAL debug_print_parse = off; SET LOCAL debug_print_plan = off; SET LOCAL debug_print_rewritten = on;";

const MESSAGE: &str = "rewritten parse tree:";

/// What stands before the statement, and after it. The line feed ends a comment that it may end in.
const BEFORE: &str = "SELECT FROM (";
const AFTER: &str = "\n) bear_tree WHERE false";

/// The longest tree that is kept. A view of a hundred columns takes 100 KB; one of views of views may take some MB.
const MOST_BYTES: usize = 16 << 20;

/// Stands before the position of a node, in bytes of the text; -1 where there is none.
const LOCATION: &str = ":location ";

/// The tree of `sql`, `({QUERY …})`, as the Parse of it alone would print it. Within a transaction in which trees are
/// printed; an error leaves it aborted.
pub(in crate::postgres) fn of_statement(client: &mut Client, sql: &str, params: &[Type]) -> Result<String, Failure> {
    const NULL: &(dyn ToSql + Sync) = &TextParam(None);
    let asked = format!("{BEFORE}{sql}{AFTER}");
    let nulls: Vec<_> = params.iter().map(|ty| (NULL, ty.clone())).collect();
    let (answer, details) = client.details_of(MESSAGE, MOST_BYTES, |client| client.query_typed(&asked, &nulls));
    answer?;
    let own = details.texts.iter().map(|text| one_line(text)).find_map(|text| Some(moved(own_statement(&text)?)));
    own.ok_or_else(|| match details.is_cut {
        true => Failure::shape(format!("its tree in Postgres takes more than {} MB", MOST_BYTES >> 20)),
        false => Failure::shape("Postgres has not shown the statement's tree"),
    })
}

/// Postgres breaks lines at blanks, and where there is none within 78 bytes, amid a word.
fn one_line(text: &str) -> String {
    const BROKEN: usize = 78;
    let mut whole = String::with_capacity(text.len());
    for line in text.split('\n') {
        whole.push_str(line);
        if line.len() != BROKEN || line.contains(' ') {
            whole.push(' ');
        }
    }
    whole
}

/// The subselect that the statement stands in, if this is the tree of what was asked.
fn own_statement(tree: &str) -> Option<&str> {
    if !tree.starts_with("({QUERY :commandType 1 ") {
        return None;
    }
    let range_table = after(tree, " :rtable ({")?;
    after(range_table, " ").filter(|first| first.starts_with(":alias {ALIAS :aliasname bear_tree "))?;
    let subquery = after(range_table, " :subquery ")?;
    Some(&subquery[..node_len(subquery)?])
}

fn after<'a>(text: &'a str, part: &str) -> Option<&'a str> {
    text.find(part).map(|at| &text[at + part.len()..])
}

/// Bytes of the node that the text begins with. Quotes mean nothing: what a name holds is told by backslashes.
fn node_len(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'{' => depth += 1,
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The same with positions in the statement instead of in what was asked, as a list of one.
fn moved(statement: &str) -> String {
    let mut text = String::with_capacity(statement.len() + 2);
    text.push('(');
    let mut rest = statement;
    while let Some(at) = rest.find(LOCATION) {
        let (head, tail) = rest.split_at(at + LOCATION.len());
        text.push_str(head);
        let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = tail.split_at(digits);
        match number.parse::<usize>().ok().and_then(|location| location.checked_sub(BEFORE.len())) {
            Some(location) => text.push_str(&location.to_string()),
            None => text.push_str(number),
        }
        rest = tail;
    }
    text.push_str(rest);
    text.push(')');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_lines_are_put_together_again() {
        let word = "x".repeat(78);
        assert_eq!(one_line("({A :b c\\\nd\n:e f})"), "({A :b c\\ d :e f}) ");
        assert_eq!(one_line(&format!("{word}\ny z")), format!("{word}y z "));
    }

    #[test]
    fn a_name_with_braces_and_quotes_ends_no_node() {
        let node = r#"{ALIAS :aliasname a\}\{"b\\ :colnames ("c\ d\}" "e"f")}"#;
        assert_eq!(node_len(&format!("{node} :more {{X}}")), Some(node.len()));
        assert_eq!(node_len("{A :b {C}"), None);
    }

    #[test]
    fn trees_of_others_are_not_taken() {
        let tree = |query: &str, alias: &str| {
            format!("({{QUERY :commandType {query} :x 1 :rtable ({{RTE :alias {{ALIAS :aliasname {alias} :colnames <>}} :rtekind 1 :subquery {{QUERY :location 20 :location -1}} :lateral false}}) :location 3}}) ")
        };
        let own = tree("1", "bear_tree");
        assert_eq!(own_statement(&own).map(moved).as_deref(), Some("({QUERY :location 7 :location -1})"));
        for other in [
            tree("6", "bear_tree"),
            tree("1", "other"),
            "({QUERY :commandType 6 :utilityStmt {X}}) ".to_owned(),
            "({QUERY :commandType 1 :rtable <>})".to_owned(),
        ] {
            assert_eq!(own_statement(&other), None, "{other}");
        }
    }
}

//! The head of each command's page, made from COMMAND DOCS and COMMAND INFO, and the table of all commands.

use std::fmt::Write;
use std::path::Path;

use super::blesses;
use crate::support::markdown::{read, root};
use crate::support::{Redis, Reply};

const BEGIN: &str = "<!-- COMMAND DOCS -->\n";
const END: &str = "<!-- end -->\n";

/// An argument as users read it: `[FRESH | CACHED]`, `word [word …]`.
fn syntax(argument: &Reply) -> String {
    let fields = argument.map();
    let text = |name: &str| fields.get(name).map(Reply::text).unwrap_or_default();
    let parts = || -> Vec<String> { fields["arguments"].list().iter().map(syntax).collect() };
    let flags = fields.get("flags").map(Reply::sorted_texts).unwrap_or_default();
    let has = |flag: &str| flags.iter().any(|known| known == flag);
    let value = match text("type").as_str() {
        "oneof" => parts().join(" | "),
        "block" => parts().join(" "),
        "pure-token" => String::new(),
        _ => text("name"),
    };
    let line = [text("token"), value].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let line = if has("multiple") { format!("{line} [{line} …]") } else { line };
    match has("optional") {
        true => format!("[{line}]"),
        false => line,
    }
}

fn head(name: &str, docs: &Reply, info: &Reply) -> String {
    let docs = docs.map();
    let info = info.list();
    let arguments = docs.get("arguments").map(|arguments| arguments.list().to_vec()).unwrap_or_default();
    let words = arguments.iter().map(syntax).fold(name.to_uppercase(), |line, word| format!("{line} {word}"));
    let flags = info[2].sorted_texts();
    let flags: Vec<&str> = flags.iter().map(String::as_str).filter(|flag| *flag != "module").collect();
    let key = match info[8].list().first().map(|spec| spec.map()["flags"].sorted_texts()) {
        None => "none".to_owned(),
        Some(flags) if flags.iter().any(|flag| flag == "RW") => "the first argument, read and written".to_owned(),
        Some(_) => "the first argument, read".to_owned(),
    };
    let mut text = format!("{}\n\n```text\n{words}\n```\n\n| | |\n|---|---|\n", docs["summary"].text());
    let rows = [
        ("complexity", docs["complexity"].text()),
        ("key", key),
        ("flags", flags.join(", ")),
        ("since", docs["since"].text()),
    ];
    for (name, value) in rows {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    text
}

/// Puts what the server says between two marks of a page, or compares it.
fn agree(page: &str, begin: &str, end: &str, expected: &str) {
    let text = read(page);
    let (before, rest) = text.split_once(begin).unwrap_or_else(|| panic!("{page} has no {begin}"));
    let (shown, after) = rest.split_once(end).unwrap_or_else(|| panic!("{page} has no {end}"));
    if blesses(Path::new(page)) {
        std::fs::write(root().join(page), [before, begin, expected, end, after].concat()).expect("the page is written");
    } else {
        assert_eq!(shown, expected, "{page}");
    }
}

#[test]
fn the_pages_of_commands_say_what_command_docs_says() {
    let redis = Redis::builder().start();
    let mut wire = redis.resp3_wire();
    let names = wire.run("COMMAND LIST FILTERBY MODULE bear").sorted_texts();
    let mut table = String::from("\n| command | what it does |\n|---|---|\n");
    for name in names {
        let docs = wire.run(&format!("COMMAND DOCS {name}")).map()[&name].clone();
        let info = wire.run(&format!("COMMAND INFO {name}")).list()[0].clone();
        let page = format!("{}.md", name.replace('.', "-"));
        agree(&format!("docs/commands/{page}"), BEGIN, END, &head(&name, &docs, &info));
        let _ = writeln!(table, "| [{}](commands/{page}) | {} |", name.to_uppercase(), docs.map()["summary"].text());
    }
    table.push('\n');
    agree("docs/commands.md", "<!-- all commands -->\n", END, &table);
}

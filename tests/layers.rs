//! The layers: arrows point down only, and unsafe code stays where it is. Reads the source; needs no server.
//!
//! ```text
//! commands -> server -> keyspace -> workers -> postgres -> core
//!     \---------\----------\--> redis_api (the module API; all unsafe code; knows nobody)
//! failpoints, mutations: below all of them; where a test of crashes may stop a thread, or put a fault in
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// From the top down: a layer may use what stands after it.
const LAYERS: [&str; 8] = ["commands", "server", "keyspace", "workers", "postgres", "core", "failpoints", "mutations"];

/// The module API, which is beside the layers: these use it, and it uses none of them.
const REDIS_API: &str = "redis_api";
const USERS_OF_REDIS_API: [&str; 3] = ["commands", "server", "keyspace"];

/// What only one layer may name.
const OWNED: [(&str, &str); 3] = [("redis_module", REDIS_API), ("r2d2", "postgres"), ("rustls", "postgres")];

/// What is no business of `core`: it does no I/O, starts no thread and reads no clock.
const NOT_IN_CORE: [&str; 9] = [
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "std::env",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
];

/// What is wrong with a file of `layer` (None: lib.rs, which ties the layers together); `module` is the file's path
/// of modules below the crate.
fn faults(layer: Option<&str>, module: &[&str], source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let mut faults = Vec::new();
    if layer != Some(REDIS_API) && tokens.iter().any(|token| token == "unsafe") {
        faults.push("unsafe code".to_owned());
    }
    let Some(layer) = layer else { return faults };
    for used in used_modules(&tokens, module) {
        let allowed = match used.as_str() {
            _ if used == layer => true,
            REDIS_API => USERS_OF_REDIS_API.contains(&layer),
            _ => match (rank(layer), rank(&used)) {
                (Some(own), Some(other)) => own < other,
                // redis_api uses no layer, and nobody uses what is no layer.
                _ => false,
            },
        };
        if !allowed {
            faults.push(format!("uses {used}"));
        }
    }
    for (name, owner) in OWNED {
        if layer != owner && tokens.iter().any(|token| token == name) {
            faults.push(format!("names {name}"));
        }
    }
    let is_test = module.iter().any(|name| ["tests", "model"].contains(name));
    if layer == "core" && !is_test {
        let code = without_tests(&tokens).concat();
        faults.extend(NOT_IN_CORE.iter().filter(|name| code.contains(**name)).map(|name| format!("uses {name}")));
    }
    faults
}

fn rank(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|name| *name == layer)
}

/// Identifiers, `::` and single characters of punctuation; comments, literals and lifetimes are left out.
fn tokens(source: &str) -> Vec<String> {
    let chars: Vec<char> = source.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let c = chars[i];
        if c == '/' && at(i + 1) == '/' {
            while i < chars.len() && chars[i] != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            loop {
                match (at(i), at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
                if depth == 0 || i >= chars.len() {
                    break;
                }
            }
        } else if let Some(end) = raw_string(&chars, i) {
            i = end;
        } else if c == '"' || (matches!(c, 'b' | 'c') && at(i + 1) == '"') {
            i += if c == '"' { 1 } else { 2 };
            while i < chars.len() && chars[i] != '"' {
                i += if chars[i] == '\\' { 2 } else { 1 };
            }
            i += 1;
        } else if c == '\'' || (c == 'b' && at(i + 1) == '\'') {
            let open = if c == 'b' { i + 1 } else { i };
            if at(open + 1) == '\\' || at(open + 2) == '\'' {
                let mut end = open + if at(open + 1) == '\\' { 3 } else { 2 };
                while end < chars.len() && chars[end] != '\'' {
                    end += 1;
                }
                i = end + 1;
            } else {
                i = open + 1; // a lifetime
                while is_word(at(i)) {
                    i += 1;
                }
            }
        } else if is_word(c) {
            let start = i;
            while is_word(at(i)) {
                i += 1;
            }
            tokens.push(chars[start..i].iter().collect());
        } else if c == ':' && at(i + 1) == ':' {
            tokens.push("::".to_owned());
            i += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push(c.to_string());
            }
            i += 1;
        }
    }
    tokens
}

/// Where a raw string that begins at `start` ends; None where none begins.
fn raw_string(chars: &[char], start: usize) -> Option<usize> {
    let mut i = start;
    if matches!(chars[i], 'b' | 'c') {
        i += 1;
    }
    if chars.get(i) != Some(&'r') || (start > 0 && (chars[start - 1].is_alphanumeric() || chars[start - 1] == '_')) {
        return None;
    }
    i += 1;
    let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
    i += hashes;
    if chars.get(i) != Some(&'"') {
        return None;
    }
    i += 1;
    while i < chars.len() {
        let closes = chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        i += 1;
        if closes {
            return Some(i + hashes);
        }
    }
    Some(i)
}

/// Names of the crate's top modules that a file of `module` refers to, through `crate::` or `super::`.
fn used_modules(tokens: &[String], module: &[&str]) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    // Modules written inside the file, each with the depth of braces at which it ends.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut i = 0;
    while i < tokens.len() {
        let token = |index: usize| tokens.get(index).map_or("", String::as_str);
        match token(i) {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.retain(|(_, end)| *end <= depth);
            }
            "mod" if token(i + 2) == "{" => inline.push((token(i + 1).to_owned(), depth + 1)),
            "crate" if token(i + 1) == "::" => used.extend(first_names(tokens, i + 2)),
            "super" if token(i + 1) == "::" && token(i.wrapping_sub(1)) != "::" => {
                let mut path: Vec<&str> =
                    module.iter().copied().chain(inline.iter().map(|(name, _)| name.as_str())).collect();
                while token(i) == "super" && token(i + 1) == "::" {
                    path.pop();
                    i += 2;
                }
                match path.first() {
                    Some(top) => used.insert((*top).to_owned()),
                    None => {
                        used.extend(first_names(tokens, i));
                        false
                    }
                };
                continue;
            }
            _ => {}
        }
        i += 1;
    }
    used
}

/// The names that a path goes on with: one, or those of a group in braces.
fn first_names(tokens: &[String], from: usize) -> Vec<String> {
    if tokens.get(from).is_none_or(|token| token != "{") {
        return tokens.get(from).cloned().into_iter().collect();
    }
    let mut names = Vec::new();
    let mut depth = 0;
    let mut is_first = false;
    for token in &tokens[from..] {
        match token.as_str() {
            "{" => (depth, is_first) = (depth + 1, depth == 0),
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," => is_first = depth == 1,
            name if is_first && depth == 1 => {
                names.push(name.to_owned());
                is_first = false;
            }
            _ => {}
        }
    }
    names
}

/// The tokens before the file's unit tests, which stand last.
fn without_tests(tokens: &[String]) -> &[String] {
    let tests = ["#", "[", "cfg", "(", "test", ")", "]", "mod", "tests", "{"];
    let end = tokens.windows(tests.len()).position(|window| window == tests);
    &tokens[..end.unwrap_or(tokens.len())]
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the source") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn arrows_point_down_and_unsafe_code_stays_where_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for file in files {
        let path = file.strip_prefix(&root).expect("below the source").with_extension("");
        let mut module: Vec<&str> = path.iter().map(|part| part.to_str().expect("an ASCII name")).collect();
        if matches!(module.last(), Some(&"mod") | Some(&"lib")) {
            module.pop();
        }
        let layer = module.first().copied();
        if let Some(layer) = layer {
            assert!(rank(layer).is_some() || layer == REDIS_API, "{layer} is no layer");
            seen.insert(layer.to_owned());
        }
        let source = std::fs::read_to_string(&file).expect("a source file");
        found.extend(faults(layer, &module, &source).into_iter().map(|fault| format!("{}: {fault}", file.display())));
    }
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(seen.len(), LAYERS.len() + 1, "every layer was looked at: {seen:?}");
}

#[test]
fn the_check_finds_what_it_is_for() {
    let bad = [
        ("core", "core/keys", "use crate::postgres::Pool;", "uses postgres"),
        ("core", "core/keys", "use crate::{core::names, workers::Workers};", "uses workers"),
        ("core", "core/keys", "fn f() { super::super::server::with(|_| ()) }", "uses server"),
        ("core", "core/keys", "mod tests { use super::super::super::keyspace::Left; }", "uses keyspace"),
        ("core", "core/keys", "fn f() -> u64 { Instant::now().elapsed().as_secs() }", "uses Instant::now"),
        ("core", "core/keys", "use std::fs;", "uses std::fs"),
        ("core", "core/keys", "use redis_module::raw;", "names redis_module"),
        ("workers", "workers", "use crate::redis_api::wake;", "uses redis_api"),
        ("postgres", "postgres/pool", "use crate::workers::Outcome;", "uses workers"),
        ("keyspace", "keyspace/store", "fn f(s: &crate::server::Server) {}", "uses server"),
        ("server", "server/tick", "use crate::commands;", "uses commands"),
        ("redis_api", "redis_api/key", "fn f() { g(crate::core::names::h()) }", "uses core"),
        ("server", "server/tick", "use crate::VERSION;", "uses VERSION"),
        ("server", "server/tick", "fn f() { unsafe { g() } }", "unsafe code"),
        ("server", "server/tick", "use r2d2::Pool;", "names r2d2"),
    ];
    for (layer, module, source, expected) in bad {
        let module: Vec<&str> = module.split('/').collect();
        assert_eq!(faults(Some(layer), &module, source), [expected], "{source}");
    }
    assert_eq!(faults(None, &[], "unsafe fn f() {}"), ["unsafe code"]);
}

#[test]
fn the_check_lets_pass_what_is_right() {
    let good = [
        ("server", "server/tick", "use super::{errors, Server}; use crate::{core::keys::{self, Row}, keyspace};"),
        ("server", "server/tick", "// unsafe, crate::commands\nlet x = \"unsafe crate::commands\"; let y = '\"';"),
        ("server", "server/tick", "/* a /* nested */ unsafe */ let x = r#\"unsafe \" \"#; fn f<'a>(x: &'a u8) {}"),
        ("keyspace", "keyspace", "use crate::redis_api::Context; use crate::core::index::Index;"),
        ("core", "core/index", "use super::glob; mod tests { use super::*; use super::super::names; }"),
        ("core", "core/index", "fn f() {} #[cfg(test)] mod tests { fn g() { std::time::Instant::now(); } }"),
        ("redis_api", "redis_api/key", "use super::Context; pub(crate) use entry; unsafe fn f() {}"),
    ];
    for (layer, module, source) in good {
        let module: Vec<&str> = module.split('/').collect();
        assert_eq!(faults(Some(layer), &module, source), Vec::<String>::new(), "{source}");
    }
}

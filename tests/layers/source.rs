//! Source files as far as these tests read them: tokens, and the paths of modules that a file uses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A source file.
pub struct File {
    pub path: PathBuf,
    /// Its path of modules below the crate; a folder's `mod.rs` has the folder's.
    pub module: Vec<String>,
    pub source: String,
}

/// A path that a file uses, from the crate on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    pub path: Vec<String>,
    /// Is it handed on, by `pub use`, and under which name?
    pub exported_as: Option<String>,
}

/// All files below the folder.
pub fn files(root: &Path) -> Vec<File> {
    let mut paths = Vec::new();
    rust_files(root, &mut paths);
    paths.into_iter().map(|path| File { module: module_of(root, &path), source: read(&path), path }).collect()
}

fn module_of(root: &Path, path: &Path) -> Vec<String> {
    let below = path.strip_prefix(root).expect("below the source").with_extension("");
    let mut module: Vec<String> = below.iter().map(|part| part.to_str().expect("an ASCII name").to_owned()).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
        module.pop();
    }
    module
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a source file")
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

/// Identifiers, `::` and single characters of punctuation; comments, literals and lifetimes are left out.
pub fn tokens(source: &str) -> Vec<String> {
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

/// The tokens before the file's unit tests, which stand last.
pub fn without_tests(tokens: &[String]) -> &[String] {
    let tests = ["#", "[", "cfg", "(", "test", ")", "]", "mod", "tests", "{"];
    let end = tokens.windows(tests.len()).position(|window| window == tests);
    &tokens[..end.unwrap_or(tokens.len())]
}

/// The paths that a file uses: of its `use` trees, and those in its code that begin with `crate`, `super` or `self`.
/// `known` are the crate's modules, for a path may begin with a module of the file's own.
pub fn used(tokens: &[String], module: &[String], known: &BTreeMap<Vec<String>, usize>) -> Vec<Used> {
    let mut used = Vec::new();
    // Modules written inside the file, each with the depth of braces at which it ends.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut i = 0;
    while i < tokens.len() {
        let token = |index: usize| tokens.get(index).map_or("", String::as_str);
        let here =
            || -> Vec<String> { module.iter().cloned().chain(inline.iter().map(|(name, _)| name.clone())).collect() };
        match token(i) {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.retain(|(_, end)| *end <= depth);
            }
            "mod" if token(i + 2) == "{" => inline.push((token(i + 1).to_owned(), depth + 1)),
            "use" => {
                let exported = i > 0 && matches!(token(i - 1), "pub" | ")");
                let end = (i..tokens.len()).find(|at| token(*at) == ";").unwrap_or(tokens.len());
                let mut trees = Vec::new();
                tree(&tokens[i + 1..end], &[], &mut trees);
                for (path, name) in trees {
                    if let Some(path) = absolute(&path, &here(), known) {
                        used.push(Used { path, exported_as: exported.then_some(name) });
                    }
                }
                i = end;
            }
            "crate" | "super" | "self" if token(i + 1) == "::" && token(i.wrapping_sub(1)) != "::" => {
                let mut path = vec![token(i).to_owned()];
                while token(i + 1) == "::" && token(i + 2) != "{" {
                    path.push(token(i + 2).to_owned());
                    i += 2;
                }
                used.extend(absolute(&path, &here(), known).map(|path| Used { path, exported_as: None }));
            }
            _ => {}
        }
        i += 1;
    }
    used
}

/// The paths of a `use` tree, each with the name that it is given.
fn tree(tokens: &[String], prefix: &[String], trees: &mut Vec<(Vec<String>, String)>) {
    let mut path = prefix.to_vec();
    let mut i = 0;
    while i < tokens.len() {
        match tokens[i].as_str() {
            "::" => {}
            "{" => {
                let (mut depth, mut from) = (0, i + 1);
                for (at, token) in tokens.iter().enumerate().skip(i) {
                    match token.as_str() {
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        "," if depth == 1 => {
                            tree(&tokens[from..at], &path, trees);
                            from = at + 1;
                        }
                        _ => {}
                    }
                    if depth == 0 {
                        return tree(&tokens[from..at], &path, trees);
                    }
                }
            }
            "as" => {
                trees.push((path, tokens[i + 1].clone()));
                return;
            }
            "self" if !path.is_empty() => {}
            name => path.push(name.to_owned()),
        }
        i += 1;
    }
    if path.len() > prefix.len() || tokens.iter().any(|token| token == "self") {
        let name = path.last().expect("a name").clone();
        trees.push((path, name));
    }
}

/// From the crate on; None for a path of another crate.
fn absolute(path: &[String], module: &[String], known: &BTreeMap<Vec<String>, usize>) -> Option<Vec<String>> {
    let first = path.first()?;
    match first.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        "super" => {
            let ups = path.iter().take_while(|name| *name == "super").count();
            Some([&module[..module.len().saturating_sub(ups)], &path[ups..]].concat())
        }
        _ => {
            let own = [module, &path[..1]].concat();
            known.contains_key(&own).then(|| [module, path].concat())
        }
    }
}

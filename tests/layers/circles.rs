//! Files that use each other, straight or through others.
//!
//! What a file only hands on, by `pub use`, counts as used by whoever takes it. A folder's `mod.rs` ties its files together, as
//! `lib.rs` does with the layers, so what it uses of them does not count. Nor do tests.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{tokens, used, without_tests, File, Used};

/// Each circle by its files, sorted.
pub fn find(files: &[File]) -> Vec<Vec<String>> {
    let known: BTreeMap<Vec<String>, usize> =
        files.iter().enumerate().map(|(at, file)| (file.module.clone(), at)).collect();
    let uses: Vec<Vec<Used>> =
        files.iter().map(|file| used(without_tests(&tokens(&file.source)), &file.module, &known)).collect();
    let mut handed_on = BTreeMap::new();
    for (file, uses) in files.iter().zip(&uses) {
        for used in uses {
            if let Some(name) = &used.exported_as {
                handed_on.insert([&file.module[..], std::slice::from_ref(name)].concat(), used.path.clone());
            }
        }
    }
    let mut edges: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); files.len()];
    for (from, uses) in uses.iter().enumerate().filter(|(at, _)| !is_test(&files[*at].module)) {
        let own = &files[from].module;
        for used in uses {
            let Some(to) = file_of(&used.path, &known, &handed_on, 8) else { continue };
            let other = &files[to].module;
            if to != from && !is_test(other) && !other.starts_with(own) {
                edges[from].insert(to);
            }
        }
    }
    circles(&edges)
        .into_iter()
        .map(|circle| circle.into_iter().map(|at| files[at].module.join("/")).collect())
        .collect()
}

fn is_test(module: &[String]) -> bool {
    module.iter().any(|name| name == "tests" || name == "model")
}

/// The file in which what the path names is defined.
fn file_of(
    path: &[String],
    known: &BTreeMap<Vec<String>, usize>,
    handed_on: &BTreeMap<Vec<String>, Vec<String>>,
    depth: usize,
) -> Option<usize> {
    for len in (1..=path.len()).rev() {
        let Some(at) = known.get(&path[..len]) else { continue };
        let taken = path.get(..=len).and_then(|name| handed_on.get(name));
        return match taken {
            Some(other) if depth > 0 => {
                file_of(&[other, &path[len + 1..]].concat(), known, handed_on, depth - 1).or(Some(*at))
            }
            _ => Some(*at),
        };
    }
    None
}

/// Sets of nodes that reach each other.
fn circles(edges: &[BTreeSet<usize>]) -> Vec<BTreeSet<usize>> {
    let reached: Vec<BTreeSet<usize>> = (0..edges.len())
        .map(|from| {
            let mut reached = BTreeSet::new();
            let mut next: Vec<usize> = edges[from].iter().copied().collect();
            while let Some(node) = next.pop() {
                if reached.insert(node) {
                    next.extend(&edges[node]);
                }
            }
            reached
        })
        .collect();
    let mut circles: Vec<BTreeSet<usize>> = Vec::new();
    for from in (0..edges.len()).filter(|from| reached[*from].contains(from)) {
        if !circles.iter().any(|circle| circle.contains(&from)) {
            circles.push(reached[from].iter().copied().filter(|to| reached[*to].contains(&from)).collect());
        }
    }
    circles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(module: &str, source: &str) -> File {
        File {
            path: module.into(),
            module: module.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            source: source.to_owned(),
        }
    }

    #[test]
    fn circles_are_found_however_they_are_written() {
        for (one, other) in [
            ("use super::b::B;", "use super::a::A;"),
            ("use crate::x::{self, b::{B, C}};", "fn f() { crate::x::a::g() }"),
            ("use super::b;", "use super::A;"),
            ("fn f() -> super::b::B {}", "use super::c::C;"),
        ] {
            let files = [
                file("x", "mod a; mod b; mod c; pub use a::A; use b::B;"),
                file("x/a", one),
                file("x/b", other),
                file("x/c", "use crate::x::a::Z as Y;"),
            ];
            assert_eq!(find(&files).len(), 1, "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_circle_is_none() {
        let files = [
            file("", "mod x;"),
            file("x", "mod a; mod b; pub use a::A; use b::B; fn f() { self::a::g() }"),
            file("x/a", "use super::X; use super::b::B; // super::b\n#[cfg(test)] mod tests { use super::*; }"),
            file("x/b", "use super::X; #[cfg(test)] mod tests { use crate::x::a::A; }"),
            file("x/b/tests", "use crate::x::a::A; use super::*;"),
        ];
        assert_eq!(find(&files), Vec::<Vec<String>>::new());
    }
}

//! The book against the module: every console example is run, tables are compared with what the server says, and the head
//! of each command's page with COMMAND DOCS.
//!
//! `BEAR_BLESS=docs` has what the server says written into those pages, where they say something else: read the difference
//! before it is committed.

mod commands;
mod console;
mod fixture;
mod tables;

use std::path::Path;

use crate::support::markdown::{blocks, pages, read, root};

use fixture::Fixture;

/// Does this run write the page, rather than compare it?
fn blesses(page: &Path) -> bool {
    std::env::var_os("BEAR_BLESS").is_some_and(|folder| page.starts_with(folder))
}

/// Runs a page's examples from top to bottom; those of one fixture share a server.
fn run_examples(page: &Path) -> Vec<String> {
    let text = read(page);
    let all = blocks(&text);
    let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    let mut wrong = Vec::new();
    let mut fixtures: Vec<(String, Fixture, console::Session)> = Vec::new();
    let mut blessed = Vec::new();
    for block in all.iter().filter(|block| block.language == "console") {
        let Some(note) = block.note.as_deref().and_then(|note| note.strip_prefix("run: ")) else { continue };
        let (name, varies) = note.split_once("; varies: ").unwrap_or((note, ""));
        if !fixtures.iter().any(|(known, ..)| known == name) {
            fixtures.push((name.to_owned(), Fixture::start(name, &all), console::Session::default()));
        }
        let (_, fixture, session) = fixtures.iter_mut().find(|(known, ..)| known == name).expect("it was pushed");
        session.varies = varies.split_ascii_whitespace().map(ToOwned::to_owned).collect();
        let found = session.run(fixture, &block.lines);
        blessed.push((block.line, block.lines.len(), found.lines));
        wrong.extend(found.wrong.into_iter().map(|reason| format!("{}:{}: {reason}", page.display(), block.line)));
    }
    if blesses(page) {
        for (at, length, new) in blessed.into_iter().rev() {
            lines.splice(at..at + length, new);
        }
        std::fs::write(root().join(page), lines.join("\n") + "\n").expect("the page is written");
        return Vec::new();
    }
    wrong
}

#[track_caller]
fn check_examples(is_of: impl Fn(&Path) -> bool) {
    let mut wrong = Vec::new();
    for page in pages().into_iter().filter(|page| is_of(page)) {
        wrong.extend(run_examples(&page));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}

#[test]
fn examples_of_commands_reply_as_they_show() {
    check_examples(|page| page.starts_with("docs/commands"));
}

#[test]
fn examples_of_readme_and_guides_reply_as_they_show() {
    check_examples(|page| !page.starts_with("docs/commands"));
}

//! README and book: their pages, links and anchors, and what they say of the source. Needs no server and no mdBook; what
//! needs a server is in `live/server/book`.

#[path = "support/markdown.rs"]
#[allow(dead_code)]
mod markdown;

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use markdown::{anchors, blocks, code_spans, links, pages, read, root, rows};

#[test]
fn the_readme_is_two_screens_and_not_ten() {
    assert!(read("README.md").lines().count() <= 250);
}

#[test]
fn the_summary_lists_every_page_once() {
    let listed = links(&read("docs/SUMMARY.md"));
    let mut listed: Vec<PathBuf> = listed.into_iter().map(|(_, target)| Path::new("docs").join(target)).collect();
    listed.push("docs/SUMMARY.md".into());
    listed.sort();
    let pages: Vec<PathBuf> = pages().into_iter().filter(|page| page.starts_with("docs")).collect();
    assert_eq!(listed, pages);
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in pages() {
        for (line, target) in links(&read(&page)) {
            if let Err(reason) = follow(&page, &target) {
                wrong.push(format!("{}:{line}: {target}: {reason}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn follow(page: &Path, target: &str) -> Result<(), String> {
    if target.starts_with("https://") {
        return Ok(());
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let to = if path.is_empty() { page.to_owned() } else { normal(&page.parent().expect("a folder").join(path)) };
    // The book is also read as web pages, which have nothing beside them.
    if page.starts_with("docs") && !(to.starts_with("docs") && to.extension().is_some_and(|kind| kind == "md")) {
        return Err("a page of the book links to pages of the book only".into());
    }
    if page.starts_with("docs") && !page.ends_with("SUMMARY.md") && to.ends_with("README.md") {
        return Err("mdBook calls this page index.html, and leaves the link as it is".into());
    }
    if !root().join(&to).is_file() {
        return Err("no such file".into());
    }
    match anchor {
        Some(anchor) if !anchors(&read(&to)).iter().any(|known| known == anchor) => Err("no such heading".into()),
        _ => Ok(()),
    }
}

/// Without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

#[test]
fn every_console_example_is_run_or_says_why_not() {
    for page in pages() {
        for block in blocks(&read(&page)).into_iter().filter(|block| block.language == "console") {
            let note = block.note.unwrap_or_default();
            let is_said = note.starts_with("run: ") || note.starts_with("not run: ");
            assert!(
                is_said,
                "{}:{}: a comment before it says `run: FIXTURE` or `not run: WHY`",
                page.display(),
                block.line
            );
        }
    }
}

#[test]
fn examples_of_catalogs_are_toml() {
    for page in pages() {
        for block in blocks(&read(&page)).into_iter().filter(|block| block.language == "toml") {
            // A part of a section stands without its head.
            let parsed: Result<toml::Table, _> = block.lines.join("\n").parse();
            assert!(parsed.is_ok(), "{}:{}: {parsed:?}", page.display(), block.line);
        }
    }
}

#[test]
fn the_ledgers_page_has_its_schema() {
    let page = read("docs/reference/ledger.md");
    let shown: Vec<Vec<String>> = blocks(&page).into_iter().map(|block| block.lines).collect();
    let schema: Vec<String> = read("schema/ledger.sql").lines().map(ToOwned::to_owned).collect();
    assert!(shown.contains(&schema), "docs/reference/ledger.md shows schema/ledger.sql as it is");
}

/// The codes in the first column of a page's tables; of a command's page, under its heading for errors.
fn codes(page: &str) -> BTreeSet<String> {
    let text = read(page);
    let part =
        text.split_once("\n## Errors\n").map_or(text.as_str(), |(_, rest)| rest.split("\n## ").next().unwrap_or(rest));
    let codes = rows(part).into_iter().flat_map(|row| code_spans(&row[0]));
    codes.filter(|code| is_code(code)).collect()
}

fn is_code(word: &str) -> bool {
    word.len() >= 3 && word.chars().all(|c| c.is_ascii_uppercase())
}

#[test]
fn the_page_of_errors_has_the_codes_of_the_source() {
    let source = read("src/server/errors.rs");
    let listed = source.lines().filter_map(|line| line.strip_prefix("//! | `")?.split('`').next());
    let listed: BTreeSet<String> = listed.map(ToOwned::to_owned).collect();
    assert_eq!(codes("docs/reference/errors.md"), listed);
}

/// The page of a command, and its source.
fn commands() -> Vec<(String, String)> {
    let source = read("src/commands/mod.rs");
    let names = source.lines().filter_map(|line| line.trim().strip_prefix("register::<")?.split("::").next());
    names.map(|name| (format!("docs/commands/bear-{name}.md"), format!("src/commands/{name}.rs"))).collect()
}

#[test]
fn a_commands_page_has_the_errors_that_its_source_names() {
    let commands = commands();
    assert_eq!(commands.len(), 41);
    for (page, source) in commands {
        // The last paragraph of the module's documentation: `Errors: ERR (wrong words), TOOLARGE.`
        let head = read(&source);
        let head: Vec<&str> = head.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
        let head = head.join(" ");
        let (_, errors) = head.split_once("Errors: ").unwrap_or_else(|| panic!("{source} names no errors"));
        let named = outside_brackets(errors);
        let named: BTreeSet<String> =
            named.split(|c: char| !c.is_alphanumeric()).filter(|word| is_code(word)).map(ToOwned::to_owned).collect();
        assert_eq!(codes(&page), named, "{page} and {source}");
    }
}

fn outside_brackets(text: &str) -> String {
    let mut depth = 0;
    let mut outside = String::new();
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            c if depth == 0 => outside.push(c),
            _ => {}
        }
    }
    outside
}

#[test]
fn the_page_of_acl_has_the_categories_of_the_source() {
    let shown: BTreeSet<(String, String)> = rows(&read("docs/operation/redis.md"))
        .iter()
        .flat_map(|row| code_spans(&row[1]).into_iter().map(|name| (name, code_spans(&row[0]).join(" "))))
        .filter(|(name, _)| name.starts_with("bear."))
        .collect();
    let of_source = commands().into_iter().map(|(_, source)| {
        let text = read(&source);
        let field = |name: &str| {
            text.split_once(&format!("{name}: c\"")).and_then(|(_, rest)| rest.split('"').next()).map(ToOwned::to_owned)
        };
        (field("name").expect("a name"), field("categories").expect("categories"))
    });
    assert_eq!(shown, of_source.collect());
}

#[test]
fn a_commands_page_has_its_parts() {
    for (page, _) in commands() {
        let found = anchors(&read(&page));
        for part in ["reply", "errors", "replication", "examples"] {
            assert!(found.iter().any(|anchor| anchor == part), "{page} lacks {part}");
        }
    }
}

#[test]
fn example_configuration_names_the_defaults() {
    let rows = rows(&read("docs/reference/settings.md"));
    let defaults = rows.iter().filter_map(|row| Some((code_spans(&row[0]).pop()?, row.get(2)?.clone())));
    let defaults: Vec<(String, String)> = defaults.filter(|(name, _)| name.starts_with("bear.")).collect();
    let conf = read("redis.conf");
    for (name, default) in defaults {
        let value = if default == "empty" { "\"\"".to_owned() } else { default };
        assert!(conf.lines().any(|line| line == format!("# {name} {value}")), "redis.conf lacks `# {name} {value}`");
    }
}

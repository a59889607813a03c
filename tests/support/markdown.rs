//! The Markdown of README and book, as far as tests look into it: its files, headings, links, tables, and blocks of code with
//! what a comment before them says.

use std::path::{Path, PathBuf};

/// A block of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Of its first line of text, counted from 0.
    pub line: usize,
    /// `console`, `toml`, …
    pub language: String,
    pub lines: Vec<String>,
    /// What stands in the HTML comment on the line before it.
    pub note: Option<String>,
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page: of the repository's root, and of the book. Relative to the root, sorted.
pub fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(PathBuf::from).into();
    gather(Path::new("docs"), &mut pages);
    pages.sort();
    pages
}

fn gather(folder: &Path, pages: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(root().join(folder)).expect("a folder of the book") {
        let name = entry.expect("a file").file_name();
        let path = folder.join(name);
        if root().join(&path).is_dir() {
            gather(&path, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
}

#[track_caller]
pub fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The page's blocks of code, in their order.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut note = None;
    for (at, line) in text.lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.lines.push(line.to_owned()),
            (None, Some(language)) => {
                open =
                    Some(Block { line: at + 1, language: language.to_owned(), lines: Vec::new(), note: note.take() });
            }
            (None, None) => {
                note = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")).map(ToOwned::to_owned);
            }
        }
    }
    assert_eq!(open, None, "a block that does not end");
    blocks
}

/// The lines outside of blocks of code.
pub fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push((at, line));
        }
    }
    lines
}

/// The anchors of the page's headings, as both GitHub and mdBook make them.
pub fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for (_, line) in prose(text) {
        let Some(heading) = line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim()) else { continue };
        let plain: String = heading.chars().filter(|c| *c != '`').collect();
        let id: String = plain
            .to_lowercase()
            .chars()
            .filter_map(|c| match c {
                ' ' => Some('-'),
                c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                _ => None,
            })
            .collect();
        let before = anchors.iter().filter(|anchor| **anchor == id).count();
        anchors.push(if before == 0 { id } else { format!("{id}-{before}") });
    }
    anchors
}

/// Line and target of each link `[text](target)`.
pub fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (at, line) in prose(text) {
        let line = without_code(line);
        let mut rest = line.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let end = after.find(')').unwrap_or(after.len());
            links.push((at + 1, after[..end].to_owned()));
            rest = &after[end..];
        }
    }
    links
}

/// The line with nothing in its code spans, where a bracket is no link.
fn without_code(line: &str) -> String {
    line.split('`').enumerate().filter(|(at, _)| at % 2 == 0).map(|(_, part)| part).collect()
}

/// The cells of the rows of all tables; the line under a table's head is left out.
pub fn rows(text: &str) -> Vec<Vec<String>> {
    let rows = prose(text).into_iter().filter_map(|(_, line)| {
        let cells = line.strip_prefix('|')?.strip_suffix('|')?;
        let cells: Vec<String> =
            cells.replace("\\|", "\u{1}").split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect();
        (!cells.iter().all(|cell| cell.chars().all(|c| "-:".contains(c)))).then_some(cells)
    });
    rows.collect()
}

/// What stands in code spans of a cell: `a`, `b`.
pub fn code_spans(cell: &str) -> Vec<String> {
    cell.split('`').enumerate().filter(|(at, _)| at % 2 == 1).map(|(_, part)| part.to_owned()).collect()
}

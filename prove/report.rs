//! What came of it: a table, with the smallest history of each stale answer, or the same as JSON.

use serde_json::{json, Value as Json};

use super::checker::Figures;
use super::races::Overtaken;
use super::reduce::History;

#[derive(Debug, Clone)]
pub struct Line {
    pub section: String,
    pub call: String,
    pub proof: String,
    pub reasons: Vec<String>,
    pub figures: Figures,
    pub history: Option<History>,
    /// What a client was told while changes were made, with the kind of feed.
    pub overtaken: Option<(&'static str, Overtaken)>,
}

#[derive(Debug, Clone)]
pub struct Report {
    pub seed: u64,
    pub lines: Vec<Line>,
    /// Kinds of feed, with how many changes each has seen.
    pub feeds: Vec<(&'static str, usize)>,
    /// What is not tried, and why.
    pub notes: Vec<String>,
}

impl Report {
    pub fn is_stale(&self) -> bool {
        self.lines.iter().any(|line| line.figures.stale > 0)
    }

    pub fn to_json(&self) -> String {
        let queries: Vec<Json> = self.lines.iter().map(line).collect();
        let feeds: Vec<Json> = self.feeds.iter().map(|(name, steps)| json!({ "feed": name, "steps": steps })).collect();
        let report = json!({ "seed": self.seed, "stale": self.is_stale(), "feeds": feeds, "queries": queries, "notes": self.notes });
        serde_json::to_string_pretty(&report).expect("it has texts for names")
    }

    pub fn to_text(&self) -> String {
        const HEAD: [&str; 8] = ["query", "proof", "reads", "changes", "drops", "needless", "undecided", "stale"];
        let mut rows: Vec<Vec<String>> = vec![HEAD.iter().map(|name| (*name).to_owned()).collect()];
        for line in &self.lines {
            let figures = &line.figures;
            let numbers =
                [figures.reads, figures.changes, figures.drops, figures.needless, figures.undecided, figures.stale];
            let names = [format!("{} {}", line.section, line.call), line.proof.clone()];
            rows.push(names.into_iter().chain(numbers.iter().map(u64::to_string)).collect());
        }
        let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
        let cell = |(at, text): (usize, &String)| match at {
            0 | 1 => format!("{text:<width$}", width = widths[at]),
            _ => format!("{text:>width$}", width = widths[at]),
        };
        let mut text: String = rows
            .iter()
            .map(|row| row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n")
            .collect();
        for note in &self.notes {
            text += &format!("note: {note}\n");
        }
        for line in &self.lines {
            if let Some(error) = line.figures.error.as_ref().filter(|_| line.figures.reads == 0) {
                text += &format!("note: {} {}: never answered from the cache: {error}\n", line.section, line.call);
            }
            if let Some(history) = &line.history {
                text += &format!(
                    "\nstale: {} {}, feed {}, seed {}\n{}\n",
                    line.section,
                    line.call,
                    history.feed,
                    self.seed,
                    history.script()
                );
            }
        }
        for line in &self.lines {
            let Some((feed, overtaken)) = &line.overtaken else { continue };
            let name = format!("{} {}", line.section, line.call);
            text += &format!("\nstale in a race: {name}, feed {feed}, seed {}\n{}\n", self.seed, overtaken.script());
        }
        let feeds: Vec<String> = self.feeds.iter().map(|(name, steps)| format!("{name} {steps}")).collect();
        let stale: u64 = self.lines.iter().map(|line| line.figures.stale).sum();
        let raced: u64 = self.lines.iter().map(|line| line.figures.raced).sum();
        let feeds = feeds.join(", ");
        text + &format!(
            "\n{stale} stale; changes by feed: {feeds}; answers given meanwhile: {raced}; seed {}\n",
            self.seed
        )
    }
}

fn line(line: &Line) -> Json {
    let figures = &line.figures;
    let history = line.history.as_ref().map(|history| {
        json!({ "feed": history.feed, "statements": history.length(), "is_repeated": history.is_repeated, "script": history.script() })
    });
    let overtaken = line.overtaken.as_ref().map(|(feed, of)| {
        json!({ "feed": feed, "floor": of.span.floor, "ceiling": of.span.ceiling, "answer": of.answer, "script": of.script() })
    });
    json!({
        "section": line.section,
        "call": line.call,
        "proof": line.proof,
        "reasons": line.reasons,
        "reads": figures.reads,
        "raced": figures.raced,
        "changes": figures.changes,
        "drops": figures.drops,
        "needless_drops": figures.needless,
        "undecided": figures.undecided,
        "stale": figures.stale,
        "error": figures.error,
        "history": history,
        "race": overtaken,
    })
}

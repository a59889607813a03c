//! A catalog on trial: on a copy of somebody's schema, with rows, calls and changes of its own making, each cached answer is compared
//! with Postgres' own.
//!
//! ```text
//! copy ─> facts ─> rows (data, values) ─> for each kind of feed: run ─> report
//!                                            calls, changes ─> checker (answers) ─> reduce
//!                                                        └──> races (clients, history)
//! ```
//!
//! | file | what |
//! |---|---|
//! | `programs` | which of the installed programs are taken |
//! | `copy` | the schema by pg_dump, in a Postgres of our own |
//! | `catalog` | queries and jobs as their author wrote them |
//! | `facts` | tables, columns, types, constraints |
//! | `values`, `pattern`, `data`, `rows` | values by type, and by the regular expressions of CHECKs; the rows there are, and rows that would go with them; the first rows |
//! | `calls`, `changes` | calls with values that rows have; transactions and jobs |
//! | `answers` | what Postgres answers, and when two answers are one |
//! | `checker` | entries that are filled and checked: the core, which `tests/live/feed/derived.rs` uses as well |
//! | `history` | versions, and whether an answer is explained by them: the judge, which `tests/live/faults/freshness` uses as well |
//! | `clients`, `races` | clients that ask while changes are made; whether what they were told is explained |
//! | `server` | the Redis of a pass |
//! | `run` | one pass with one kind of feed |
//! | `reduce` | the smallest history that shows a stale answer |
//! | `report` | the table |
//! | `main`, `arguments` | the program, and what it is told; the tests call [`prove`] |
//!
//! It stands on `tests/support`, which starts the servers and ends them however this process ends. A new type of column is a line in
//! `values`; a new kind of change a branch of `changes`.

#![allow(dead_code)] // the program and the tests each use their share

pub mod answers;
pub mod arguments;
pub mod calls;
pub mod catalog;
pub mod changes;
pub mod checker;
pub mod clients;
pub mod copy;
pub mod data;
pub mod facts;
pub mod history;
pub mod pattern;
pub mod programs;
pub mod races;
pub mod reduce;
pub mod report;
pub mod rows;
pub mod run;
pub mod server;
pub mod sql;
pub mod values;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::server::{module_path, server_program};
use crate::support::Random;

use catalog::Catalog;
use checker::Figures;
use copy::Copy;
use data::{mentioned, Data};
use facts::Facts;
use report::{Line, Report};
use run::{Enough, Feed, Ground, Pass};

/// The database that each pass gets a copy of.
const FILLED: &str = "prove_filled";

/// Histories that are made small, of one pass.
const MOST_HISTORIES: usize = 8;

pub struct Options {
    /// The text of the catalog.
    pub catalog: String,
    pub url: String,
    pub time: Duration,
    pub seed: u64,
    pub feeds: Vec<Feed>,
    /// For tests: a fault that is put into the module (`src/mutations.rs`), and when a pass has found what it is for.
    pub mutation: Option<&'static str>,
    pub enough: IsEnough,
}

type IsEnough = fn(&[Figures]) -> bool;

/// A pass goes on as long as there is time.
pub fn never(_: &[Figures]) -> bool {
    false
}

/// Why nothing could be tried: lines, each a clear answer.
pub type Trouble = Vec<String>;

pub fn prove(options: &Options, mut say: impl FnMut(&str)) -> Result<Report, Trouble> {
    let catalog = Catalog::read(&options.catalog).map_err(|why| vec![format!("the catalog is no TOML: {why}")])?;
    if catalog.queries.is_empty() {
        return Err(vec!["the catalog has no queries: there is nothing to prove".to_owned()]);
    }
    programs::check_redis(&server_program(), &module_path()).map_err(|why| vec![why])?;
    say("copying the schema");
    let copy = Copy::make(&options.url).map_err(|why| vec![why])?;
    let mut client = copy.empty().map_err(|why| vec![why])?;
    let facts = Facts::read(&mut client).map_err(|error| vec![sql::said(&error)])?;
    drop(client);
    let mut notes = copy.skipped.clone();
    if facts.tables.is_empty() {
        let mut trouble = vec!["the database has no tables that could be copied".to_owned()];
        trouble.extend(notes);
        return Err(trouble);
    }
    let statements = || catalog.queries.iter().map(|query| &query.sql);
    let read: BTreeSet<usize> = statements().flat_map(|sql| mentioned(&facts, sql)).collect();
    let of_jobs = catalog.jobs.iter().flat_map(|job| mentioned(&facts, &job.sql));
    let order = rows::order(&facts, &read.iter().copied().chain(of_jobs).collect());
    say(&format!("{} tables, of which {} are read; filling {}", facts.tables.len(), read.len(), order.len()));
    let mut random = Random::new(options.seed);
    copy.database(FILLED, None).map_err(|why| vec![why])?;
    let mut client = copy.client(FILLED).map_err(|why| vec![why])?;
    let empty = rows::fill(&mut client, &mut Data::new(&facts, &catalog), &order, &read, &mut random);
    drop(client);
    notes.extend(empty.iter().map(|(place, why)| format!("{} stays empty: {why}", facts.tables[*place].plain())));
    let ground = Ground {
        copy: &copy,
        facts: &facts,
        catalog: &catalog,
        text: &options.catalog,
        order: &order,
        read: &read,
        filled: FILLED,
        mutation: options.mutation,
    };
    let mut report = Report { seed: options.seed, lines: lines(&catalog), feeds: Vec::new(), notes };
    let feeds: Vec<Feed> =
        options.feeds.iter().copied().filter(|feed| *feed != Feed::Off || !catalog.jobs.is_empty()).collect();
    if feeds.len() < options.feeds.len() {
        report
            .notes
            .push("off: not tried: without a feed only jobs tell of changes, and the catalog has none".to_owned());
    }
    for feed in &feeds {
        let time = options.time / feeds.len() as u32;
        if let Err(trouble) = pass(&ground, (*feed, time, options.enough), &mut random, &mut report, &mut say) {
            // What a catalog lacks without a feed is no fault where there is one.
            match feed {
                Feed::Off => report.notes.extend(trouble.iter().map(|why| format!("off: not tried: {why}"))),
                _ => return Err(trouble.into_iter().chain(report.notes).collect()),
            }
        }
    }
    Ok(report)
}

fn lines(catalog: &Catalog) -> Vec<Line> {
    let line = |query: &catalog::Query| Line {
        section: query.section.clone(),
        call: query.call.clone(),
        proof: String::new(),
        reasons: Vec::new(),
        figures: Figures::default(),
        history: None,
        overtaken: None,
    };
    catalog.queries.iter().map(line).collect()
}

fn pass(
    ground: &Ground,
    (feed, time, enough): (Feed, Duration, IsEnough),
    random: &mut Random,
    report: &mut Report,
    say: &mut impl FnMut(&str),
) -> Result<(), Trouble> {
    const BETWEEN: Duration = Duration::from_secs(2);
    say(&format!("{}: loading the catalog", feed.name()));
    let mut pass = Pass::start(ground, feed)?;
    let (begun, mut said, mut changes) = (Instant::now(), Instant::now(), 0);
    let findings = pass.run(random, begun + time, |checker, steps| {
        changes = steps;
        if said.elapsed() > BETWEEN {
            said = Instant::now();
            let sum = |of: fn(&Figures) -> u64| checker.figures.iter().map(of).sum::<u64>();
            say(&format!(
                "{}: {} s of {}, {steps} changes, {} answers compared, {} given meanwhile, {} drops, {} stale",
                feed.name(),
                begun.elapsed().as_secs(),
                time.as_secs(),
                sum(|figures| figures.reads),
                sum(|figures| figures.raced),
                sum(|figures| figures.drops),
                sum(|figures| figures.stale)
            ));
        }
        match enough(&checker.figures) {
            true => Enough::Yes,
            false => Enough::No,
        }
    });
    report.feeds.push((feed.name(), changes));
    report.notes.append(&mut pass.notes);
    for ((line, figures), standing) in report.lines.iter_mut().zip(&pass.checker.figures).zip(&pass.standings) {
        line.figures.add(figures);
        (line.proof, line.reasons) = (standing.proof.clone(), standing.reasons.clone());
    }
    for (query, overtaken) in findings.overtaken {
        report.lines[query].overtaken.get_or_insert((feed.name(), overtaken));
    }
    // What a mutation does comes of no history.
    let most = if ground.mutation.is_none() { MOST_HISTORIES } else { 0 };
    for finding in findings.stale.into_values().take(most) {
        let line = &mut report.lines[finding.stale.query];
        say(&format!("{}: stale: {} {}; looking for the smallest history", feed.name(), line.section, line.call));
        let history = reduce::reduce(&mut pass, finding);
        let is_better = line
            .history
            .as_ref()
            .is_none_or(|known| !known.is_repeated || (history.is_repeated && history.length() < known.length()));
        if is_better {
            line.history = Some(history);
        }
    }
    Ok(())
}

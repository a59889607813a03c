//! A catalog proposed for a database: facts of its relations in, TOML out.
//!
//! | file | what |
//! |---|---|
//! | `facts` | what is known of the database |
//! | `choose` | which relations have sections, what these are called and keyed by; why the others have none |
//! | `types` | how values of a column are passed |
//! | `names` | legal names that read like those of the database |
//! | `queries` | what is asked of a table |
//! | `parents` | the names of what its rows refer to, and what refers to them |
//! | `select` | the SELECT of its rows: columns, joined names, conditions |
//! | `jobs` | what is done to its rows |
//! | `job`, `insert`, `change` | what they have in common, and each of them |
//! | `cascades`, `tell` | rows that go with one that is deleted, and the statement that tells of them |
//! | `defaults` | a column's default as a value of its type |
//! | `query` | one query, for a statement as an application sends it |
//! | `write` | text as TOML reads it |
//!
//! ```text
//! facts -> choose -> for each table: queries, jobs -> write
//! ```
//!
//! Invariant: the text is a catalog that loads without a warning: it names nothing that it does not map, and nothing that the role may
//! not use. The same facts make the same text.

mod cascades;
mod change;
mod choose;
mod defaults;
pub mod facts;
#[cfg(test)]
mod fixtures;
mod insert;
mod job;
mod jobs;
mod names;
mod parents;
mod queries;
pub mod query;
mod select;
mod tell;
#[cfg(test)]
mod tests;
mod types;
mod write;

use facts::{Database, Feed};
use queries::Queries;

/// What a catalog is wanted for; nothing said: all tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Tables as SQL names them, with their schema or without.
    pub tables: Vec<Box<str>>,
    /// What the section of the one table is called; without tables, the only section that is wanted.
    pub section: Option<Box<str>>,
}

/// Why there is nothing to propose.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoProposal {
    #[error("there is no table in this database that the role may see, other than Postgres' own and bear's")]
    NoTables,
    #[error("there is no table '{0}'; name it as SQL does, with its schema where it is not in search_path")]
    NoTable(Box<str>),
    #[error("nothing to propose: {0}")]
    Nothing(String),
    #[error("no table would have the section '{0}'")]
    NoSection(Box<str>),
    #[error("SECTION names the section of one table, and {0} are given")]
    Several(usize),
    #[error("SECTION: {0}")]
    Illegal(String),
}

/// The text of a catalog.
pub fn propose(database: &Database, wanted: &Wanted) -> Result<String, NoProposal> {
    let chosen = choose::choose(database, wanted)?;
    let mut text = HEAD.to_owned();
    zone_lines(database.time_zone.as_deref()).iter().for_each(|line| text += &format!("{}\n", write::comment(line)));
    let mut left_out = Vec::new();
    for table in &chosen.tables {
        for (at, (section, id)) in table.places.iter().enumerate() {
            text += "\n";
            if let (Some(untold), Feed::Wal) = (&table.relation.untold, database.feed) {
                let lines = untold.lines(&table.relation.sql_name());
                lines.iter().for_each(|line| text += &format!("{}\n", write::comment(line)));
            }
            text += &table.head(section, id);
            let (queries, without) = Queries::of(table, &chosen, id).written();
            queries.iter().for_each(|query| text += &query.text(section));
            if at == 0 {
                let (jobs, unwritten) = jobs::of(table, &chosen, database.feed);
                jobs.iter().for_each(|job| text += &job.text(section));
                left_out.extend(
                    without.into_iter().chain(unwritten).map(|what| format!("{}: {what}", table.relation.sql_name())),
                );
            }
        }
    }
    text += &chosen.left_out_lines(&left_out);
    Ok(text)
}

/// What statements mean elsewhere that depend on the time zone.
pub fn zone_lines(time_zone: Option<&str>) -> Vec<String> {
    let Some(zone) = time_zone else { return Vec::new() };
    vec![
        format!("TimeZone is {zone} in this database, and UTC in bear's sessions: casts of timestamptz to date, time, timestamp and text,"),
        "date_trunc, to_char, extract, CURRENT_DATE, literals, and a default now() of a timestamp mean UTC here".to_owned(),
        format!("where that matters, write AT TIME ZONE '{zone}'"),
    ]
}

const HEAD: &str = "# Proposed by BEAR.PROPOSE: a section for each table, its queries as calls and SQL, its jobs. Keep what you need, and go on from there.\n";

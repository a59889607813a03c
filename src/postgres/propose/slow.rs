//! Queries for the reads that cost the server most, by `pg_stat_statements`, with their cost beside them.
//!
//! ```text
//! costs -> those that may be reads -> described -> tried beside the catalog in use -> lines, until there are as many as are wanted
//! ```

use std::collections::BTreeMap;
use std::time::Instant;

use super::asked::{Known, ProposalError};
use super::candidates::{text, try_all, Candidate};
use super::costs::{costs, Cost, Costs};
use super::describe::{begin, describe, Described};
use super::homes::Homes;
use super::statement::is_free;
use super::zone::time_zone;
use crate::core::calls::pattern::CallPattern;
use crate::core::propose::query::{Draft, Home, Refused};
use crate::core::propose::zone_lines;
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::pool::Pool;

/// Reasons that are told.
const REASONS: usize = 12;

/// What only bear's own statements hold.
const OWN: [&str; 4] = ["pg_catalog.row_to_json(", "pg_catalog.pg_typeof(q.", " bear_tree ", "bear_check"];

/// Reasons that many statements share, by words of them.
const SHARED: [(&str, &str); 12] = [
    ("is a system catalog", "reads a system catalog"),
    ("reads the server's state", "reads the server's state"),
    ("changes with the clock", "changes with the clock"),
    ("is volatile", "has a volatile function"),
    ("nobody can see what it reads", "has a function of which nobody can see what it reads"),
    ("is a foreign table", "reads a foreign table"),
    ("is a materialized view", "reads a materialized view"),
    ("is in no WAL", "reads what is in no WAL"),
    ("names no table", "reads no table"),
    ("SQLSTATE 42P18", "Postgres finds no types for what were literals"),
    ("SQLSTATE 42725", "Postgres finds no types for what were literals"),
    ("SQLSTATE", "Postgres refuses its normalized text"),
];

/// The schema of what bear keeps in Postgres.
const OWN_SCHEMA: &str = "bear";

impl Pool {
    pub(super) fn propose_slow(&self, count: usize, known: &Known, deadline: Instant) -> Result<String, ProposalError> {
        let (_, found) = self.with_session(deadline, 0, |numbered| {
            let session = &mut numbered.session;
            begin(session)?;
            let zone = time_zone(&mut session.client)?;
            let found = costs(&mut session.client);
            session.roll_back()?;
            found.map(|found| (found, zone))
        });
        let (costs, zone) = found?;
        let costs = costs?;
        let mut kept: Vec<Candidate> = Vec::new();
        let mut left_out = LeftOut::default();
        let merged = self.understood(known, &costs, deadline, &mut left_out)?;
        let mut rest = merged.into_iter().peekable();
        while kept.len() < count && rest.peek().is_some() {
            let before = kept.len();
            for understood in rest.by_ref().take(2 * (count - before)) {
                match understood.candidate(known, &costs, &kept) {
                    Ok(candidate) => kept.push(candidate),
                    Err(refused) => left_out.add(refused.to_string()),
                }
            }
            for refused in try_all(self, known, &mut kept, deadline)? {
                left_out.add(refused.refused().unwrap_or("nobody knows why").to_owned());
            }
        }
        kept.truncate(count);
        // All that the role sees is its own, which is bear.
        if kept.is_empty() && costs.hidden > 0 {
            let reason =
                format!("the role {0} may not read others' statements: GRANT pg_read_all_stats TO {0}", costs.role);
            return Err(ProposalError::Refused(reason));
        }
        if kept.is_empty() && left_out.count == 0 {
            return Err(ProposalError::Refused("pg_stat_statements has no statement of this database yet".to_owned()));
        }
        Ok(head(&kept, zone.as_deref()) + &text(&kept) + &left_out.lines(&costs))
    }

    /// The statements that Postgres takes; those that differ only in what becomes an argument are one.
    fn understood(
        &self,
        known: &Known,
        costs: &Costs,
        deadline: Instant,
        left_out: &mut LeftOut,
    ) -> Result<Vec<Understood>, ProposalError> {
        let (_, found) = self.with_session(deadline, 0, |numbered| {
            let session = &mut numbered.session;
            begin(session)?;
            let found = understand(&mut session.client, known, costs, left_out);
            session.roll_back()?;
            found
        });
        let mut merged: Vec<Understood> = Vec::new();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for understood in found? {
            match places.get(&understood.question) {
                Some(place) => merged[*place].add(&understood),
                None => {
                    places.insert(understood.question.clone(), merged.len());
                    merged.push(understood);
                }
            }
        }
        merged.sort_by(|one, other| other.cost.total_ms.total_cmp(&one.cost.total_ms));
        Ok(merged)
    }
}

/// A statement that Postgres takes.
struct Understood {
    cost: Cost,
    question: String,
    described: Described,
    home: Home,
}

fn understand(
    client: &mut Client,
    known: &Known,
    costs: &Costs,
    left_out: &mut LeftOut,
) -> Result<Vec<Understood>, Failure> {
    let mut homes = Homes::of(client, &known.sections)?;
    let mut found = Vec::new();
    for cost in &costs.statements {
        if OWN.iter().any(|words| cost.sql.contains(words)) {
            left_out.add("bear's own".to_owned());
            continue;
        }
        let draft = match Draft::read(&cost.sql) {
            Ok(draft) => draft,
            Err(refused) => {
                left_out.add(match refused {
                    Refused::Writes(_) => "changes rows".to_owned(),
                    Refused::Locks => "locks rows".to_owned(),
                    Refused::NoSelect(_) => "no SELECT".to_owned(),
                    Refused::TooLong | Refused::Unclosed | Refused::Brackets => "its text is cut off".to_owned(),
                    other => other.to_string(),
                });
                continue;
            }
        };
        match describe(client, &draft)? {
            Ok(described) if described.main.schema == OWN_SCHEMA => left_out.add("bear's own".to_owned()),
            Ok(described) => {
                let home = homes.find(client, &described.main)?;
                let question = draft.question(&described.naming);
                found.push(Understood { cost: cost.clone(), question, described, home });
            }
            Err(reason) => left_out.add(reason),
        }
    }
    Ok(found)
}

impl Understood {
    fn add(&mut self, other: &Understood) {
        self.cost.calls += other.cost.calls;
        self.cost.total_ms += other.cost.total_ms;
        self.cost.rows += other.cost.rows;
    }

    fn candidate(&self, known: &Known, costs: &Costs, others: &[Candidate]) -> Result<Candidate, Refused> {
        let draft = Draft::read(&self.cost.sql)?;
        let is_free = |call: &CallPattern| is_free(known, &self.home, others, call);
        let proposal = draft.propose(&self.described.types, &self.described.naming, None, &is_free)?;
        Ok(Candidate::new(self.home.clone(), proposal, vec![shown(&self.cost, costs.all_ms)]))
    }
}

/// The cost as a line of comment.
fn shown(cost: &Cost, all_ms: f64) -> String {
    let Cost { calls, total_ms, rows, .. } = cost;
    let share = if all_ms > 0.0 { 100.0 * total_ms / all_ms } else { 0.0 };
    let mean_ms = total_ms / (*calls).max(1) as f64;
    format!(
        "{share:.1}% of the server's time: {calls} calls, {total_ms:.1} ms in all, {mean_ms:.3} ms each, {rows} rows"
    )
}

fn head(kept: &[Candidate], time_zone: Option<&str>) -> String {
    let what = match kept.len() {
        0 => "none of the statements that were seen can be cached exactly",
        _ => "reads that cost the server most, by pg_stat_statements; the most expensive first",
    };
    let lines = std::iter::once(what.to_owned()).chain(zone_lines(time_zone));
    lines.map(|line| format!("# {line}\n")).collect::<String>() + "\n"
}

/// Statements that are not proposed, by the reason.
#[derive(Default)]
struct LeftOut {
    count: u64,
    reasons: BTreeMap<String, u64>,
}

impl LeftOut {
    fn add(&mut self, reason: String) {
        self.count += 1;
        let shared = SHARED.iter().find(|(words, _)| reason.contains(words));
        let reason = shared.map_or(reason, |(_, shared)| (*shared).to_owned());
        *self.reasons.entry(reason).or_insert(0) += 1;
    }

    fn lines(&self, costs: &Costs) -> String {
        let mut text = String::new();
        let mut line = |what: String| {
            let one_line: String = what.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            text += &format!("# {one_line}\n");
        };
        let mut reasons: Vec<(&String, &u64)> = self.reasons.iter().collect();
        reasons.sort_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
        if !reasons.is_empty() {
            line("left out:".to_owned());
        }
        for (reason, count) in reasons.iter().take(REASONS) {
            line(format!("  {count}: {reason}"));
        }
        let more: u64 = reasons.iter().skip(REASONS).map(|(_, count)| **count).sum();
        if more > 0 {
            line(format!("  {more}: for other reasons"));
        }
        if costs.hidden > 0 {
            line(format!(
                "  {}: of others, whose text the role {} may not read (GRANT pg_read_all_stats TO {})",
                costs.hidden, costs.role, costs.role
            ));
        }
        text
    }
}

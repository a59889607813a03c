//! The smallest history that shows a stale answer: played again over fewer rows and fewer changes, as long as it still shows it.

use std::time::{Duration, Instant};

use super::answers::Answer;
use super::calls::Call;
use super::changes::{is_bracket, Step};
use super::run::{inserts, Finding, Pass};
use super::sql::quote;

/// Time for one history.
const PATIENCE: Duration = Duration::from_secs(25);

#[derive(Debug, Clone)]
pub struct History {
    pub feed: &'static str,
    /// Rows that are there when the call is answered first.
    pub before: Vec<String>,
    pub call: Call,
    pub steps: Vec<Step>,
    pub cached: Answer,
    pub now: Answer,
    /// It was stale when it was played again.
    pub is_repeated: bool,
}

pub fn reduce(pass: &mut Pass, finding: Finding) -> History {
    let before = inserts(pass.ground, &finding.rows);
    let mut history = History {
        feed: pass.feed.name(),
        before,
        call: finding.stale.call,
        steps: finding.steps,
        cached: finding.stale.cached,
        now: finding.stale.now,
        is_repeated: false,
    };
    let query = finding.stale.query;
    let until = Instant::now() + PATIENCE;
    let mut play = |before: &[String], steps: &[Step]| {
        let answers = (Instant::now() < until).then(|| shows(pass, query, &history.call, before, steps)).flatten()?;
        (history.cached, history.now) = answers;
        Some(())
    };
    if play(&history.before, &history.steps).is_none() {
        return history;
    }
    history.is_repeated = true;
    // The changes first: they are few, and what they do not need of the rows goes with them.
    for _ in 0..2 {
        let before = history.before.clone();
        history.steps = shrink(history.steps, |steps| play(&before, steps).is_some());
        history.steps = smaller_steps(history.steps, |steps| play(&before, steps).is_some());
        let steps = history.steps.clone();
        history.before = shrink(history.before, |before| play(before, &steps).is_some());
    }
    // The answers are those of the last one that shows it.
    let _ = play(&history.before, &history.steps);
    history
}

/// The cached answer and Postgres' own, where they differ at the end.
fn shows(pass: &mut Pass, query: usize, call: &Call, before: &[String], steps: &[Step]) -> Option<(Answer, Answer)> {
    let facts = pass.ground.facts;
    // TRUNCATE would have the module look at the tables anew, and store nothing until it has. Nothing refers to what goes.
    let clear: String = facts.tables.iter().map(|table| format!("DELETE FROM {};", table.quoted())).collect();
    let list = before.iter().map(|sql| quote(sql)).collect::<Vec<_>>().join(",\n");
    let begin = format!(
        "BEGIN; SET LOCAL session_replication_role = replica; {clear} SET LOCAL session_replication_role = origin;
        DO $prove$ DECLARE one text; BEGIN
            FOREACH one IN ARRAY ARRAY[{list}]::text[] LOOP
                BEGIN EXECUTE one; EXCEPTION WHEN OTHERS THEN NULL; END;
            END LOOP;
        END $prove$; COMMIT"
    );
    if pass.client.batch_execute(&begin).is_err() {
        let _ = pass.client.batch_execute("ROLLBACK");
        return None;
    }
    pass.wait();
    let redis = &pass.redis;
    if !pass.checker.fetch(redis, call) {
        return None;
    }
    for step in steps {
        pass.make(step.clone());
    }
    pass.wait();
    pass.checker.differs(query, call)
}

/// Fewer of them that still show it: without halves, then quarters, down to single ones.
fn shrink<T: Clone>(mut items: Vec<T>, mut shows: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut size = items.len();
    while size > 0 {
        let (mut at, mut is_less) = (0, false);
        while at < items.len() {
            let mut fewer = items.clone();
            fewer.drain(at..(at + size).min(items.len()));
            match shows(&fewer) {
                true => (items, is_less) = (fewer, true),
                false => at += size,
            }
        }
        size = match size {
            1 if !is_less => 0,
            1 => 1,
            size => size.div_ceil(2),
        };
    }
    items
}

/// Each transaction with fewer statements.
fn smaller_steps(mut steps: Vec<Step>, mut shows: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    for at in 0..steps.len() {
        let Step::Transaction(statements) = steps[at].clone() else { continue };
        let mut with = |statements: &[String]| {
            let mut other = steps.clone();
            other[at] = Step::Transaction(statements.to_vec());
            shows(&other)
        };
        let commit = "COMMIT".to_owned();
        let plain: Vec<String> =
            statements.iter().filter(|sql| !is_bracket(sql)).cloned().chain([commit.clone()]).collect();
        let smaller = match with(&plain) {
            true => {
                let changes = plain[..plain.len() - 1].to_vec();
                let mut fewer = shrink(changes, |some| with(&[some, std::slice::from_ref(&commit)].concat()));
                fewer.push(commit.clone());
                fewer
            }
            false => statements,
        };
        steps[at] = Step::Transaction(smaller);
    }
    steps
}

impl History {
    /// Statements that make rows or change them.
    pub fn length(&self) -> usize {
        self.before.len() + self.steps.iter().map(Step::weight).sum::<usize>()
    }

    /// To be pasted into a shell; `$COPY` is a database with the schema and no rows, which the Redis is in front of.
    pub fn script(&self) -> String {
        let mut lines = Vec::new();
        let psql = |sql: &[String]| format!("psql -q \"$COPY\" <<'SQL'\n{}\nSQL", sql.join("\n"));
        if !self.is_repeated {
            lines.push("# It was not stale when it was played again: run the seed once more.".to_owned());
        }
        if !self.before.is_empty() {
            lines.push(psql(&self.before.iter().map(|sql| format!("{sql};")).collect::<Vec<_>>()));
        }
        lines.push(self.call.line(Some("FRESH")));
        for step in &self.steps {
            lines.extend(step.sql().map(|sql| psql(&[sql])));
            lines.extend(step.line());
        }
        let json = |answer: &Answer| serde_json::Value::from(answer.clone()).to_string();
        lines.push(self.call.line(Some("CACHED")));
        lines.push(format!("# cached:   {}", json(&self.cached)));
        lines.push(format!("# Postgres: {}", json(&self.now)));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_goes() {
        let mut asked = 0;
        let left = shrink((0..100).collect(), |some| {
            asked += 1;
            some.contains(&17) && some.contains(&18) && some.contains(&90)
        });
        assert_eq!(left, [17, 18, 90]);
        assert!(asked < 100, "{asked}");
        assert!(shrink(vec![1, 2], |_| true).is_empty());
    }
}

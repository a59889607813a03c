//! Postgres is told what Redis has recorded of rows.
//!
//! Rule: nobody's lock is waited for. A row that an open transaction has completed, or completes, is told of once that has ended.

use std::collections::{HashMap, HashSet};

use super::link::{rows, InboxLink};
use super::owner::Holding;
use super::quote::{ints, jsonb};
use super::InboxError;
use crate::core::inbox::tell::{Telling, ToldAs};
use crate::mutations;

/// Rows that failed and are deleted at once.
const CLEANED_AT_ONCE: u32 = 2_000;

/// When it failed, in Unix ms: what [`InboxLink::clean`] goes by. Beside what an object says.
const FAILED_AT: &str = "jsonb_build_object('at', (extract(epoch FROM clock_timestamp()) * 1000)::int8)";

impl InboxLink {
    /// Tells of some rows, each once. What came of it, in no order; of a row that somebody holds nothing.
    pub fn tell(&mut self, news: &[(u64, Telling)]) -> Result<Vec<(u64, ToldAs)>, InboxError> {
        let (done, others): (Vec<_>, Vec<_>) = news.iter().partition(|(_, telling)| *telling == Telling::Done);
        let mut told = Vec::new();
        if !done.is_empty() {
            let ids: Vec<u64> = done.iter().map(|(id, _)| *id).collect();
            self.tell_done(&ids, &mut told)?;
        }
        if !others.is_empty() {
            self.tell_others(&others, &mut told)?;
        }
        Ok(told)
    }

    fn tell_done(&mut self, ids: &[u64], told: &mut Vec<(u64, ToldAs)>) -> Result<(), InboxError> {
        let list = ints(ids);
        let messages = self.write(&format!(
            "DELETE FROM bear.inbox i WHERE i.id = ANY (ARRAY(SELECT l.id FROM bear.inbox l WHERE l.id = ANY ({list}) FOR UPDATE SKIP LOCKED)) \
               RETURNING 'gone', i.id; \
             SELECT 'there', i.id FROM bear.inbox i WHERE i.id = ANY ({list})"
        ))?;
        let (mut gone, mut there) = (HashSet::new(), HashSet::new());
        for row in rows(&messages) {
            let Some(id) = row.get(1).and_then(|id| id.parse::<u64>().ok()) else { continue };
            match row.get(0) {
                Some("gone") => gone.insert(id),
                _ => there.insert(id),
            };
        }
        for id in ids {
            match (gone.contains(id), there.contains(id)) {
                (true, _) => told.push((*id, ToldAs::Told)),
                (false, true) => {}
                (false, false) => told.push((*id, ToldAs::Gone)),
            }
        }
        Ok(())
    }

    fn tell_others(&mut self, news: &[&(u64, Telling)], told: &mut Vec<(u64, ToldAs)>) -> Result<(), InboxError> {
        let ids = ints(news.iter().map(|(id, _)| id));
        let messages = self.begin(&format!(
            "SELECT i.id, i.done IS NOT NULL, i.done, i.result::text FROM bear.inbox i WHERE i.id = ANY ({ids}) FOR UPDATE SKIP LOCKED; \
             SELECT i.id FROM bear.inbox i WHERE i.id = ANY ({ids})"
        ))?;
        let (mut locked, mut there) = (HashMap::new(), HashSet::new());
        for row in rows(&messages) {
            let Some(id) = row.get(0).and_then(|id| id.parse::<u64>().ok()) else { continue };
            if row.len() == 1 {
                there.insert(id);
                continue;
            }
            let completed = (row.get(1) == Some("t")).then(|| ToldAs::Completed {
                token: row.get(2).and_then(|token| token.parse().ok()).unwrap_or_default(),
                result: row.get(3).map(Into::into),
            });
            locked.insert(id, completed);
        }
        let (mut failed, mut fenced) = (Vec::new(), Vec::new());
        for (id, telling) in news {
            match (locked.remove(id), telling) {
                (Some(Some(completed)), _) => told.push((*id, completed)),
                (Some(None), Telling::Failed(error)) => failed.push((*id, &**error)),
                (Some(None), Telling::Fence(token)) => fenced.push((*id, *token)),
                (Some(None), Telling::Done) => {}
                // Somebody holds it.
                (None, _) if there.contains(id) => {}
                (None, _) => told.push((*id, ToldAs::Gone)),
            }
        }
        told.extend(failed.iter().map(|(id, _)| (*id, ToldAs::Told)));
        told.extend(fenced.iter().map(|(id, _)| (*id, ToldAs::Told)));
        self.commit(&format!("{}; {}", fail(&failed), fence(&fenced))).map(drop)?;
        Ok(())
    }

    /// Deletes rows of ours that failed so many days ago; says whether there may be more.
    pub fn clean(&mut self, holding: &Holding, keep_days: u32) -> Result<bool, InboxError> {
        let messages = self.write(&format!(
            "SET LOCAL enable_seqscan = on; \
             DELETE FROM bear.inbox i WHERE i.id = ANY (ARRAY(SELECT i.id FROM bear.inbox i WHERE i.failed IS NOT NULL \
               AND coalesce(CASE WHEN jsonb_typeof(i.failed -> 'at') = 'number' THEN to_timestamp((i.failed ->> 'at')::float8 / 1000) END, \
                 greatest(i.enqueued, i.due)) < clock_timestamp() - make_interval(days => {keep_days}) \
               AND {} = ANY ({}) LIMIT {CLEANED_AT_ONCE} FOR UPDATE SKIP LOCKED)) RETURNING i.id",
            super::poll::SECTION,
            holding.ours_sql()
        ))?;
        Ok(rows(&messages).count() as u32 == CLEANED_AT_ONCE)
    }
}

fn fail(rows: &[(u64, &str)]) -> String {
    if rows.is_empty() {
        return "SELECT".to_owned();
    }
    let errors: Vec<String> = rows.iter().map(|(id, error)| format!("({id}, {})", jsonb(error))).collect();
    format!(
        "UPDATE bear.inbox i SET failed = CASE WHEN jsonb_typeof(k.error) = 'object' THEN k.error ELSE jsonb_build_object('message', k.error) END || {FAILED_AT} \
         FROM (VALUES {}) k(id, error) WHERE i.id = k.id AND i.id = ANY ({})",
        errors.join(", "),
        ints(rows.iter().map(|(id, _)| id))
    )
}

fn fence(rows: &[(u64, u64)]) -> String {
    if rows.is_empty() || mutations::is("inbox-no-fence") {
        return "SELECT".to_owned();
    }
    let (ids, tokens) = (ints(rows.iter().map(|(id, _)| id)), ints(rows.iter().map(|(_, token)| token)));
    format!(
        "UPDATE bear.inbox i SET fence = greatest(i.fence, k.token), failed = NULL \
         FROM ROWS FROM (unnest({ids}), unnest({tokens})) AS k(id, token) WHERE i.id = k.id AND i.id = ANY ({ids})"
    )
}

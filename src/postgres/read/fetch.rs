//! One fetch on one session: time limit, execution, rows read as they come.

use std::sync::Arc;
use std::time::Instant;

use tokio_postgres::Row;

use crate::core::cache::fetch::{FetchError, FetchRequest, Fetched};
use crate::core::cache::membership::Found;
use crate::core::catalog::fetch_plan::FetchPlan;
use crate::core::catalog::lists::MAX_LISTED;

use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::identity::ServerIdentity;
use crate::postgres::connect::pooled;
use crate::postgres::connect::session::Session;
use crate::postgres::connect::shape::{Arity, Shape};
use crate::postgres::values::json::append_compact;
use crate::postgres::values::params::{declared_types, TextParam};

impl Session {
    /// Runs the request. Where a failure abandons it ([`Failure::abandons`]), the session is of no more use.
    ///
    /// `moved` is called with another server's identity, where a pooler has led the session to one, before anything
    /// is read from it.
    pub(in crate::postgres) fn fetch(
        &mut self,
        request: &FetchRequest,
        moved: &mut dyn FnMut(&ServerIdentity) -> bool,
    ) -> Result<Fetched, Failure> {
        if request.params.len() != request.plan.params.len() {
            return Err(Failure::shape(format!(
                "{} parameters for {}",
                request.params.len(),
                request.plan.params.len()
            )));
        }
        let started = Instant::now();
        let known = self.knows(&request.plan);
        let mut result = self.attempt(request, moved);
        // What was learned may be out of date: a table was altered, or DISCARD ALL dropped the statement.
        let out_of_date = |failure: &Failure| {
            failure.sqlstate().is_some_and(|code| code.starts_with("42") || matches!(code, "26000" | "0A000"))
        };
        if result.as_ref().is_err_and(out_of_date) && self.forget(&request.plan) && known {
            result = self.attempt(request, moved);
        }
        if let Err(Failure::Fetch(FetchError::Statement { sqlstate, message })) = &result {
            if self.settings.prepare && pooled::is_of_others(sqlstate, message) && pooled::suspect() {
                result = Err(Failure::Broken(pooled::REMEDY.to_owned()));
            }
        }
        if result.as_ref().is_err_and(|failure| failure.sqlstate() == Some("25006")) && self.settings.prepare {
            // Either the query writes, which is its own fault, or the server no longer takes writes.
            use crate::postgres::connect::identity::{ask, Standing};
            if !matches!(ask(&mut self.client, ""), Ok(Standing::Primary(_))) {
                result = Err(Failure::Broken("the server no longer takes writes".to_owned()));
            }
        }
        result.map(|fetched| Fetched {
            took_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            ..fetched
        })
    }

    fn attempt(
        &mut self,
        request: &FetchRequest,
        moved: &mut dyn FnMut(&ServerIdentity) -> bool,
    ) -> Result<Fetched, Failure> {
        if self.settings.prepare {
            self.limit_time(time_left(request)?)?;
            let prepared = self.prepare(&request.plan)?;
            let mut reader = Reader::new(request, &prepared.shape);
            let values = request.params.iter().map(|param| TextParam(param.as_deref()));
            let result = self.client.query_each(&prepared.statement, values, |row| reader.add(row));
            return self.finish(result.and_then(|()| reader.finish()));
        }
        time_left(request)?;
        let result = self.attempt_unnamed(request, moved);
        let abandoned = result.as_ref().is_err_and(Failure::abandons);
        match abandoned {
            true => result,
            false if result.is_ok() => self.commit().and(result),
            false => self.roll_back().and(result),
        }
    }

    fn attempt_unnamed(
        &mut self,
        request: &FetchRequest,
        moved: &mut dyn FnMut(&ServerIdentity) -> bool,
    ) -> Result<Fetched, Failure> {
        let identity = self.begin()?;
        if identity != self.identity {
            if !moved(&identity) {
                return Err(Failure::Broken("the pooler leads to another server".to_owned()));
            }
            self.identity = identity;
        }
        self.limit_time(time_left(request)?)?;
        let shape: Arc<Shape> = self.shape(&request.plan)?;
        let values = request.params.iter().map(|param| TextParam(param.as_deref()));
        let mut reader = Reader::new(request, &shape);
        let values = values.zip(declared_types(&request.plan.params)).collect::<Vec<_>>();
        let result = self.client.query_typed_each(&shape.sql, values, |row| reader.add(row));
        self.finish(result.and_then(|()| reader.finish()))
    }

    fn finish(&mut self, result: Result<Fetched, Failure>) -> Result<Fetched, Failure> {
        if matches!(result, Err(Failure::Fetch(FetchError::TooLarge { .. }))) {
            self.cancel();
        }
        result
    }
}

fn time_left(request: &FetchRequest) -> Result<std::time::Duration, Failure> {
    let left = request.deadline.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(Failure::TimedOut(None)),
        false => Ok(left),
    }
}

/// Rows put together to a result.
struct Reader<'a> {
    plan: &'a FetchPlan,
    shape: &'a Shape,
    max_bytes: usize,
    fetched: Fetched,
}

impl<'a> Reader<'a> {
    fn new(request: &'a FetchRequest, shape: &'a Shape) -> Self {
        let listed = shape.listed.iter().map(|(section, ..)| (section.clone(), Vec::new())).collect();
        let fetched = Fetched { found: Found { listed, ..Found::default() }, ..Fetched::default() };
        Reader { plan: &request.plan, shape, max_bytes: request.max_result_bytes, fetched }
    }

    fn add(&mut self, row: &Row) -> Result<(), Failure> {
        if let Some(first) = self.shape.lists {
            if row.try_get::<_, Option<&str>>(0)?.is_none() {
                return self.add_lists(row, first);
            }
        }
        let fetched = &mut self.fetched;
        if self.plan.single && fetched.row_count > 0 {
            return Err(Failure::shape(
                "single = true expects at most one row, got more; add LIMIT 1 or drop 'single'",
            ));
        }
        if !self.plan.single {
            fetched.json.push(if fetched.row_count == 0 { b'[' } else { b',' });
        }
        fetched.row_count += 1;
        let json: &str = row.try_get(0)?;
        match self.shape.compact {
            true => fetched.json.extend_from_slice(json.as_bytes()),
            false => append_compact(&mut fetched.json, json.as_bytes()),
        }
        if let Some(at) = self.shape.id {
            append_values(&mut fetched.found.ids, row, at, Arity::One)?;
        }
        for ((_, at, arity), (_, ids)) in self.shape.listed.iter().zip(&mut fetched.found.listed) {
            append_values(ids, row, *at, *arity)?;
        }
        if !self.shape.tags.is_empty() {
            let mut tags = Vec::with_capacity(self.shape.tags.len());
            for (at, arity) in &self.shape.tags {
                let mut values = Vec::new();
                append_values(&mut values, row, *at, *arity)?;
                tags.push(values);
            }
            fetched.found.tag_values.push(tags);
        }
        if !self.shape.last.is_empty() {
            let last = self.shape.last.iter().map(|at| Ok(row.try_get::<_, Option<&str>>(*at)?.map(Box::from)));
            fetched.found.last = last.collect::<Result<_, Failure>>()?;
        }
        if let Some(at) = self.shape.until {
            let lives_ms: Option<i64> = row.try_get(at)?;
            fetched.lives_ms = [fetched.lives_ms, lives_ms].into_iter().flatten().min();
        }
        // The result's last bracket is still to come.
        match fetched.json.len() >= self.max_bytes {
            true => Err(Failure::Fetch(FetchError::TooLarge { limit: self.max_bytes })),
            false => Ok(()),
        }
    }

    /// Takes what the statements of `lists` gave.
    fn add_lists(&mut self, row: &Row, first: usize) -> Result<(), Failure> {
        let found = &mut self.fetched.found;
        let mut bytes = 0;
        for (n, list) in self.plan.lists.iter().enumerate() {
            let mut values = Vec::new();
            append_values(&mut values, row, first + n, Arity::Many)?;
            bytes += values.iter().map(|value| value.len()).sum::<usize>();
            let too_many = values.len() > MAX_LISTED;
            match (list.of_rows, too_many) {
                (true, true) => found.unlisted.push(list.name.clone()),
                (true, false) => match found.listed.iter_mut().find(|(section, _)| *section == list.name) {
                    Some((_, ids)) => ids.append(&mut values),
                    None => found.listed.push((list.name.clone(), values)),
                },
                (false, _) => {
                    values.sort_unstable();
                    values.dedup();
                    found.values.push((list.name.clone(), (!too_many).then_some(values)));
                }
            }
        }
        match bytes > self.max_bytes {
            true => Err(Failure::Fetch(FetchError::TooLarge { limit: self.max_bytes })),
            false => Ok(()),
        }
    }

    fn finish(self) -> Result<Fetched, Failure> {
        let mut fetched = self.fetched;
        match (self.plan.single, fetched.row_count) {
            (true, 0) => fetched.json.extend_from_slice(b"null"),
            (true, _) => {}
            (false, 0) => fetched.json.extend_from_slice(b"[]"),
            (false, _) => fetched.json.push(b']'),
        }
        for ids in std::iter::once(&mut fetched.found.ids).chain(fetched.found.listed.iter_mut().map(|(_, ids)| ids)) {
            ids.sort_unstable();
            ids.dedup();
        }
        match fetched.json.len() > self.max_bytes {
            true => Err(Failure::Fetch(FetchError::TooLarge { limit: self.max_bytes })),
            false => Ok(fetched),
        }
    }
}

fn append_values(out: &mut Vec<Box<str>>, row: &Row, at: usize, arity: Arity) -> Result<(), Failure> {
    match arity {
        Arity::One => out.extend(row.try_get::<_, Option<&str>>(at)?.map(Box::from)),
        Arity::Many => {
            let values: Option<Vec<Option<&str>>> =
                row.try_get(at).map_err(|_| Failure::shape("an array of ids or tags must have one dimension"))?;
            out.extend(values.into_iter().flatten().flatten().map(Box::from));
        }
    }
    Ok(())
}

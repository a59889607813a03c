//! Whether the bound of a page is that of the SQL: the order, the rows of a full page, and where the last row's keys come from.

use super::origins::of_target;
use super::prover::Prover;
use crate::core::calls::predicate::{SortKey, Within};
use crate::core::catalog::lists::{ListOf, PageSize};
use crate::core::catalog::ParamSource;
use crate::core::derive::{Count, Key, Page, Rule};

/// Why it is not proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doubt {
    Unknown(&'static str),
    /// It leaves stale answers: what of the SQL it leaves out, and what would be right.
    Wrong(String),
}

impl Prover<'_> {
    /// `column_of`: the column of the rule's relation that a column of `row` is.
    pub(super) fn doubt_of_page(
        &self,
        within: &Within,
        rule: &Rule,
        column_of: &dyn Fn(&str) -> Option<i16>,
    ) -> Option<Doubt> {
        let Some(page) = self.derived.page.as_ref().filter(|page| page.occurrence == rule.occurrence) else {
            return Some(Doubt::Unknown("whether the result is a page in that order is not known"));
        };
        // Whose column is shown is known where the relation is read once.
        if self.derived.rules.iter().filter(|other| other.relation == rule.relation).count() > 1 {
            return Some(Doubt::Unknown(
                "which of the rows that are joined the last row's sort keys are of is not known",
            ));
        }
        self.doubt_of_size(page).or_else(|| {
            let keys = within.keys.iter().enumerate();
            keys.filter_map(|(at, key)| self.doubt_of_key(key, page.keys.get(at), rule, column_of)).next()
        })
    }

    fn doubt_of_size(&self, page: &Page) -> Option<Doubt> {
        match (self.query().page?, page.limit) {
            // Of a full page of more than LIMIT allows there is none.
            (PageSize::Rows(said), Count::Constant(limit)) if i128::from(said) >= i128::from(limit) => None,
            (PageSize::Rows(said), Count::Constant(limit)) => Some(Doubt::Wrong(format!(
                "page = {said} takes results for full pages that have room, for LIMIT allows {limit} rows: say page = {limit}"
            ))),
            (PageSize::Arg(said), Count::Argument(number)) => {
                let source = usize::from(number).checked_sub(1).and_then(|at| self.concerned.sources.get(at));
                let is_it = source == Some(&ParamSource::Arg(said));
                (!is_it).then_some(Doubt::Unknown("whether LIMIT allows as many rows as page says is not known"))
            }
            _ => Some(Doubt::Unknown("whether LIMIT allows as many rows as page says is not known")),
        }
    }

    fn doubt_of_key(
        &self,
        said: &SortKey,
        key: Option<&Key>,
        rule: &Rule,
        column_of: &dyn Fn(&str) -> Option<i16>,
    ) -> Option<Doubt> {
        let Some(key) = key else {
            return Some(Doubt::Unknown(
                "whether the SQL sorts by as many keys, of types that bear compares, is not known",
            ));
        };
        let Some(column) = column_of(&said.column) else {
            return Some(Doubt::Unknown("which columns its sort keys are is not known"));
        };
        if (column, said.is_descending, said.nulls_first) != (key.column, key.is_descending, key.nulls_first) {
            return Some(Doubt::Wrong(format!(
                "it sorts by {} where the SQL sorts by {}: a row may come before the last that is taken for one behind it",
                words(&said.column, said.is_descending, said.nulls_first),
                self.words_of(key, rule)
            )));
        }
        let last = self.query().lists.get(said.last).and_then(|list| match list.of {
            ListOf::Last(at) => self.query().plan()?.last.get(at),
            _ => None,
        });
        let (shown, _) = last?;
        match of_target(self.statement, shown, self.facts) {
            Some(origin) if origin == (rule.relation, key.column) => None,
            Some(_) => Some(Doubt::Wrong(format!(
                "the result's '{shown}' is not the {} that it sorts by",
                self.words_of(key, rule)
            ))),
            None => Some(Doubt::Unknown("where the last row's sort keys come from is not known")),
        }
    }

    fn words_of(&self, key: &Key, rule: &Rule) -> String {
        let relation = self.relation(rule.relation);
        let name = relation.and_then(|relation| relation.columns.get(&key.column)).map(|column| &*column.name);
        words(name.unwrap_or("another column"), key.is_descending, key.nulls_first)
    }
}

/// As ORDER BY says it.
fn words(column: &str, is_descending: bool, nulls_first: bool) -> String {
    let order = if is_descending { " desc" } else { "" };
    let nulls = match (is_descending, nulls_first) {
        (true, false) => " nulls last",
        (false, true) => " nulls first",
        _ => "",
    };
    format!("{column}{order}{nulls}")
}

//! A predicate that is said of a relation's rows: `match`, and `on` with more than rows.

use super::listing::is_compared_as;
use super::origins::{of_target, Origin, Otherwise};
use super::pages::Doubt;
use super::proof::Verdict;
use super::prover::Prover;
use super::spoken::Words;
use crate::core::calls::predicate::{Condition, Operand, Predicate, Term, Test};
use crate::core::catalog::ParamSource;
use crate::core::derive::expression::Expression;
use crate::core::derive::{Link, Rule};
use crate::core::values::value::ScalarType;

impl Prover<'_> {
    pub(super) fn of_predicate(
        &self,
        rule: &Rule,
        section: usize,
        mapping: Option<&str>,
        listing: &str,
        key: &str,
        predicate: &Predicate,
    ) -> Verdict {
        let name = &self.stated.sections[section].name;
        let table = self.name_of(rule.relation);
        let said = match key {
            "match" => format!("match = \"{predicate}\""),
            key => format!("on.{key} = \"{predicate}\""),
        };
        if self.is_shown_with(rule, mapping, listing) {
            return Verdict::Enough;
        }
        let mut unclear = None;
        let column_of = |term: &Term| self.column_of(term, rule, section, mapping);
        let named = |column: &str| self.column_named(column, rule, section, mapping);
        for doubt in predicate.others.iter().filter_map(|other| match other {
            Condition::Within(within) => self.doubt_of_page(within, rule, &named),
            _ => None,
        }) {
            match doubt {
                Doubt::Unknown(reason) => unclear = Some(format!("{said}: {reason}")),
                Doubt::Wrong(reason) => return Verdict::Short(format!("{said}: {reason}")),
            }
        }
        let mut others = predicate.others.iter().filter(|other| !matches!(other, Condition::Within(_)));
        if !others.all(|other| self.concerned.meets_all_of(rule, other, &column_of)) {
            unclear = Some(format!("whether the SQL demands {said} of '{table}' is not known"));
        }
        for term in &predicate.terms {
            let Some(column) = self.column_of(term, rule, section, mapping) else {
                unclear = Some(format!("what '{}' of {said} is of '{table}' is not known", term.column));
                continue;
            };
            if let Test::In(Operand::Listed(list, ty)) = &term.test {
                let is_compared = is_compared_as(*ty, rule.relation, column, self.facts);
                if is_compared && self.concerned.meets(rule, column, &term.test) {
                    continue;
                }
                if let Some(reason) = self.lacks(rule, column, *list) {
                    return Verdict::Short(format!("{said}: {reason}"));
                }
                let is_linked = self.links_of(rule).iter().any(|(_, _, own)| *own == column);
                let is_demanded = rule.local.iter().any(|local| local.columns().contains(&&column));
                if !is_linked && !is_demanded && !rule.left_out {
                    return Verdict::Short(self.short(rule, &said, key));
                }
                unclear = Some(format!("whether {said} lists all that the SQL joins '{table}' to is not known"));
                continue;
            }
            if self.concerned.meets(rule, column, &term.test) && self.alters((rule.relation, column), term).is_none() {
                continue;
            }
            if let Some(compared_as) = self.alters((rule.relation, column), term) {
                let relation = self.relation(rule.relation).and_then(|relation| relation.columns.get(&column));
                let column = relation.map_or("", |column| &*column.name);
                return Verdict::Short(format!(
                    "{said} compares texts of {column}, and the SQL compares {compared_as}, of which two texts may be one value: say no \
                     {key}, or have row give a text that is the same for the same value",
                ));
            }
            // Of text, for a constant of another type may be spelled otherwise.
            let is_literal = matches!(&term.test, Test::Compare(_, Operand::Text(_)))
                && rule.local.iter().any(|local| local.columns().contains(&&column) && has_constant(local));
            let is_array = !matches!(term.test, Test::Compare(..) | Test::Between(..) | Test::In(_));
            let is_computed = !is_literal && !is_array && !rule.left_out;
            if !is_computed {
                unclear = Some(format!("whether the SQL demands {said} of '{table}' is not known"));
                continue;
            }
            return Verdict::Short(self.short(rule, &said, key));
        }
        if let Some(reason) = unclear {
            return Verdict::Unclear(reason);
        }
        self.of_left(rule, section, mapping, listing)
            .map_or(Verdict::Enough, |reason| Verdict::Unclear(format!("{said}: {reason} (rows of '{name}')")))
    }

    /// Does it matter for the listed rows alone, whose ids its own column tells?
    fn is_shown_with(&self, rule: &Rule, mapping: Option<&str>, listing: &str) -> bool {
        let Some(column) = mapping.and_then(|column| self.number(rule.relation, column)) else { return false };
        let origin = of_target(self.statement, listing, self.facts);
        rule.links.iter().any(|link: &Link| {
            link.column == column
                && link.of_result
                && self.rule(link.occurrence).is_some_and(|other| origin == Some((other.relation, link.of)))
        })
    }

    fn short(&self, rule: &Rule, said: &str, key: &str) -> String {
        let table = self.name_of(rule.relation);
        let Some(relation) = self.relation(rule.relation) else { return format!("{said} leaves out rows of {table}") };
        let words = Words { relation, query: self.query(), sources: self.concerned.sources };
        let line = |text: &str| match key {
            "match" => format!("match = \"{text}\""),
            key => format!("on = {{ {key} = \"{text}\" }}"),
        };
        match (rule.local.is_empty(), key) {
            (true, "match") => format!("{said} leaves out rows that the SQL takes of {table}, of which it demands nothing like it: say no match"),
            (true, _) => format!("{said} leaves out rows that the SQL takes of {table}, of which it demands nothing like it: say {}", line("*")),
            (false, _) => {
                let demanded = words.conditions(&rule.local);
                format!("{said} leaves out rows that the SQL takes of {table}, where {demanded}: say {}", line(&demanded))
            }
        }
    }

    /// The column of the rule's relation that a term is about.
    fn column_of(&self, term: &Term, rule: &Rule, section: usize, mapping: Option<&str>) -> Option<i16> {
        self.column_named(&term.column, rule, section, mapping)
    }

    fn column_named(&self, column: &str, rule: &Rule, section: usize, mapping: Option<&str>) -> Option<i16> {
        match self.mapped.rows.get(&(section, column.into())) {
            Some((relation, number)) if self.is_of(rule, *relation) => match *relation == rule.relation {
                true => Some(*number),
                // A partition may number its columns otherwise.
                false => self.number(rule.relation, &self.relation(*relation)?.columns.get(number)?.name),
            },
            // A table beside the one of the rows: its column holds their ids.
            _ if column == "id" => self.number(rule.relation, mapping?),
            _ => None,
        }
    }

    /// As what the SQL compares the column with the term's argument, if otherwise than by texts.
    fn alters(&self, column: Origin, term: &Term) -> Option<&'static str> {
        let operands = match &term.test {
            Test::Compare(_, operand) | Test::In(operand) => operand,
            _ => return None,
        };
        let Operand::Arg(index) = operands else { return None };
        if self.query().call.args().get(*index)?.ty.scalar != ScalarType::Text {
            return None;
        }
        let is_it = |found: &&Otherwise| {
            let source = found.argument.checked_sub(1).and_then(|at| self.concerned.sources.get(at));
            found.column == column && source == Some(&ParamSource::Arg(*index))
        };
        self.otherwise.iter().find(is_it).map(|found| found.compared_as)
    }

    /// Why a row that was in the result, and is no more, may not be told by its id.
    fn of_left(&self, rule: &Rule, section: usize, mapping: Option<&str>, listing: &str) -> Option<String> {
        let id = mapping.and_then(|column| self.number(rule.relation, column));
        let shown = &self.derived.shown;
        let is_shown = id.is_some_and(|id| shown.named(listing).contains(&(rule.occurrence, id)));
        if is_shown && shown.is_uncut || self.is_listed_by_statement(rule, section, mapping) {
            return None;
        }
        let origin = of_target(self.statement, listing, self.facts);
        let Some(origin) = origin else {
            return Some(format!("whether {listing} lists each row that decides is not known"));
        };
        let own = mapping.and_then(|column| self.number(rule.relation, column)).map(|column| (rule.relation, column));
        let occurrences = self.concerned.rules.iter().filter(|other| other.relation == rule.relation).count();
        let is_the_row = occurrences == 1 && own.is_some_and(|own| self.equal_to(origin).contains(&own));
        let is_of_a_row = own.is_some_and(|own| {
            rule.links.iter().any(|link| {
                (rule.relation, link.column) == own
                    && self.rule(link.occurrence).is_some_and(|other| (other.relation, link.of) == origin)
            })
        });
        let is_plain = !["setOperations", "groupClause", "groupingSets", "distinctClause", "havingQual"]
            .into_iter()
            .any(|field| self.statement.has(field))
            && !["hasAggs", "hasWindowFuncs", "hasTargetSRFs"].into_iter().any(|field| self.statement.is(field));
        if self.statement.has("limitOffset") {
            return Some("OFFSET depends on rows that are not listed".to_owned());
        }
        match (is_plain, is_the_row || is_of_a_row) {
            (true, true) => None,
            (true, false) => {
                let name = &self.stated.sections[section].name;
                Some(format!(
                    "rows of '{}' that decide are not all listed as rows of '{name}'",
                    self.name_of(rule.relation)
                ))
            }
            (false, _) => {
                Some(format!("an aggregate, a window, DISTINCT or UNION depends on rows that {listing} may not list"))
            }
        }
    }
}

fn has_constant(condition: &Expression) -> bool {
    matches!(condition, Expression::Constant(Some(_))) || condition.parts().iter().any(has_constant)
}

//! A predicate with `or` as several without, each of which can be looked up by a value that it names.
//!
//! `a = {x} or b = {y}` is two look-ups; without this, each change would go through all calls of the query. A part that offers nothing to
//! look up by (`a <> {x}`) stays as it is: then its own calls are gone through.

use std::sync::Arc;

use super::{Condition, Predicate, Test};

/// Of one predicate; with more it stays whole.
const MAX_ALTERNATIVES: usize = 16;

pub(super) fn of(condition: Condition, text: &str) -> Predicate {
    let whole = Predicate::of_all(conjuncts(condition.clone()), text);
    let alternatives = split(conjuncts(condition));
    let is_worth_it = alternatives.len() > 1 && alternatives.len() <= MAX_ALTERNATIVES;
    let of_all = |conditions| Arc::new(Predicate::of_all(conditions, text));
    let alternatives = if is_worth_it { alternatives.into_iter().map(of_all).collect() } else { Vec::new() };
    Predicate { alternatives, ..whole }
}

fn conjuncts(condition: Condition) -> Vec<Condition> {
    match condition {
        Condition::All(parts) => parts.into_iter().flat_map(conjuncts).collect(),
        condition => vec![condition],
    }
}

/// Conjunctions one of which holds where all of these conditions do.
fn split(conditions: Vec<Condition>) -> Vec<Vec<Condition>> {
    if conditions.iter().any(can_be_looked_up) {
        return vec![conditions];
    }
    let is_choice = |condition: &Condition| matches!(condition, Condition::Any(_)) && condition.names_argument();
    let Some(at) = conditions.iter().position(is_choice) else { return vec![conditions] };
    let Condition::Any(parts) = conditions[at].clone() else { return vec![conditions] };
    let mut found = Vec::new();
    for part in parts {
        let mut conjunction = conditions.clone();
        conjunction.splice(at..=at, conjuncts(part));
        found.extend(split(conjunction));
        if found.len() > MAX_ALTERNATIVES {
            break;
        }
    }
    found
}

fn can_be_looked_up(condition: &Condition) -> bool {
    let Condition::Term(term) = condition else { return false };
    term.names_argument() && !matches!(term.test, Test::NotDistinct(_))
}

//! The bound of a full page in the catalog's words.

use super::homes::id_type;
use super::statement::Statements;
use super::{Said, Subject};
use crate::core::catalog::ParamSource;
use crate::core::derive::{Count, Key, Rule};
use crate::core::prove::origins::of_all_targets;
use crate::core::values::value::ScalarType;

/// More keys decide nothing that is worth a comparison.
const MAX_KEYS: usize = 8;

/// A row that sorts after the last row of a full page is outside.
pub(super) struct Bound {
    /// `(price:numeric desc, id:int) <= _last (price, id)`
    pub said: String,
    /// Of the relation.
    pub columns: Vec<i16>,
    /// As `page` has it.
    pub size: Box<str>,
    /// Columns of the last row that are not shown, and their expressions.
    pub hidden: Vec<(Box<str>, Box<str>)>,
}

/// What a page's bound is worked out from.
pub(super) struct Pages<'c, 'a> {
    pub said: Said<'a>,
    pub subject: &'a Subject<'a>,
    pub sources: &'a [ParamSource],
    /// None: no columns can be added to the result.
    pub statements: Option<&'c Statements<'a>>,
    /// Sections that there are to be, too.
    pub new_sections: &'c [&'c str],
}

impl Pages<'_, '_> {
    /// `name`: how a predicate names a column of the rule's relation. None: its result is no page in an order that bear compares.
    pub(super) fn bound(&self, rule: &Rule, name: &dyn Fn(i16) -> Option<Box<str>>) -> Option<Bound> {
        let page = self.subject.derived.page.as_ref().filter(|page| page.occurrence == rule.occurrence)?;
        if self.subject.query.page.is_some() {
            return None;
        }
        let size = self.size(page.limit)?;
        let relation = self.said.facts.relations.get(&rule.relation)?;
        let mut bound = Bound { said: String::new(), columns: Vec::new(), size, hidden: Vec::new() };
        let (mut keys, mut last) = (Vec::new(), Vec::new());
        for key in page.keys.iter().take(MAX_KEYS) {
            let Some(found) = relation.columns.get(&key.column) else { break };
            // The order of texts depends on collations, that of strange types on them.
            let (ty, is_strange) = id_type(found.type_oid);
            if is_strange || ty == ScalarType::Text {
                break;
            }
            let Some(name) = name(key.column) else { break };
            let Some(shown) = self.shown(rule, key, keys.len(), &mut bound.hidden) else { break };
            keys.push(format!("{name}:{}{}", ty.name(), order(key)));
            last.push(shown);
            bound.columns.push(key.column);
        }
        if keys.is_empty() {
            return None;
        }
        bound.said = format!("({}) <= _last ({})", keys.join(", "), last.join(", "));
        Some(bound)
    }

    fn size(&self, limit: Count) -> Option<Box<str>> {
        match limit {
            Count::Constant(rows) => (rows > 0).then(|| rows.to_string().into()),
            Count::Argument(number) => {
                let ParamSource::Arg(index) = self.sources.get(usize::from(number).checked_sub(1)?)? else {
                    return None;
                };
                let arg = self.subject.query.call.args().get(*index)?;
                let is_int = arg.ty.scalar == ScalarType::Int && !arg.ty.array;
                is_int.then(|| format!("{{{}}}", arg.name).into())
            }
        }
    }

    /// The column of the result that has the key's value; one that is hidden, where it shows none.
    fn shown(&self, rule: &Rule, key: &Key, at: usize, hidden: &mut Vec<(Box<str>, Box<str>)>) -> Option<Box<str>> {
        // Of a relation that is read twice nobody knows whose column is shown.
        let is_read_once =
            self.subject.derived.rules.iter().filter(|other| other.relation == rule.relation).count() == 1;
        let targets = of_all_targets(self.subject.tree, self.said.facts);
        let is_it = |(name, origin): &(Box<str>, (u32, i16))| {
            is_read_once && *origin == (rule.relation, key.column) && super::homes::is_word(name)
        };
        if let Some((name, _)) = targets.into_iter().find(is_it) {
            return Some(name);
        }
        let statements = self.statements?;
        let name = format!("sort_{}", at + 1);
        let is_section = self.said.sections.iter().any(|section| *section.name == *name);
        let is_new = self.new_sections.contains(&&*name);
        let expression = statements.column(rule, key.column)?;
        (!is_section && !is_new).then(|| {
            hidden.push((format!("_{name}").into(), expression.into()));
            format!("_{name}").into()
        })
    }
}

fn order(key: &Key) -> String {
    let nulls = match (key.is_descending, key.nulls_first) {
        (false, true) => " nulls first",
        (true, false) => " nulls last",
        _ => "",
    };
    format!("{}{nulls}", if key.is_descending { " desc" } else { "" })
}

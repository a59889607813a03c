//! What is said beside a query of each relation that its SQL reads, and whether it drops all that a change may concern.
//!
//! | said of the relation's rows | drops with |
//! |---|---|
//! | nothing, of the own section; `on = "*"`; `on` of rows that the result does not list | any change: always enough |
//! | `match`, `on` with a predicate | rows that are listed, or meet it: enough if the SQL demands all that the predicate does |
//! | a column `_<section>` alone | rows that are listed: enough if they are only shown, and are there for certain |
//! | nothing, of another section | nothing |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::implied::Concerned;
use super::origins::{compared_otherwise, of_target, target, Origin, Otherwise};
use super::spoken::Words;
use crate::core::calls::predicate::{Operand, Predicate, Term, Test};
use crate::core::catalog::{OnRule, ParamSource, Query, Section, Source};
use crate::core::derive::expression::Expression;
use crate::core::derive::facts::{Facts, Relation};
use crate::core::derive::tree::Node;
use crate::core::derive::{Derived, Reads, Refusal, Rule};
use crate::core::values::value::ScalarType;

/// What is known of the declarations of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub standing: Standing,
    /// Why it is not proven, or what its author says.
    pub reasons: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Whatever changes, what it concerns is dropped.
    Proven,
    /// Nobody knows more than its author says.
    Declared,
    /// Its author answers for it, whatever bear says.
    Trusted,
    /// It leaves stale answers.
    Wrong,
}

impl Standing {
    pub fn name(self) -> &'static str {
        match self {
            Standing::Proven => "proven",
            Standing::Declared => "declared",
            Standing::Trusted => "trust",
            Standing::Wrong => "wrong",
        }
    }
}

/// Sections whose rows a relation's rows concern, and the column that holds their ids (None: a SELECT tells); by the relation's oid.
pub type Mappings = BTreeMap<u32, Vec<(usize, Option<Box<str>>)>>;

/// What the catalog says of relations, by what Postgres takes their names for.
#[derive(Debug, Clone, Default)]
pub struct Mapped {
    pub tables: Mappings,
    /// Where columns of a section's `row` statement come from, if from a column alone.
    pub rows: BTreeMap<(usize, Box<str>), Origin>,
}

/// A query as the catalog has it.
#[derive(Clone, Copy)]
pub struct Stated<'a> {
    pub sections: &'a [Section],
    /// Its section.
    pub section: usize,
    pub query: &'a Query,
}

/// What one thing that is said comes to.
enum Verdict {
    Enough,
    /// Nobody can tell, and why.
    Unclear(String),
    /// It leaves stale answers: what of the SQL it leaves out, and what would be right.
    Short(String),
}

/// Compares what is said with what was derived; `statement` is the tree of the query's SQL.
pub fn prove(stated: Stated<'_>, mapped: &Mapped, statement: &Node, derived: &Derived, facts: &Facts) -> Proof {
    let sources: &[ParamSource] = match &stated.query.source {
        Source::Sql { params, .. } => params,
        Source::Computed(_) => &[],
    };
    let concerned = Concerned { rules: &derived.rules, sources };
    let otherwise = compared_otherwise(statement, facts);
    let prover = Prover { stated, mapped, statement, facts, concerned, otherwise };
    let mut verdicts = prover.of_refusals(derived);
    verdicts.extend(prover.of_ids());
    verdicts.extend(derived.rules.iter().map(|rule| prover.of_relation(rule)));
    let (mut wrong, mut unclear) = (BTreeSet::new(), BTreeSet::new());
    for verdict in verdicts {
        match verdict {
            Verdict::Enough => {}
            Verdict::Unclear(reason) => drop(unclear.insert(reason)),
            Verdict::Short(error) => drop(wrong.insert(error)),
        }
    }
    let trust = stated.query.trust.as_deref();
    let (standing, reasons) = match trust {
        Some(trust) => (Standing::Trusted, vec![trust.to_owned()]),
        None if !wrong.is_empty() => (Standing::Wrong, wrong.into_iter().collect()),
        None if !unclear.is_empty() => (Standing::Declared, unclear.into_iter().collect()),
        None => (Standing::Proven, Vec::new()),
    };
    Proof { standing, reasons }
}

struct Prover<'a> {
    stated: Stated<'a>,
    mapped: &'a Mapped,
    statement: &'a Node,
    facts: &'a Facts,
    concerned: Concerned<'a>,
    otherwise: Vec<Otherwise>,
}

impl Prover<'_> {
    fn query(&self) -> &Query {
        self.stated.query
    }

    /// Results that change by themselves, or by what no feed tells of.
    fn of_refusals(&self, derived: &Derived) -> Vec<Verdict> {
        // Waiting changes no result.
        let waits = |refusal: &&Refusal| ["pg_sleep", "pg_advisory_"].iter().any(|name| refusal.what.starts_with(name));
        let verdict = |refusal: &Refusal| match refusal.why.is_covered_by_ttl() {
            true if self.query().says_ttl => Verdict::Enough,
            // Its author has thought of the clock: the entry ends when a row's time comes.
            true if target(self.statement, "_until").is_some() => Verdict::Unclear(refusal.to_string()),
            true => Verdict::Short(format!("{refusal}; say ttl = \"…\" beside it, which then is the promise")),
            false => {
                Verdict::Short(format!("{refusal}; say trust = \"why it may be cached\" beside it, or leave it out"))
            }
        };
        derived.refused.iter().filter(|refusal| !waits(refusal)).map(verdict).collect()
    }

    /// Columns that list rows, of the wrong relation.
    fn of_ids(&self) -> Vec<Verdict> {
        let mut listings = Vec::new();
        // Where the rows are listed by a column of their own, `id` may be that of others.
        if self.query().rows && self.listing_of(self.stated.section) == "id" {
            listings.push((self.stated.section, "id".to_owned()));
        }
        for (index, section) in self.stated.sections.iter().enumerate() {
            listings.push((index, format!("_{}", section.name)));
        }
        let verdict = |(section, column): &(usize, String)| {
            let origin = of_target(self.statement, column, self.facts)?;
            match self.is_id_of(origin, *section) {
                Some(true) => None,
                Some(false) => Some(Verdict::Short(self.wrong_id(origin, *section, column))),
                None => {
                    let name = &self.stated.sections[*section].name;
                    Some(Verdict::Unclear(format!("that {column} holds ids of '{name}' is not known")))
                }
            }
        };
        listings.iter().filter_map(verdict).collect()
    }

    /// The column by which rows of the section are listed, if any does.
    fn listing_of(&self, section: usize) -> String {
        let listing = format!("_{}", self.stated.sections[section].name);
        let is_own = section == self.stated.section && self.query().rows;
        match is_own && target(self.statement, &listing).is_none() {
            true => "id".to_owned(),
            false => listing,
        }
    }

    fn wrong_id(&self, origin: Origin, section: usize, column: &str) -> String {
        let found = self.name_of_column(origin);
        let name = &self.stated.sections[section].name;
        let right = self.ids_of(section).find_map(|id| {
            let rule = self.concerned.rules.iter().find(|rule| self.is_of(rule, id.0))?;
            let column = self.relation(id.0)?.columns.get(&id.1)?;
            Some(format!("{}.{}", rule.alias, column.name))
        });
        match right {
            Some(right) => {
                format!("{column} is {found}, which is no id of the section '{name}': say {right} AS {column}")
            }
            None => format!("{column} is {found}, which is no id of the section '{name}'"),
        }
    }

    /// The columns of mapped tables that hold ids of the section.
    fn ids_of(&self, section: usize) -> impl Iterator<Item = Origin> + '_ {
        self.mapped.tables.iter().flat_map(move |(oid, mappings)| {
            let columns =
                mappings.iter().filter(move |(of, _)| *of == section).filter_map(|(_, column)| column.as_deref());
            columns.filter_map(|column| Some((*oid, self.number(*oid, column)?)))
        })
    }

    /// Does the column hold ids of the section? None: nobody knows.
    fn is_id_of(&self, origin: Origin, section: usize) -> Option<bool> {
        let ids: BTreeSet<Origin> = self.ids_of(section).collect();
        let equal = self.equal_to(origin);
        if equal.iter().any(|column| ids.contains(column)) {
            return Some(true);
        }
        let refers = |column: &Origin| {
            let keys = self.relation(column.0).map_or(&[][..], |relation| &relation.foreign_keys[..]);
            keys.iter().any(|key| {
                *key.columns == [column.1]
                    && key.referenced.len() == 1
                    && ids.contains(&(key.relation, key.referenced[0]))
            })
        };
        if equal.iter().any(refers) {
            return Some(true);
        }
        let is_read = |id: &Origin| self.concerned.rules.iter().any(|rule| self.is_of(rule, id.0));
        (ids.iter().any(is_read) && equal.iter().all(|column| self.relation(column.0).is_some())).then_some(false)
    }

    /// Columns of which the statement says that they are equal.
    fn equal_to(&self, origin: Origin) -> BTreeSet<Origin> {
        let mut found: BTreeSet<Origin> = [origin].into();
        loop {
            let mut more = found.clone();
            for rule in self.concerned.rules {
                for link in &rule.links {
                    let Some(other) = self.rule(link.occurrence) else { continue };
                    let pair = [(rule.relation, link.column), (other.relation, link.of)];
                    if pair.iter().any(|column| found.contains(column)) {
                        more.extend(pair);
                    }
                }
            }
            if more.len() == found.len() {
                return found;
            }
            found = more;
        }
    }

    fn rule(&self, occurrence: usize) -> Option<&Rule> {
        self.concerned.rules.iter().find(|rule| rule.occurrence == occurrence)
    }

    fn relation(&self, oid: u32) -> Option<&Relation> {
        self.facts.relations.get(&oid)
    }

    /// Is it a rule of the relation, or of a partition of it?
    fn is_of(&self, rule: &Rule, relation: u32) -> bool {
        rule.relation == relation || self.relation(rule.relation).is_some_and(|found| found.root == Some(relation))
    }

    fn number(&self, relation: u32, column: &str) -> Option<i16> {
        let mut columns = self.relation(relation)?.columns.iter();
        columns.find(|(_, found)| *found.name == *column).map(|(number, _)| *number)
    }

    fn name_of(&self, relation: u32) -> String {
        match self.relation(relation) {
            Some(relation) if &*relation.schema == "public" => relation.name.to_string(),
            Some(relation) => format!("{}.{}", relation.schema, relation.name),
            None => format!("the relation of oid {relation}"),
        }
    }

    fn name_of_column(&self, (relation, column): Origin) -> String {
        let name =
            self.relation(relation).and_then(|found| found.columns.get(&column)).map(|column| column.name.to_string());
        format!("{}.{}", self.name_of(relation), name.unwrap_or_default())
    }

    /// The best of what is said of the relation by each section that maps it.
    fn of_relation(&self, rule: &Rule) -> Verdict {
        let root = self.relation(rule.relation).and_then(|relation| relation.root);
        let mappings = self.mapped.tables.get(&rule.relation).or_else(|| self.mapped.tables.get(&root?));
        let Some(mappings) = mappings.filter(|mappings| !mappings.is_empty()) else {
            return Verdict::Unclear(format!("no section maps '{}'", self.name_of(rule.relation)));
        };
        let mut best = None;
        for (section, column) in mappings {
            let verdict = self.of_section(rule, *section, column.as_deref());
            best = match (best, verdict) {
                (_, Verdict::Enough) => return Verdict::Enough,
                (Some(Verdict::Unclear(reason)), _) | (_, Verdict::Unclear(reason)) => Some(Verdict::Unclear(reason)),
                (Some(short), Verdict::Short(_)) => Some(short),
                (None, short) => Some(short),
            };
        }
        best.unwrap_or(Verdict::Enough)
    }

    fn of_section(&self, rule: &Rule, section: usize, column: Option<&str>) -> Verdict {
        let found = &self.stated.sections[section];
        let is_own = section == self.stated.section;
        let listing = self.listing_of(section);
        let is_listed = target(self.statement, &listing).is_some();
        let on = self.query().on.iter().find(|on| on.section == section).map(|on| &on.rule);
        let predicate: Option<(&str, &Arc<Predicate>)> = match (is_own, on, &self.query().match_) {
            (true, _, Some(predicate)) => Some(("match", predicate)),
            (true, _, None) | (false, Some(OnRule::Any), _) => None,
            (false, Some(OnRule::Rows(predicate)), _) if is_listed => Some((&*found.name, predicate)),
            // Nobody knows which of its rows: any.
            (false, Some(OnRule::Rows(_)), _) => None,
            (false, None, _) if is_listed => return self.of_listed(rule, section, column, &listing),
            (false, None, _) => return self.of_unsaid(rule, section),
        };
        if let Some(reason) = self.of_tenant(rule, found) {
            return Verdict::Unclear(reason);
        }
        match predicate {
            None => Verdict::Enough,
            Some((key, predicate)) => self.of_predicate(rule, section, column, &listing, key, predicate),
        }
    }

    /// Why a change in another tenant's space may concern the result.
    fn of_tenant(&self, rule: &Rule, section: &Section) -> Option<String> {
        section.tenant?;
        let own = section.tenant_column.as_deref().and_then(|column| self.number(rule.relation, column));
        let is_tenant = |part: &Expression| {
            let Expression::Argument(number) = part else { return false };
            let source = usize::from(*number).checked_sub(1).and_then(|at| self.concerned.sources.get(at));
            source == Some(&ParamSource::Tenant)
        };
        let is_restricted = self.concerned.equates(rule, own?, &is_tenant);
        (!is_restricted)
            .then(|| format!("that only rows of the tenant are read of '{}' is not known", self.name_of(rule.relation)))
    }

    /// Rows that the result depends on and nothing tells of.
    fn of_unsaid(&self, rule: &Rule, section: usize) -> Verdict {
        let name = &self.stated.sections[section].name;
        if self.is_there_for_certain(rule) && self.reads_only_links(rule) {
            return Verdict::Enough;
        }
        let table = self.name_of(rule.relation);
        if self.stated.sections[section].tables.is_empty() {
            // Only its name says that it is about that table.
            return Verdict::Unclear(format!(
                "whether rows of '{table}' are those of '{name}', of which nothing is said, is not known"
            ));
        }
        let id = self
            .ids_of(section)
            .find(|id| self.is_of(rule, id.0))
            .and_then(|id| self.relation(id.0)?.columns.get(&id.1));
        let listing = match id {
            Some(id) if !rule.alias.is_empty() => format!(" or list its rows by {}.{} AS _{name}", rule.alias, id.name),
            _ => String::new(),
        };
        let alias = match rule.alias.is_empty() || *rule.alias == *table {
            true => table.clone(),
            false => format!("{table} {}", rule.alias),
        };
        Verdict::Short(format!(
            "it reads {alias}, and nothing is said of rows of '{name}': say on = {{ {name} = \"*\" }}{listing}"
        ))
    }

    /// Rows of which only those listed count.
    fn of_listed(&self, rule: &Rule, section: usize, column: Option<&str>, listing: &str) -> Verdict {
        let name = &self.stated.sections[section].name;
        let table = self.name_of(rule.relation);
        let id = column.and_then(|column| self.number(rule.relation, column));
        let Some(id) = id else {
            return Verdict::Unclear(format!("which rows of '{name}' a row of '{table}' concerns is not known"));
        };
        let tenant = self.stated.sections[section]
            .tenant_column
            .as_deref()
            .and_then(|column| self.number(rule.relation, column));
        let decides = |condition: &&Expression| {
            condition.columns().into_iter().any(|column| *column != id && Some(*column) != tenant)
        };
        let deciding: Vec<_> = rule.local.iter().filter(decides).cloned().collect();
        if let (false, Some(relation)) = (deciding.is_empty(), self.relation(rule.relation)) {
            let words = Words { relation, query: self.query(), sources: self.concerned.sources };
            let said = words.conditions(&deciding);
            let right = match self.stated.sections[section].row.is_some() {
                true => words.conditions(&rule.local),
                false => "*".to_owned(),
            };
            return Verdict::Short(format!(
                "rows of '{name}' that the result does not list decide it, too: the SQL demands {said} of {table}; say on = {{ {name} = \"{right}\" }}"
            ));
        }
        if !rule.local.is_empty() || rule.left_out {
            return Verdict::Unclear(format!(
                "whether rows of '{name}' that {listing} does not list decide the result is not known"
            ));
        }
        if !self.is_there_for_certain(rule) {
            return Verdict::Unclear(format!(
                "no foreign key says that the rows of {table} that it joins are there before"
            ));
        }
        let is_cut = self.statement.has("limitCount") || self.statement.has("limitOffset");
        let is_plain = !["setOperations", "groupClause", "groupingSets", "distinctClause"]
            .into_iter()
            .any(|field| self.statement.has(field))
            && !["hasAggs", "hasWindowFuncs", "hasTargetSRFs"].into_iter().any(|field| self.statement.is(field));
        match (!is_cut || rule.is_shown_only) && is_plain && self.is_linked_by_one(rule, id) {
            true => Verdict::Enough,
            false => Verdict::Unclear(format!(
                "whether rows of '{name}' that {listing} does not list decide the result is not known"
            )),
        }
    }

    /// Is the relation joined by a foreign key that holds, so that what refers to its rows finds them whenever it is there?
    fn is_there_for_certain(&self, rule: &Rule) -> bool {
        let holds = |(other, from, to): (&Rule, i16, i16)| {
            self.relation(other.relation).is_some_and(|relation| {
                relation.foreign_keys.iter().any(|key| {
                    key.holds && *key.columns == [from] && *key.referenced == [to] && self.is_of(rule, key.relation)
                })
            })
        };
        self.links_of(rule).into_iter().any(holds)
    }

    /// Links of the rule's occurrence, whichever of the two was found first: the other rule, its column, and the own one.
    fn links_of<'r>(&'r self, rule: &'r Rule) -> Vec<(&'r Rule, i16, i16)> {
        let own = rule.links.iter().filter_map(|link| Some((self.rule(link.occurrence)?, link.of, link.column)));
        let others = self.concerned.rules.iter().flat_map(|other| {
            let links = other.links.iter().filter(|link| link.occurrence == rule.occurrence);
            links.map(move |link| (other, link.column, link.of))
        });
        own.chain(others).collect()
    }

    fn is_linked_by_one(&self, rule: &Rule, column: i16) -> bool {
        let links = self.links_of(rule);
        !links.is_empty() && links.iter().all(|(_, _, own)| *own == column)
    }

    /// Is nothing read of it but what it is joined by?
    fn reads_only_links(&self, rule: &Rule) -> bool {
        let linked: BTreeSet<i16> = self.links_of(rule).into_iter().map(|(_, _, own)| own).collect();
        rule.local.is_empty()
            && !rule.left_out
            && matches!(&rule.reads, Reads::Columns(read) if read.is_subset(&linked))
    }

    fn of_predicate(
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
        if !predicate.others.iter().all(|other| self.concerned.meets_all_of(rule, other, &column_of)) {
            unclear = Some(format!("whether the SQL demands {said} of '{table}' is not known"));
        }
        for term in &predicate.terms {
            let Some(column) = self.column_of(term, rule, section, mapping) else {
                unclear = Some(format!("what '{}' of {said} is of '{table}' is not known", term.column));
                continue;
            };
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
            // What the result lists, of the rows that it shows.
            let is_linked = rule.links.iter().any(|link| link.column == column && link.of_result);
            let is_listed = term.test.operands().any(|operand| matches!(operand, Operand::Listed(..)));
            if is_listed && is_linked {
                continue;
            }
            // Of text, for a constant of another type may be spelled otherwise.
            let is_literal = matches!(&term.test, Test::Compare(_, Operand::Text(_)))
                && rule.local.iter().any(|local| local.columns().contains(&&column) && has_constant(local));
            let is_array = !matches!(term.test, Test::Compare(..) | Test::Between(..) | Test::In(_));
            let is_computed = !is_literal && !is_array && !is_listed && !rule.left_out;
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
        rule.links.iter().any(|link| {
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
        match self.mapped.rows.get(&(section, term.column.clone())) {
            Some((relation, column)) if self.is_of(rule, *relation) => match *relation == rule.relation {
                true => Some(*column),
                // A partition may number its columns otherwise.
                false => self.number(rule.relation, &self.relation(*relation)?.columns.get(column)?.name),
            },
            // A table beside the one of the rows: its column holds their ids.
            _ if *term.column == *"id" => self.number(rule.relation, mapping?),
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

//! The queries of a catalog derived, and what is said of them compared with it: a tree for each statement, one look at all
//! that they name, and the rest is worked out here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tokio_postgres::types::Type;

use super::tree::{self, PRINT_TREES};
use super::{facts, reads};
use crate::core::catalog::fetch_plan::FetchPlan;
use crate::core::catalog::{Query, Section, TableRows};
use crate::core::complete::{complete, Completed, Said, Subject};
use crate::core::derive::facts::Facts;
use crate::core::derive::tree::{read, Node, Oids};
use crate::core::derive::{derive, Derived};
use crate::core::prove::claims::{prove, Mapped, Mappings, Proof, Standing, Stated};
use crate::core::prove::listing::Listing;
use crate::core::prove::origins::of_all_targets;
use crate::core::sql::template::Template;
use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::session::{Session, BEGIN_READ};
use crate::postgres::values::params::{declared_type, declared_types};

/// Statements that one transaction asks about: until its end their relations cannot be altered, and who wants to alter them
/// keeps all others waiting.
const AT_ONCE: usize = 32;

/// A statement's tree, or why there is none.
type Tree = Result<Node, String>;

/// What was found of a catalog's queries.
pub(super) struct Grounds<'a> {
    sections: &'a [Section],
    found: Vec<Found<'a>>,
    mapped: Mapped,
    own_tables: BTreeMap<usize, u32>,
    facts: Facts,
}

struct Found<'a> {
    section: usize,
    index: usize,
    query: &'a Query,
    plan: u64,
    derived: Result<(Node, Derived), String>,
    /// Of the statements of its `lists`.
    lists: Vec<Option<Derived>>,
}

impl<'a> Grounds<'a> {
    /// Of each query of the catalog whose statement Postgres takes.
    pub(super) fn gather(
        session: &mut Session,
        sections: &'a [Section],
        deadline: Instant,
        is_taken: impl Fn(&FetchPlan) -> bool,
    ) -> Result<Grounds<'a>, Failure> {
        let mut queries = Vec::new();
        let mut statements: Vec<(&str, Vec<Type>)> = Vec::new();
        for (section, found) in sections.iter().enumerate() {
            for (index, query) in found.queries.iter().enumerate() {
                if let Some(plan) = query.plan().filter(|plan| is_taken(plan)) {
                    queries.push((section, index, query, plan.id));
                    statements.push((&plan.sql, declared_types(&plan.params)));
                }
            }
        }
        let rows: Vec<(usize, &Template)> =
            sections.iter().enumerate().filter_map(|(index, section)| Some((index, section.row.as_ref()?))).collect();
        for (index, row) in &rows {
            let types = sections[*index].row_param_types(row);
            statements.push((&row.text, types.into_iter().map(|ty| ty.map_or(Type::UNKNOWN, declared_type)).collect()));
        }
        for (_, _, query, _) in &queries {
            let lists = query.plan().map(|plan| (plan, &plan.lists)).into_iter();
            let lists =
                lists.flat_map(|(plan, lists)| lists.iter().map(|list| (&*list.sql, declared_types(&plan.params))));
            statements.extend(lists);
        }
        let Tables { mut mapped, own } = tables_of(session, sections)?;
        let mut trees = trees(session, &statements, deadline)?;
        let mut of_rows = trees.split_off(queries.len());
        let of_lists = of_rows.split_off(rows.len());
        let mut oids = Oids::default();
        for named in trees.iter().chain(&of_rows).chain(&of_lists).flatten().map(Node::oids) {
            oids.relations.extend(named.relations);
            oids.operators.extend(named.operators);
            oids.functions.extend(named.functions);
            oids.collations.extend(named.collations);
        }
        oids.relations.extend(mapped.keys().chain(own.values()));
        let facts = facts_of(session, &oids)?;
        for (section, oid) in &own {
            let relation = facts.relations.get(oid);
            let key = relation.and_then(|relation| match relation.primary_key.as_deref() {
                Some([key]) => relation.columns.get(key),
                _ => None,
            });
            if let Some(key) = key {
                mapped.entry(*oid).or_default().push((*section, Some(key.name.clone())));
            }
        }
        let mut mapped = Mapped { tables: mapped, ..Mapped::default() };
        for ((index, _), tree) in rows.iter().zip(of_rows) {
            if let Ok(tree) = tree {
                let named = of_all_targets(&tree, &facts).into_iter();
                mapped.rows.extend(named.map(|(name, origin)| ((*index, name), origin)));
            }
        }
        let derived = |tree: Tree| {
            tree.map(|tree| {
                let derived = derive(&tree, &facts);
                (tree, derived)
            })
        };
        let mut of_lists = of_lists.into_iter().map(|tree| Some(derive(tree.as_ref().ok()?, &facts)));
        let found = queries.into_iter().zip(trees).map(|((section, index, query, plan), tree)| Found {
            section,
            index,
            query,
            plan,
            derived: derived(tree),
            lists: of_lists.by_ref().take(query.plan().map_or(0, |plan| plan.lists.len())).collect(),
        });
        let found = found.collect();
        Ok(Grounds { sections, found, mapped, own_tables: own, facts })
    }

    /// What the catalog leaves unsaid. `coarse`: queries, by their place, of which Postgres refused what was written.
    pub(super) fn complete(&self, coarse: &BTreeSet<(usize, usize)>) -> Completed {
        let subjects = self.found.iter().filter_map(|found| {
            let (tree, derived) = found.derived.as_ref().ok()?;
            Some(Subject { section: found.section, index: found.index, query: found.query, tree, derived })
        });
        let subjects: Vec<Subject> = subjects.collect();
        let Grounds { sections, mapped, own_tables, facts, .. } = self;
        complete(Said { sections, mapped, own_tables, facts }, &subjects, coarse)
    }

    /// What the declarations are worth, by the ids of the plans.
    pub(super) fn proofs(&self, completed: &Completed) -> Vec<(u64, Proof)> {
        let prove_one = |found: &Found| {
            let stated = Stated { sections: self.sections, section: found.section, query: found.query };
            let place = (found.section, found.index);
            let none = BTreeSet::new();
            let covered = completed.covered.get(&place).unwrap_or(&none);
            let lists = found.query.plan().map(|plan| &plan.lists[..]).unwrap_or_default();
            let listing = |(list, derived)| Listing::of(list, Option::as_ref(derived));
            let listings: Vec<Listing> = lists.iter().zip(&found.lists).map(listing).collect();
            let mut proof = match &found.derived {
                Ok((tree, derived)) => prove(stated, &self.mapped, tree, derived, &listings, &self.facts, covered),
                Err(reason) => unseen(stated, reason.clone()),
            };
            if matches!(proof.standing, Standing::Derived | Standing::Declared) {
                proof.reasons.extend(completed.reasons.get(&place).into_iter().flatten().cloned());
            }
            (found.plan, proof)
        };
        self.found.iter().map(prove_one).collect()
    }
}

/// Of a statement whose tree nobody has. What its author leaves unsaid cannot be derived, and nobody would know what it depends on.
fn unseen(stated: Stated, reason: String) -> Proof {
    let query = stated.query;
    let says_all = !query.on.is_empty() || query.says_match || query.says_rows;
    match &query.trust {
        Some(trust) => Proof { standing: Standing::Trusted, reasons: vec![trust.to_string()] },
        None if says_all => Proof { standing: Standing::Declared, reasons: vec![reason] },
        None => {
            let remedy = "say on and match, or trust = \"why it may be cached\", beside it";
            Proof {
                standing: Standing::Wrong,
                reasons: vec![format!("what it depends on cannot be derived ({reason}); {remedy}")],
            }
        }
    }
}

/// Begins a transaction whose names mean what they mean to the application.
fn begin(session: &mut Session, more: &str) -> Result<(), Failure> {
    let settings = session.pinned_locally();
    session.open(&format!("{BEGIN_READ} {settings} {more}"))
}

/// What names of tables mean.
struct Tables {
    mapped: Mappings,
    /// Of sections that say nothing of `tables`: the table of their name.
    own: BTreeMap<usize, u32>,
}

fn tables_of(session: &mut Session, sections: &[Section]) -> Result<Tables, Failure> {
    let mut names = Vec::new();
    let mut mappings = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        for table in &section.tables {
            names.push(table.name.to_string());
            mappings.push(match &table.rows {
                TableRows::Column(column) => (index, Some(Some(column.clone()))),
                TableRows::Select(_) => (index, Some(None)),
            });
        }
        if let Some(table) = &section.table {
            names.push(table.to_string());
            mappings.push((index, None));
        }
    }
    begin(session, "")?;
    let meant = reads::meant(&mut session.client, &names);
    session.roll_back()?;
    let mut tables = Tables { mapped: BTreeMap::new(), own: BTreeMap::new() };
    for (oid, (index, mapping)) in meant?.into_iter().zip(mappings) {
        match (oid, mapping) {
            (Some(oid), Some(column)) => tables.mapped.entry(oid).or_default().push((index, column)),
            (Some(oid), None) => drop(tables.own.insert(index, oid)),
            (None, _) => {}
        }
    }
    Ok(tables)
}

fn trees(session: &mut Session, statements: &[(&str, Vec<Type>)], deadline: Instant) -> Result<Vec<Tree>, Failure> {
    let mut trees = Vec::with_capacity(statements.len());
    let mut since_begin = None;
    for (sql, types) in statements {
        if Instant::now() >= deadline {
            return Err(Failure::TimedOut(None));
        }
        if since_begin.is_none_or(|count| count == AT_ONCE) {
            if since_begin.is_some() {
                session.roll_back()?;
            }
            begin(session, PRINT_TREES)?;
            since_begin = Some(0);
        }
        since_begin = since_begin.map(|count| count + 1);
        let tree = match tree::of_statement(&mut session.client, sql, types) {
            Ok(text) => read(&text).map_err(|error| error.to_string()),
            Err(Failure::Fetch(error)) => Err(error.to_string()),
            Err(Failure::TimedOut(_)) => Err("no answer in time".to_owned()),
            Err(broken) => return Err(broken),
        };
        if tree.is_err() {
            // The transaction may be aborted.
            since_begin = Some(AT_ONCE);
        }
        let one = tree.and_then(|mut nodes| nodes.pop().ok_or_else(|| "its tree is empty".to_owned()));
        trees.push(one);
    }
    session.roll_back()?;
    Ok(trees)
}

fn facts_of(session: &mut Session, oids: &Oids) -> Result<Facts, Failure> {
    begin(session, "")?;
    let facts = facts::of_oids(&mut session.client, oids);
    session.roll_back()?;
    facts
}

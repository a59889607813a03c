//! The queries of a catalog derived, and what is said of them compared with it: a tree for each statement, one look at all
//! that they name, and the rest is worked out here.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio_postgres::types::Type;

use super::tree::{self, PRINT_TREES};
use super::{facts, reads};
use crate::core::catalog::fetch_plan::FetchPlan;
use crate::core::catalog::{Section, TableRows};
use crate::core::derive::facts::Facts;
use crate::core::derive::tree::{read, Node, Oids};
use crate::core::derive::{derive, Derived};
use crate::core::prove::claims::{prove, Mapped, Mappings, Proof, Standing, Stated};
use crate::core::prove::listing::Listing;
use crate::core::prove::origins::of_all_targets;
use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::session::{Session, BEGIN_READ};
use crate::postgres::values::params::{declared_type, declared_types};

/// Statements that one transaction asks about: until its end their relations cannot be altered, and who wants to alter them
/// keeps all others waiting.
const AT_ONCE: usize = 32;

/// A statement's tree, or why there is none.
type Tree = Result<Node, String>;

/// Of each query of the catalog whose statement Postgres takes, by the id of its plan.
pub(super) fn of_catalog(
    session: &mut Session,
    sections: &[Section],
    deadline: Instant,
    is_taken: impl Fn(&FetchPlan) -> bool,
) -> Result<Vec<(u64, Proof)>, Failure> {
    let mut queries = Vec::new();
    let mut statements: Vec<(&str, Vec<Type>)> = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        for query in &section.queries {
            if let Some(plan) = query.plan().filter(|plan| is_taken(plan)) {
                queries.push((plan, Stated { sections, section: index, query }));
                statements.push((&plan.sql, declared_types(&plan.params)));
            }
        }
    }
    if queries.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(usize, &crate::core::sql::template::Template)> =
        sections.iter().enumerate().filter_map(|(index, section)| Some((index, section.row.as_ref()?))).collect();
    for (index, row) in &rows {
        let types = sections[*index].row_param_types(row);
        statements.push((&row.text, types.into_iter().map(|ty| ty.map_or(Type::UNKNOWN, declared_type)).collect()));
    }
    for (plan, _) in &queries {
        statements.extend(plan.lists.iter().map(|list| (&*list.sql, declared_types(&plan.params))));
    }
    let tables = tables_of(session, sections)?;
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
    oids.relations.extend(tables.keys());
    let facts = facts_of(session, &oids)?;
    let mut mapped = Mapped { tables, ..Mapped::default() };
    for ((index, _), tree) in rows.iter().zip(of_rows) {
        if let Ok(tree) = tree {
            let named = of_all_targets(&tree, &facts).into_iter();
            mapped.rows.extend(named.map(|(name, origin)| ((*index, name), origin)));
        }
    }
    let mut of_lists = of_lists.into_iter().map(|tree| Some(derive(tree.as_ref().ok()?, &facts)));
    let prove_one = |((plan, stated), tree): ((&std::sync::Arc<FetchPlan>, Stated), Tree)| {
        let of_lists: Vec<Option<Derived>> = of_lists.by_ref().take(plan.lists.len()).collect();
        let listing = |(list, derived)| Listing::of(list, Option::as_ref(derived));
        let listings: Vec<Listing> = plan.lists.iter().zip(&of_lists).map(listing).collect();
        let proof = match tree {
            Ok(tree) => prove(stated, &mapped, &tree, &derive(&tree, &facts), &listings, &facts),
            Err(reason) => unseen(stated, reason),
        };
        (plan.id, proof)
    };
    Ok(queries.into_iter().zip(trees).map(prove_one).collect())
}

/// Of a statement whose tree nobody has.
fn unseen(stated: Stated, reason: String) -> Proof {
    match &stated.query.trust {
        Some(trust) => Proof { standing: Standing::Trusted, reasons: vec![trust.to_string()] },
        None => Proof { standing: Standing::Declared, reasons: vec![reason] },
    }
}

/// Begins a transaction whose names mean what they mean to the application.
fn begin(session: &mut Session, more: &str) -> Result<(), Failure> {
    let settings = session.pinned_locally();
    Ok(session.client.batch_execute(&format!("{BEGIN_READ} {settings} {more}"))?)
}

/// What the names of mapped tables mean. A section without any is taken for that of the table of its name.
fn tables_of(session: &mut Session, sections: &[Section]) -> Result<Mappings, Failure> {
    let mut names = Vec::new();
    let mut mappings = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        for table in &section.tables {
            names.push(table.name.to_string());
            mappings.push(match &table.rows {
                TableRows::Column(column) => (index, Some(column.clone())),
                TableRows::Select(_) => (index, None),
            });
        }
        if section.tables.is_empty() && section.id.is_some() {
            names.push(section.name.to_string());
            mappings.push((index, Some("id".into())));
        }
    }
    begin(session, "")?;
    let meant = reads::meant(&mut session.client, &names);
    session.client.batch_execute("ROLLBACK")?;
    let mut tables: BTreeMap<u32, Vec<_>> = BTreeMap::new();
    for (oid, mapping) in meant?.into_iter().zip(mappings) {
        if let Some(oid) = oid {
            tables.entry(oid).or_default().push(mapping);
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
                session.client.batch_execute("ROLLBACK")?;
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
    session.client.batch_execute("ROLLBACK")?;
    Ok(trees)
}

fn facts_of(session: &mut Session, oids: &Oids) -> Result<Facts, Failure> {
    begin(session, "")?;
    let facts = facts::of_oids(&mut session.client, oids);
    session.client.batch_execute("ROLLBACK")?;
    facts
}

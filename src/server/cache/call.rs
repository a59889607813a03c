//! A call as a client makes it, and once it has been checked against the catalog.

use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::core::cache::asked::Asked;
use crate::core::calls::keys;
use crate::core::calls::lookup::BoundCall;
use crate::core::calls::names::{self, Deployment};
use crate::core::calls::predicate::Predicate;
use crate::core::catalog::columns_read::Columns;
use crate::core::catalog::demand::{Demand, Want};
use crate::core::catalog::space::SpaceRef;
use crate::core::catalog::{Catalog, Computed, OnRule, Query};
use crate::core::changes::dependency::Dependency;
use crate::core::values::value::Value;
use crate::server::{errors, Server};

/// How fresh an answer has to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// From the cache, or else fetched.
    Any,
    /// Fetched after the command came, and stored.
    Fresh,
    /// From the cache, or else nil.
    Cached,
}

/// The words of a call; calls of up to a dozen words allocate nothing.
pub type Words<'a> = SmallVec<[&'a [u8]; 12]>;

/// A call that has been checked: what it takes to fetch it, again if need be.
pub struct Call {
    /// The catalog that it was checked against.
    pub catalog: Rc<Catalog>,
    pub section: usize,
    pub query: usize,
    pub args: Vec<Value>,
    pub tenant: Option<Box<str>>,
    /// The entry's key.
    pub key: Box<[u8]>,
    /// Prefix of its space, without the colon.
    pub prefix: Box<[u8]>,
    /// Which rows belong in the result, by their values.
    pub dependencies: Box<[Dependency]>,
    /// It depends on the values of rows of these sections, and counts before it is fetched.
    _wants: Box<[Want]>,
}

impl Call {
    pub fn new(server: &Server, space_name: &[u8], space: SpaceRef, words: &Words) -> Result<Call, String> {
        let limit = server.config.max_call_bytes as usize;
        let calls = &server.catalog.sections[space.section].calls;
        let bound = calls.bind(words, limit).map_err(errors::usage)?;
        Ok(Call::of(server, space_name, space, bound))
    }

    /// A call of the present catalog.
    pub fn of(server: &Server, space_name: &[u8], space: SpaceRef, bound: BoundCall) -> Call {
        let catalog = server.catalog.clone();
        let mut prefix = Vec::new();
        names::write_prefix(space_name, server.deployment, &mut prefix);
        let mut key = Vec::new();
        keys::write_entry_key(&prefix, &bound.key, &mut key);
        let deployment = server.deployment;
        Call {
            _wants: wants(&catalog, space.section, bound.query),
            dependencies: dependencies(
                &catalog,
                deployment,
                space.section,
                bound.query,
                &prefix,
                &bound.args,
                space.tenant,
            ),
            section: space.section,
            query: bound.query,
            args: bound.args,
            tenant: space.tenant.map(Into::into),
            key: key.into(),
            prefix: prefix.into(),
            catalog,
        }
    }

    /// What the catalog says of it.
    pub fn query(&self) -> &Query {
        &self.catalog.sections[self.section].queries[self.query]
    }

    /// Where the application computes it.
    pub fn computed(&self) -> Option<Computed> {
        self.query().computed()
    }

    /// Values of the statement's parameters in Postgres' text format.
    pub fn params(&self) -> Vec<Option<String>> {
        self.query().bind_params(&self.args, self.tenant.as_deref())
    }

    /// Which rows would belong in its result, whose predicates compare with these values; none: with the arguments alone.
    pub fn dependencies_with(&self, compared: &Arc<[Value]>) -> Box<[Dependency]> {
        let mut dependencies = self.dependencies.clone();
        if !compared.is_empty() {
            for dependency in dependencies.iter_mut().filter(|dependency| !dependency.predicate.is_any()) {
                dependency.args = compared.clone();
            }
        }
        dependencies
    }

    /// For the thread that fetches, which works out where the result belongs.
    pub(in crate::server) fn asked(&self, deployment: Deployment) -> Asked {
        Asked {
            sections: self.catalog.sections.clone(),
            section: self.section,
            query: self.query,
            args: self.args.clone(),
            tenant: self.tenant.clone(),
            prefix: self.prefix.clone(),
            deployment,
        }
    }
}

/// Of the values of which sections' rows a call's predicates ask.
fn wants(catalog: &Catalog, section: usize, query: usize) -> Box<[Want]> {
    let query = &catalog.sections[section].queries[query];
    let own = query.match_.is_some().then_some(section);
    let others = query.on.iter().filter(|on| matches!(on.rule, OnRule::Rows(_))).map(|on| on.section);
    own.into_iter().chain(others).filter_map(|at| catalog.sections[at].demand.as_ref()).map(Demand::want).collect()
}

/// Which rows concern a call that does not list them: those that meet a predicate or, where there is none, all.
fn dependencies(
    catalog: &Catalog,
    deployment: Deployment,
    section: usize,
    query: usize,
    prefix: &[u8],
    args: &[Value],
    tenant: Option<&str>,
) -> Box<[Dependency]> {
    let query = &catalog.sections[section].queries[query];
    let reads = |section: &str| query.reads.as_ref().and_then(|reads| reads.of(section.as_bytes())).cloned();
    let own_reads = reads(&catalog.sections[section].name);
    let own = (prefix.into(), query.match_.clone().unwrap_or_else(Predicate::any), own_reads);
    let others = query.on.iter().map(|on| {
        let other = &catalog.sections[on.section];
        let tenant = other.tenant.and(tenant);
        let space = other.prefix(tenant, deployment);
        let predicate = match &on.rule {
            OnRule::Any => Predicate::any(),
            OnRule::Rows(predicate) => predicate.clone(),
        };
        (space.into(), predicate, reads(&other.name))
    });
    // Who wants to know of any change names no argument.
    let (none, args): (Arc<[Value]>, Arc<[Value]>) = (Arc::default(), args.into());
    let dependency = |(space, predicate, reads): (_, Arc<Predicate>, _)| {
        let args = if predicate.is_any() { &none } else { &args };
        Dependency { space, args: args.clone(), call: query.call.clone(), predicate, reads }
    };
    let alternatives = |(space, predicate, reads): (Arc<[u8]>, Arc<Predicate>, Option<Columns>)| {
        let each = predicate.alternatives().iter().map(|one| (space.clone(), one.clone(), reads.clone()));
        each.collect::<SmallVec<[_; 1]>>()
    };
    std::iter::once(own).chain(others).flat_map(alternatives).map(dependency).collect()
}

//! A call as the thread that fetches it knows it: enough to work out which metadata its result belongs to, which is no
//! work for the thread that asks.

use std::sync::Arc;

use super::membership::{Found, Membership, Related};
use crate::core::calls::names::{self, Deployment};
use crate::core::catalog::Section;
use crate::core::values::value::Value;

#[derive(Debug, Clone)]
pub struct Asked {
    /// Of the catalog that the call was checked against.
    pub sections: Arc<[Section]>,
    pub section: usize,
    pub query: usize,
    pub args: Vec<Value>,
    pub tenant: Option<Box<str>>,
    /// Of the keys of its space, without the colon.
    pub prefix: Box<[u8]>,
    pub deployment: Deployment,
}

impl Asked {
    /// What decides which metadata the result belongs to. Of the other sections only those that it lists or depends on.
    pub fn membership(&self, found: &Found) -> Membership {
        let section = &self.sections[self.section];
        let query = &section.queries[self.query];
        let depends_on = |index: usize| query.on.iter().any(|on| on.section == index);
        let listed = found.listed.iter().filter_map(|(name, _)| self.sections.iter().position(|of| of.name == *name));
        let mut others: Vec<usize> = query.on.iter().map(|on| on.section).chain(listed).collect();
        others.sort_unstable();
        others.dedup();
        // Rows of a tenant's section cannot be named without the tenant.
        let can_be_named = |index: &usize| self.sections[*index].tenant.is_none() || self.tenant.is_some();
        others.retain(|index| *index != self.section && can_be_named(index));
        Membership {
            own: Related {
                section: section.name.clone(),
                prefix: self.prefix.clone(),
                id: section.id,
                depends_on: true,
            },
            lists_own_rows: query.plan.row_id.is_some(),
            others: others.into_iter().map(|index| self.related(index, depends_on(index))).collect(),
            asked_for: query.asked_for(&self.args),
            tags: query.tags.clone(),
            args: self.args.clone(),
            tenant: self.tenant.clone(),
        }
    }

    fn related(&self, index: usize, depends_on: bool) -> Related {
        let other = &self.sections[index];
        let tenant = other.tenant.and(self.tenant.as_deref());
        let mut prefix = Vec::new();
        names::write_prefix(names::space_name(&other.name, tenant).as_bytes(), self.deployment, &mut prefix);
        Related { section: other.name.clone(), prefix: prefix.into(), id: other.id, depends_on }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::read_catalog;

    fn metas(found: &Found) -> Vec<String> {
        let text = r#"
            [exam]
            id = "int"
            [[exam.query]]
            call = "questions {exam:int}"
            rows = false
            on = { question = "*" }
            sql = "SELECT * FROM exam_questions WHERE exam = {exam}"
            [answer]
            id = "int"
            [question]
            id = "int"
            [seat]
            id = "int"
            tenant = "int"
        "#;
        let catalog = read_catalog::parse(text, &mut || 1).unwrap();
        let (section, _) = catalog.section(b"exam").unwrap();
        let asked = Asked {
            sections: catalog.sections.clone(),
            section,
            query: 0,
            args: vec![Value::Scalar("1".into())],
            tenant: None,
            prefix: b"exam"[..].into(),
            deployment: Deployment::Standalone,
        };
        let metas = asked.membership(found).metas(found).unwrap();
        metas.iter().map(|name| String::from_utf8(name.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_section_that_only_the_result_names_is_found() {
        assert_eq!(metas(&Found::default()), ["exam:meta:*:caches", "question:meta:*:caches"]);
        let listed = vec![("answer".into(), vec!["7".into()]), ("seat".into(), vec!["1".into()])];
        let found = Found { listed, ..Found::default() };
        assert_eq!(metas(&found), ["answer:meta:7:caches", "exam:meta:*:caches", "question:meta:*:caches"]);
    }
}

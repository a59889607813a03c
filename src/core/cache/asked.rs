//! A call as the thread that fetches it knows it: enough to work out which metadata its result belongs to, which is no
//! work for the thread that asks.

use std::sync::Arc;

use super::membership::{Found, ListedRows, Membership, Related};
use crate::core::calls::keys;
use crate::core::calls::names::Deployment;
use crate::core::calls::tags::TooManyTags;
use crate::core::catalog::lists::{List, ListOf, MAX_COMPARED};
use crate::core::catalog::Section;
use crate::core::changes::image::list_of;
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
        let asked_for = query.asked_for(&self.args);
        let depends_on = |index: usize| query.on.iter().any(|on| on.section == index);
        let names = found.listed.iter().map(|(name, _)| name).chain(&found.unlisted);
        let listed = names.filter_map(|name| self.sections.iter().position(|of| of.name == *name));
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
                // Of a value it is known which rows it is made of, where they are named or asked for.
                depends_on: query.computed().is_none() || (section.id.is_some() && asked_for.is_empty()),
            },
            lists_own_rows: query.plan().is_some_and(|plan| plan.row_id.is_some()),
            others: others.into_iter().map(|index| self.related(index, depends_on(index))).collect(),
            asked_for,
            tags: query.tags.clone(),
            args: self.args.clone(),
            tenant: self.tenant.clone(),
        }
    }

    /// What predicates compare with: the call's arguments, and what the result lists, a value for each of the query's lists; NULL
    /// where nobody can tell, it is too much to be compared with, or the result, of so many rows, is no full page. Nothing where
    /// they name no list.
    pub fn compared(&self, found: &Found, rows: usize) -> Arc<[Value]> {
        let query = &self.sections[self.section].queries[self.query];
        if query.lists.is_empty() {
            return Arc::default();
        }
        let is_full = query.page.is_some_and(|page| page.is_filled_by(rows, &self.args));
        let listed = query.lists.iter().map(|list| match list.of {
            // NULL in the row is no value; NULL here is that nobody knows.
            ListOf::Last(at) => match found.last.get(at).filter(|_| is_full) {
                Some(Some(text)) => Value::Scalar(text.clone()),
                Some(None) => Value::Array(Box::default()),
                None => Value::Null,
            },
            ListOf::Values | ListOf::Rows(_) => self.listed(list, found).unwrap_or(Value::Null),
        });
        self.args.iter().cloned().chain(listed).collect()
    }

    fn listed(&self, list: &List, found: &Found) -> Option<Value> {
        let mut values: Vec<&str> = Vec::new();
        match list.of {
            ListOf::Last(_) => return None,
            ListOf::Values => {
                let (_, listed) = found.values.iter().find(|(name, _)| *name == list.name)?;
                values.extend(listed.as_ref()?.iter().map(AsRef::as_ref));
            }
            ListOf::Rows(section) => {
                let is_own = section == self.section;
                let listed = found.listed.iter().find(|(name, _)| *name == list.name);
                if found.unlisted.contains(&list.name) || (listed.is_none() && !is_own) {
                    return None;
                }
                values.extend(listed.into_iter().flat_map(|(_, ids)| ids).map(AsRef::as_ref));
                values.extend(found.ids.iter().filter(|_| is_own).map(AsRef::as_ref));
            }
        }
        if values.len() > MAX_COMPARED {
            return None;
        }
        Some(Value::Array(list_of(list.ty, values.into_iter())?))
    }

    /// Names of the sets that a value belongs to for which these rows, by section, and these tags are named; sorted.
    pub fn named(&self, rows: ListedRows, tags: &[&[u8]]) -> Result<Vec<Box<[u8]>>, TooManyTags> {
        let found = Found { listed: rows, ..Found::default() };
        let mut metas = self.membership(&found).metas(&found)?;
        metas.extend(tags.iter().map(|tag| {
            let mut key = Vec::new();
            keys::write_tag_key(&self.prefix, tag, &mut key);
            key.into_boxed_slice()
        }));
        metas.sort_unstable();
        metas.dedup();
        Ok(metas)
    }

    fn related(&self, index: usize, depends_on: bool) -> Related {
        let other = &self.sections[index];
        let tenant = other.tenant.and(self.tenant.as_deref());
        let prefix = other.prefix(tenant, self.deployment);
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
    fn a_value_belongs_to_what_is_named_or_to_any_row() {
        let text = r#"
            [bear]
            id = "int"
            row = "SELECT id FROM bear WHERE id = ANY({ids})"
            [[bear.value]]
            call = "one {id:int}"
            match = "id = {id}"
            tags = ["one:{id}"]
            [[bear.value]]
            call = "page"
            on = { den = "*" }
            [den]
            id = "text"
            [page]
            [[page.value]]
            call = "front"
        "#;
        let catalog = read_catalog::parse(text, &mut || 1).unwrap();
        let named = |section: &str, query, rows: &[(&str, &[&str])], tags: &[&[u8]]| -> Vec<String> {
            let asked = Asked {
                sections: catalog.sections.clone(),
                section: catalog.section(section.as_bytes()).unwrap().0,
                query,
                args: vec![Value::Scalar("1".into())],
                tenant: None,
                prefix: section.as_bytes().into(),
                deployment: Deployment::Standalone,
            };
            let rows = rows.iter().map(|(of, ids)| ((*of).into(), ids.iter().map(|id| (*id).into()).collect()));
            let metas = asked.named(rows.collect(), tags).unwrap();
            metas.into_iter().map(|name| String::from_utf8(name.into()).unwrap()).collect()
        };
        assert_eq!(named("bear", 0, &[], &[b"x"]), ["bear:meta:1:caches", "bear:tag:one:1", "bear:tag:x"]);
        assert_eq!(
            named("bear", 0, &[("bear", &["7"])], &[]),
            ["bear:meta:1:caches", "bear:meta:7:caches", "bear:tag:one:1"]
        );
        assert_eq!(named("bear", 1, &[], &[]), ["bear:meta:*:caches", "den:meta:*:caches"]);
        assert_eq!(
            named("bear", 1, &[("bear", &["1", "2"]), ("den", &["a"])], &[]),
            ["bear:meta:1:caches", "bear:meta:2:caches", "den:meta:a:caches"]
        );
        assert_eq!(named("page", 0, &[], &[]), [""; 0], "it has no rows, and nothing is named");
        assert_eq!(named("page", 0, &[("bear", &["3"])], &[b"x", b"x"]), ["bear:meta:3:caches", "page:tag:x"]);
    }

    #[test]
    fn a_section_that_only_the_result_names_is_found() {
        assert_eq!(metas(&Found::default()), ["exam:meta:*:caches", "question:meta:*:caches"]);
        let listed = vec![("answer".into(), vec!["7".into()]), ("seat".into(), vec!["1".into()])];
        let found = Found { listed, ..Found::default() };
        assert_eq!(metas(&found), ["answer:meta:7:caches", "exam:meta:*:caches", "question:meta:*:caches"]);
    }

    /// The last row of a full page, and of no other.
    #[test]
    fn a_full_page_is_compared_by_its_last_row() {
        let text = r#"
            [bear]
            id = "int"
            row = "SELECT id FROM bear WHERE id = ANY({ids})"
            [[bear.query]]
            call = "page {n:int}"
            sql = "SELECT id, size FROM bear ORDER BY size, id LIMIT {n}"
            match = "(size:numeric, id:int) <= _last"
            page = "{n}"
        "#;
        let catalog = read_catalog::parse(text, &mut || 1).unwrap();
        let asked = Asked {
            sections: catalog.sections.clone(),
            section: 0,
            query: 0,
            args: vec![Value::Scalar("2".into())],
            tenant: None,
            prefix: b"bear"[..].into(),
            deployment: Deployment::Standalone,
        };
        let last = |size: Option<&str>| Found { last: vec![size.map(Box::from), Some("7".into())], ..Found::default() };
        let scalar = |text: &str| Value::Scalar(text.into());
        let compared = |found: &Found, rows| asked.compared(found, rows)[1..].to_vec();
        assert_eq!(compared(&last(Some("1.50")), 2), [scalar("1.50"), scalar("7")]);
        assert_eq!(compared(&last(None), 3), [Value::Array(Box::default()), scalar("7")]);
        assert_eq!(compared(&last(Some("1.50")), 1), [Value::Null, Value::Null]);
        assert_eq!(compared(&Found::default(), 2), [Value::Null, Value::Null]);
    }

    /// What predicates compare with: the arguments, and each list in one spelling and in order, or NULL.
    #[test]
    fn lists_are_compared_by_their_values() {
        let text = r#"
            [den]
            id = "numeric"
            [bear]
            id = "int"
            row = "SELECT id FROM bear WHERE id = ANY({ids})"
            [[bear.query]]
            call = "in {name:text}"
            sql = "SELECT id FROM bear"
            match = "a in _bear and b in _den and c in _names"
            lists = { "names:text" = "SELECT 'x'" }
            [[bear.query]]
            call = "all"
            sql = "SELECT id FROM bear"
        "#;
        let catalog = read_catalog::parse(text, &mut || 1).unwrap();
        let compared = |query, found: Found| {
            let asked = Asked {
                sections: catalog.sections.clone(),
                section: catalog.section(b"bear").unwrap().0,
                query,
                args: vec![Value::Scalar("x".into())],
                tenant: None,
                prefix: b"bear"[..].into(),
                deployment: Deployment::Standalone,
            };
            asked.compared(&found, 0).to_vec()
        };
        let texts = |texts: &[&str]| -> Vec<Box<str>> { texts.iter().map(|text| (*text).into()).collect() };
        let array = |values: &[&str]| Value::Array(texts(values).into());
        let found = || Found {
            ids: texts(&["10", "9"]),
            listed: vec![("den".into(), texts(&["1.50", "1.5", "2"])), ("bear".into(), texts(&["9", "11"]))],
            values: vec![("names".into(), Some(texts(&["b", "a ", "a"])))],
            ..Found::default()
        };
        let arg = Value::Scalar("x".into());
        let expected = [arg.clone(), array(&["9", "10", "11"]), array(&["1.5", "2"]), array(&["a", "b"])];
        assert_eq!(compared(0, found()), expected);
        assert_eq!(compared(1, found()), [], "it names no list");
        // Not listed, too many to be listed, too many to be compared, and one that is not of its type.
        let many: Vec<Box<str>> = (0..=MAX_COMPARED).map(|n| n.to_string().into()).collect();
        let found = Found { unlisted: vec!["bear".into()], values: vec![("names".into(), None)], ..Found::default() };
        assert_eq!(compared(0, found), [arg.clone(), Value::Null, Value::Null, Value::Null]);
        let found = Found { ids: many.clone(), values: vec![("names".into(), Some(many))], ..Found::default() };
        assert_eq!(compared(0, found), [arg.clone(), Value::Null, Value::Null, Value::Null]);
        let found = Found { ids: texts(&["x"]), listed: vec![("den".into(), vec![])], ..Found::default() };
        assert_eq!(compared(0, found), [arg, Value::Null, array(&[]), Value::Null]);
    }
}

//! What a claimed job's payload says of its place among others: which jobs it shares an order with, and which limit.

use crate::core::catalog::job::{Field, Job, Order};
use crate::core::catalog::Section;
use crate::core::jobs::batch::OrderKeys;
use crate::core::jobs::order_value::{open_order_text, order_text};
use crate::core::values::json_members::members;

/// Hashes of values: the same in every process and every version, since keys hold them. A collision orders, or limits together,
/// jobs that need not be; nobody can choose values that collide.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PayloadFacts {
    /// Sorted, without duplicates.
    pub order: OrderKeys,
    /// Of the field that the limit is by; None: that limit is not for this job.
    pub group: Option<u64>,
}

impl PayloadFacts {
    /// `job` is the definition; None: one of an open section. `by` is the field of the limit in force. `json` is the payload
    /// as it is stored: compact. A value that is null or absent counts for nothing, nor does a list or an object of an open
    /// payload.
    pub fn read(section: &Section, job: Option<&Job>, by: Option<&str>, json: &[u8]) -> PayloadFacts {
        let order: &[Box<str>] = match job.map(|job| &job.order) {
            Some(Order::Fields(names)) => names,
            Some(Order::None | Order::Barrier) => &[],
            None => section.open.as_ref().map_or(&[], |open| &open.order),
        };
        let mut facts = PayloadFacts::default();
        if order.is_empty() && by.is_none() {
            return facts;
        }
        for (key, value) in members(json) {
            let is_order = order.iter().any(|name| name.as_bytes() == key);
            let is_group = by.is_some_and(|name| name.as_bytes() == key);
            if !is_order && !is_group {
                continue;
            }
            let field = job.and_then(|job| job.data.iter().find(|field| field.name.as_bytes() == key));
            let Some(hash) = hash_of(field, value) else { continue };
            facts.order.extend(is_order.then_some(hash));
            facts.group = facts.group.or(is_group.then_some(hash));
        }
        facts.order.sort_unstable();
        facts.order.dedup();
        facts
    }
}

/// `field` is the value's declaration, if there is one.
fn hash_of(field: Option<&Field>, value: &[u8]) -> Option<u64> {
    let mut canonical = Vec::new();
    let text = match field {
        Some(field) => order_text(field.ty, value, &mut canonical)?,
        None => open_order_text(value, &mut canonical)?,
    };
    let digest = ring::digest::digest(&ring::digest::SHA256, text);
    digest.as_ref().first_chunk().copied().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::catalog::read_catalog;
    use crate::core::jobs::payload::{write_any, write_checked};

    const EMAIL: &str = "[email]\n[email.job.SEND]\nclaim = {}\norder = [\"to\", \"from\"]\n\
                         data = { to = \"text\", from = \"text?\", customer = \"int?\", price = \"numeric?\", x = \"json?\" }\n\
                         [email.job.PURGE]\nclaim = {}\ndata = { to = \"text\" }";
    const MAIL: &str = "[mail]\nopen = true\norder = [\"to\"]";

    fn section(text: &str) -> Section {
        read_catalog::parse(text, &mut || 1).expect("a catalog").sections[0].clone()
    }

    fn declared(name: &str, by: Option<&str>, json: &str) -> PayloadFacts {
        let section = section(EMAIL);
        let job = section.jobs.iter().find(|job| *job.name == *name).expect("the job");
        let mut stored = Vec::new();
        write_checked(job, json.as_bytes(), &mut stored).expect("a payload");
        PayloadFacts::read(&section, Some(job), by, &stored)
    }

    fn open(by: Option<&str>, json: &str) -> PayloadFacts {
        let mut stored = Vec::new();
        write_any(json.as_bytes(), &mut stored).expect("JSON");
        PayloadFacts::read(&section(MAIL), None, by, &stored)
    }

    #[test]
    fn values_have_the_same_hash_in_every_process() {
        // The first eight bytes of SHA-256 of `a` and of `5`.
        const A: u64 = 0xca97_8112_ca1b_bdca;
        const FIVE: u64 = 0xef2d_127d_e37b_942b;
        for (facts, order, group) in [
            (declared("SEND", None, r#"{"to":"a"}"#), vec![A], None),
            (declared("SEND", Some("customer"), r#"{"to":"a","customer":5}"#), vec![A], Some(FIVE)),
            (declared("SEND", Some("price"), r#"{"price":5.00,"to":"a"}"#), vec![A], Some(FIVE)),
            (declared("SEND", Some("to"), r#"{"to":"a","from":"a"}"#), vec![A], Some(A)),
            (declared("SEND", Some("from"), r#"{"from":"5","to":"a"}"#), vec![A, FIVE], Some(FIVE)),
            (declared("SEND", Some("customer"), r#"{"to":"a","from":null,"customer":null}"#), vec![A], None),
            (declared("SEND", Some("b"), r#"{"to":"a","x":{"b":5,"from":5}}"#), vec![A], None),
            (declared("PURGE", None, r#"{"to":"a"}"#), vec![], None),
            (declared("PURGE", Some("to"), r#"{"to":"a"}"#), vec![], Some(A)),
            (open(None, r#"{"to":"a"}"#), vec![A], None),
            (open(Some("n"), r#"{"n":5e0,"to":"\u0061"}"#), vec![A], Some(FIVE)),
            (open(Some("n"), r#"{"n":[5],"to":{"to":"a"}}"#), vec![], None),
            (open(Some("n"), r#"["to","n"]"#), vec![], None),
            (open(Some("n"), "5"), vec![], None),
        ] {
            assert_eq!((facts.order.to_vec(), facts.group), (order, group));
        }
    }

    #[test]
    fn jobs_share_an_order_by_any_of_their_values() {
        let order = |json: &str| declared("SEND", None, json).order;
        let both = order(r#"{"to":"a","from":"b"}"#);
        assert_eq!(both, order(r#"{"to":"b","from":"a"}"#));
        assert!(both.len() == 2 && both.contains(&order(r#"{"to":"a"}"#)[0]));
        assert_ne!(order(r#"{"to":"a"}"#), order(r#"{"to":"A"}"#));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(json in prop::collection::vec(any::<u8>(), 0..60), text in "[{}\\[\\]\",:to1\\\\]{0,40}") {
            let (email, mail) = (section(EMAIL), section(MAIL));
            for json in [json.as_slice(), text.as_bytes()] {
                PayloadFacts::read(&email, email.jobs.first(), Some("to"), json);
                PayloadFacts::read(&mail, None, Some("to"), json);
            }
        }
    }
}

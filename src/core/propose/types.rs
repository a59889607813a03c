//! How values of a column are passed: the type of an argument, or of a job's field, and the cast that makes a value of the
//! column's own type of it.

use super::facts::{Column, Sort, Type};
use crate::core::values::value::{ArgType, ScalarType};

/// How a value comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passed {
    pub ty: ArgType,
    /// The type that it is cast to; None: it is compared with, and assigned to, the column as it is.
    pub cast: Option<Box<str>>,
    /// Are values found again by the text of the argument, so that a change is looked up by it?
    pub is_exact: bool,
}

/// The type that is bear's own; None: another.
fn own(oid: u32) -> Option<ScalarType> {
    Some(match oid {
        20 | 21 | 23 => ScalarType::Int,
        700 | 701 => ScalarType::Float,
        1700 => ScalarType::Numeric,
        16 => ScalarType::Bool,
        25 | 1043 => ScalarType::Text,
        2950 => ScalarType::Uuid,
        1082 => ScalarType::Date,
        1114 => ScalarType::Timestamp,
        1184 => ScalarType::TimestampTz,
        _ => return None,
    })
}

const JSON: u32 = 114;
const JSONB: u32 = 3802;

/// None: its values cannot be passed.
pub(super) fn passed(ty: &Type) -> Option<Passed> {
    let is_domain = ty.oid != ty.base;
    let is_cast = own(ty.base).is_none() && ty.base != JSONB;
    if is_cast && !ty.is_open {
        return None;
    }
    if let Some((element, sort)) = ty.element {
        if matches!(sort, Sort::Composite | Sort::Pseudo) {
            return None;
        }
        // An array of another integer, say, is none of these without a word.
        let scalar = own(element).unwrap_or(ScalarType::Text);
        return Some(Passed { ty: ArgType { scalar, array: true }, cast: Some(ty.sql.clone()), is_exact: false });
    }
    if matches!(ty.sort, Sort::Composite | Sort::Pseudo) {
        return None;
    }
    let (scalar, needs_cast) = match (own(ty.base), ty.base) {
        (Some(scalar), _) => (scalar, false),
        (None, JSON) => (ScalarType::Json, true),
        (None, JSONB) => (ScalarType::Json, false),
        (None, _) => (ScalarType::Text, true),
    };
    let is_exact = match own(ty.base) {
        Some(ScalarType::Float) => false,
        Some(_) => true,
        None => ty.sort == Sort::Enum && !is_domain,
    };
    Some(Passed { ty: ArgType::scalar(scalar), cast: needs_cast.then(|| ty.sql.clone()), is_exact })
}

/// Text of which letters of either case are the same.
pub(super) fn is_citext(ty: &Type) -> bool {
    ty.element.is_none() && (*ty.sql == *"citext" || ty.sql.ends_with(".citext"))
}

/// Why rows are not asked for by the columns.
pub(super) fn why_inexact(columns: &[&Column]) -> String {
    let closed: Vec<&str> = columns.iter().filter(|column| !column.rights.select).map(|column| &*column.name).collect();
    match closed.is_empty() {
        true => "no call names such a value so that a change is looked up by it".to_owned(),
        false => format!("the role may not read {}", closed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ty(oid: u32, base: u32, sort: Sort, element: Option<(u32, Sort)>, sql: &str) -> Type {
        Type { oid, base, sort, element, sql: sql.into(), refuses_null: false, equality: "=".into(), is_open: true }
    }

    #[test]
    fn values_of_any_type_are_passed_as_one_that_a_call_may_have() {
        for (given, expected) in [
            (ty(23, 23, Sort::Base, None, "integer"), Some(("int", None, true))),
            (ty(1043, 1043, Sort::Base, None, "character varying"), Some(("text", None, true))),
            (ty(701, 701, Sort::Base, None, "double precision"), Some(("float", None, false))),
            (ty(1042, 1042, Sort::Base, None, "bpchar"), Some(("text", Some("bpchar"), false))),
            (ty(114, 114, Sort::Base, None, "json"), Some(("json", Some("json"), false))),
            (ty(3802, 3802, Sort::Base, None, "jsonb"), Some(("json", None, false))),
            (ty(16500, 16500, Sort::Enum, None, "mood"), Some(("text", Some("mood"), true))),
            (ty(16501, 23, Sort::Base, None, "positive"), Some(("int", None, true))),
            (ty(16502, 16500, Sort::Enum, None, "better"), Some(("text", Some("better"), false))),
            (ty(869, 869, Sort::Base, None, "inet"), Some(("text", Some("inet"), false))),
            (ty(3904, 3904, Sort::Range, None, "int4range"), Some(("text", Some("int4range"), false))),
            (
                ty(1007, 1007, Sort::Base, Some((23, Sort::Base)), "integer[]"),
                Some(("int[]", Some("integer[]"), false)),
            ),
            (
                ty(16600, 16600, Sort::Base, Some((16500, Sort::Enum)), "mood[]"),
                Some(("text[]", Some("mood[]"), false)),
            ),
            (ty(16700, 16700, Sort::Composite, None, "pair"), None),
            (ty(16701, 16701, Sort::Base, Some((16700, Sort::Composite)), "pair[]"), None),
        ] {
            let passed = passed(&given);
            let found = passed.as_ref().map(|passed| (passed.ty.to_string(), passed.cast.as_deref(), passed.is_exact));
            let found = found.as_ref().map(|(ty, cast, is_exact)| (&**ty, *cast, *is_exact));
            assert_eq!(found, expected, "{}", given.sql);
        }
    }
}

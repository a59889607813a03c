//! Whether a row sorts after the last row of a full page: then the page has no room for it.
//!
//! Of the last row, what a result lists has for each sort key a value, no value (an empty array) where it is NULL there, or NULL:
//! the page is not full, or nobody can tell. An order that cannot be told may be any: a column that the image lacks, a float's
//! number near to the last row's, a `NaN`.

use std::cmp::Ordering;

use super::truth::Truth;
use super::{Cell, Comparable, Image, Seen};
use crate::core::calls::predicate::{Comparison, SortKey, Within};
use crate::core::values::value::Value;

/// `listed`: what the result lists.
pub(super) fn is_within(within: &Within, listed: &[Value], image: &Image) -> Truth {
    for key in &within.keys {
        let order = image.get(&key.column).zip(listed.get(key.last)).and_then(|(cell, last)| order(key, cell, last));
        match order {
            None => return Truth::TRUE.either(Truth::FALSE),
            Some(Ordering::Less) => return Truth::TRUE,
            Some(Ordering::Greater) => return Truth::FALSE,
            Some(Ordering::Equal) => {}
        }
    }
    Truth::TRUE
}

/// Where a row with this in the key's column sorts, seen from the last row. None: nobody can tell.
fn order(key: &SortKey, cell: &Cell, last: &Value) -> Option<Ordering> {
    let of_null = if key.nulls_first { Ordering::Less } else { Ordering::Greater };
    let is_null = matches!(last, Value::Array(none) if none.is_empty());
    match (cell, last) {
        (Cell::Null, Value::Array(_)) if is_null => Some(Ordering::Equal),
        (Cell::Null, Value::Scalar(_)) => Some(of_null),
        (Cell::Scalar(_), Value::Array(_)) if is_null => Some(of_null.reverse()),
        (Cell::Scalar(text), Value::Scalar(last)) => {
            let (seen, last) = (Seen::read(key.ty, text)?, Comparable::read(key.ty, last)?);
            if seen.may_be(Comparison::Equal, last) && seen.may_not_be(Comparison::Equal, last) {
                return None;
            }
            let order = seen.value.cmp(&last);
            Some(if key.is_descending { order.reverse() } else { order })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calls::pattern::CallPattern;
    use crate::core::calls::predicate::{Listing, Predicate};

    /// Whether a row is within the page whose last row has these texts.
    fn is_met(predicate: &str, last: &[Value], json: &str) -> bool {
        let call = CallPattern::parse("x {a:int}").unwrap();
        let mut columns: Vec<String> = Vec::new();
        let find = &mut |listing: Listing| match listing {
            Listing::Last(column, ty) => {
                columns.push(column.to_owned());
                Ok((columns.len() - 1, ty))
            }
            Listing::List(name) => Err(name.to_owned()),
        };
        let predicate = Predicate::parse_linked(predicate, call.args(), find).unwrap();
        let values: Vec<Value> = [Value::Scalar("1".into())].iter().chain(last).cloned().collect();
        predicate.meets(call.args(), &values, &Image::from_json(json.as_bytes()).unwrap())
    }

    fn scalar(text: &str) -> Value {
        Value::Scalar(text.into())
    }

    fn null() -> Value {
        Value::Array(Box::default())
    }

    /// Every order of one key and of two, over few values and NULL: as a sort of all rows in that order has it.
    #[test]
    fn a_row_is_within_unless_it_sorts_after_the_last() {
        let cells = [None, Some(1), Some(2), Some(3)];
        let orders = ["", " asc", " desc", " nulls first", " desc nulls last", " asc nulls last", " desc nulls first"];
        let compare = |order: &str, a: Option<i32>, b: Option<i32>| {
            let is_descending = order.contains("desc");
            let nulls_first = order.contains("first") || (is_descending && !order.contains("last"));
            let of_null = if nulls_first { Ordering::Less } else { Ordering::Greater };
            match (a, b) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => of_null,
                (Some(_), None) => of_null.reverse(),
                (Some(a), Some(b)) if is_descending => b.cmp(&a),
                (Some(a), Some(b)) => a.cmp(&b),
            }
        };
        let value = |cell: Option<i32>| cell.map_or_else(null, |n| scalar(&n.to_string()));
        let json = |cell: Option<i32>| cell.map_or("null".to_owned(), |n| n.to_string());
        let mut outside = 0;
        for first in orders {
            for second in orders {
                let text = format!("(p:int{first}, q:int{second}) <= _last");
                for (a, b) in cells.into_iter().flat_map(|a| cells.into_iter().map(move |b| (a, b))) {
                    for (c, d) in cells.into_iter().flat_map(|c| cells.into_iter().map(move |d| (c, d))) {
                        let image = format!(r#"{{"p":{},"q":{}}}"#, json(a), json(b));
                        let expected = compare(first, a, c).then_with(|| compare(second, b, d)) != Ordering::Greater;
                        outside += usize::from(!expected);
                        let met = is_met(&text, &[value(c), value(d)], &image);
                        assert_eq!(met, expected, "{text}: {image} and {c:?}, {d:?}");
                        // By one key alone, those that are equal are inside.
                        let text = format!("(p:int{first}) <= _last");
                        let met = is_met(&text, &[value(c)], &image);
                        assert_eq!(met, compare(first, a, c) != Ordering::Greater, "{text}: {image} and {c:?}");
                    }
                }
            }
        }
        assert!(outside > 1_000);
    }

    #[test]
    fn what_cannot_be_told_is_within() {
        let int = "(p:int, q:int) <= _last";
        let last = [scalar("5"), scalar("7")];
        for (json, expected) in [
            (r#"{"p":6,"q":1}"#, false),
            (r#"{"p":5,"q":8}"#, false),
            (r#"{"p":5,"q":7}"#, true),
            // Missing, or of another kind; a later key matters only where the first is equal.
            (r#"{"q":8}"#, true),
            (r#"{"p":5}"#, true),
            (r#"{"p":6}"#, false),
            (r#"{"p":4}"#, true),
            (r#"{"p":"x","q":8}"#, true),
            (r#"{"p":[6],"q":8}"#, true),
            (r#"{"p":"NaN","q":8}"#, true),
        ] {
            assert_eq!(is_met(int, &last, json), expected, "{json}");
        }
        // No full page, and nothing listed at all.
        assert!(is_met(int, &[Value::Null, Value::Null], r#"{"p":6,"q":1}"#) && is_met(int, &[], r#"{"p":6,"q":1}"#));
        // Not even its negation is decided then.
        let not = "not (p:int) <= _last";
        assert!(is_met(not, &[Value::Null], r#"{"p":6}"#) && is_met(not, &last, r#"{"p":6}"#));
        assert!(!is_met(not, &last, r#"{"p":4}"#));
    }

    #[test]
    fn each_type_is_in_its_own_order() {
        for (ty, last, before, near, after) in [
            ("int", "10", "9", "10", "11"),
            ("numeric", "10.5", "9.75", "10.5", "10.75"),
            ("float", "0.1", "0.09", "0.10000000149011612", "0.2"),
            ("date", "2026-11-21", r#""2026-11-20""#, r#""2026-11-21""#, r#""2026-11-22""#),
            (
                "timestamptz",
                "2026-11-21 10:00:00.5+00",
                r#""2026-11-21T12:00:00.4+02:00""#,
                r#""2026-11-21T12:00:00.5+02:00""#,
                r#""2026-11-21T10:00:00.51+00:00""#,
            ),
            ("bool", "false", "false", "false", "true"),
            (
                "uuid",
                "0a1b2c3d-0000-4000-8000-00000000000f",
                r#""0a1b2c3d-0000-4000-8000-00000000000e""#,
                r#""0A1B2C3D-0000-4000-8000-00000000000F""#,
                r#""0b1b2c3d-0000-4000-8000-000000000000""#,
            ),
        ] {
            let is_within =
                |cell: &str| is_met(&format!("(p:{ty}) <= _last"), &[scalar(last)], &format!(r#"{{"p":{cell}}}"#));
            assert_eq!([before, near, after].map(is_within), [true, true, false], "{ty}");
        }
    }
}

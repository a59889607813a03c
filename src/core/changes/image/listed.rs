//! Values that a result lists, by which columns of other rows are compared: there may be ten thousand, so each is kept in one
//! spelling and in the order of the values, and is found by halves.

use std::cmp::Ordering;

use super::truth::Truth;
use super::{Comparable, Seen};
use crate::core::calls::predicate::Comparison;
use crate::core::values::value::ScalarType;

/// The texts as a list is kept: in one spelling, in the order of their values, each once. None if one is not of the type: it equals
/// nobody knows what.
pub(in crate::core) fn list_of<'a>(ty: ScalarType, texts: impl Iterator<Item = &'a str>) -> Option<Box<[Box<str>]>> {
    let mut values: Vec<Box<str>> = texts.map(|text| spelling(ty, text)).collect::<Option<_>>()?;
    values.sort_unstable_by(|a, b| order(ty, a, b));
    values.dedup();
    Some(values.into())
}

/// The one spelling that equal values of a list have; None if the text is not of the type.
fn spelling(ty: ScalarType, text: &str) -> Option<Box<str>> {
    if ty == ScalarType::Text {
        return Some(text.trim_end_matches(' ').into());
    }
    let mut form = Vec::with_capacity(text.len());
    ty.write_canonical(text.as_bytes(), &mut form).ok()?;
    Some(String::from_utf8(form).ok()?.into())
}

/// By value; at the end by their texts those that have no place in the order, which no value of a column equals that has one.
fn order(ty: ScalarType, a: &str, b: &str) -> Ordering {
    match (Comparable::read(ty, a), Comparable::read(ty, b)) {
        (Some(read), Some(other)) => read.cmp(&other).then_with(|| a.cmp(b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Whether one of the values of a list equals the text.
pub(super) fn is_listed(text: &str, ty: ScalarType, list: &[Box<str>]) -> Truth {
    let Some(seen) = Seen::read(ty, text) else { return Truth::ANY };
    let near = near(seen, ty, list).iter();
    near.map(|element| may_equal(seen, ty, element)).fold(Truth::FALSE, Truth::or)
}

/// Whether an element of a list, or of an array, is equal to the value.
pub(super) fn may_equal(seen: Seen, ty: ScalarType, element: &str) -> Truth {
    let Some(operand) = Comparable::read(ty, element) else { return Truth::ANY };
    let may_not_be = seen.may_not_be(Comparison::Equal, operand) || ty == ScalarType::Text;
    Truth::of(seen.may_be(Comparison::Equal, operand), may_not_be)
}

/// Those that it may be equal to, and few others.
fn near<'a>(seen: Seen, ty: ScalarType, list: &'a [Box<str>]) -> &'a [Box<str>] {
    let is_before = |element: &str| {
        Comparable::read(ty, element).is_some_and(|element| match seen.is_exact() {
            true => element < seen.value,
            false => element.place() < seen.places().0,
        })
    };
    let is_within = |element: &str| {
        Comparable::read(ty, element).is_some_and(|element| match seen.is_exact() {
            true => element <= seen.value,
            false => element.place() <= seen.places().1,
        })
    };
    let from = list.partition_point(|element| is_before(element));
    let len = list[from..].partition_point(|element| is_within(element));
    &list[from..from + len]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::select;

    fn listed(ty: ScalarType, texts: &[&str]) -> Box<[Box<str>]> {
        list_of(ty, texts.iter().copied()).expect("values of the type")
    }

    #[test]
    fn a_list_is_in_the_order_of_its_values_each_once() {
        for (ty, texts, expected) in [
            (ScalarType::Int, &["10", "9", "-1", "9"][..], &["-1", "9", "10"][..]),
            (ScalarType::Numeric, &["10", "1.50", "1.5", "-2000"], &["-2000", "1.5", "10"]),
            (ScalarType::Text, &["b ", "a", "b", ""], &["", "a", "b"]),
            (ScalarType::Date, &["2026-11-21", "2025-12-31"], &["2025-12-31", "2026-11-21"]),
        ] {
            assert_eq!(listed(ty, texts).iter().map(AsRef::as_ref).collect::<Vec<&str>>(), expected);
        }
        assert_eq!(list_of(ScalarType::Int, ["1", "x"].into_iter()), None);
    }

    /// A look is as long for ten thousand values as it is for ten.
    #[test]
    fn few_of_many_values_are_looked_at() {
        let texts: Vec<String> = (0..10_000).map(|n| format!("{}.5", n * 10)).collect();
        let list = list_of(ScalarType::Numeric, texts.iter().map(AsRef::as_ref)).expect("numbers");
        for text in ["500.5", "5000.5000000000005", "12.25", "99990.5", "-1", "1e300"] {
            let seen = Seen::read(ScalarType::Numeric, text).expect("a number");
            assert!(near(seen, ScalarType::Numeric, &list).len() <= 1, "{text}");
        }
    }

    const TYPES: [ScalarType; 8] = [
        ScalarType::Int,
        ScalarType::Float,
        ScalarType::Numeric,
        ScalarType::Bool,
        ScalarType::Text,
        ScalarType::Uuid,
        ScalarType::Date,
        ScalarType::TimestampTz,
    ];

    const TEXTS: [&str; 26] = [
        "-1",
        "0",
        "-0",
        "1",
        "1.0",
        "0.1",
        "0.10000000149011612",
        "0.1000000001",
        "9007199254740992",
        "9007199254740993",
        "9.007199254740992e+15",
        "1e300",
        "NaN",
        "Infinity",
        "true",
        "f",
        "a",
        "a ",
        "b",
        "",
        "0a1b2c3d-0000-4000-8000-00000000000f",
        "0A1B2C3D-0000-4000-8000-00000000000E",
        "2026-11-21",
        "2026-11-21T10:00:00Z",
        "2026-11-21T10:00:00.5+01:00",
        "infinity",
    ];

    proptest! {
        /// What is found by halves is what is found by going through all.
        #[test]
        fn a_value_is_found_where_it_is(
            ty in select(&TYPES[..]),
            texts in prop::collection::vec(select(&TEXTS[..]), 0..12),
            text in select(&TEXTS[..]),
        ) {
            let texts: Vec<&str> = texts.into_iter().filter(|text| spelling(ty, text).is_some()).collect();
            let list = listed(ty, &texts);
            let expected = match Seen::read(ty, text) {
                None => Truth::ANY,
                Some(seen) => list
                    .iter()
                    .filter(|element| Comparable::read(ty, element).is_some())
                    .map(|element| may_equal(seen, ty, element))
                    .fold(Truth::FALSE, Truth::or),
            };
            prop_assert_eq!(is_listed(text, ty, &list), expected, "{} in {:?}", text, list);
        }
    }
}

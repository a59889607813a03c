//! Casts beside parameters, and what a cast's type is in the words of a catalog.

use super::pieces::Pieces;
use crate::core::values::value::{ArgType, ScalarType};

/// `::type` after an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cast {
    /// As it stands, from `::` on.
    pub(super) text: String,
    /// What bear passes in its place, where a comparison sees no difference.
    pub(super) like: Option<ArgType>,
}

/// Types of two words and more, after their first.
const LONGER: [(&str, &[&str]); 6] = [
    ("double", &["precision"]),
    ("character", &["varying"]),
    ("timestamp", &["with", "time", "zone"]),
    ("timestamp", &["without", "time", "zone"]),
    ("time", &["with", "time", "zone"]),
    ("time", &["without", "time", "zone"]),
];

/// Types before a literal, `interval '1 day'`, whose literal may have become a parameter.
const BEFORE_LITERALS: [&str; 24] = [
    "interval",
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "numeric",
    "text",
    "varchar",
    "uuid",
    "json",
    "jsonb",
    "inet",
    "cidr",
    "bytea",
    "bool",
    "boolean",
    "int4",
    "int8",
    "float8",
    "regclass",
    "point",
    "money",
    "oid",
];

/// The cast that begins with the token, and where it has ended.
pub(super) fn cast_at(pieces: &Pieces, at: usize) -> Option<(Cast, usize)> {
    if !pieces.is_cast(at) {
        return None;
    }
    let mut end = type_end(pieces, at + 2)?;
    if pieces.is_sign(end, '(') {
        end = pieces.pair(end)? + 1;
        // `timestamp(3) with time zone`
        if pieces.is_one_of(end, &["with", "without"]) && pieces.is_word(end + 1, "time") {
            end += 3;
        }
    }
    while pieces.is_sign(end, '[') {
        end = pieces.pair(end)? + 1;
    }
    let end = end.min(pieces.len());
    let like = like(pieces.source(at + 2..end));
    Some((Cast { text: pieces.source(at..end).to_owned(), like }, end))
}

/// The type that stands before a parameter as before a literal, and where it begins.
pub(super) fn type_before(pieces: &Pieces, at: usize) -> Option<(Cast, usize)> {
    let longer = LONGER.iter().find_map(|(first, rest)| {
        let begin = at.checked_sub(rest.len() + 1)?;
        let is_it = pieces.is_word(begin, first)
            && rest.iter().enumerate().all(|(nth, word)| pieces.is_word(begin + 1 + nth, word));
        is_it.then_some(begin)
    });
    let one = || at.checked_sub(1).filter(|begin| pieces.is_one_of(*begin, &BEFORE_LITERALS));
    let begin = longer.or_else(one)?;
    // `AS date $1` is none, nor is a column's name.
    let stands_alone = begin == 0 || !(pieces.is_sign(begin - 1, '.') || pieces.is_sign(begin - 1, ':'));
    let of = pieces.source(begin..at);
    stands_alone.then(|| (Cast { text: format!("::{of}"), like: like(of) }, begin))
}

fn type_end(pieces: &Pieces, first: usize) -> Option<usize> {
    let longer = LONGER.iter().find_map(|(word, rest)| {
        let is_it = pieces.is_word(first, word)
            && rest.iter().enumerate().all(|(nth, word)| pieces.is_word(first + 1 + nth, word));
        is_it.then_some(first + 1 + rest.len())
    });
    if longer.is_some() {
        return longer;
    }
    pieces.token(first)?.as_name()?;
    let mut end = first + 1;
    while pieces.is_sign(end, '.') && pieces.token(end + 1)?.as_name().is_some() {
        end += 2;
    }
    Some(end)
}

fn like(ty: &str) -> Option<ArgType> {
    let words = ty.to_ascii_lowercase();
    let words: Vec<&str> = words.split_whitespace().collect();
    let words = words.join(" ");
    let (name, array) = match words.strip_suffix("[]") {
        Some(name) => (name.trim_end(), true),
        None => (&*words, false),
    };
    let scalar = match name {
        "int" | "int2" | "int4" | "int8" | "integer" | "smallint" | "bigint" => ScalarType::Int,
        "text" | "varchar" | "character varying" => ScalarType::Text,
        "numeric" | "decimal" => ScalarType::Numeric,
        "float8" | "double precision" => ScalarType::Float,
        "bool" | "boolean" => ScalarType::Bool,
        "uuid" => ScalarType::Uuid,
        "date" => ScalarType::Date,
        "timestamp" | "timestamp without time zone" => ScalarType::Timestamp,
        "timestamptz" | "timestamp with time zone" => ScalarType::TimestampTz,
        _ => return None,
    };
    Some(ArgType { scalar, array })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_are_read_whole() {
        for (sql, text, ty) in [
            ("$1::int AND", "::int", Some("int")),
            ("$1::INT4[] AND", "::INT4[]", Some("int[]")),
            ("$1 :: character varying AND", ":: character varying", Some("text")),
            ("$1::varchar(3) AND", "::varchar(3)", None),
            ("$1::timestamp with time zone AND", "::timestamp with time zone", Some("timestamptz")),
            ("$1::timestamp(3) with time zone AND", "::timestamp(3) with time zone", None),
            ("$1::shop.\"Status\"[] AND", "::shop.\"Status\"[]", None),
            ("$1::numeric(10,2)", "::numeric(10,2)", None),
            ("$1::real", "::real", None),
        ] {
            let pieces = Pieces::of(sql).unwrap();
            let (cast, _) = cast_at(&pieces, 1).unwrap();
            assert_eq!((&*cast.text, cast.like.map(|ty| ty.to_string()).as_deref()), (text, ty), "{sql}");
        }
        assert_eq!(cast_at(&Pieces::of("$1:: ").unwrap(), 1), None);
        assert_eq!(cast_at(&Pieces::of("$1 : int").unwrap(), 1), None);
    }

    #[test]
    fn a_type_may_stand_before_what_was_a_literal() {
        for (sql, text) in [
            ("now() - interval $1", Some("::interval")),
            ("at > timestamp with time zone $1", Some("::timestamp with time zone")),
            ("at = DATE $1", Some("::DATE")),
            ("at AT TIME ZONE $1", None),
            ("t.date $1", None),
            ("x = $1", None),
        ] {
            let pieces = Pieces::of(sql).unwrap();
            let found = type_before(&pieces, pieces.len() - 1);
            assert_eq!(found.map(|(cast, _)| cast.text).as_deref(), text, "{sql}");
        }
    }
}

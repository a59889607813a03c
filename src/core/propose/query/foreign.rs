//! Parameters as drivers and other databases write them, which Postgres does not read: `?`, `:name`, `@name`, `%s`.
//!
//! Each may also mean something to Postgres (an operator, a slice), so they are looked for only in what it has refused.

use super::draft::Draft;
use super::pieces::Pieces;

impl Draft<'_> {
    /// The first, as it stands.
    pub fn foreign_parameter(&self) -> Option<String> {
        let pieces = &self.pieces;
        (0..pieces.len()).find_map(|at| foreign(pieces, at))
    }
}

fn foreign(pieces: &Pieces, at: usize) -> Option<String> {
    let follows = || at + 1 < pieces.len() && pieces.are_joined(at, at + 1) && is_name(pieces, at + 1);
    let precedes = |sign: char| at > 0 && pieces.is_sign(at - 1, sign) && pieces.are_joined(at - 1, at);
    // In the brackets of an array `:` makes a slice.
    let is_in_array = || {
        (0..at)
            .rev()
            .find(|open| pieces.pair(*open).is_some_and(|close| close > at))
            .is_some_and(|open| pieces.is_sign(open, '['))
    };
    let end = match () {
        () if pieces.is_sign(at, '?') => at + 1,
        () if pieces.is_sign(at, ':') && follows() && !precedes(':') && !is_in_array() => at + 2,
        () if pieces.is_sign(at, '@') && follows() && !precedes('@') => at + 2,
        () if pieces.is_sign(at, '%') && follows() && pieces.is_word(at + 1, "s") => at + 2,
        () if pieces.is_sign(at, '%') && pieces.is_sign(at + 1, '(') && pieces.are_joined(at, at + 1) => {
            (pieces.pair(at + 1)? + 2).min(pieces.len())
        }
        () => return None,
    };
    Some(pieces.source(at..end).to_owned())
}

fn is_name(pieces: &Pieces, at: usize) -> bool {
    let source = pieces.source(at..at + 1);
    source.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_others_are_told() {
        for (sql, expected) in [
            ("SELECT 1 FROM p WHERE id = ?", Some("?")),
            ("SELECT 1 FROM p WHERE id = :id", Some(":id")),
            ("SELECT 1 FROM p WHERE id IN (@p0, @p1)", Some("@p0")),
            ("SELECT 1 FROM p WHERE id = %s", Some("%s")),
            ("SELECT 1 FROM p WHERE id = %(id)s", Some("%(id)s")),
            ("SELECT '?', a[1:n], b::int, c % 5, $1, {x} -- :id", None),
        ] {
            assert_eq!(Draft::read(sql).unwrap().foreign_parameter().as_deref(), expected, "{sql}");
        }
    }
}

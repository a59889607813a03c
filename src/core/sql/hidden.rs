//! Columns that are added to the result of a SELECT.

use super::tokens::{placed_tokens, Token};

/// The statement with more columns at the end of its list, each a name and an expression; None: it is not of the form
/// `SELECT … FROM …`.
pub(in crate::core) fn with_columns(sql: &str, columns: &[(Box<str>, Box<str>)]) -> Option<String> {
    if columns.is_empty() {
        return None;
    }
    let at = end_of_list(sql)?;
    let more: String = columns.iter().map(|(name, expression)| format!(", {expression} AS \"{name}\"")).collect();
    Some(format!("{}{} {}", sql[..at].trim_end_matches(' '), more, &sql[at..]))
}

/// Where the FROM of the statement itself begins.
pub(in crate::core) fn end_of_list(sql: &str) -> Option<usize> {
    let tokens = placed_tokens(sql)?;
    if !tokens.first()?.1.is_word("select") {
        return None;
    }
    let mut depth = 0_usize;
    let mut before: Option<&Token> = None;
    for (at, token) in &tokens {
        match token {
            Token::Sign('(' | '[') => depth += 1,
            Token::Sign(')' | ']') => depth = depth.checked_sub(1)?,
            // `a IS DISTINCT FROM b`
            token
                if depth == 0 && token.is_word("from") && !before.is_some_and(|before| before.is_word("distinct")) =>
            {
                return Some(*at);
            }
            _ => {}
        }
        before = Some(token);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(sql: &str) -> Option<String> {
        with_columns(sql, &[("_a".into(), "t.id".into())])
    }

    #[test]
    fn columns_stand_before_the_from_of_the_statement_itself() {
        for (sql, expected) in [
            ("SELECT id FROM t", Some("SELECT id, t.id AS \"_a\" FROM t")),
            (
                "select (SELECT 1 FROM x), extract(day from y)\nfrom t",
                Some("select (SELECT 1 FROM x), extract(day from y)\n, t.id AS \"_a\" from t"),
            ),
            (
                "SELECT a IS DISTINCT FROM b AS c FROM t",
                Some("SELECT a IS DISTINCT FROM b AS c, t.id AS \"_a\" FROM t"),
            ),
            (
                "SELECT 'from' AS \"from\", a -- from\n FROM t",
                Some("SELECT 'from' AS \"from\", a -- from\n, t.id AS \"_a\" FROM t"),
            ),
            ("SELECT x[1], {a} FROM t", Some("SELECT x[1], {a}, t.id AS \"_a\" FROM t")),
            ("WITH x AS (SELECT 1) SELECT * FROM x", None),
            ("(SELECT 1 FROM t)", None),
            ("SELECT 1", None),
            ("VALUES (1)", None),
            ("SELECT ) FROM t", None),
        ] {
            assert_eq!(with(sql).as_deref(), expected, "{sql}");
        }
        assert_eq!(with_columns("SELECT 1 FROM t", &[]), None);
    }
}

//! What a statement that changes rows says of how it does: from which relations it deletes, and which columns it sets.

use std::collections::BTreeSet;

use super::spelling::in_quotes;
use super::tokens::{tokens, Token};

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Writes {
    /// Relations that it deletes from, as SQL spells them.
    pub deletes: BTreeSet<String>,
    /// Columns that it sets in rows that are there, of whichever relation.
    pub sets: BTreeSet<String>,
}

/// None: it cannot be read.
pub fn writes(sql: &str) -> Option<Writes> {
    let tokens = tokens(sql)?;
    let mut found = Writes::default();
    let mut merged = None;
    for (at, token) in tokens.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        let rest = &tokens[at + 1..];
        let is_after = |word: &str| at > 0 && tokens[at - 1].is_word(word);
        match word.as_str() {
            "merge" if rest.first().is_some_and(|next| next.is_word("into")) => merged = relation(&rest[1..]),
            "delete" if is_after("then") => found.deletes.extend(merged.clone()),
            "delete" if rest.first().is_some_and(|next| next.is_word("from")) => {
                found.deletes.extend(relation(&rest[1..]));
            }
            "set" => set(rest, &mut found.sets),
            _ => {}
        }
    }
    Some(found)
}

/// The relation that the tokens begin with.
fn relation(tokens: &[Token]) -> Option<String> {
    let tokens = if tokens.first()?.is_word("only") { &tokens[1..] } else { tokens };
    let mut name = in_quotes(tokens.first()?.as_name()?);
    if let [Token::Sign('.'), last, ..] = &tokens[1..] {
        name += &format!(".{}", in_quotes(last.as_name()?));
    }
    Some(name)
}

/// The columns that `a = …, (b, c) = …` assigns to.
fn set(tokens: &[Token], sets: &mut BTreeSet<String>) {
    let mut depth = 0_usize;
    // Up to its `=`, an assignment names columns.
    let mut is_target = true;
    for token in tokens {
        match token {
            Token::Sign('(') => depth += 1,
            // What follows is which element of a column.
            Token::Sign('[') => {
                depth += 1;
                is_target = false;
            }
            Token::Sign(')' | ']') => match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => return,
            },
            Token::Sign('=') if depth == 0 => is_target = false,
            Token::Sign(',') if depth == 0 => is_target = true,
            Token::Word(word) if depth == 0 && ["from", "where", "returning", "when"].contains(&word.as_str()) => {
                return
            }
            token if is_target => sets.extend(token.as_name().map(str::to_owned)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletes_and_assignments_are_found() {
        for (sql, deletes, sets) in [
            ("INSERT INTO a(x) VALUES (1)", &[][..], &[][..]),
            ("DELETE FROM a USING b WHERE a.x = b.x", &["\"a\""], &[]),
            ("DELETE FROM ONLY s.\"B c\" x WHERE true", &["\"s\".\"B c\""], &[]),
            ("UPDATE a SET x = 1, y = (SELECT z FROM b WHERE c = d), w[1] = 2 FROM e WHERE f = 3", &[], &["w", "x", "y"]),
            ("UPDATE a SET (x, \"Y\") = (SELECT 1, 2) RETURNING n = 1", &[], &["Y", "x"]),
            (
                "WITH d AS (DELETE FROM a RETURNING id), u AS (UPDATE b SET x = 1) SELECT 'DELETE FROM c', n FROM d",
                &["\"a\""],
                &["x"],
            ),
            ("WITH u AS (UPDATE b SET x = 1) SELECT y = 2, z FROM u", &[], &["x"]),
            ("INSERT INTO a VALUES (1) ON CONFLICT (k) DO UPDATE SET x = excluded.x, y = 2", &[], &["x", "y"]),
            (
                "MERGE INTO a USING b ON a.x = b.x WHEN MATCHED AND b.gone THEN DELETE WHEN MATCHED THEN UPDATE SET y = 1 \
                 WHEN NOT MATCHED THEN INSERT VALUES (1)",
                &["\"a\""],
                &["y"],
            ),
            ("DELETE", &[], &[]),
            ("DELETE FROM", &[], &[]),
        ] {
            let found = writes(sql).expect("it can be read");
            assert_eq!(found.deletes.iter().map(String::as_str).collect::<Vec<_>>(), deletes, "{sql}");
            assert_eq!(found.sets.iter().map(String::as_str).collect::<Vec<_>>(), sets, "{sql}");
        }
        assert_eq!(writes("DELETE FROM 'a"), None);
    }
}

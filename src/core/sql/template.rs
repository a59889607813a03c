//! SQL of the catalog with `{name}` for values: checked when it is loaded, and rendered with `$1 … $n`.
//!
//! The scanner knows Postgres' lexical rules as far as it must to tell code from literals, quoted names and comments:
//! a placeholder counts in code only, and nothing that a client sends ever becomes part of the text.

/// A statement ready to be prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// One statement, without a semicolon or comment at its end.
    pub text: String,
    /// Names of `$1 … $n`.
    pub params: Vec<Box<str>>,
}

/// Why a statement is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    #[error("the statement is empty")]
    Empty,
    #[error("only one statement is allowed, but more follows the ';'")]
    Several,
    #[error("unknown placeholder {{{name}}}; {}", existing(.known))]
    Unknown { name: Box<str>, known: Box<str> },
    #[error("{{{name}}} stands inside a literal, where it would not be replaced; write it without quotes")]
    InLiteral { name: Box<str> },
    #[error("'{{' begins a placeholder such as {{id}}, but '{got}' follows")]
    Brace { got: Box<str> },
    #[error("parameters are written by name; use {{name}} instead of ${number}")]
    Positional { number: Box<str> },
    #[error("'$' means nothing here; a placeholder is written {{name}}, without it")]
    Dollar,
    #[error("{what} is not closed")]
    Unclosed { what: &'static str },
    #[error("the statement holds a NUL")]
    Nul,
}

fn existing(known: &str) -> String {
    if known.is_empty() {
        "there are none here".to_owned()
    } else {
        format!("there are {known}")
    }
}

impl Template {
    /// `known` are the placeholders that the statement may use.
    pub fn parse(sql: &str, known: &[&str]) -> Result<Template, SqlError> {
        Template::with_relation(sql, known, |number| format!("${number}"))
    }

    /// The same of a statement that is sent together with others, which take these parameters: its own follow them.
    pub fn parse_after(sql: &str, known: &[&str], params: Vec<Box<str>>) -> Result<Template, SqlError> {
        Template::rendered(sql, known, params, &|number| format!("${number}"))
    }

    /// The same where `{jobs}` is a relation: `relation(k)` gives the text that makes one of `$k`.
    pub fn with_relation(sql: &str, known: &[&str], relation: impl Fn(usize) -> String) -> Result<Template, SqlError> {
        Template::rendered(sql, known, Vec::new(), &relation)
    }

    fn rendered(
        sql: &str,
        known: &[&str],
        params: Vec<Box<str>>,
        relation: &impl Fn(usize) -> String,
    ) -> Result<Template, SqlError> {
        let Scan { mut out, code_end, .. } = Scan::run(sql, known, params, relation)?;
        out.text.truncate(code_end);
        if out.text.is_empty() {
            return Err(SqlError::Empty);
        }
        Ok(out)
    }
}

/// Name of the placeholder that is rendered as a relation.
const JOBS: &str = "jobs";

/// May a statement over `{jobs}` read this column of it? No only where it is certain: the column is not named, nor is
/// anything that means all columns (a star, the relation's own name as a value, NATURAL).
pub fn may_read(sql: &str, known: &[&str], column: &str) -> bool {
    let Ok(Scan { tokens, .. }) = Scan::run(sql, known, Vec::new(), &|_| String::new()) else { return true };
    let is = |at: usize, token: &str| tokens.get(at).is_some_and(|found| found.eq_ignore_ascii_case(token));
    let is_name = |token: &str| token.starts_with(|c: char| c == '"' || c.is_alphabetic() || c == '_' || !c.is_ascii());
    let plain = |token: &str| token.trim_matches('"').to_lowercase();
    let mut aliases = Vec::new();
    for at in (0..tokens.len()).filter(|at| is(*at, "{jobs}")) {
        let named_at = at + 1 + usize::from(is(at + 1, "AS"));
        match tokens.get(named_at) {
            Some(alias) if is_name(alias) && !is(named_at + 1, "(") => aliases.push((named_at, plain(alias))),
            _ => return true,
        }
    }
    tokens.iter().enumerate().any(|(at, token)| {
        let is_star = *token == "*" && !(at > 1 && is(at - 2, "count") && is(at - 1, "(") && is(at + 1, ")"));
        // U&"d\0061ta"
        let is_escaped = token.starts_with('"') && at > 0 && is(at - 1, "&");
        if is_star || is_escaped {
            return true;
        }
        let name = plain(token);
        let is_named_here = aliases.iter().any(|(named_at, _)| *named_at == at);
        let is_row = aliases.iter().any(|(_, alias)| *alias == name) && !is_named_here && !is(at + 1, ".");
        is_name(token) && (name == column || name == "natural" || is_row)
    })
}

struct Scan<'a> {
    rest: &'a str,
    known: &'a [&'a str],
    out: Template,
    /// Length of the text up to the last piece of code.
    code_end: usize,
    /// A `;` was seen.
    ended: bool,
    /// Pieces of code: words, quoted names, literals, placeholders, single characters.
    tokens: Vec<&'a str>,
}

impl<'a> Scan<'a> {
    fn run(
        sql: &'a str,
        known: &'a [&'a str],
        params: Vec<Box<str>>,
        relation: &impl Fn(usize) -> String,
    ) -> Result<Scan<'a>, SqlError> {
        if sql.contains('\0') {
            return Err(SqlError::Nul);
        }
        let out = Template { text: String::with_capacity(sql.len()), params };
        let mut scan = Scan { rest: sql, known, out, code_end: 0, ended: false, tokens: Vec::new() };
        while !scan.rest.is_empty() {
            scan.step(relation)?;
        }
        Ok(scan)
    }

    fn step(&mut self, relation: &impl Fn(usize) -> String) -> Result<(), SqlError> {
        let rest = self.rest;
        let mut chars = rest.chars();
        let (Some(first), second) = (chars.next(), chars.next()) else {
            return Ok(());
        };
        match (first, second) {
            (c, _) if c.is_whitespace() => self.copy_blank(c.len_utf8()),
            ('-', Some('-')) => self.copy_blank(rest.find(['\n', '\r']).unwrap_or(rest.len())),
            ('/', Some('*')) => self.copy_blank(block_comment(rest)?),
            (';', _) => {
                self.ended = true;
                self.rest = &rest[1..];
            }
            ('\'', _) => self.copy_literal(quoted(rest, b'\'', Backslash::Plain, "a literal")?)?,
            ('e' | 'E', Some('\'')) => {
                self.copy_literal(1 + quoted(&rest[1..], b'\'', Backslash::Escapes, "a literal")?)?
            }
            ('"', _) => self.copy_code(quoted(rest, b'"', Backslash::Plain, "a quoted name")?)?,
            ('$', Some(digit)) if digit.is_ascii_digit() => {
                let end = rest[1..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |n| n + 1);
                return Err(SqlError::Positional { number: rest[1..end].into() });
            }
            ('$', _) => match dollar_tag(rest) {
                Some(tag) => {
                    let body = &rest[tag.len()..];
                    let end = body.find(tag).ok_or(SqlError::Unclosed { what: "a dollar-quoted literal" })?;
                    self.copy_literal(end + 2 * tag.len())?;
                }
                None => return Err(SqlError::Dollar),
            },
            ('{', _) => self.placeholder(relation)?,
            // A whole word, so that neither `a$b$` nor `type'x'` is read as the start of something in it.
            (c, _) if is_word_char(c) => {
                self.copy_code(rest.find(|c| !is_word_char(c) && c != '$').unwrap_or(rest.len()))?
            }
            (c, _) => self.copy_code(c.len_utf8())?,
        }
        Ok(())
    }

    /// Blanks and comments: kept, but not at the end of the statement.
    fn copy_blank(&mut self, len: usize) {
        let (blank, rest) = self.rest.split_at(len);
        self.out.text.push_str(blank);
        self.rest = rest;
    }

    fn copy_code(&mut self, len: usize) -> Result<(), SqlError> {
        let (code, rest) = self.rest.split_at(len);
        self.push_code(code)?;
        self.tokens.push(code);
        self.rest = rest;
        Ok(())
    }

    fn push_code(&mut self, code: &str) -> Result<(), SqlError> {
        if self.ended {
            return Err(SqlError::Several);
        }
        self.out.text.push_str(code);
        self.code_end = self.out.text.len();
        Ok(())
    }

    fn copy_literal(&mut self, len: usize) -> Result<(), SqlError> {
        let literal = &self.rest[..len];
        for inner in literal.split('{').skip(1) {
            if let Some((name, _)) = inner.split_once('}') {
                if self.known.contains(&name) {
                    return Err(SqlError::InLiteral { name: name.into() });
                }
            }
        }
        self.copy_code(len)
    }

    fn placeholder(&mut self, relation: &impl Fn(usize) -> String) -> Result<(), SqlError> {
        let inner = &self.rest[1..];
        let end = inner.find(|c| !is_word_char(c)).unwrap_or(inner.len());
        let (name, tail) = inner.split_at(end);
        let Some(rest) = tail.strip_prefix('}').filter(|_| !name.is_empty()) else {
            return Err(SqlError::Brace { got: inner.chars().take(20).collect::<String>().into() });
        };
        if !self.known.contains(&name) {
            let known: Vec<_> = self.known.iter().map(|name| format!("{{{name}}}")).collect();
            return Err(SqlError::Unknown { name: name.into(), known: known.join(" ").into() });
        }
        let number = match self.out.params.iter().position(|param| &**param == name) {
            Some(index) => index + 1,
            None => {
                self.out.params.push(name.into());
                self.out.params.len()
            }
        };
        let text = if name == JOBS { relation(number) } else { format!("${number}") };
        // `{a}1` and `x{a}` must not melt into `$11` and `x$1`.
        let melts_before = self.out.text.ends_with(is_word_char) && self.code_end == self.out.text.len();
        let melts_after = rest.starts_with(|c| is_word_char(c) || c == '$');
        self.push_code(&format!(
            "{}{text}{}",
            if melts_before { " " } else { "" },
            if melts_after { " " } else { "" }
        ))?;
        self.tokens.push(&self.rest[..self.rest.len() - rest.len()]);
        self.rest = rest;
        Ok(())
    }
}

/// Characters of names, keywords and numbers.
pub(in crate::core) fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii() && !c.is_whitespace()
}

pub(in crate::core) enum Backslash {
    Plain,
    Escapes,
}

/// Length of what begins with the quote, up to its end; a doubled quote is part of it.
pub(in crate::core) fn quoted(
    text: &str,
    quote: u8,
    backslash: Backslash,
    what: &'static str,
) -> Result<usize, SqlError> {
    let bytes = text.as_bytes();
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'\\' if matches!(backslash, Backslash::Escapes) => 2,
            byte if *byte == quote => match bytes.get(at + 1) {
                Some(next) if *next == quote => 2,
                _ => return Ok(at + 1),
            },
            _ => 1,
        };
    }
    Err(SqlError::Unclosed { what })
}

/// Length of the comment, which may hold others.
pub(in crate::core) fn block_comment(text: &str) -> Result<usize, SqlError> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(pair) = bytes.get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return Ok(at);
        }
    }
    Err(SqlError::Unclosed { what: "a comment" })
}

/// `$$` or `$name$` at the front.
pub(in crate::core) fn dollar_tag(text: &str) -> Option<&str> {
    let inner = &text[1..];
    let end = inner.find(|c| !is_word_char(c)).unwrap_or(inner.len());
    let closed = inner[end..].starts_with('$') && !inner.starts_with(|c: char| c.is_ascii_digit());
    closed.then(|| &text[..end + 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn render(sql: &str) -> Result<(String, String), String> {
        Template::parse(sql, &["a", "b", "ids"]).map(|t| (t.text, t.params.join(","))).map_err(|e| e.to_string())
    }

    #[test]
    fn placeholders_are_numbered_by_first_appearance() {
        for (sql, text, params) in [
            ("SELECT 1", "SELECT 1", ""),
            ("SELECT {b}, {a}, {b}", "SELECT $1, $2, $1", "b,a"),
            ("SELECT {a}::text ; ", "SELECT $1::text", "a"),
            ("SELECT {a} -- {a} and ;{x}\n, 1 -- end;", "SELECT $1 -- {a} and ;{x}\n, 1", "a"),
            ("SELECT /* {x} /* ; */ ' */ {a} /* end */;;", "SELECT /* {x} /* ; */ ' */ $1", "a"),
            ("SELECT '{red,blue}', 'it''s {}', {a}", "SELECT '{red,blue}', 'it''s {}', $1", "a"),
            (r"SELECT E'\'{x}', {a}", r"SELECT E'\'{x}', $1", "a"),
            (r"SELECT '\', {a}", r"SELECT '\', $1", "a"),
            (r#"SELECT "{a};""", {b}"#, r#"SELECT "{a};""", $1"#, "b"),
            ("SELECT $$'{x};$$, $t$ $$ $t$, {a}", "SELECT $$'{x};$$, $t$ $$ $t$, $1", "a"),
            ("SELECT a$b$c, {a}", "SELECT a$b$c, $1", "a"),
            ("SELECT '$1'", "SELECT '$1'", ""),
            ("SELECT größe', {a}' FROM x", "SELECT größe', {a}' FROM x", "!"),
            ("SELECT {a}1, x{a}", "SELECT $1 1, x $1", "a"),
            ("SELECT typee'x', {a}", "SELECT typee'x', $1", "a"),
        ] {
            match params {
                "!" => assert!(render(sql).is_err()),
                _ => assert_eq!(render(sql), Ok((text.to_owned(), params.to_owned())), "{sql}"),
            }
        }
    }

    #[test]
    fn wrong_statements_are_refused() {
        for (sql, reason) in [
            ("", "empty"),
            (" ; -- x", "empty"),
            ("SELECT 1; SELECT 2", "only one statement"),
            ("SELECT {c}", "unknown placeholder {c}; there are {a} {b} {ids}"),
            ("SELECT '{a}'", "{a} stands inside a literal"),
            ("SELECT '{{a}'", "{a} stands inside a literal"),
            ("SELECT $x${ids}$x$", "{ids} stands inside a literal"),
            ("SELECT E'\\'{a}'", "{a} stands inside a literal"),
            ("SELECT { a }", "begins a placeholder"),
            ("SELECT {}", "begins a placeholder"),
            ("SELECT {a", "begins a placeholder"),
            ("SELECT $1", "use {name} instead of $1"),
            ("SELECT ${a}", "'$' means nothing here"),
            ("SELECT $a", "'$' means nothing here"),
            ("SELECT '", "a literal is not closed"),
            ("SELECT E'\\'", "a literal is not closed"),
            ("SELECT \"", "a quoted name is not closed"),
            ("SELECT /* /* */", "a comment is not closed"),
            ("SELECT $x$ $y$", "not closed"),
            ("SELECT \0", "NUL"),
        ] {
            let error = render(sql).expect_err(sql);
            assert!(error.contains(reason), "{sql}: {error}");
        }
        assert_eq!(
            Template::parse("{a}", &[]).unwrap_err().to_string(),
            "unknown placeholder {a}; there are none here"
        );
    }

    #[test]
    fn jobs_are_a_relation_of_one_parameter() {
        let sql = "WITH x AS (SELECT {tenant} FROM {jobs} job) SELECT n FROM x JOIN {jobs} job";
        let template = Template::with_relation(sql, &["jobs", "tenant"], |k| format!("(SELECT ${k})")).unwrap();
        assert_eq!(template.text, "WITH x AS (SELECT $1 FROM (SELECT $2) job) SELECT n FROM x JOIN (SELECT $2) job");
        assert_eq!(template.params, [Box::<str>::from("tenant"), Box::from("jobs")]);
    }

    #[test]
    fn a_column_is_not_read_only_where_that_is_certain() {
        for (sql, reads) in [
            ("UPDATE t SET x = job.x FROM {jobs} job WHERE t.id = job.id RETURNING job.n, t.id", false),
            ("UPDATE t SET x = job.x FROM {jobs} AS \"Job\" WHERE t.id = \"Job\".id RETURNING n", false),
            ("WITH j AS (SELECT job.n, job.id FROM {jobs} job) SELECT n, count(*), 'data, *' FROM j -- job.*", false),
            ("DELETE FROM t USING {jobs} job WHERE t.id = job.id AND t.job . x = 1 RETURNING job.n", false),
            ("SELECT a.n FROM {jobs} a JOIN {jobs} b ON a.x = b.y", false),
            ("SELECT job.n FROM {jobs} job WHERE job.data ? 'x'", true),
            ("SELECT job.n FROM {jobs} job WHERE DATA ? 'x'", true),
            ("SELECT job.n FROM {jobs} job WHERE job.\"data\" ? 'x'", true),
            ("SELECT job.n FROM {jobs} job WHERE job.U&\"d\\0061ta\" ? 'x'", true),
            ("WITH j AS (SELECT job.* FROM {jobs} job) SELECT n FROM j", true),
            ("SELECT job.n, 2 * job.x FROM {jobs} job", true),
            ("SELECT job.n, to_jsonb(job) AS result FROM {jobs} job", true),
            ("SELECT \"JOB\".n, job IS NULL FROM {jobs} \"JOB\"", true),
            ("SELECT a.n, b FROM {jobs} a JOIN {jobs} b ON a.x = b.y", true),
            ("SELECT n, v FROM {jobs} job(n, v)", true),
            ("SELECT n FROM {jobs}", true),
            ("SELECT job.n FROM {jobs} job NATURAL JOIN t", true),
            ("SELECT job.n FROM {jobs} job JOIN t USING (data)", true),
        ] {
            assert_eq!(may_read(sql, &["jobs"], "data"), reads, "{sql}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn no_text_panics(sql in "[a1{}'\"$;/*\\-\\\\\nEeü ]{0,40}|\\PC{0,40}") {
            if let Ok(template) = Template::parse(&sql, &["a"]) {
                prop_assert!(!template.text.is_empty());
                prop_assert!(template.params.len() <= 1);
            }
        }

        /// What is wrapped around a statement must not fall into a comment or literal of it.
        #[test]
        fn the_end_of_a_statement_is_code(sql in "[a{}'\"$;/*\\-\\\\\nEe ]{0,40}") {
            if let Ok(template) = Template::parse(&sql, &["a"]) {
                let text = template.text.replace("$1", "{a}");
                let wrapped = Template::parse(&format!("({text}) {{b}}"), &["a", "b"]).unwrap();
                prop_assert_eq!(wrapped.params.len(), template.params.len() + 1);
            }
        }
    }
}

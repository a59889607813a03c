//! Answers, read by hand: a check of millions has no time for a tree of JSON.

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Ids and versions.
    Rows(Vec<(i64, u32)>),
    Count {
        count: u64,
        versions: u64,
    },
}

impl Answer {
    /// None: it is none.
    pub fn read(json: &[u8]) -> Option<Answer> {
        let mut text = Text(json);
        let answer = match text.0.first()? {
            b'n' => {
                text.take(b"null")?;
                Answer::Rows(Vec::new())
            }
            b'[' => Answer::Rows(text.rows()?),
            _ if json.starts_with(b"{\"count\"") => {
                let count = text.field(b"{\"count\":")?.try_into().ok()?;
                let versions = text.field(b",\"vers\":")?.try_into().ok()?;
                text.take(b"}")?;
                Answer::Count { count, versions }
            }
            _ => Answer::Rows(vec![text.row()?]),
        };
        text.0.is_empty().then_some(answer)
    }
}

/// What is still to be read.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    fn take(&mut self, word: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(word)?;
        Some(())
    }

    fn number(&mut self) -> Option<i64> {
        let is_negative = self.take(b"-").is_some();
        let length = self.0.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        let number: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(if is_negative { -number } else { number })
    }

    fn field(&mut self, before: &[u8]) -> Option<i64> {
        self.take(before)?;
        self.number()
    }

    fn row(&mut self) -> Option<(i64, u32)> {
        let id = self.field(b"{\"id\":")?;
        let version = self.field(b",\"ver\":")?.try_into().ok()?;
        self.take(b"}")?;
        Some((id, version))
    }

    fn rows(&mut self) -> Option<Vec<(i64, u32)>> {
        self.take(b"[")?;
        let mut rows = Vec::new();
        if self.take(b"]").is_some() {
            return Some(rows);
        }
        loop {
            rows.push(self.row()?);
            if self.take(b"]").is_some() {
                return Some(rows);
            }
            self.take(b",")?;
        }
    }
}

#[test]
fn answers_are_read() {
    for (json, answer) in [
        ("[]", Answer::Rows(vec![])),
        ("null", Answer::Rows(vec![])),
        (r#"{"id":3,"ver":9}"#, Answer::Rows(vec![(3, 9)])),
        (r#"[{"id":3,"ver":9},{"id":-4,"ver":12}]"#, Answer::Rows(vec![(3, 9), (-4, 12)])),
        (r#"{"count":3,"vers":40}"#, Answer::Count { count: 3, versions: 40 }),
    ] {
        assert_eq!(Answer::read(json.as_bytes()), Some(answer), "{json}");
    }
    for wrong in ["", "nul", "[", "[]]", r#"[{"id":3,"ver":9}"#, r#"{"id":3}"#, r#"{"count":3}"#, r#"{"id":,"ver":1}"#]
    {
        assert_eq!(Answer::read(wrong.as_bytes()), None, "{wrong}");
    }
}

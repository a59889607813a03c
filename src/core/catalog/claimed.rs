//! Which claimed jobs a section takes, and what it says of each.

use super::claim::ClaimSpec;
use super::job::{Field, Job};
use super::sections::Section;
use crate::core::values::value::{shorten, ScalarType};

/// Bytes of the name of a job in an open section, and of a key of its payload that `order` or a limit names.
const MAX_NAME: usize = 128;

/// What a section says of claimed jobs of one name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClaimedJob<'a> {
    pub claim: &'a ClaimSpec,
    /// None: an open section takes them, with any payload.
    pub job: Option<&'a Job>,
}

/// Why a limit cannot be kept for each value of a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitFieldError {
    #[error("no claimed job has a field '{got}' with a single value; there are {}", list(.has))]
    Unknown { got: Box<str>, has: Vec<Box<str>> },
    #[error("{0}")]
    Name(#[from] KeyError),
}

fn list(names: &[Box<str>]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// Why a text names no key of an open payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key of a payload is up to {MAX_NAME} bytes without control characters, \" and \\, got '{}'", shorten(.got.as_bytes()))]
pub struct KeyError {
    got: Box<str>,
}

impl Section {
    pub fn has_claimed_jobs(&self) -> bool {
        self.open.is_some() || self.jobs.iter().any(|job| job.claim().is_some())
    }

    /// What is said of claimed jobs of the name; None where such jobs are SQL, or there are none.
    pub fn claimed_job(&self, name: &[u8]) -> Option<ClaimedJob<'_>> {
        match self.jobs.iter().find(|job| job.name.as_bytes() == name) {
            Some(job) => job.claim().map(|claim| ClaimedJob { claim, job: Some(job) }),
            None => {
                let open = self.open.as_ref().filter(|_| is_open_name(name))?;
                Some(ClaimedJob { claim: &open.claim, job: None })
            }
        }
    }

    /// May a limit be `by` this field?
    pub fn check_limit_field(&self, field: &str) -> Result<(), LimitFieldError> {
        check_limit_field(&self.jobs, self.open.is_some(), field)
    }
}

/// The same of a section with these jobs.
pub(in crate::core) fn check_limit_field(jobs: &[Job], is_open: bool, field: &str) -> Result<(), LimitFieldError> {
    if is_open {
        return Ok(check_key(field)?);
    }
    let claimed = jobs.iter().filter(|job| job.claim().is_some());
    let mut has: Vec<&str> =
        claimed.flat_map(|job| &job.data).filter(|field| is_single(field)).map(|field| &*field.name).collect();
    if has.contains(&field) {
        return Ok(());
    }
    has.sort_unstable();
    has.dedup();
    Err(LimitFieldError::Unknown {
        got: shorten(field.as_bytes()).into(),
        has: has.into_iter().map(Into::into).collect(),
    })
}

/// Has the field a single value, by which jobs can be told apart?
pub(in crate::core) fn is_single(field: &Field) -> bool {
    !field.ty.array && field.ty.scalar != ScalarType::Json
}

/// A key that is spelled in JSON as it is.
pub(in crate::core) fn check_key(key: &str) -> Result<(), KeyError> {
    let is_plain = |byte: u8| byte >= b' ' && !matches!(byte, b'"' | b'\\');
    if (1..=MAX_NAME).contains(&key.len()) && key.bytes().all(is_plain) {
        Ok(())
    } else {
        Err(KeyError { got: key.into() })
    }
}

/// What jobs of an open section may be called: 1 to 128 bytes of letters, digits, `_`, `-`, `.` and `:`, beginning with a
/// letter or digit.
fn is_open_name(name: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    name.len() <= MAX_NAME && name.first().is_some_and(u8::is_ascii_alphanumeric) && name.iter().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::read_catalog;

    fn section(text: &str) -> Section {
        let catalog = read_catalog::parse(text, &mut || 1).expect("a catalog");
        catalog.sections[0].clone()
    }

    #[test]
    fn names_of_open_jobs() {
        for name in ["a", "7", "welcome", "mail:send.v2-b_c", &"x".repeat(128)] {
            assert!(is_open_name(name.as_bytes()), "{name}");
        }
        for name in ["", "_a", "-a", ".", ":a", "a b", "a\n", "é", "a{b}", &"x".repeat(129)] {
            assert!(!is_open_name(name.as_bytes()), "{name}");
        }
        assert!(!is_open_name(b"a\xff"));
    }

    #[test]
    fn declared_jobs_of_an_open_section_are_as_declared() {
        let text = "[mail]\nopen = true\nclaim = { attempts = 7 }\n[mail.job.SEND]\nclaim = {}\n\
                    [mail.job.PURGE]\neach = [\"DELETE FROM mail\"]";
        let open = section(text);
        let attempts = |name: &str| open.claimed_job(name.as_bytes()).map(|of| of.claim.attempts);
        assert_eq!(
            (attempts("SEND"), attempts("PURGE"), attempts("other"), attempts("-")),
            (Some(3), None, Some(7), None)
        );
        assert!(open.claimed_job(b"other").is_some_and(|of| of.job.is_none()));
        assert!(open.claimed_job(b"SEND").is_some_and(|of| of.job.is_some_and(|job| *job.name == *"SEND")));
        let closed = section("[mail]\n[mail.job.SEND]\nclaim = {}");
        assert!(closed.claimed_job(b"SEND").is_some() && closed.claimed_job(b"send").is_none());
        let sql = section("[mail]\n[mail.job.PURGE]\neach = [\"DELETE FROM mail\"]");
        assert!(closed.has_claimed_jobs() && open.has_claimed_jobs() && !sql.has_claimed_jobs());
    }

    #[test]
    fn limits_are_by_fields_with_a_single_value() {
        let closed = section(
            "[mail]\n[mail.job.A]\ndata = { to = \"text\", all = \"int[]\", x = \"json\" }\nclaim = {}\n\
             [mail.job.B]\ndata = { from = \"text?\", to = \"text\" }\nclaim = {}\n\
             [mail.job.C]\ndata = { sql = \"int\" }\neach = [\"DELETE FROM mail\"]",
        );
        assert_eq!((closed.check_limit_field("to"), closed.check_limit_field("from")), (Ok(()), Ok(())));
        for wrong in ["all", "x", "sql", "other", ""] {
            let error = closed.check_limit_field(wrong).expect_err(wrong).to_string();
            assert_eq!(error, format!("no claimed job has a field '{wrong}' with a single value; there are from, to"));
        }
        let open = section("[mail]\nopen = true");
        assert_eq!(open.check_limit_field("any key é"), Ok(()));
        for wrong in ["", "a\"b", "a\\b", "a\nb", &"x".repeat(129)] {
            let error = open.check_limit_field(wrong).expect_err(wrong).to_string();
            assert!(error.starts_with("a key of a payload is up to 128 bytes"), "{error}");
        }
    }
}

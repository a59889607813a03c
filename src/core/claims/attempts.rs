//! Failed attempts of a job that is not settled yet: `{"attempts":n,"errors":[{"attempt":n,"message":…,"stack":…,"worker":…,
//! "at":ms}],"earlier":n}`. The last ten errors are kept, newest last, and those before are counted.

use serde::{Deserialize, Serialize};

/// Errors that are kept of a job.
pub const MAX_ERRORS: usize = 10;

/// Bytes of all stacks of a job: those of the newest errors are kept.
const MAX_STACKS: usize = 16 << 10;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// That failed, or whose lease ended.
    pub attempts: u32,
    #[serde(default)]
    pub errors: Vec<AttemptError>,
    /// Errors before these.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub earlier: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptError {
    #[serde(default)]
    pub attempt: u32,
    #[serde(default)]
    pub message: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Box<str>>,
    /// Unix time in ms.
    #[serde(default, rename = "at")]
    pub at_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Attempts {
    /// One more attempt failed.
    pub fn add(&mut self, error: AttemptError) {
        self.attempts = self.attempts.max(error.attempt);
        self.errors.push(error);
        let surplus = self.errors.len().saturating_sub(MAX_ERRORS);
        self.errors.drain(..surplus);
        self.earlier = self.earlier.saturating_add(surplus as u32);
        let mut stacks = 0;
        for error in self.errors.iter_mut().rev() {
            stacks += error.stack.as_deref().map_or(0, str::len);
            if stacks > MAX_STACKS {
                error.stack = None;
            }
        }
    }

    pub fn last(&self) -> Option<&AttemptError> {
        self.errors.last()
    }

    pub fn write(&self) -> Vec<u8> {
        // Numbers and texts: nothing here can fail to be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What is none counts for nothing.
    pub fn read(record: &[u8]) -> Option<Attempts> {
        serde_json::from_slice(record).ok()
    }
}

/// The beginning of a text, lossily, up to so many bytes.
pub fn cut(text: &[u8], max_bytes: usize) -> Box<str> {
    let text = String::from_utf8_lossy(&text[..text.len().min(max_bytes + 4)]);
    let mut end = text.len().min(max_bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(attempt: u32, stack: usize) -> AttemptError {
        let stack = (stack > 0).then(|| "s".repeat(stack).into());
        AttemptError { attempt, message: "no \"host\"".into(), stack, worker: Some("w".into()), at_ms: 7 }
    }

    #[test]
    fn the_last_ten_errors_stay_and_the_others_are_counted() {
        let mut attempts = Attempts::default();
        for attempt in 1..=13 {
            attempts.add(error(attempt, 0));
        }
        assert_eq!((attempts.attempts, attempts.errors.len(), attempts.earlier), (13, 10, 3));
        assert_eq!((attempts.errors[0].attempt, attempts.last().unwrap().attempt), (4, 13));
        assert_eq!(Attempts::read(&attempts.write()), Some(attempts));
    }

    #[test]
    fn stacks_are_bounded_together() {
        let mut attempts = Attempts::default();
        for attempt in 1..=4 {
            attempts.add(error(attempt, 6 << 10));
        }
        let has: Vec<bool> = attempts.errors.iter().map(|error| error.stack.is_some()).collect();
        assert_eq!(has, [false, false, true, true]);
    }

    #[test]
    fn records_are_plain_json() {
        let mut attempts = Attempts::default();
        attempts.add(AttemptError { attempt: 1, message: "x".into(), at_ms: 5, ..AttemptError::default() });
        let text = r#"{"attempts":1,"errors":[{"attempt":1,"message":"x","at":5}]}"#;
        assert_eq!(String::from_utf8(attempts.write()).unwrap(), text);
        assert_eq!(Attempts::read(b"x"), None);
        assert_eq!(Attempts::read(br#"{"attempts":2,"later":1}"#).map(|read| read.attempts), Some(2));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(&*cut("abcdé".as_bytes(), 5), "abcd");
        assert_eq!(&*cut("abcdé".as_bytes(), 6), "abcdé");
        assert_eq!(&*cut(b"a\xffb", 10), "a\u{fffd}b");
        assert_eq!(&*cut(b"", 0), "");
    }
}

//! What Postgres is to be told of a row: kept in Redis, in the hash `…:queue:inbox:tell`, from the unit on that it is about
//! until Postgres has committed it.
//!
//! Invariant: what is told of a row is the last that happened to its job. An outcome replaces a fence; a job that goes on under
//! another claim, or is tried again after it had failed, replaces whatever was there with a fence.

/// One row's news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Telling {
    /// Its job has completed, or was removed: the row goes.
    Done,
    /// It has failed for good, or was refused: JSON, which the row keeps.
    Failed(Box<str>),
    /// It goes on: claims up to this token count no more, and a row that had failed is open again.
    Fence(u64),
}

/// What came of telling it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToldAs {
    /// The row is as it was told.
    Told,
    /// There is no such row: it was settled before, or somebody deleted it.
    Gone,
    /// `bear.complete` was there first, by this token; the JSON is its result.
    Completed { token: u64, result: Option<Box<str>> },
}

#[derive(serde::Serialize)]
struct Failure<'a> {
    message: &'a str,
    attempts: u32,
    at: u64,
}

impl Telling {
    /// Of a job that has failed for good, after so many attempts, at a Unix time in ms.
    pub fn failed(message: &str, attempts: u32, at_ms: u64) -> Telling {
        // jsonb knows no NUL.
        let message = &message.replace('\0', "\u{fffd}");
        // Texts and numbers are always JSON.
        Telling::Failed(serde_json::to_string(&Failure { message, attempts, at: at_ms }).unwrap_or_default().into())
    }

    /// As the hash holds it.
    pub fn write(&self) -> String {
        match self {
            Telling::Done => "done".to_owned(),
            Telling::Failed(error) => format!("failed {error}"),
            Telling::Fence(token) => format!("fence {token}"),
        }
    }

    /// None: another hand wrote it.
    pub fn read(text: &[u8]) -> Option<Telling> {
        let text = std::str::from_utf8(text).ok()?;
        match text.split_once(' ') {
            None => (text == "done").then_some(Telling::Done),
            Some(("failed", error)) => Some(Telling::Failed(error.into())),
            Some(("fence", token)) => token.parse().ok().map(Telling::Fence),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_as_written() {
        for telling in [Telling::Done, Telling::Failed(r#"{"message":"no  job"}"#.into()), Telling::Fence(1 << 52)] {
            assert_eq!(Telling::read(telling.write().as_bytes()), Some(telling));
        }
        let failed = Telling::failed("no \0 \"job\"", 3, 17);
        assert_eq!(failed.write(), "failed {\"message\":\"no \u{fffd} \\\"job\\\"\",\"attempts\":3,\"at\":17}");
        assert_eq!(Telling::read(failed.write().as_bytes()), Some(failed));
        for text in ["", "don", "done ", "fence", "fence x", "fence -1", "other x", "failed"] {
            assert_eq!(Telling::read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Telling::read(b"\xff"), None);
    }
}

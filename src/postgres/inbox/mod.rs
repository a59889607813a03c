//! The inbox: jobs that an application enqueues within its own transaction (schema/inbox.sql), as the thread `bear-inbox` reads
//! them and settles them.

/// Whether the rows of a section are ours to take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owned {
    Ours,
    /// Another data set of Redis was there within the last 30 seconds; it is asked again.
    Others {
        name: Box<str>,
    },
}

/// A row that is open no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// There is none: it was settled before, or somebody deleted it.
    Gone,
    /// `bear.complete` has completed it by this token; the JSON is its result.
    Done { space: Box<str>, token: u64, result: Option<Box<str>> },
    /// It is kept as failed: JSON.
    Failed { space: Box<str>, error: Box<str> },
}

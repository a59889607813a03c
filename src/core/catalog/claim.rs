//! Claimed jobs, as the catalog describes them: jobs that workers claim, carry out in any language, and acknowledge.

/// How a job is claimed, tried again and remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimSpec {
    /// How long a claim is held without a word of its worker.
    pub lease_ms: u64,
    /// All told: the first counts.
    pub attempts: u32,
    /// Before the next attempt.
    pub backoff: Backoff,
    /// The backoff is lengthened by a random share of up to so much: 0.2 is a fifth.
    pub jitter: f64,
    /// 1 to 10, 10 first.
    pub priority: u8,
    /// Which completed jobs are kept.
    pub keep: Keep,
    /// Which failed jobs are kept.
    pub keep_failed: Keep,
}

impl ClaimSpec {
    /// Where the catalog says nothing.
    pub const DEFAULT: ClaimSpec = ClaimSpec {
        lease_ms: 30_000,
        attempts: 3,
        backoff: Backoff::Exponential { base_ms: 2_000 },
        jitter: 0.0,
        priority: 5,
        keep: Keep::Default,
        keep_failed: Keep::Default,
    };
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backoff {
    /// Twice as long after each attempt.
    Exponential { base_ms: u64 },
    /// One for each attempt, the last one again and again; never empty.
    Steps(Box<[u64]>),
}

/// How many settled jobs of a type are kept, or how long, within the budgets of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Completed: the last 100 and those of the last minute. Failed: the last 500.
    Default,
    Jobs(u64),
    AgeMs(u64),
}

/// At most so many in any window of so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per_ms: u64,
}

/// None: without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limit {
    /// Claims at the same time.
    pub concurrency: Option<u32>,
    /// Claims that begin.
    pub rate: Option<Rate>,
}

/// Of a space.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    pub all: Limit,
    /// Of the jobs that share a value of the field.
    pub by: Option<(Box<str>, Limit)>,
}

/// A section that takes jobs of any name, with any JSON, beside those that it declares.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenJobs {
    /// Of all of them.
    pub claim: ClaimSpec,
    /// Keys of the payload, if that is an object: jobs that share a value are claimed one at a time, in their order.
    pub order: Vec<Box<str>>,
}

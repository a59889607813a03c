//! Claimed jobs: those that workers outside of Redis take, and say what came of.
//!
//! | file | what |
//! |---|---|
//! | `facts` | what a payload says of a job's order and group |
//! | `job` | a job as the policy knows it, and a claim |
//! | `queue` | one space's claimed jobs as its master hands them out: their states |
//! | `queue/lanes` | of those that share an order value, which one is next |
//! | `queue/limiter` | which groups a limit closes, and until when |
//! | `tally` | how many of a type are in which state, and whose they are |
//! | `ready` | which of those that could be claimed is the first |
//! | `place` | where a job stands among others |
//! | `limit` | how many are claimed at a time, and begun in a time |
//! | `token` | fencing tokens |
//! | `claimers` | clients that wait for a job, first come, first served |
//! | `turns` | spaces of a section that take turns |
//! | `seen` | who has claimed something lately |
//! | `backoff` | how long a job waits before its next attempt |
//! | `record` | how jobs and starts are written to streams, and what is counted |
//! | `set_limits` | limits that were set by command |
//! | `claim_record` | what is kept of a job that a worker holds |
//! | `attempts` | what is kept of its failed attempts |
//! | `log_line` | a line that a worker keeps with its job |
//! | `outcome` | what is kept of a settled job |
//! | `keep` | which records of settled jobs are kept |
//! | `json` | writes JSON objects without a tree of values |
//!
//! ```text
//! enqueued -> queue -> pick -> hold (a claim with a token) -> settle | give back | delay
//! ```
//!
//! A new state, or a new way from one to another: `queue` has the picture; `queue/model` tries every order.

pub mod attempts;
pub mod backoff;
pub mod claim_record;
pub mod claimers;
pub mod facts;
pub mod job;
pub mod json;
pub mod keep;
pub mod limit;
pub mod log_line;
pub mod outcome;
pub mod place;
pub mod queue;
pub mod ready;
pub mod record;
pub mod seen;
pub mod set_limits;
mod tally;
pub mod token;
pub mod turns;

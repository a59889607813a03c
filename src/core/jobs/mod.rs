//! Jobs: payloads, their order and lanes, batches, attempts and what is kept of them.
//!
//! | file | what |
//! |---|---|
//! | `batch` | what an applier is given and what it brings back |
//! | `history` | which records of completed jobs are kept |
//! | `job_id` | a job's id, which is its id in the stream |
//! | `inbox_id` | the same of a job that came through the inbox |
//! | `left_out` | jobs of one space that the main lane left out |
//! | `order_value` | values that tell jobs apart |
//! | `payload` | the payload of a job |
//! | `published` | up to where failures have been published |
//! | `queue` | one space's queue as its master schedules it |
//! | `rate` | how many things happened a second, over the last ten seconds |
//! | `record` | how jobs and their outcomes are written to streams |
//! | `refusals` | job types that Postgres refuses |
//! | `retry` | what a failure of Postgres means for the jobs in hand, and how long to wait before the next try |
//! | `scheduled` | whether jobs of schedules fit their section's |
//! | `suspects` | jobs under whose statement connections end |
//! | `traceparent` | the trace that a job belongs to |
//! | `waves` | cuts a batch into jobs that one statement applies together |
//!
//! ```text
//! enqueued -> queue (main lane) -> batch -> waves -> outcome
//!                  \-- left_out (side lane) --/
//! ```
//!
//! A new option of a job: `record` writes and reads it, `queue` schedules by it; `queue/model` tries every order.

pub mod batch;
pub mod history;
pub mod inbox_id;
pub mod job_id;
pub mod left_out;
pub mod order_value;
pub mod payload;
pub mod published;
pub mod queue;
pub mod rate;
pub mod record;
pub mod refusals;
pub mod retry;
pub mod scheduled;
pub mod suspects;
pub mod traceparent;
pub mod waves;

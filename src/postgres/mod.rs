//! Everything that speaks to Postgres. Knows no Redis.
//!
//! | room | what |
//! |---|---|
//! | `connect` | connections: what to connect to, sessions and their pool |
//! | `values` | values on their way there and back |
//! | `read` | results of queries, present values of rows |
//! | `apply` | jobs are applied, exactly once |
//! | `check` | a catalog's statements are tried |
//! | `propose` | a catalog is proposed for the database |
//! | `feed` | changes that others make are followed |
//! | `inbox` | jobs that others enqueue in Postgres are taken over, and settled |
//!
//! ```text
//! feed, propose -> check -> apply -> read -> connect -> values
//! inbox -> connect
//! ```

mod apply;
mod check;
mod connect;
mod feed;
mod inbox;
mod propose;
mod read;
#[cfg(test)]
pub(crate) mod tests;
mod values;

pub use self::apply::answer::JobStatement;
pub use self::apply::applier::{Applier, ApplierControl, ApplierEvent};
pub use self::check::validation::{
    CatalogFile, JobHints, JobOf, StatementKind, ValidateStatement, Validation, ValidationReport,
};
pub use self::connect::identity::ServerIdentity;
pub use self::connect::pool::{stopping, Pool, PoolEvent, PoolFigures, Tracker};
pub use self::connect::scheduler::{Scheduler, SchedulerWatch};
pub use self::connect::settings::{check_url, mask, Settings, UrlSource};
pub use self::propose::asked::{Asked, Known, Proposal, ProposalError, Statement};
pub use self::read::rows::PresentRequest;
pub use feed::FeedKind;
pub use feed::{follow, FeedControl, FeedError, FeedSettings, InboxSign};
pub use inbox::{CatalogJob, Found, Holding, InboxError, InboxLink, Linked, Listing, OpenRow, Owned, Settled};

//! A catalog for tables. The text is made on the thread that asks.

use std::time::Instant;

use super::asked::ProposalError;
use super::snapshot;
use crate::core::propose::facts::{Database, Feed};
use crate::core::propose::{propose, Wanted};
use crate::postgres::connect::pool::Pool;

impl Pool {
    pub(super) fn propose_tables(
        &self,
        wanted: &Wanted,
        feed: Feed,
        deadline: Instant,
    ) -> Result<String, ProposalError> {
        let (_, database) = self.with_session(deadline, 0, |numbered| {
            let session = &mut numbered.session;
            let database = snapshot::take(session);
            session.roll_back()?;
            database
        });
        propose(&Database { feed, ..database? }, wanted).map_err(|error| ProposalError::Refused(error.to_string()))
    }
}

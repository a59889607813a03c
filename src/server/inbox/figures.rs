//! The inbox in INFO.

use crate::redis_api::InfoWriter;
use crate::server::Server;

/// Since the module was loaded.
#[derive(Debug, Default, Clone, Copy)]
pub struct Totals {
    /// Rows that became jobs, those that could be none, those that Postgres was told of, and those that were settled there.
    pub taken: u64,
    pub refused: u64,
    pub told: u64,
    pub completed_there: u64,
    /// From when it was written to when it became a job, of the last row, by the clocks of both.
    pub lag_ms: u64,
}

impl Server {
    pub(in crate::server) fn write_inbox(&self, info: &InfoWriter) {
        let inbox = &self.inbox;
        info.text("inbox_state", inbox.link.state().name());
        if let Some(error) = inbox.link.error() {
            info.text("inbox_last_error", error);
        }
        info.number("inbox_sections", inbox.link.owned_len());
        info.number("inbox_sections_of_others", inbox.link.others().len() as u64);
        info.number("inbox_taken", inbox.totals.taken);
        info.number("inbox_refused", inbox.totals.refused);
        info.number("inbox_told", inbox.totals.told);
        info.number("inbox_completed_there", inbox.totals.completed_there);
        info.number("inbox_untold", (inbox.untold.len() + inbox.telling.len()) as u64);
        info.number("inbox_unverified", self.claims.unverified_len());
        info.number("inbox_spaces_passed_over", inbox.full.len() as u64);
        info.number("inbox_lag_ms", inbox.totals.lag_ms);
        info.number("inbox_polls", self.workers.inbox().map_or(0, |thread| thread.figures().polls));
    }
}

//! Figures of the inbox.

use crate::core::metrics::figures::Figures;
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
    /// Why it is not read.
    pub(in crate::server) fn inbox_error(&self) -> Option<&str> {
        self.inbox.link.error()
    }

    /// All but the jobs that wait for Postgres' word, which are counted with the spaces.
    pub(in crate::server) fn inbox_figures(&self) -> Figures {
        let inbox = &self.inbox;
        let mut figures = Figures::default();
        figures.text("inbox_state", inbox.link.state().name());
        if let Some(error) = inbox.link.error() {
            figures.text("inbox_last_error", error);
        }
        figures.numbers([
            ("inbox_sections", inbox.link.owned_len()),
            ("inbox_sections_of_others", inbox.link.others().len() as u64),
            ("inbox_taken", inbox.totals.taken),
            ("inbox_refused", inbox.totals.refused),
            ("inbox_told", inbox.totals.told),
            ("inbox_completed_there", inbox.totals.completed_there),
            ("inbox_untold", (inbox.untold.len() + inbox.telling.len()) as u64),
            ("inbox_spaces_passed_over", inbox.full.len() as u64),
            ("inbox_lag_ms", inbox.totals.lag_ms),
            ("inbox_polls", self.workers.inbox().map_or(0, |thread| thread.figures().polls)),
        ]);
        figures
    }
}

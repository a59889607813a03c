//! BEAR.LOG, BEAR.LOGS: lines that a worker keeps with its job.

use super::not_built;
use crate::redis_api::Context;
use crate::server::Server;

impl Server {
    /// BEAR.LOG; the text is at most 4 KB.
    pub fn log_line(
        &mut self,
        _ctx: Context,
        _space: &[u8],
        _id: &[u8],
        _token: &[u8],
        _text: &[u8],
    ) -> Result<(), String> {
        not_built()
    }

    /// BEAR.LOGS: the lines after a number.
    pub fn log_lines(
        &mut self,
        _ctx: Context,
        _space: &[u8],
        _id: &[u8],
        _count: usize,
        _after: Option<u64>,
    ) -> Result<(), String> {
        not_built()
    }
}

//! What operators do with jobs that workers claim: BEAR.PROMOTE, BEAR.CLEAN, BEAR.CANCEL, BEAR.UPDATE, BEAR.LIMITQUEUE.

use super::not_built;
use crate::core::catalog::claim::Rate;
use crate::redis_api::Context;
use crate::server::{ListedState, Server};

/// Which delayed jobs become due.
#[expect(dead_code, reason = "promoting is not built yet")]
pub enum PromoteTarget<'a> {
    All,
    Job(&'a [u8]),
}

/// What a queue's limits are to be.
#[expect(dead_code, reason = "limits are not built yet")]
pub enum LimitRequest<'a> {
    /// Those of the catalog.
    Default,
    /// At least one of the two, of the whole queue or of each value of a field. `Some(None)`: no limit.
    Set { by: Option<&'a [u8]>, concurrency: Option<Option<u32>>, rate: Option<Option<Rate>> },
}

impl Server {
    /// BEAR.PROMOTE.
    pub fn promote(&mut self, _ctx: Context, _space: &[u8], _target: &PromoteTarget) -> Result<(), String> {
        not_built()
    }

    /// BEAR.CLEAN of any state but `active`.
    pub fn clean(
        &mut self,
        _ctx: Context,
        _space: &[u8],
        _state: ListedState,
        _older_ms: Option<u64>,
        _count: Option<u64>,
    ) -> Result<(), String> {
        not_built()
    }

    /// BEAR.CANCEL; the message is at most 2 KB.
    pub fn cancel(&mut self, _ctx: Context, _space: &[u8], _id: &[u8], _message: Option<&[u8]>) -> Result<(), String> {
        not_built()
    }

    /// BEAR.UPDATE.
    pub fn update_job(&mut self, _ctx: Context, _space: &[u8], _id: &[u8], _json: &[u8]) -> Result<(), String> {
        not_built()
    }

    /// BEAR.LIMITQUEUE.
    pub fn limit_queue(&mut self, _ctx: Context, _space: &[u8], _request: &LimitRequest) -> Result<(), String> {
        not_built()
    }
}

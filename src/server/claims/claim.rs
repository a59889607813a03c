//! BEAR.CLAIM: the first jobs that may be begun are handed to a worker.

use super::not_built;
use crate::redis_api::Context;
use crate::server::{Server, Words};

/// What a worker asks for.
#[expect(dead_code, reason = "claiming is not built yet")]
pub struct ClaimRequest<'a> {
    /// Job types; none: any.
    pub jobs: Words<'a>,
    pub count: usize,
    pub lease_ms: Option<u64>,
    /// Wait for a job, at most so long; 0: for ever.
    pub block_ms: Option<u64>,
    /// 1 to 128 bytes of UTF-8.
    pub worker: Option<&'a [u8]>,
}

impl Server {
    /// BEAR.CLAIM.
    pub fn claim(&mut self, _ctx: Context, _space: &[u8], _request: &ClaimRequest) -> Result<(), String> {
        not_built()
    }
}

//! BEAR.ACK, BEAR.FAIL, BEAR.RELEASE: how a claim ends by its worker's word.

use super::not_built;
use crate::redis_api::Context;
use crate::server::Server;

/// Why a job failed, and how it goes on.
#[expect(dead_code, reason = "failing is not built yet")]
pub struct FailRequest<'a> {
    pub id: &'a [u8],
    pub token: &'a [u8],
    /// At most 2 KB, and `stack` 16 KB: longer ones have been cut.
    pub message: &'a [u8],
    pub stack: Option<&'a [u8]>,
    /// No attempt is left, however many there are; then without `backoff_ms`.
    pub is_final: bool,
    pub backoff_ms: Option<u64>,
}

impl Server {
    /// BEAR.ACK of at least one id with its token; `result`, JSON that is not checked yet, comes with one alone.
    pub fn ack(
        &mut self,
        _ctx: Context,
        _space: &[u8],
        _pairs: &[(&[u8], &[u8])],
        _result: Option<&[u8]>,
    ) -> Result<(), String> {
        not_built()
    }

    /// BEAR.FAIL.
    pub fn fail(&mut self, _ctx: Context, _space: &[u8], _request: &FailRequest) -> Result<(), String> {
        not_built()
    }

    /// BEAR.RELEASE.
    pub fn release(&mut self, _ctx: Context, _space: &[u8], _id: &[u8], _token: &[u8]) -> Result<(), String> {
        not_built()
    }
}

//! BEAR.EXTEND: a worker needs longer, and says how far it is.

use super::not_built;
use crate::redis_api::Context;
use crate::server::Server;

impl Server {
    /// BEAR.EXTEND; `progress` is at most 4 KB, and not checked yet to be JSON.
    pub fn extend_claim(
        &mut self,
        _ctx: Context,
        _space: &[u8],
        _id: &[u8],
        _token: &[u8],
        _lease_ms: Option<u64>,
        _progress: Option<&[u8]>,
    ) -> Result<(), String> {
        not_built()
    }
}

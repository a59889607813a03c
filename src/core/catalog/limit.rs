//! A limit with a name, which BEAR.LIMIT asks: `[api.limit.search]`.

use super::claim::Rate;
use crate::core::limits::quota::Quota;

/// Bytes of a limit's name.
const MAX_NAME: usize = 64;

/// What stands under `limit` in its own right, and so is no name.
const RESERVED: [&str; 5] = ["by", "concurrency", "rate", "burst", "name"];

#[derive(Debug, Clone, PartialEq)]
pub struct NamedLimit {
    pub name: Box<str>,
    /// How many may come at once beyond the first.
    pub burst: u64,
    pub rate: Rate,
    pub quota: Quota,
}

/// Why a limit cannot be called that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitNameError {
    #[error("a limit's name is letters, digits, _ and -, of at most {MAX_NAME} bytes")]
    Characters,
    #[error("a limit cannot be called by, concurrency, rate, burst or name, which are reserved")]
    Reserved,
}

pub(in crate::core) fn check_name(name: &str) -> Result<(), LimitNameError> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(is_part) {
        return Err(LimitNameError::Characters);
    }
    match is_reserved(name) {
        true => Err(LimitNameError::Reserved),
        false => Ok(()),
    }
}

pub(in crate::core) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

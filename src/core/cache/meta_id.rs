//! The number of a metadata set, which costs an entry four bytes where the name would cost forty.

/// Number of a metadata set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetaId(pub(in crate::core) u32);

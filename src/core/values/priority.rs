//! Which of the jobs that workers claim is handed out first.

/// 1 and more; the greatest is first.
pub type Priority = u32;

/// Also the greatest number that an `integer` of Postgres holds.
pub const MAX_PRIORITY: Priority = i32::MAX as u32;

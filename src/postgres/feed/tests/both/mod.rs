//! What both kinds of feed tell alike, by the same tests.

/// Makes tests of functions that take the kind of feed: one for each kind.
macro_rules! for_both_kinds {
    ($($test:ident),+ $(,)?) => {
        mod wal {
            $(#[test]
            fn $test() {
                super::$test(crate::postgres::FeedKind::Wal);
            })+
        }

        mod outbox {
            $(#[test]
            fn $test() {
                super::$test(crate::postgres::FeedKind::Outbox);
            })+
        }
    };
}

mod answers;
mod changes;
mod columns;
mod faults;
mod links;
mod speed;

use super::*;

//! Faults that tests of the checkers (freshness, claimed jobs) put into the module, to see that a checker finds them; nothing
//! at all in a release build.
//!
//! `BEAR_MUTATION=name`:
//!
//! | name | what goes wrong |
//! |---|---|
//! | `no-strike-check` | a struck fill is stored all the same |
//! | `publish-before-tracking` | an entry is stored without its metadata and without its dependent |
//! | `no-predicate-index` | nothing is found in which a changed row belongs now |
//! | `join-struck` | who comes after a strike is answered with what was fetched before it |
//! | `own-transactions-whole` | the feed leaves out all that a job's transaction has changed, told by the job or not |
//! | `ignore-a-column` | of the columns that somebody reads, a change of the last counts as none |
//! | `no-link-moves` | a row that is gone or has moved, by which a SELECT of `tables` found others, concerns nothing |
//! | `no-answers-digest` | the feed passes over DDL by which the same rows give other answers |
//! | `lease-no-strike` | a value whose lease was struck is stored all the same |
//! | `lease-late-put` | a value that comes when its lease is over is stored |
//! | `over-slots` | in a cluster a result is stored though nobody tells its node of rows in another slot |
//! | `no-cold-start` | what an earlier process or master stored is served |
//! | `ack-any-token` | whoever names a claimed job may end its claim |
//! | `ended-claim-stays` | a claim that failed, or whose lease has ended, stays in its record |
//! | `handed-out-twice` | a job that was handed out is handed out again |
//! | `no-claim-record` | a claim is not written |
//! | `one-claim-more` | a limit of concurrency lets one more through |
//! | `half-lease` | a lease ends when half of it is over |
//! | `tokens-by-clock` | a process takes its first token from the clock alone |
//! | `starts-forgotten` | rates begin anew with each process |
//! | `inbox-row-stays` | a job's transaction leaves the job's row in bear.inbox, and does not look whether it was there |
//! | `inbox-taken-twice` | a row that has become a job becomes another one when all rows are looked at |
//! | `inbox-told-early` | a row is told of as done as soon as it is a job |
//! | `inbox-no-fence` | tokens of claims that have ended stay in force for bear.complete |
//! | `no-order` | jobs of one order are claimed as if they had none |
//! | `locks-forgotten` | a process takes every lock that an earlier one has granted for free |
//! | `unlock-any-token` | whoever names a lock gives it back |
//! | `panic-aside`, `panic-when-done-aside` | what is done aside panics, before or after (no checker finds it) |

/// Is this the mutation that was asked for?
#[inline]
pub fn is(name: &str) -> bool {
    #[cfg(debug_assertions)]
    return asked::mutation() == Some(name);
    #[cfg(not(debug_assertions))]
    {
        let _ = name;
        false
    }
}

/// Panics if that was asked for, without the noise by which tests find a crash in a log.
#[inline]
pub fn panic_if(name: &'static str) {
    if is(name) {
        std::panic::resume_unwind(Box::new(name));
    }
}

#[cfg(debug_assertions)]
mod asked {
    use std::sync::OnceLock;

    static MUTATION: OnceLock<Option<String>> = OnceLock::new();

    pub(super) fn mutation() -> Option<&'static str> {
        MUTATION.get_or_init(|| std::env::var("BEAR_MUTATION").ok()).as_deref()
    }
}

//! Locks of any space, and limits.
//!
//! | file | what |
//! |---|---|
//! | `lock` | BEAR.LOCK, BEAR.UNLOCK, BEAR.EXTENDLOCK |
//! | `grant` | a lock becomes somebody's: its token and its key |
//! | `serve` | clients that wait for a lock; times that are over; ticks |
//! | `lifecycle` | what load, promotion, demotion, flushes and other hands mean |
//! | `limit` | BEAR.LIMIT |
//!
//! Who holds what is known twice. In memory ([`crate::core::locks::holders`]), by a clock that does not step, for as long as the
//! process is the dataset's master: that decides. And in the key, by Unix time, from which the next process, or the replica that is
//! promoted, reads it. What is not in memory is looked up in its key.
//!
//! **Invariants.** A lock is written before anybody is told of it, in the unit of the command or tick. Clients that wait are granted
//! a lock in ticks alone, where they are answered in the same moment: nobody is granted one who has gone. A key that another hand
//! has put in place of ours is not written to.
//!
//! A limit has no memory here: its key is all there is.

mod grant;
mod lifecycle;
mod limit;
mod lock;
mod serve;

use std::collections::BTreeMap;
use std::time::Instant;

pub use limit::LimitBy;
pub use lock::LockRequest;

use crate::core::claims::token::Tokens;
use crate::core::locks::holders::Locks as Policy;
use crate::server::cache::waiting::Waiting;

/// Everything about locks but their keys.
pub struct Locks {
    policy: Policy,
    /// By the prefix of the space's keys.
    tokens: BTreeMap<Box<[u8]>, Tokens>,
    /// The greatest token that was handed out, of any space.
    greatest_token: u64,
    /// Who waits, and what for.
    clients: Waiting,
    wishes: BTreeMap<u64, serve::Wish>,
    /// Of the monotonic microseconds.
    origin: Instant,
    figures: Figures,
}

/// For INFO, since the module was loaded.
#[derive(Debug, Default, Clone, Copy)]
pub struct Figures {
    pub granted: u64,
    pub given_back: u64,
    pub expired: u64,
    pub asked: u64,
    pub limited: u64,
}

impl Locks {
    pub fn new() -> Locks {
        Locks {
            policy: Policy::default(),
            tokens: BTreeMap::new(),
            greatest_token: 0,
            clients: Waiting::default(),
            wishes: BTreeMap::new(),
            origin: Instant::now(),
            figures: Figures::default(),
        }
    }

    /// Monotonic: how long a lock is held goes by it.
    fn now_us(&self) -> u64 {
        self.origin.elapsed().as_micros() as u64
    }

    /// Prefixes of spaces in which somebody waits for a lock.
    pub(in crate::server) fn awaited(&self) -> impl Iterator<Item = &[u8]> {
        self.wishes.values().map(|wish| &*wish.prefix)
    }

    pub fn figures(&self) -> [(&'static str, u64); 7] {
        let Figures { granted, given_back, expired, asked, limited } = self.figures;
        [
            ("locks_held", self.policy.held_len() as u64),
            ("locks_waiting", self.policy.waiting_len() as u64),
            ("locks_granted", granted),
            ("locks_given_back", given_back),
            ("locks_expired", expired),
            ("limits_asked", asked),
            ("limits_limited", limited),
        ]
    }
}

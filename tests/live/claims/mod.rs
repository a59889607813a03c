//! Jobs that workers claim: who holds one, for how long, what becomes of it, and what an operator may do.

mod age;
mod blocked;
mod cancel;
mod clean;
mod clock;
mod fair;
mod hands;
mod hold;
mod limits;
mod lists;
mod logs;
mod page;
mod promote;
mod replication;
mod restart;
mod retry;
mod slices;
mod stats;
mod tokens;
mod update;
mod views;
mod words;

//! Jobs that workers claim: who holds one, for how long, what becomes of it, and what an operator may do.

mod cancel;
mod clean;
mod hold;
mod limits;
mod logs;
mod page;
mod promote;
mod slices;
mod tokens;
mod update;
mod words;

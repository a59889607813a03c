//! Jobs that workers claim: who holds one, for how long, what becomes of it, and what an operator may do.

mod page;
mod words;

//! Limits: how often something may be done, by the generic cell rate algorithm (GCRA).
//!
//! | file | what |
//! |---|---|
//! | `quota` | a limit, and what it says to somebody who asks |

pub mod quota;

//! Expensive runs: who runs next, on which thread, with whom.

pub mod scheduler;
pub mod workers;

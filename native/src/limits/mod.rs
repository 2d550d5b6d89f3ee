//! Known callers, their rates and their usage.

pub mod callers;
pub mod limiter;
pub mod usage;

//! Known callers, their rates and their usage.

pub mod bucket;
pub mod callers;
pub mod gcra;
pub mod lease;
pub mod limiter;
pub mod rate;
pub mod recognized;
pub mod usage;
pub mod wakeup;

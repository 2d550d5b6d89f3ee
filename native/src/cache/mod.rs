//! The two cache levels.

pub mod benefit;
pub mod breaker;
pub mod memory;
pub mod redis;
pub mod signed;

//! Expensive runs: which model runs next, on which thread, with which other rows.

pub mod error;
pub mod job;
pub mod pool;
pub mod run;
pub mod scheduler;
pub mod single_flight;
pub mod watchdog;
pub mod workers;

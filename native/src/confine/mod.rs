//! Locks a process in before it reads what is hostile.

pub mod process;

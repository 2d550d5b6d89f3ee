//! Loaded versions: sessions, measuring, running.

pub mod memory;
pub mod runtime;
pub mod signature;
pub mod version;

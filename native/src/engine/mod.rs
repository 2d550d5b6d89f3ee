//! Loaded versions: sessions, measuring, running.

pub mod batch;
pub mod measure;
pub mod memory;
pub mod runtime;
pub mod session;
pub mod signature;
pub mod version;

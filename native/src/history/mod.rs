//! What was predicted, for Python to record.

pub mod record;
pub mod ring;

//! What Python may call: typed arguments in, GIL released, plain Rust called, values out.

pub mod callers;
pub mod data_plane;
pub mod front;
pub mod history;
pub mod models;
pub mod predictor;
pub mod rates;
pub mod refusal;

//! The path of a prediction.

pub mod encode;
pub mod path;
pub mod routes;
pub mod rows;

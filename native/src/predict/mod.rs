//! The path of a prediction.

pub mod account;
pub mod answer;
pub mod cached;
pub mod columns;
pub mod csv;
pub mod decoded;
pub mod deferred;
pub mod encode;
pub mod json;
pub mod path;
pub mod prediction;
pub mod request;
pub mod resolve;
pub mod routes;
pub mod rows;

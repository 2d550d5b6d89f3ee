//! Whether an ONNX graph may run at all.

pub mod check;
pub mod ensembles;
pub mod onnx;
pub mod protobuf;

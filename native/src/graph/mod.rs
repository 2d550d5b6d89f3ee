//! Whether an ONNX graph may run at all.

pub mod check;
pub mod demand;
pub mod ensembles;
pub mod loops;
pub mod onnx;
pub mod operators;
pub mod probes;
pub mod protobuf;
pub mod shapes;

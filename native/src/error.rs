//! Rust errors → Python exceptions, and the ways in which a prediction stops.

use pyo3::create_exception;
use pyo3::exceptions::{PyKeyError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

create_exception!(
    serval._native,
    GraphError,
    PyValueError,
    "The ONNX holds what Serval never runs; the message names the node and the rule."
);
create_exception!(
    serval._native,
    LoadError,
    PyRuntimeError,
    "ONNX Runtime refused the model, or its inputs and outputs are not those of the signature."
);

/// What went wrong on our side of the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The graph holds what is never run.
    Graph(String),
    /// ONNX Runtime refused, or the graph is not what its signature says.
    Load(String),
    /// No version of this id is loaded.
    NotLoaded(String),
    /// An argument that only a mistake of ours can make.
    Argument(String),
}

impl Fault {
    pub fn load(message: impl Into<String>) -> Self {
        Self::Load(message.into())
    }

    pub fn argument(message: impl Into<String>) -> Self {
        Self::Argument(message.into())
    }
}

impl From<Fault> for PyErr {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Graph(message) => GraphError::new_err(message),
            Fault::Load(message) => LoadError::new_err(message),
            Fault::NotLoaded(version) => PyKeyError::new_err(version),
            Fault::Argument(message) => PyValueError::new_err(message),
        }
    }
}

/// A "no" with its reason, which Python renders as a problem.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    pub arguments: Vec<(&'static str, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    UnknownCaller,
    Forbidden,
    UnknownModel,
    UnknownVersion,
    AmbiguousSelector,
    NoProbabilities,
    ModelLoading,
    TooManyRows,
    QueueFull,
    OutOfTime,
    TooLate,
    RanAway,
    RateLimited,
    QuotaExceeded,
}

impl Code {
    pub const ALL: [Self; 14] = [
        Self::UnknownCaller,
        Self::Forbidden,
        Self::UnknownModel,
        Self::UnknownVersion,
        Self::AmbiguousSelector,
        Self::NoProbabilities,
        Self::ModelLoading,
        Self::TooManyRows,
        Self::QueueFull,
        Self::OutOfTime,
        Self::TooLate,
        Self::RanAway,
        Self::RateLimited,
        Self::QuotaExceeded,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownCaller => "unknown_caller",
            Self::Forbidden => "forbidden",
            Self::UnknownModel => "unknown_model",
            Self::UnknownVersion => "unknown_version",
            Self::AmbiguousSelector => "ambiguous_selector",
            Self::NoProbabilities => "no_probabilities",
            Self::ModelLoading => "model_loading",
            Self::TooManyRows => "too_many_rows",
            Self::QueueFull => "queue_full",
            Self::OutOfTime => "out_of_time",
            Self::TooLate => "too_late",
            Self::RanAway => "ran_away",
            Self::RateLimited => "rate_limited",
            Self::QuotaExceeded => "quota_exceeded",
        }
    }

    pub fn because(self, arguments: Vec<(&'static str, String)>) -> Refusal {
        Refusal { code: self, arguments }
    }
}

//! Why rows were not run.

use crate::error::{Fault, Refusal};

#[derive(Debug)]
pub enum ComputeError {
    Refused(Refusal),
    Failed(Fault),
}

impl From<Refusal> for ComputeError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for ComputeError {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

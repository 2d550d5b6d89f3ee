//! What Python may call, and nothing else.

mod cache;
mod clock;
mod compute;
mod confine;
mod engine;
mod error;
mod front;
#[cfg(test)]
mod fuzz;
mod graph;
mod history;
mod http_counters;
mod ids;
mod limits;
mod metrics;
mod plane;
mod predict;
mod python;
mod sync;

use mimalloc::MiMalloc;
use pyo3::prelude::*;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::confine::process::{ConfinementError, adopt_orphans, confine, confinement_support, restrict_files};
    #[pymodule_export]
    use crate::error::{GraphError, LoadError};
    #[pymodule_export]
    use crate::graph::check::check_graph;
    #[pymodule_export]
    use crate::history::record::PredictionRecord;
    #[pymodule_export]
    use crate::python::callers::Callers;
    #[pymodule_export]
    use crate::python::data_plane::DataPlane;
    #[pymodule_export]
    use crate::python::front::{Front, certificate_expiry};
    #[pymodule_export]
    use crate::python::history::History;
    #[pymodule_export]
    use crate::python::models::{LoadedVersion, Models, Outputs};
    #[pymodule_export]
    use crate::python::predictor::{Answer, Deferred, NeedsPython, Predictor};
    #[pymodule_export]
    use crate::python::rates::{RateState, Rates};
    #[pymodule_export]
    use crate::python::refusal::Refusal;
}

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
    use crate::history::record::Seen;
    #[pymodule_export]
    use crate::python::data_plane::{
        Answer, DataPlane, Front, FrontLimits, Later, Loaded, NotMine, Outputs, RateState, Refusal, Route,
        certificate_expiry,
    };
}

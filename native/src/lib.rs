//! What Python may call, and nothing else.

mod answer;
mod breaker;
mod cache;
mod callers;
mod clock;
mod compute;
mod confine;
mod connection;
mod encode;
mod engine;
mod ensembles;
mod error;
mod forward;
mod front;
#[cfg(test)]
mod fuzz;
mod graph;
mod head;
mod history;
mod http2;
mod ids;
mod listener;
mod memory;
mod meters;
mod metrics;
mod onnx;
mod plane;
mod protobuf;
mod rates;
mod redis;
mod routes;
mod rows;
mod runtime;
mod seal;
mod signature;
mod tell;
mod templates;
mod tls;
mod turns;
mod watch;
mod worth;

use mimalloc::MiMalloc;
use pyo3::prelude::*;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::confine::{ConfinementError, adopt_orphans, confine, confinement_support, restrict_files};
    #[pymodule_export]
    use crate::error::{GraphError, LoadError};
    #[pymodule_export]
    use crate::graph::check_graph;
    #[pymodule_export]
    use crate::history::Seen;
    #[pymodule_export]
    use crate::plane::{
        Answer, DataPlane, Front, FrontLimits, Later, Loaded, NotMine, Outputs, RateState, Refusal, Route, certificate_expiry,
    };
}

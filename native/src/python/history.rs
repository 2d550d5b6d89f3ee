//! What was predicted, for Python to take.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::history::record::PredictionRecord;
use crate::plane::Plane;

#[pyclass(frozen, module = "serval._native")]
pub struct History(pub Arc<Plane>);

#[pymethods]
impl History {
    fn drain(&self, py: Python<'_>, limit: usize) -> Vec<PredictionRecord> {
        py.detach(|| self.0.history.drain(limit))
    }
}

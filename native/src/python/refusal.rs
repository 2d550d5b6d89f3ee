//! Refusals as Python sees them.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error;

#[pyclass(frozen, get_all, module = "serval._native")]
pub struct Refusal {
    code: &'static str,
    arguments: Py<PyDict>,
}

impl Refusal {
    pub fn new(py: Python<'_>, refusal: error::Refusal) -> PyResult<Self> {
        let arguments = PyDict::new(py);
        for (name, value) in refusal.arguments {
            arguments.set_item(name, value)?;
        }
        Ok(Self { code: refusal.code.name(), arguments: arguments.unbind() })
    }
}

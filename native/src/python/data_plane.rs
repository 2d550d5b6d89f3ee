//! The data plane as Python holds it: made from settings, used through its handles.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::compute::scheduler::QueueLimits;
use crate::engine::runtime;
use crate::engine::version::Version;
use crate::error::Fault;
use crate::history::ring;
use crate::http_counters;
use crate::metrics::{Gauges, LoadedGauges};
use crate::plane::{Plane, Settings};
use crate::python::callers::Callers;
use crate::python::front::{CertificatePair, Front, FrontSettings, RefusalTemplate};
use crate::python::history::History;
use crate::python::models::Models;
use crate::python::predictor::Predictor;
use crate::python::rates::Rates;

#[pyclass(frozen, module = "serval._native")]
pub struct DataPlane {
    plane: Arc<Plane>,
    #[pyo3(get)]
    models: Py<Models>,
    #[pyo3(get)]
    callers: Py<Callers>,
    #[pyo3(get)]
    rates: Py<Rates>,
    #[pyo3(get)]
    predictor: Py<Predictor>,
    #[pyo3(get)]
    history: Py<History>,
}

/// `serval.data_plane.settings.PlaneSettings`.
#[derive(FromPyObject)]
struct PlaneSettings {
    runtime_library: PathBuf,
    cache_bytes: u64,
    cache_ttl_seconds: f64,
    cache_url: Option<String>,
    cache_secret: Option<Vec<u8>>,
    cache_l2_ttl_seconds: f64,
    inline_below_seconds: f64,
    max_rows: usize,
    threads: usize,
    timeout_seconds: f64,
    max_queued: usize,
    max_queued_per_model: usize,
    caller_age_seconds: f64,
    history_capacity: usize,
    history_sample: f64,
    keeps_inputs: bool,
    log_sample: f64,
    slow_seconds: f64,
}

impl TryFrom<PlaneSettings> for Settings {
    type Error = Fault;

    fn try_from(settings: PlaneSettings) -> Result<Self, Fault> {
        Ok(Self {
            cache_bytes: settings.cache_bytes,
            cache_ttl_seconds: settings.cache_ttl_seconds,
            cache_l2_ttl_seconds: settings.cache_l2_ttl_seconds,
            cache_url: settings.cache_url,
            cache_secret: settings.cache_secret.map(secret).transpose()?,
            inline_below_seconds: settings.inline_below_seconds,
            max_rows: settings.max_rows,
            caller_age_seconds: settings.caller_age_seconds,
            compute: QueueLimits {
                threads: settings.threads,
                max_waiting: settings.max_queued,
                max_waiting_per_model: settings.max_queued_per_model,
                timeout_seconds: settings.timeout_seconds,
            },
            history: ring::Settings {
                capacity: settings.history_capacity,
                sample: settings.history_sample,
                log_sample: settings.log_sample,
                slow_seconds: settings.slow_seconds,
                keeps_inputs: settings.keeps_inputs,
            },
        })
    }
}

fn secret(bytes: Vec<u8>) -> Result<[u8; 32], Fault> {
    bytes.try_into().map_err(|_| Fault::argument("the secret of the cache: expected 32 bytes"))
}

#[pymethods]
impl DataPlane {
    #[new]
    fn new(py: Python<'_>, settings: PlaneSettings) -> PyResult<Self> {
        let plane = Arc::new(py.detach(|| {
            runtime::open(Path::new(&settings.runtime_library))?;
            Plane::new(settings.try_into()?)
        })?);
        Ok(Self {
            models: Py::new(py, Models(plane.clone()))?,
            callers: Py::new(py, Callers(plane.clone()))?,
            rates: Py::new(py, Rates(plane.clone()))?,
            predictor: Py::new(py, Predictor(plane.clone()))?,
            history: Py::new(py, History(plane.clone()))?,
            plane,
        })
    }

    #[allow(clippy::too_many_arguments, reason = "all that the port needs")]
    fn start_front(
        &self,
        descriptor: i32,
        app_socket: PathBuf,
        settings: FrontSettings,
        refusals: Vec<RefusalTemplate>,
        placeholders: HashMap<String, String>,
        live: Vec<u8>,
        certificate: Option<CertificatePair>,
    ) -> PyResult<Front> {
        Ok(Front::open(&self.plane, descriptor, &app_socket, &settings, refusals, &placeholders, live, certificate)?)
    }

    #[pyo3(signature = (owner = None))]
    fn metrics<'py>(&self, py: Python<'py>, owner: Option<&str>) -> Bound<'py, PyBytes> {
        let text = py.detach(|| {
            let mut text = self.plane.metrics.text(&gauges(&self.plane), owner);
            if let (Some(redis), None) = (&self.plane.redis, owner) {
                redis.write_metrics(&mut text);
            }
            text
        });
        PyBytes::new(py, text.as_bytes())
    }

    fn http_requests(&self) -> Vec<http_counters::Sample> {
        self.plane.metrics.http.samples()
    }

    fn shared_cache_state(&self) -> &'static str {
        self.plane.redis.as_ref().map_or("off", |redis| redis.state())
    }
}

fn gauges(plane: &Plane) -> Gauges {
    let figures = |version: &Arc<Version>| LoadedGauges {
        id: version.id.to_string(),
        resident_bytes: version.footprint.resident_bytes,
        load_seconds: version.footprint.load_seconds,
    };
    let mut loaded: Vec<LoadedGauges> = plane.engine.loaded().iter().map(figures).collect();
    loaded.sort_by(|one, other| one.id.cmp(&other.id));
    Gauges {
        cache_bytes: plane.cache.bytes(),
        cache_entries: plane.cache.entries(),
        cache_evictions: plane.cache.evictions(),
        history_dropped: plane.history.dropped(),
        loaded,
    }
}

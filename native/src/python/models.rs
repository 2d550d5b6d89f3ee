//! Loaded versions, and the routes that lead to them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyBytes;

use crate::engine::batch::Batch;
use crate::engine::signature::{Float, Signature};
use crate::engine::version::Version;
use crate::error::Fault;
use crate::plane::Plane;
use crate::predict::routes::{self, Levels};

#[pyclass(frozen, module = "serval._native")]
pub struct Models(pub Arc<Plane>);

#[pyclass(frozen, get_all, module = "serval._native")]
pub struct LoadedVersion {
    tile: usize,
    fixed_seconds: f64,
    row_seconds: f64,
    resident_bytes: u64,
    load_seconds: f64,
}

impl From<&Version> for LoadedVersion {
    fn from(version: &Version) -> Self {
        let (measured, footprint) = (version.measured, version.footprint);
        Self {
            tile: measured.tile,
            fixed_seconds: measured.fixed_seconds,
            row_seconds: measured.row_seconds,
            resident_bytes: footprint.resident_bytes,
            load_seconds: footprint.load_seconds,
        }
    }
}

#[pyclass(frozen, get_all, module = "serval._native")]
pub struct Outputs {
    labels: Py<PyBytes>,
    scores: Py<PyBytes>,
}

/// `serval.data_plane.route.Route`.
#[derive(FromPyObject)]
struct Route {
    model: String,
    name: String,
    owner: String,
    owner_username: String,
    live: Option<u64>,
    versions: HashMap<u64, String>,
    aliases: HashMap<String, u64>,
    cache: String,
    cache_ttl_seconds: Option<f64>,
    cache_l2_ttl_seconds: Option<f64>,
    is_public: bool,
    shared_with: HashSet<String>,
}

impl TryFrom<Route> for routes::Route {
    type Error = Fault;

    fn try_from(route: Route) -> Result<Self, Fault> {
        let levels = Levels::parse(&route.cache)
            .ok_or_else(|| Fault::argument(format!("a cache is `off`, `l1`, `l2` or `auto`, not `{}`", route.cache)))?;
        Ok(Self {
            model: route.model.into(),
            name: route.name.into(),
            owner: route.owner.into(),
            owner_username: route.owner_username.into(),
            live: route.live,
            versions: route.versions.into_iter().map(|(number, version)| (number, version.into())).collect(),
            aliases: route.aliases.into_iter().map(|(alias, number)| (alias.into(), number)).collect(),
            levels,
            cache_ttl_seconds: route.cache_ttl_seconds,
            cache_l2_ttl_seconds: route.cache_l2_ttl_seconds,
            is_public: route.is_public,
            shared_with: route.shared_with.into_iter().map(Into::into).collect(),
        })
    }
}

#[pymethods]
impl Models {
    fn load(
        &self,
        py: Python<'_>,
        version: &str,
        onnx: &[u8],
        signature: &[u8],
        numbers: &[u8],
        strings: Vec<PyBackedStr>,
    ) -> PyResult<LoadedVersion> {
        let loaded = py.detach(|| {
            let (numbers, strings) = (floats(numbers)?, borrowed(&strings));
            let probes = Batch::of(&Signature::parse(signature)?, &numbers, &strings)?;
            self.0.engine.load(version, onnx, signature, probes)
        })?;
        Ok(LoadedVersion::from(&*loaded))
    }

    fn unload(&self, py: Python<'_>, version: &str) -> bool {
        py.detach(|| self.0.engine.unload(version))
    }

    fn run(&self, py: Python<'_>, version: &str, numbers: &[u8], strings: Vec<PyBackedStr>) -> PyResult<Outputs> {
        let (labels, scores) = py.detach(|| raw_outputs(&self.0, version, &floats(numbers)?, &borrowed(&strings)))?;
        Ok(Outputs { labels: PyBytes::new(py, &labels).unbind(), scores: PyBytes::new(py, &scores).unbind() })
    }

    fn set_routes(&self, py: Python<'_>, routes: Vec<Route>) -> PyResult<()> {
        let routes = routes.into_iter().map(routes::Route::try_from).collect::<Result<Vec<_>, _>>()?;
        py.detach(|| self.0.set_routes(routes));
        Ok(())
    }

    fn take_runaways(&self) -> Vec<(String, f64, f64)> {
        let figures = |version: &Arc<Version>| {
            version.runaway().map(|runaway| (version.id.to_string(), runaway.expected_seconds, runaway.used_seconds))
        };
        self.0.compute.take_runaways().iter().filter_map(figures).collect()
    }
}

/// Labels as int64, scores in the dtype of the signature.
fn raw_outputs(plane: &Plane, version: &str, numbers: &[f64], strings: &[&str]) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let version = plane.engine.version(version).ok_or_else(|| Fault::NotLoaded(version.to_owned()))?;
    let signature = &version.signature;
    let outputs = version.run(Batch::of(signature, numbers, strings)?)?;
    let (mut labels, mut scores) = (vec![], vec![]);
    for row in outputs.iter() {
        let (row_labels, row_scores) = row.split_at(signature.label_width());
        labels.extend(row_labels.iter().flat_map(|label| label.to_ne_bytes()));
        for &score in row_scores {
            push_score(&mut scores, f64::from_bits(score), signature.scores_dtype);
        }
    }
    Ok((labels, scores))
}

#[allow(clippy::cast_possible_truncation, reason = "the score came from a float32")]
fn push_score(bytes: &mut Vec<u8>, score: f64, dtype: Float) {
    match dtype {
        Float::Float32 => bytes.extend_from_slice(&(score as f32).to_ne_bytes()),
        Float::Float64 => bytes.extend_from_slice(&score.to_ne_bytes()),
    }
}

/// The numbers of float64 bytes.
pub fn floats(bytes: &[u8]) -> Result<Vec<f64>, Fault> {
    let (whole, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Fault::argument("float64 bytes come in eights"));
    }
    Ok(whole.iter().map(|number| f64::from_ne_bytes(*number)).collect())
}

pub fn borrowed(strings: &[PyBackedStr]) -> Vec<&str> {
    strings.iter().map(|string| &**string).collect()
}

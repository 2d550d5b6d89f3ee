//! Loaded versions: load, run, unload, quarantine.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::cache::benefit::CacheBenefit;
use crate::cache::memory::Scope;
use crate::engine::batch::{Batch, Outputs};
use crate::engine::measure::{Measurement, measure};
use crate::engine::memory;
use crate::engine::runtime::{self, Session};
use crate::engine::session::{BLOCK_ROWS, BoundSession, PaddedInputs, input_kinds};
use crate::engine::signature::Signature;
use crate::error::Fault;
use crate::graph::check;
use crate::graph::demand::Demand;
use crate::graph::onnx::refused;
use crate::graph::probes::width_probes;
use crate::predict::columns::Columns;
use crate::sync::lock;

/// A model version in memory.
pub struct Version {
    pub id: Box<str>,
    pub signature: Arc<Signature>,
    /// None: its rows need Python.
    pub columns: Option<Columns>,
    pub measured: Measurement,
    pub footprint: Footprint,
    /// Of the second level of the cache.
    pub cache_benefit: CacheBenefit,
    session: BoundSession,
    engine_fingerprint: [u8; 32],
    runaway: OnceLock<Runaway>,
}

/// What loading a version took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Footprint {
    pub resident_bytes: u64,
    pub load_seconds: f64,
}

/// A run that did not end, and used far more CPU time than was measured.
#[derive(Debug)]
pub struct Runaway {
    pub expected_seconds: f64,
    pub used_seconds: f64,
}

/// The versions in memory, by id.
#[derive(Default)]
pub struct Engine {
    versions: ArcSwap<HashMap<Box<str>, Arc<Version>>>,
    loading: Mutex<()>,
}

impl Engine {
    /// Loads a version and measures it on `probes`; one at a time, so that measurements do not disturb each other.
    pub fn load(&self, id: &str, onnx: &[u8], signature: &[u8], probes: Batch<'_>) -> Result<Arc<Version>, Fault> {
        let _one_at_a_time = lock(&self.loading);
        let version = Arc::new(Version::load(id, onnx, signature, probes)?);
        self.versions.rcu(|versions| {
            let mut copy = HashMap::clone(versions);
            copy.insert(id.into(), version.clone());
            copy
        });
        Ok(version)
    }

    /// Forgets a version; runs under way hold it until they are done.
    pub fn unload(&self, id: &str) -> bool {
        let before = self.versions.rcu(|versions| {
            let mut copy = HashMap::clone(versions);
            copy.remove(id);
            copy
        });
        before.contains_key(id)
    }

    /// A version that is loaded and not quarantined.
    pub fn version(&self, id: &str) -> Option<Arc<Version>> {
        self.versions.load().get(id).filter(|version| version.runaway().is_none()).cloned()
    }

    pub fn loaded(&self) -> Vec<Arc<Version>> {
        self.versions.load().values().cloned().collect()
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Version")
            .field("id", &self.id)
            .field("measured", &self.measured)
            .finish_non_exhaustive()
    }
}

impl Version {
    fn load(id: &str, onnx: &[u8], signature: &[u8], probes: Batch<'_>) -> Result<Self, Fault> {
        let started = Instant::now();
        let signature = Signature::parse(signature)?;
        let checked = check::check(onnx)?;
        check_widths(onnx, &checked.demands, &signature, probes)?;
        let before = memory::allocated_bytes();
        let session = BoundSession::load(onnx, &signature)?;
        let resident_bytes = memory::allocated_bytes().saturating_sub(before);
        let measured = measure(&session, &signature, checked.has_products, probes)?;
        Ok(Self {
            id: id.into(),
            columns: Columns::of(&signature),
            engine_fingerprint: fingerprint(measured.tile),
            signature: Arc::new(signature),
            measured,
            footprint: Footprint { resident_bytes, load_seconds: started.elapsed().as_secs_f64() },
            cache_benefit: CacheBenefit::default(),
            session,
            runaway: OnceLock::new(),
        })
    }

    /// What the cache keys of its rows cover.
    pub fn scope<'a>(&'a self, tenant: &'a str) -> Scope<'a> {
        Scope { version: &self.id, tenant, engine: &self.engine_fingerprint, signature: &self.signature.digest }
    }

    /// The time that a run of so many rows is expected to take.
    #[allow(clippy::cast_precision_loss, reason = "rows are few")]
    pub fn seconds(&self, rows: usize) -> f64 {
        match rows {
            0 => 0.0,
            _ => self.measured.fixed_seconds + self.measured.row_seconds * rows as f64,
        }
    }

    /// Quarantines it because of a run that did not end. Returns whether this is the first time.
    pub fn quarantine(&self, runaway: Runaway) -> bool {
        self.runaway.set(runaway).is_ok()
    }

    pub fn runaway(&self) -> Option<&Runaway> {
        self.runaway.get()
    }

    /// Runs rows, each as if it were alone.
    pub fn run(&self, batch: Batch<'_>) -> Result<Outputs, Fault> {
        self.session.run(&self.signature, batch, self.measured.tile)
    }
}

/// Checks that the estimators of a graph get inputs of the widths that they demand, by running what comes before each
/// of them on one row.
fn check_widths(onnx: &[u8], demands: &[Demand], signature: &Signature, probes: Batch<'_>) -> Result<(), Fault> {
    if probes.rows() == 0 {
        return Err(Fault::load("a version is measured on at least one probe row"));
    }
    let check = |name: &str, width: usize| match demands
        .iter()
        .find(|demand| demand.input == name && !demand.width.is_met_by(width))
    {
        Some(demand) => Err(refused(&demand.node, &format!("is given rows of width {width}, not {:?}", demand.width))),
        None => Ok(()),
    };
    check("numbers", signature.numbers())?;
    let row = PaddedInputs::of(signature, probes.row(0), 1);
    for probe in width_probes(onnx, demands)? {
        let session = Session::load(&probe.onnx)?;
        let shapes = session.shapes(1, &row.inputs(&input_kinds(&session, signature)?))?;
        for (name, shape) in probe.names.iter().zip(shapes) {
            check(name, table_width(&shape).ok_or_else(|| refused(name, "is no table of rows"))?)?;
        }
    }
    Ok(())
}

/// Columns of a table of rows; None where it has other than two dimensions.
fn table_width(shape: &[i64]) -> Option<usize> {
    match shape {
        [_, width] => usize::try_from(*width).ok(),
        _ => None,
    }
}

/// Digest of all that may change the last bits of an answer.
fn fingerprint(tile: usize) -> [u8; 32] {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpu.lines().find(|line| line.starts_with("flags") || line.starts_with("Features")).unwrap_or_default();
    *blake3::hash(format!("{}\n{flags}\n{tile}\n{BLOCK_ROWS}", runtime::build()).as_bytes()).as_bytes()
}

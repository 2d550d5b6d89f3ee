//! Rows to run, what they cost and what they give.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::cache::memory::Key;
use crate::compute::scheduler::Cost;
use crate::engine::batch::{Outputs, OwnedBatch};
use crate::engine::version::Version;
use crate::error::Fault;

/// Rows of one version that have to be run.
pub struct Run {
    /// Id of the model, by which the scheduler shares out the time.
    pub model: Box<str>,
    pub version: Arc<Version>,
    pub batch: OwnedBatch,
    /// The cache's keys of the rows; none where they are not to be cached.
    pub keys: Vec<Key>,
    /// How long its caller waits at most; None: as long as the settings say.
    pub timeout_seconds: Option<f64>,
}

/// What a run gives.
pub struct RunResult {
    pub outputs: Outputs,
    pub queue_seconds: f64,
    pub infer_seconds: f64,
}

impl Run {
    pub fn rows(&self) -> usize {
        self.batch.rows()
    }

    pub fn string_bytes(&self) -> usize {
        self.batch.string_bytes()
    }

    /// How long all its rows are expected to take.
    pub fn seconds(&self) -> f64 {
        self.version.seconds(self.rows())
    }

    /// How long its rows are expected to take in a run whose fixed cost others pay.
    #[allow(clippy::cast_precision_loss, reason = "rows are few")]
    pub fn row_seconds(&self) -> f64 {
        self.version.measured.row_seconds * self.rows() as f64
    }

    /// Whether merging it with other runs lowers the mean latency: runs one after the other answer the first of them
    /// early, a merged run pays the fixed cost once. So the fixed cost has to be above that of the rows.
    pub fn gains_by_batching(&self) -> bool {
        self.version.measured.tile != 0 && self.version.measured.fixed_seconds > self.row_seconds()
    }

    pub fn cost(&self, timeout_seconds: f64) -> Cost {
        let alone_seconds = self.seconds();
        let batched_seconds = if self.gains_by_batching() { self.row_seconds() } else { alone_seconds };
        Cost { alone_seconds, batched_seconds, timeout_seconds }
    }

    /// A run of some of its rows.
    pub fn pick(&self, rows: &[usize]) -> Self {
        Self {
            model: self.model.clone(),
            version: self.version.clone(),
            batch: self.batch.pick(rows),
            keys: rows.iter().map(|&row| self.keys[row]).collect(),
            timeout_seconds: self.timeout_seconds,
        }
    }

    /// Runs it on the calling thread.
    pub fn execute(&self) -> Result<Outputs, Fault> {
        execute(&self.version, &self.batch)
    }
}

/// Runs rows on the calling thread; a panic is a fault of these rows alone.
pub fn execute(version: &Version, batch: &OwnedBatch) -> Result<Outputs, Fault> {
    batch
        .with(|batch| catch_unwind(AssertUnwindSafe(|| version.run(batch))))
        .unwrap_or_else(|_| Err(Fault::load("a run has panicked")))
}
